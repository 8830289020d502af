//! Stores for tests and for the simulator: one that keeps everything in memory, and one that fails on demand. And the
//! disk engine's readers of rows and journals, for fuzzing and damage.
//!
//! None is for production: [`MemoryStore`] is durable only as long as its process.

mod faulty;
mod memory;

pub use faulty::{Failure, FaultyStore};
pub use memory::MemoryStore;

pub use super::brand::Brand;
pub use super::engine::Row;
pub use super::recover::{Place, Verdict};

/// What a start makes of the disk engine's journals, in the order in which they were written, in a store of this brand;
/// `None` if they cannot be read.
#[must_use]
pub fn judge(journals: &[&[u8]], brand: &Brand) -> Option<Verdict> {
    super::recover::judge_bytes(journals, brand)
}

/// The brand of the store in `directory`, if it has one that can be read.
#[must_use]
pub fn brand_of(directory: &std::path::Path) -> Option<Brand> {
    Brand::read(directory).ok().flatten()
}

/// How many bytes of a journal are whole batches, and whether anything but unused room is behind them; `None` if it
/// cannot be read at all.
#[must_use]
pub fn whole_bytes(journal: &[u8]) -> Option<(u64, bool)> {
    super::recover::whole_bytes(journal)
}

/// A batch of one row as the disk engine writes it, without a brand.
#[must_use]
pub fn batch_of_one(seqno: u64, value: &[u8]) -> Vec<u8> {
    let (key, length) = (b"key", (value.len() as u32).to_le_bytes());
    let mut item = vec![2];
    item.extend([0; 10]);
    item.extend((key.len() as u16).to_le_bytes());
    item.extend([length, length].concat());
    item.extend([key.as_slice(), value].concat());
    let mut batch = vec![1];
    batch.extend(1u32.to_le_bytes());
    batch.extend(seqno.to_le_bytes());
    batch.extend(&item);
    batch.push(3);
    batch.extend(xxhash_rust::xxh3::xxh3_64(&item).to_le_bytes());
    batch.extend(b"FJL\x03");
    batch
}

/// A power cut in the last commit of the disk engine's store in `directory`, which is closed: of its batch only the first
/// half is on the disk.
#[cfg(test)]
pub(crate) fn tear_last_batch(directory: &std::path::Path) {
    let data = directory.join("data");
    let journals = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let journals = journals.filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    let journal = journals.max().expect("a journal");
    let ends = super::recover::batch_ends(&journal);
    let [.., before, last] = ends[..] else { panic!("{} has no two batches", journal.display()) };
    std::fs::OpenOptions::new().write(true).open(journal).unwrap().set_len(before + (last - before) / 2).unwrap();
}
