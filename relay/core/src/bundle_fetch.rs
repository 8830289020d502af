//! Which prekey bundles to ask for, and whom.
//!
//! ```text
//!  offer ─► wanted ─► asked (64 at most) ─► arrived: is checked ─► taken, or another peer is asked
//!             ▲  the agency's turn: 5 at once, then 1 a minute        │
//!             └──────────── late, refused, link down ◄────────────────┘
//! ```
//! A bundle is asked for at one peer at a time. An agency that publishes
//! without end is followed at the pace of its turn: what lies between is never fetched.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::{AgencyId, Timestamp};

use crate::budget::{Bucket, Pace};
use crate::link::LinkKey;

/// Bundles that are asked for at a time, in all and of one peer.
pub const ASKED_MAX: usize = 64;
const ASKED_OF_ONE_MAX: usize = 48;
/// Nothing more is asked for while fewer than this could be.
const PORTION: usize = 8;
/// Peers remembered that offer the same agency's bundle.
const OFFERS_MAX: usize = 4;
/// How long an answer may take.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);
/// New bundles that are taken of one agency. A daemon that has lost its keys publishes twice within seconds.
pub const TURNS: Pace = Pace { at_once: 5, per_minute: 1 };

/// See the module. Bounded by the agencies of the roster.
#[derive(Debug, Default)]
pub struct BundleFetch {
    wanted: BTreeMap<AgencyId, BTreeMap<LinkKey, BundlePosition>>,
    asked: BTreeMap<AgencyId, Asked>,
    turns: BTreeMap<AgencyId, Bucket>,
}

#[derive(Debug)]
struct Asked {
    link: LinkKey,
    /// What the peer had offered when it was asked; epoch 0 where it had offered nothing, and may know something.
    place: BundlePosition,
    until: Timestamp,
    /// It came, and is being checked.
    arrived: bool,
}

impl BundleFetch {
    /// A peer offers a bundle that is newer than the one here, of an agency of the roster.
    pub fn offered(&mut self, agency: &AgencyId, place: BundlePosition, link: LinkKey) {
        let offers = self.wanted.entry(agency.clone()).or_default();
        if offers.len() >= OFFERS_MAX && !offers.contains_key(&link) {
            // The most that is offered stays.
            let least = offers.iter().min_by_key(|(_, place)| **place).map(|(link, least)| (*link, *least));
            match least {
                Some((other, least)) if least < place => offers.remove(&other),
                _ => return,
            };
        }
        offers.insert(link, place);
        // A peer that was asked without an offer need not answer: a real offer does not wait for it.
        let is_guess = |asked: &Asked| !asked.arrived && asked.place.epoch == 0 && place.epoch > 0;
        if self.asked.get(agency).is_some_and(is_guess) {
            self.asked.remove(agency);
        }
    }

    /// What to ask of whom now.
    pub fn ask(&mut self, now: Timestamp) -> BTreeMap<LinkKey, Vec<AgencyId>> {
        let mut asks = BTreeMap::<LinkKey, Vec<AgencyId>>::new();
        // In portions: each look goes over all that is wanted.
        if self.asked.len() + PORTION > ASKED_MAX {
            return asks;
        }
        let mut of_one = BTreeMap::<LinkKey, usize>::new();
        self.asked.values().for_each(|asked| *of_one.entry(asked.link).or_default() += 1);
        for (agency, offers) in &self.wanted {
            if self.asked.len() >= ASKED_MAX {
                break;
            }
            if !self.has_turn(agency, now) || self.asked.contains_key(agency) {
                continue;
            }
            let free = |link: &LinkKey| of_one.get(link).is_none_or(|asked| *asked < ASKED_OF_ONE_MAX);
            let best = offers.iter().filter(|(link, _)| free(link)).max_by_key(|(_, place)| **place);
            let Some((link, place)) = best else { continue };
            *of_one.entry(*link).or_default() += 1;
            asks.entry(*link).or_default().push(agency.clone());
            self.asked.insert(
                agency.clone(),
                Asked { link: *link, place: *place, until: now.after(ANSWER_MAX), arrived: false },
            );
        }
        asks
    }

    /// A bundle of this agency came by `link`. Whether it was asked for there: then
    /// [`BundleFetch::finished`] follows.
    // [FRAME-7]
    pub fn arrived(&mut self, agency: &AgencyId, link: LinkKey) -> bool {
        let Some(asked) = self.asked.get_mut(agency).filter(|asked| asked.link == link && !asked.arrived) else {
            return false;
        };
        asked.arrived = true;
        let place = asked.place;
        self.withdraw(agency, link, place);
        true
    }

    /// The check of what arrived is over, and so is its commit, if it was taken.
    pub fn finished(&mut self, agency: &AgencyId) {
        self.asked.remove(agency);
    }

    /// A new bundle of this agency was taken: one of its turns is used up, and what is no newer is wanted no more.
    pub fn taken(&mut self, agency: &AgencyId, place: BundlePosition, now: Timestamp) {
        self.turns.entry(agency.clone()).or_default().take(1, TURNS, since_zero(now));
        if let Some(offers) = self.wanted.get_mut(agency) {
            offers.retain(|_, offered| *offered > place);
        }
        self.wanted.retain(|_, offers| !offers.is_empty());
        self.turns.retain(|_, turn| !turn.is_full(since_zero(now)));
    }

    /// Whether a new bundle of this agency may be taken now.
    // [FRAME-8]
    #[must_use]
    pub fn has_turn(&self, agency: &AgencyId, now: Timestamp) -> bool {
        self.turns.get(agency).is_none_or(|turn| turn.wait(TURNS, since_zero(now)).is_zero())
    }

    /// A link is gone, with what it offered.
    pub fn handle_down(&mut self, link: LinkKey) {
        self.wanted.retain(|_, offers| {
            offers.remove(&link);
            !offers.is_empty()
        });
        self.asked.retain(|_, asked| asked.link != link || asked.arrived);
    }

    /// Gives up what does not come.
    pub fn give_up_late(&mut self, now: Timestamp) {
        let late = self.asked.iter().filter(|(_, asked)| !asked.arrived && asked.until <= now);
        let late: Vec<_> = late.map(|(agency, asked)| (agency.clone(), asked.link, asked.place)).collect();
        for (agency, link, place) in late {
            self.asked.remove(&agency);
            self.withdraw(&agency, link, place);
        }
    }

    /// Another roster is in force.
    pub fn retain(&mut self, names: impl Fn(&AgencyId) -> bool) {
        self.wanted.retain(|agency, _| names(agency));
        self.turns.retain(|agency, _| names(agency));
    }

    /// The offer that this peer was asked by is used up. What it has offered since stays.
    fn withdraw(&mut self, agency: &AgencyId, link: LinkKey, place: BundlePosition) {
        if let Some(offers) = self.wanted.get_mut(agency) {
            offers.retain(|of, offered| *of != link || *offered > place);
            if offers.is_empty() {
                self.wanted.remove(agency);
            }
        }
    }
}

fn since_zero(now: Timestamp) -> Duration {
    now.since(Timestamp::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn agency(number: usize) -> AgencyId {
        format!("ncb{number}.zz").parse().unwrap()
    }

    const fn place(epoch: u32, seq: u64) -> BundlePosition {
        BundlePosition { epoch, seq }
    }

    fn asked(fetch: &mut BundleFetch, now: Timestamp) -> Vec<(u64, usize)> {
        fetch.ask(now).into_iter().map(|(link, agencies)| (link.0, agencies.len())).collect()
    }

    // [FRAME-7]
    #[test]
    fn one_peer_is_asked_at_a_time_and_what_was_not_asked_for_is_known() {
        let (mut fetch, one) = (BundleFetch::default(), agency(1));
        for link in 1..=9 {
            fetch.offered(&one, place(1, link), LinkKey(link));
        }
        assert_eq!(asked(&mut fetch, NOW), [(9, 1)], "the newest");
        assert!(asked(&mut fetch, NOW).is_empty());
        assert!(!fetch.arrived(&one, LinkKey(8)) && !fetch.arrived(&agency(2), LinkKey(9)));
        assert!(fetch.arrived(&one, LinkKey(9)));
        assert!(!fetch.arrived(&one, LinkKey(9)), "once");
        fetch.finished(&one);
        assert_eq!(asked(&mut fetch, NOW), [(8, 1)], "it was of no use: the next one");
        fetch.give_up_late(NOW.after(ANSWER_MAX));
        assert_eq!(asked(&mut fetch, NOW), [(7, 1)], "it did not come");
        fetch.handle_down(LinkKey(7));
        assert_eq!(asked(&mut fetch, NOW), [(6, 1)]);
        assert!(fetch.arrived(&one, LinkKey(6)));
        fetch.taken(&one, place(1, 6), NOW);
        fetch.finished(&one);
        assert!(asked(&mut fetch, NOW).is_empty() && fetch.wanted.is_empty() && fetch.asked.is_empty());
    }

    #[test]
    fn an_offer_neither_waits_for_a_peer_that_was_asked_on_a_guess_nor_goes_with_its_silence() {
        let (mut fetch, one) = (BundleFetch::default(), agency(1));
        fetch.offered(&one, place(0, 0), LinkKey(1));
        assert_eq!(asked(&mut fetch, NOW), [(1, 1)], "it offers nothing, and may know something");
        fetch.offered(&one, place(7, 1), LinkKey(2));
        assert_eq!(asked(&mut fetch, NOW), [(2, 1)], "at once");
        fetch.offered(&one, place(7, 2), LinkKey(2));
        fetch.give_up_late(NOW.after(ANSWER_MAX));
        assert_eq!(asked(&mut fetch, NOW), [(2, 1)], "what it has offered since it was asked");
    }

    // [FRAME-8]
    #[test]
    fn an_agency_that_publishes_without_end_is_followed_at_the_pace_of_its_turn() {
        let (mut fetch, one) = (BundleFetch::default(), agency(1));
        let mut taken = Vec::new();
        for second in 0..600u64 {
            let now = NOW.after(Duration::from_secs(second));
            fetch.offered(&one, place(1, second + 1), LinkKey(1));
            if !asked(&mut fetch, now).is_empty() {
                assert!(fetch.arrived(&one, LinkKey(1)));
                fetch.taken(&one, place(1, second + 1), now);
                fetch.finished(&one);
                taken.push(second);
            }
        }
        assert_eq!(taken.len(), 5 + 9, "{taken:?}");
        assert_eq!(taken.last(), Some(&540), "it is always the newest that is fetched");
        fetch.offered(&agency(2), place(1, 1), LinkKey(1));
        assert_eq!(asked(&mut fetch, NOW.after(10 * MINUTE - Duration::from_secs(5))), [(1, 1)], "others do not wait");
    }

    #[test]
    fn many_are_asked_for_in_portions_and_one_silent_peer_does_not_have_all_of_them() {
        let mut fetch = BundleFetch::default();
        for number in 0..1_000 {
            fetch.offered(&agency(number), place(2, 1), LinkKey(1));
            fetch.offered(&agency(number), place(1, 1), LinkKey(2));
        }
        assert_eq!(asked(&mut fetch, NOW), [(1, ASKED_OF_ONE_MAX), (2, ASKED_MAX - ASKED_OF_ONE_MAX)]);
        for round in 1..=30u32 {
            // Link 1 never answers.
            let now = NOW.after(ANSWER_MAX * round);
            let others: Vec<_> = fetch.asked.iter().filter(|(_, asked)| asked.link == LinkKey(2)).collect();
            let others: Vec<AgencyId> = others.into_iter().map(|(agency, _)| agency.clone()).collect();
            for agency in others {
                assert!(fetch.arrived(&agency, LinkKey(2)));
                fetch.taken(&agency, place(1, 1), now);
                fetch.finished(&agency);
            }
            fetch.give_up_late(now);
            fetch.ask(now);
            assert!(fetch.asked.len() <= ASKED_MAX);
        }
        assert!(fetch.wanted.len() < 500, "{}", fetch.wanted.len());
    }
}
