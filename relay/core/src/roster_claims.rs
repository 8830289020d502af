//! Which peers say that they follow another roster than this node, and whom this node asks for it.
//!
//! A hello and an offer are not signed by the roots: each is one peer's word. A claim leads to a question, and a question
//! to one answer. Two questions at most are open at a time, one to a relay and one to an agency, so that received rosters
//! take bounded room. A peer that answers with nothing, or with what is no newer roster, is asked again after a wait that
//! grows.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{Hash, NodeId, Timestamp};

use crate::link::{LinkKey, NodeKind};

/// How long an answer may take: the longest roster over 600 kbit/s.
pub const ANSWER_MAX: Duration = Duration::from_secs(300);
/// A peer whose answer was of no use is asked again after this, doubled with each further time.
const AGAIN_MIN: Duration = Duration::from_secs(60);
const AGAIN_MAX: Duration = Duration::from_secs(3_600);
/// A relay that says for so long that it follows a newer roster, while none could be taken, raises an alarm.
pub const FREEZE_ALARM_AFTER: Duration = Duration::from_secs(86_400);

/// See the module. Bounded by the nodes of the roster.
#[derive(Clone, Debug, Default)]
pub struct RosterClaims {
    claims: BTreeMap<NodeId, Claim>,
    asked: BTreeMap<LinkKey, Asked>,
}

#[derive(Clone, Debug)]
struct Claim {
    kind: NodeKind,
    version: RosterVersion,
    hash: Hash,
    /// The link on which the peer says so; `None` while it has none.
    link: Option<LinkKey>,
    /// Since when it says that it follows a newer one than this node.
    since: Timestamp,
    /// It had nothing to show for this claim.
    disproved: bool,
    /// Answers of no use, one after the other.
    failures: u32,
    /// Not asked before then.
    again: Timestamp,
}

#[derive(Clone, Debug)]
struct Asked {
    peer: NodeId,
    kind: NodeKind,
    until: Timestamp,
}

/// A relay that has said for a day that it follows a newer roster, none of which could be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The relay.
    pub peer: NodeId,
    /// The version that it says to follow.
    pub version: RosterVersion,
}

impl RosterClaims {
    /// The peer says that it follows this roster, which is another one than this node's and not older.
    pub fn said(
        &mut self,
        (peer, kind, link): (NodeId, NodeKind, LinkKey),
        version: RosterVersion,
        hash: Hash,
        now: Timestamp,
    ) {
        let new = Claim { kind, version, hash, link: None, since: now, disproved: false, failures: 0, again: now };
        let claim = self.claims.entry(peer).or_insert(new);
        if (claim.version, claim.hash) != (version, hash) {
            claim.disproved = false;
        }
        (claim.kind, claim.version, claim.hash, claim.link) = (kind, version, hash, Some(link));
    }

    /// The peer says that it follows an older roster than this node, or the same.
    pub fn retracted(&mut self, peer: &NodeId) {
        self.claims.remove(peer);
    }

    /// A link is gone, and with it the question that was open there. The claim stays: a flapping link is no denial.
    pub fn handle_down(&mut self, link: LinkKey) {
        self.asked.remove(&link);
        self.claims.values_mut().filter(|claim| claim.link == Some(link)).for_each(|claim| claim.link = None);
    }

    /// Whom to ask now, and for the first roster after which version.
    pub fn ask(&mut self, trusted: RosterVersion, now: Timestamp) -> Vec<(LinkKey, RosterVersion)> {
        let mut asks = Vec::new();
        for kind in [NodeKind::Relay, NodeKind::Daemon] {
            if self.asked.values().any(|asked| asked.kind == kind) {
                continue;
            }
            let due = |claim: &Claim| claim.kind == kind && !claim.disproved && claim.again <= now;
            let candidates = self.claims.iter().filter(|(_, claim)| due(claim));
            let linked = candidates.filter_map(|(peer, claim)| Some((claim.failures, peer.clone(), claim.link?)));
            let Some((_, peer, link)) = linked.min() else { continue };
            let same_version = self.claims.get(&peer).is_some_and(|claim| claim.version == trusted);
            // A fork's other side has this node's version.
            let after = RosterVersion(trusted.0.saturating_sub(u32::from(same_version)));
            self.asked.insert(link, Asked { peer, kind, until: now.after(ANSWER_MAX) });
            asks.push((link, after));
        }
        asks
    }

    /// An answer has come by `link`. `None`: nothing was asked there any more.
    pub fn answered(&mut self, link: LinkKey) -> Option<NodeId> {
        self.asked.remove(&link).map(|asked| asked.peer)
    }

    /// The peer has no such roster: its claim counts no more until it makes another one.
    pub fn disproved(&mut self, peer: &NodeId, now: Timestamp) {
        self.failed(peer, now);
        if let Some(claim) = self.claims.get_mut(peer) {
            claim.disproved = true;
        }
    }

    /// What the peer sent could not be taken.
    pub fn failed(&mut self, peer: &NodeId, now: Timestamp) {
        if let Some(claim) = self.claims.get_mut(peer) {
            let wait = AGAIN_MIN.saturating_mul(1 << claim.failures.min(16)).min(AGAIN_MAX);
            (claim.failures, claim.again) = (claim.failures.saturating_add(1), now.after(wait));
        }
    }

    /// Questions without an answer: their links are to be closed.
    pub fn overdue(&mut self, now: Timestamp) -> Vec<LinkKey> {
        let late = |(link, asked): (&LinkKey, &Asked)| (asked.until <= now).then(|| (*link, asked.peer.clone()));
        let late: Vec<_> = self.asked.iter().filter_map(late).collect();
        for (link, peer) in &late {
            self.asked.remove(link);
            self.failed(peer, now);
        }
        late.into_iter().map(|(link, _)| link).collect()
    }

    /// This node follows another roster now: claims that it meets are no claims any more, nor are those of nodes that it
    /// does not name. `kind` is what the roster says of a node.
    pub fn follow(&mut self, version: RosterVersion, hash: Hash, names: impl Fn(&NodeId) -> bool) {
        self.claims.retain(|peer, claim| {
            let ahead = claim.version > version || (claim.version == version && claim.hash != hash);
            ahead && names(peer)
        });
    }

    /// A fork is settled: whoever was asked in vain may have what is to be followed now.
    pub fn forgive(&mut self) {
        self.claims.values_mut().for_each(|claim| (claim.failures, claim.again) = (0, Timestamp::ZERO));
    }

    /// Linked relays that have said for [`FREEZE_ALARM_AFTER`] that they follow a newer roster. An agency's word raises no
    /// alarm, and no relay's counts any longer than it says so and has something to show.
    // [ROSTER-16]
    pub fn frozen(&self, trusted: RosterVersion, now: Timestamp) -> impl Iterator<Item = Frozen> {
        let counts = move |claim: &Claim| {
            claim.kind == NodeKind::Relay
                && claim.link.is_some()
                && !claim.disproved
                && claim.version > trusted
                && now.since(claim.since) >= FREEZE_ALARM_AFTER
        };
        let frozen = self.claims.iter().filter(move |(_, claim)| counts(claim));
        frozen.map(|(peer, claim)| Frozen { peer: peer.clone(), version: claim.version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const TRUSTED: RosterVersion = RosterVersion(4);

    fn id(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn relay(link: u64) -> (NodeId, NodeKind, LinkKey) {
        (id("eu-1"), NodeKind::Relay, LinkKey(link))
    }

    fn agency(link: u64) -> (NodeId, NodeKind, LinkKey) {
        (id("ncb.ee"), NodeKind::Daemon, LinkKey(link))
    }

    fn frozen(claims: &RosterClaims, trusted: u32, now: Timestamp) -> Vec<u32> {
        claims.frozen(RosterVersion(trusted), now).map(|frozen| frozen.version.0).collect()
    }

    // Attack 41.
    #[test]
    fn a_roster_that_a_relay_speaks_of_and_that_never_comes_raises_the_alarm_after_a_day() {
        let mut claims = RosterClaims::default();
        claims.said(relay(1), RosterVersion(6), Hash::ZERO, NOW);
        assert_eq!(claims.ask(TRUSTED, NOW), [(LinkKey(1), TRUSTED)]);
        // No answer, or one that cannot be taken; the link flaps.
        claims.failed(&id("eu-1"), NOW);
        claims.handle_down(LinkKey(1));
        assert!(frozen(&claims, 4, NOW.after(DAY)).is_empty(), "nobody says so now");
        claims.said(relay(2), RosterVersion(6), Hash::ZERO, NOW.after(DAY / 2));
        assert!(frozen(&claims, 4, NOW.after(DAY - Duration::from_millis(1))).is_empty());
        assert_eq!(frozen(&claims, 4, NOW.after(DAY)), [6]);
        claims.follow(RosterVersion(5), Hash::ZERO, |_| true);
        assert_eq!(frozen(&claims, 5, NOW.after(DAY)), [6], "version 6 is still missing");
        claims.follow(RosterVersion(6), Hash::ZERO, |_| true);
        assert!(frozen(&claims, 6, NOW.after(DAY)).is_empty());
    }

    #[test]
    fn a_version_that_nobody_can_show_is_no_alarm_and_an_agencys_word_never_is() {
        let mut claims = RosterClaims::default();
        claims.said(agency(1), RosterVersion(u32::MAX), Hash::ZERO, NOW);
        assert!(frozen(&claims, 4, NOW.after(9 * DAY)).is_empty());
        claims.said(relay(2), RosterVersion(u32::MAX), Hash::ZERO, NOW);
        assert_eq!(frozen(&claims, 4, NOW.after(DAY)), [u32::MAX]);
        claims.disproved(&id("eu-1"), NOW.after(DAY));
        assert!(frozen(&claims, 4, NOW.after(9 * DAY)).is_empty(), "it had nothing to show");
        claims.said(relay(2), RosterVersion(u32::MAX), Hash::ZERO, NOW.after(DAY));
        assert!(frozen(&claims, 4, NOW.after(9 * DAY)).is_empty(), "the same claim again");
        claims.said(relay(2), RosterVersion(5), Hash::ZERO, NOW.after(DAY));
        claims.retracted(&id("eu-1"));
        assert!(frozen(&claims, 4, NOW.after(9 * DAY)).is_empty(), "it says so no more");
    }

    // [FRAME-6]
    #[test]
    fn one_relay_and_one_agency_are_asked_at_a_time_and_who_failed_least_comes_first() {
        let mut claims = RosterClaims::default();
        for (number, name) in ["ap-1", "eu-1", "eu-2"].into_iter().enumerate() {
            claims.said((id(name), NodeKind::Relay, LinkKey(number as u64)), RosterVersion(9), Hash::ZERO, NOW);
        }
        claims.said(agency(7), TRUSTED, Hash([1; 32]), NOW);
        let asks = claims.ask(TRUSTED, NOW);
        assert_eq!(asks, [(LinkKey(0), TRUSTED), (LinkKey(7), RosterVersion(3))], "a fork's other side");
        assert!(claims.ask(TRUSTED, NOW).is_empty());
        assert_eq!(claims.answered(LinkKey(0)), Some(id("ap-1")));
        assert_eq!(claims.answered(LinkKey(0)), None);
        claims.failed(&id("ap-1"), NOW);
        assert_eq!(claims.ask(TRUSTED, NOW), [(LinkKey(1), TRUSTED)]);
        let late = NOW.after(ANSWER_MAX);
        assert_eq!(claims.overdue(late), [LinkKey(1), LinkKey(7)]);
        assert_eq!(claims.ask(TRUSTED, late), [(LinkKey(2), TRUSTED)], "the agency waits for its turn");
    }

    #[test]
    fn a_peer_whose_answers_are_of_no_use_is_asked_less_and_less() {
        let (mut claims, mut now, mut waits) = (RosterClaims::default(), NOW, Vec::new());
        for version in 9.. {
            claims.said(relay(1), RosterVersion(version), Hash::ZERO, now);
            let asked = now;
            while claims.ask(TRUSTED, now).is_empty() {
                now = now.after(Duration::from_secs(60));
            }
            waits.push(now.since(asked).as_secs() / 60);
            if waits.len() == 9 {
                break;
            }
            claims.answered(LinkKey(1));
            claims.disproved(&id("eu-1"), now);
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
