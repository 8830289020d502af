//! What must be said of damaged journals.

use liaison_node::store::testing::{Place, Verdict};

use super::{Batch, History};

/// A batch's number is behind its tag and the count of its items, and no checksum covers it.
const NUMBER: std::ops::Range<usize> = 5..13;
/// The engine's numbers rise, and not by more than this at a time.
const NUMBER_AHEAD_MAX: u64 = 1 << 40;
/// Nor above this.
const NUMBER_MAX: u64 = 1 << 62;

/// What is behind damage was written later: if any of it is whole, the damage is not a torn end, and nothing may start.
/// If not, the first batch that is damaged is the one that was being written, and is cut off.
pub(super) fn expected(history: &History, journals: &[Vec<u8>]) -> Verdict {
    let mut before: Option<u64> = None;
    for (nth, batch) in history.batches.iter().enumerate() {
        let state = state(history, journals, *batch);
        let in_order = |number: u64| match before {
            Some(before) => number > before && number - before <= NUMBER_AHEAD_MAX,
            None => number <= NUMBER_MAX,
        };
        match state {
            // A number that stays in order is not seen to be wrong.
            State::Whole { number } if in_order(number) => before = Some(number),
            // Room, as far as anybody can see: what a journal lost at its end, and no more than that, is not noticed.
            State::Damaged if is_room(journals, *batch) => {}
            // No torn write leaves everything but the number.
            State::Whole { .. } => return Verdict::Corrupt(place(*batch)),
            State::Damaged => {
                let mut later = history.batches[nth + 1..].iter();
                let followed = later.any(|later| matches!(self::state(history, journals, *later), State::Whole { .. }));
                return if followed { Verdict::Corrupt(place(*batch)) } else { tail(journals, *batch) };
            }
        }
    }
    // Something in the room behind it all.
    match history.batches.last() {
        Some(last) => tail(journals, Batch { start: last.end, ..*last }),
        None => Verdict::Sound { torn: Vec::new() },
    }
}

fn is_room(journals: &[Vec<u8>], batch: Batch) -> bool {
    journals[batch.journal].iter().skip(batch.start).all(|byte| *byte == 0)
}

enum State {
    /// All is as it was written, but perhaps for its number.
    Whole {
        number: u64,
    },
    Damaged,
}

fn state(history: &History, journals: &[Vec<u8>], batch: Batch) -> State {
    let written = &history.journals[batch.journal][batch.start..batch.end];
    let Some(found) = journals[batch.journal].get(batch.start..batch.end) else { return State::Damaged };
    let same = found[..NUMBER.start] == written[..NUMBER.start] && found[NUMBER.end..] == written[NUMBER.end..];
    let number = found[NUMBER].try_into().map(u64::from_le_bytes).unwrap_or_default();
    if same { State::Whole { number } } else { State::Damaged }
}

const fn place(batch: Batch) -> Place {
    Place { journal: batch.journal, start: batch.start as u64 }
}

/// From here on there is nothing whole: what is not room is cut off, in each journal.
fn tail(journals: &[Vec<u8>], from: Batch) -> Verdict {
    let rest = journals.iter().enumerate().skip(from.journal);
    let torn = rest.filter_map(|(journal, bytes)| {
        let start = if journal == from.journal { from.start } else { 0 };
        let used = bytes.get(start..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0));
        used.then_some(Place { journal, start: start as u64 })
    });
    Verdict::Sound { torn: torn.collect() }
}
