//! What is wrong with this agency's bundles: somebody else publishes in its name, or store and slots are not of one time.

use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_node::local::ForeignBundle;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::prekey::{BundlePosition, signer_of};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, KeyId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::events::{EventRecord, What};
use crate::office::Office;
use crate::outbox::work::Work;
use crate::shelf::{Place, ReadError, Shelf};

/// So long after it was last seen an alarm stands.
const STANDS: Duration = Duration::from_secs(7 * 86_400);
/// After so long in peace a foreign bundle is answered at once again.
const PEACE: Duration = Duration::from_secs(86_400);
/// From the second answer on, so long passes between two: twice as long each time.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// And no longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// What was found, as it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alarms {
    pub(crate) foreign: Option<Foreign>,
    pub(crate) restored: Option<(Timestamp, Restored)>,
}

/// Bundles of this agency that this daemon did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Foreign {
    /// The highest.
    pub(crate) position: BundlePosition,
    pub(crate) issued: Timestamp,
    pub(crate) signer: KeyId,
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    /// When this daemon last published above one.
    pub(crate) answered: Option<Timestamp>,
    /// How often it did, since the last day in peace.
    pub(crate) answers: u32,
}

/// Which of store and slots is not of the other's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Restored {
    /// The slot file is older than the store.
    SlotsBehind,
    /// The slots of keys that are published are gone.
    SlotsGone,
    /// The store is older than the slot file.
    StoreBehind,
}

impl Restored {
    /// For people.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::SlotsBehind => "the prekeys' slot file is older than the store",
            Self::SlotsGone => "the prekeys' slots are gone",
            Self::StoreBehind => "the store is older than the prekeys' slot file",
        }
    }
}

impl Alarms {
    pub(super) fn read(shelf: &Shelf) -> Result<Self, ReadError> {
        Ok(shelf.get_clear(&place())?.unwrap_or_default())
    }

    pub(super) fn put(&self) -> Op {
        Shelf::put_clear(place(), self)
    }

    /// Notes a foreign bundle. `false`: it was known.
    pub(super) fn meet(&mut self, met: &ForeignBundle, now: Timestamp) -> bool {
        let before = self.foreign.filter(|before| now.since(before.last_seen) < STANDS);
        let known = before.is_some_and(|before| before.position == met.position && before.issued == met.issued);
        let peace = before.is_none_or(|before| now.since(before.last_seen) >= PEACE);
        self.foreign = Some(Foreign {
            position: before.map_or(met.position, |before| before.position.max(met.position)),
            issued: met.issued,
            signer: met.signer,
            first_seen: before.map_or(now, |before| before.first_seen),
            last_seen: now,
            answered: before.and_then(|before| before.answered),
            answers: before.filter(|_| !peace).map_or(0, |before| before.answers),
        });
        !known
    }

    /// [PREKEY-9] Whether a bundle is due above the foreign one, which `own` is not.
    pub(super) fn is_answer_due(&self, own: Option<BundlePosition>, now: Timestamp) -> bool {
        let Some(foreign) = self.foreign else { return false };
        if own > Some(foreign.position) || planted(Mutant::ForeignBundleIgnored) {
            return false;
        }
        let doublings = foreign.answers.saturating_sub(1).min(16);
        let pause = if foreign.answers == 0 { Duration::ZERO } else { PAUSE_MIN * (1 << doublings) };
        foreign.answered.is_none_or(|at| now.since(at) >= pause.min(PAUSE_MAX))
    }

    /// A bundle is published at `position`.
    pub(super) fn answer(&mut self, position: BundlePosition, now: Timestamp) {
        if let Some(foreign) = &mut self.foreign
            && position > foreign.position
            && foreign.answered.is_none_or(|at| at < foreign.last_seen)
        {
            foreign.answered = Some(now);
            foreign.answers = foreign.answers.saturating_add(1);
        }
    }

    /// The foreign bundle that people are to know of: seen of late, and signed by a key that is still this agency's.
    pub(crate) fn standing_foreign(&self, me: &AgencyId, roster: &Roster, now: Timestamp) -> Option<Foreign> {
        let of_late = |foreign: &Foreign| now.since(foreign.last_seen) < STANDS;
        let counts = |foreign: &Foreign| signer_of(me, foreign.signer, foreign.issued, roster, now).is_some();
        self.foreign.filter(|foreign| of_late(foreign) && counts(foreign))
    }

    /// What was found at a start of late.
    pub(crate) fn standing_restored(&self, now: Timestamp) -> Option<(Timestamp, Restored)> {
        self.restored.filter(|(at, _)| now.since(*at) < STANDS)
    }
}

fn place() -> Place {
    Place::new(Table::Meta, b'x', &[])
}

impl Foreign {
    /// For people.
    pub(crate) fn in_words(&self) -> String {
        let Self { position: BundlePosition { epoch, seq }, signer, .. } = self;
        format!(
            "prekeys that this daemon did not make are published in this agency's name (epoch {epoch}, number {seq}, \
             signed by key {signer}): a second daemon has a copy of its identity, its signing key is stolen, or this \
             daemon was restored from an old copy"
        )
    }
}

impl Office {
    /// [PREKEY-9] Somebody else publishes in this agency's name.
    pub(crate) fn met_foreign(&self, met: &ForeignBundle, now: Timestamp) -> Vec<Op> {
        let Some(noted) = self.keyring.meet_foreign(met, now) else { return Vec::new() };
        self.wake.prekeys.notify_one();
        let mut ops = vec![noted.alarms.put()];
        if let Some(foreign) = noted.alarms.foreign.filter(|_| noted.news) {
            let text = foreign.in_words();
            tracing::error!("{text}");
            metrics::counter!("liaison_daemon_foreign_bundles_total").increment(1);
            let event = EventRecord::new(What::PrekeysForeign, now).because(text);
            ops.push(Work::Announce(event).put(&self.shelf, now));
        }
        ops
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::Hash;

    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
    }

    fn met(seq: u64, minutes: u64) -> ForeignBundle {
        let position = BundlePosition { epoch: 5, seq };
        ForeignBundle { position, issued: at(minutes), signer: KeyId([1; 8]), hash: Hash([0; 32]) }
    }

    // [PREKEY-9]
    #[test]
    fn a_copy_that_goes_on_is_answered_ever_more_rarely_and_at_once_again_after_a_day() {
        let mut alarms = Alarms::default();
        let (mut answers, mut seq) = (Vec::new(), 1);
        for minute in 0..24 * 60_u64 {
            if alarms.foreign.is_none() || answers.last() == Some(&minute.saturating_sub(1)) {
                // The copy publishes above each answer, a minute later.
                seq += 2;
                alarms.meet(&met(seq, minute), at(minute));
            }
            if alarms.is_answer_due(Some(BundlePosition { epoch: 5, seq: seq - 1 }), at(minute)) {
                alarms.answer(BundlePosition { epoch: 5, seq: seq + 1 }, at(minute));
                answers.push(minute);
            }
        }
        assert_eq!(answers[..6], [0, 1, 3, 7, 15, 31], "{answers:?}");
        assert!(answers.len() < 35, "{answers:?}");
        let tomorrow = answers.last().unwrap() + 48 * 60;
        assert!(alarms.meet(&met(seq + 2, tomorrow), at(tomorrow)));
        assert!(alarms.is_answer_due(Some(BundlePosition { epoch: 5, seq }), at(tomorrow)));
    }

    #[test]
    fn the_same_bundle_is_news_once_and_what_stands_above_it_needs_no_answer() {
        let mut alarms = Alarms::default();
        assert!(alarms.meet(&met(3, 0), at(0)));
        assert!(!alarms.meet(&met(3, 0), at(1)));
        let own = |seq| Some(BundlePosition { epoch: 5, seq });
        assert!(alarms.is_answer_due(None, at(1)) && alarms.is_answer_due(own(3), at(1)));
        assert!(!alarms.is_answer_due(own(4), at(1)));
    }
}
