//! Damaged journals by the million: what a start makes of each.
//!
//! ```text
//!  seed ─► the disk engine commits a few batches, some with envelopes that look like batches ─► bytes
//!             every byte cut off, every bit flipped, sectors lost ─► the store's judgement ══ [`expected`]
//! ```
//!
//! What is expected follows from the bytes that were written, and from where the engine's file ended after each commit;
//! of the format it knows where a batch's number stands.

mod damage;
mod expected;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_node::store::testing::{Brand, Verdict, batch_of_one, brand_of, judge};
use liaison_node::store::{DiskStore, Store, StoreConfig};

pub use damage::{Damage, Kind};
use expected::expected;

use crate::draw::Draw;

/// More than the batches of any history.
const READ_BYTES: u64 = 64 * 1024;
/// What the engine has made of a journal beyond its end, and not written yet.
const ROOM_BYTES: usize = 40;
/// Damage that is drawn, for each history, beside every cut and every bit.
const DRAWN: usize = 4_000;

/// What was written: one journal, or two.
#[derive(Clone)]
pub struct History {
    journals: Vec<Vec<u8>>,
    batches: Vec<Batch>,
    brand: Brand,
}

/// Where a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    journal: usize,
    start: usize,
    end: usize,
}

/// Damage by kind, and how it was judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Histories.
    pub histories: u64,
    /// By [`Kind`].
    pub damaged: [u64; Kind::ALL.len()],
    /// Damage for which a start is refused.
    pub refused: u64,
    /// Damage that costs what was not yet acknowledged, and is cut off.
    pub cut: u64,
}

impl Figures {
    /// Adds those of another history.
    pub fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.refused += other.refused;
        self.cut += other.cut;
        self.damaged.iter_mut().zip(other.damaged).for_each(|(sum, more)| *sum += more);
    }

    /// All damage.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.damaged.iter().sum()
    }

    /// As text.
    #[must_use]
    pub fn table(&self, took: Duration) -> String {
        let rate = self.faults() as f64 / took.as_secs_f64();
        let mut table = format!("histories         {}\nfaults            {}\n", self.histories, self.faults());
        for (kind, count) in Kind::ALL.iter().zip(self.damaged) {
            table.push_str(&format!("  {:<15} {count}\n", kind.name()));
        }
        table.push_str(&format!("starts refused    {}\ntails cut off     {}\n", self.refused, self.cut));
        table.push_str(&format!("real time         {:.1} s, {rate:.0} faults/s\n", took.as_secs_f64()));
        table
    }
}

impl History {
    /// Lets the disk engine write one.
    ///
    /// # Panics
    /// The store cannot be made, or there is no folder for it.
    #[must_use]
    pub fn write(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        // Where there is such a file system: the question is not this machine's disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let directory = folder.path().join("store");
        let store = DiskStore::open(&StoreConfig { free_bytes_min: 0, ..StoreConfig::new(&directory) });
        let store = store.expect("a new store");
        let mut ends = vec![end_of(&directory).1];
        for number in 0..2 + draw.below(4) {
            let value = value(&mut draw);
            let put = Op::Put { table: Table::Meta, key: number.to_be_bytes().to_vec(), value: value.into() };
            let _durable = store.commit(&[put]).expect("room");
            ends.push(end_of(&directory).1);
        }
        drop(store);
        let (bytes, _) = end_of(&directory);
        let brand = brand_of(&directory).expect("the store has a brand");
        Self::split(&bytes, &ends, brand, &mut draw)
    }

    /// The engine goes on in a new journal when one is full: here after any batch, or never.
    fn split(bytes: &[u8], ends: &[usize], brand: Brand, draw: &mut Draw) -> Self {
        let last = ends.len() - 1;
        let first = if draw.permille(500) { last } else { below(draw, last) };
        let cut = ends[first];
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let batches = starts.zip(ends).map(|(start, end)| {
            let (journal, base) = if start < cut { (0, 0) } else { (1, cut) };
            Batch { journal, start: start - base, end: end - base }
        });
        let mut journals = vec![bytes[..cut].to_vec()];
        if cut < bytes.len() {
            journals.push(bytes[cut..].to_vec());
        }
        let room = [0; ROOM_BYTES];
        journals.last_mut().expect("one").extend(room);
        Self { journals, batches: batches.collect(), brand }
    }

    /// Damages the journals in every way, and adds up what is seen.
    ///
    /// # Errors
    /// The first damage that is not judged as it must be.
    pub fn check(&self, seed: u64) -> Result<Figures, String> {
        let mut figures = Figures { histories: 1, ..Figures::default() };
        let mut draw = Draw::new(seed);
        let mut journals = self.journals.clone();
        let drawn = (0..DRAWN).map(|_| Damage::draw(self, &mut draw)).collect::<Vec<_>>();
        for damage in Damage::all(self).chain(drawn) {
            damage.apply(&mut journals);
            let said = judge(&journals.iter().map(Vec::as_slice).collect::<Vec<_>>(), &self.brand);
            let due = expected(self, &journals);
            if said.as_ref() != Some(&due) {
                return Err(format!("{damage:?}: {said:?}, and not {due:?}; {:?}", self.batches));
            }
            figures.damaged[damage.kind as usize] += 1;
            match due {
                Verdict::Corrupt(_) => figures.refused += 1,
                Verdict::Sound { torn } => figures.cut += u64::from(!torn.is_empty()),
            }
            damage.undo(self, &mut journals);
        }
        Ok(figures)
    }
}

/// What is written and where it ends: the last byte that is not zero, as a batch ends with one.
fn end_of(directory: &Path) -> (Vec<u8>, usize) {
    let mut files =
        std::fs::read_dir(directory.join("data")).expect("a folder").map(|entry| entry.expect("a file").path());
    let journal = files.find(|path| path.extension().is_some_and(|extension| extension == "jnl")).expect("a journal");
    let mut bytes = Vec::new();
    File::open(journal).expect("a journal").take(READ_BYTES).read_to_end(&mut bytes).expect("a journal");
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    (bytes, end)
}

/// Noise, zeros, or what looks like whole batches.
fn value(draw: &mut Draw) -> Vec<u8> {
    let length = below(draw, 160);
    match draw.below(3) {
        0 => (0..1 + draw.below(2)).flat_map(|_| batch_of_one(draw.below(12), b"v")).collect(),
        1 => vec![0; length],
        _ => (0..length).map(|_| draw.next().to_le_bytes()[0]).collect(),
    }
}

fn below(draw: &mut Draw, bound: usize) -> usize {
    usize::try_from(draw.below(bound.max(1) as u64)).expect("below a usize")
}
