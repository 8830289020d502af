//! What a disk does to journals.

use super::{Batch, History, below};
use crate::draw::Draw;

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// The last journal ends, or reads as zeros, from a byte on.
    Cut,
    /// One bit is another.
    Flip,
    /// Of the batch that was being written some sectors are not there.
    Torn,
    /// A sector of what was synced is lost: zeros, or noise.
    Sector,
    /// A bit of what was synced is another, and the batch that was being written is torn.
    FlipAndTorn,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Cut, Self::Flip, Self::Torn, Self::Sector, Self::FlipAndTorn];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut off",
            Self::Flip => "bits flipped",
            Self::Torn => "torn writes",
            Self::Sector => "sectors lost",
            Self::FlipAndTorn => "flipped and torn",
        }
    }
}

/// Bytes that are others.
#[derive(Clone, Debug)]
pub struct Damage {
    /// What it is.
    pub kind: Kind,
    /// Journal, place, and what stands there.
    changes: Vec<(usize, usize, Vec<u8>)>,
    /// How long the last journal is.
    length: Option<usize>,
}

impl Damage {
    const fn new(kind: Kind, changes: Vec<(usize, usize, Vec<u8>)>) -> Self {
        Self { kind, changes, length: None }
    }

    /// Every cut, and every bit.
    pub(super) fn all(history: &History) -> impl Iterator<Item = Self> {
        let last = history.journals.len() - 1;
        let length = history.journals[last].len();
        let cuts = (0..length).map(|at| Self { length: Some(at), ..Self::new(Kind::Cut, Vec::new()) });
        let zeroed = (0..length).map(move |at| Self::new(Kind::Cut, vec![(last, at, vec![0; length - at])]));
        let places = history.journals.iter().enumerate();
        let places = places.flat_map(|(journal, bytes)| (0..bytes.len()).map(move |at| (journal, at)));
        let flips = places.flat_map(move |(journal, at)| (0..8).map(move |bit| Self::flip(history, journal, at, bit)));
        cuts.chain(zeroed).chain(flips)
    }

    fn flip(history: &History, journal: usize, at: usize, bit: u32) -> Self {
        Self::new(Kind::Flip, vec![(journal, at, vec![history.journals[journal][at] ^ (1 << bit)])])
    }

    /// One of the other kinds.
    pub(super) fn draw(history: &History, draw: &mut Draw) -> Self {
        let (last, synced) = history.batches.split_last().expect("a batch");
        match draw.below(3) {
            0 => Self::new(Kind::Torn, torn(history, *last, draw)),
            1 => Self::new(Kind::Sector, vec![sector(history, synced, draw)]),
            _ => {
                let Batch { journal, start, end } = synced[below(draw, synced.len())];
                let flip = Self::flip(history, journal, start + below(draw, end - start), 0);
                Self::new(Kind::FlipAndTorn, [flip.changes, torn(history, *last, draw)].concat())
            }
        }
    }

    pub(super) fn apply(&self, journals: &mut [Vec<u8>]) {
        for (journal, at, bytes) in &self.changes {
            journals[*journal][*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        if let (Some(length), Some(last)) = (self.length, journals.last_mut()) {
            last.truncate(length);
        }
    }

    pub(super) fn undo(&self, history: &History, journals: &mut [Vec<u8>]) {
        for (journal, at, bytes) in &self.changes {
            let written = &history.journals[*journal][*at..*at + bytes.len()];
            journals[*journal][*at..*at + bytes.len()].copy_from_slice(written);
        }
        if let (Some(length), Some(last), Some(written)) = (self.length, journals.last_mut(), history.journals.last()) {
            last.extend_from_slice(&written[length..]);
        }
    }
}

/// Sectors of a batch, each of which is zeros or not: what is written is written in any order.
fn torn(history: &History, batch: Batch, draw: &mut Draw) -> Vec<(usize, usize, Vec<u8>)> {
    let size = [16, 32, 64, 512][below(draw, 4)];
    let mut changes = Vec::new();
    let mut at = batch.start;
    while at < batch.end {
        let end = (at / size * size + size).min(batch.end);
        if draw.permille(400) {
            changes.push((batch.journal, at, vec![0; end - at]));
        }
        at = end;
    }
    debug_assert!(batch.end <= history.journals[batch.journal].len(), "the batch is in its journal");
    changes
}

/// A sector in the journal of one of these batches, and in nothing but them.
fn sector(history: &History, synced: &[Batch], draw: &mut Draw) -> (usize, usize, Vec<u8>) {
    let Batch { journal, start, .. } = synced[below(draw, synced.len())];
    let bound = synced.iter().filter(|batch| batch.journal == journal).map(|batch| batch.end).max().unwrap_or(start);
    let size = [16, 64, 512][below(draw, 3)];
    let from = (start + below(draw, bound - start)) / size * size;
    let length = (from + size).min(bound) - from;
    debug_assert!(bound <= history.journals[journal].len(), "the batches are in their journal");
    let noise = draw.permille(500);
    (journal, from, (0..length).map(|_| if noise { draw.next().to_le_bytes()[0] } else { 0 }).collect())
}
