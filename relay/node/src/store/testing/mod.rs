//! Stores for tests and for the simulator: one that keeps everything in memory, and one that fails on demand. And the
//! disk engine's readers of rows and journals, for fuzzing.
//!
//! None is for production: [`MemoryStore`] is durable only as long as its process.

mod faulty;
mod memory;

pub use faulty::{Failure, FaultyStore};
pub use memory::MemoryStore;

pub use super::engine::Row;

/// How many bytes of a journal are whole batches, and whether anything but unused room is behind them; `None` if it
/// cannot be read at all.
#[must_use]
pub fn whole_bytes(journal: &[u8]) -> Option<(u64, bool)> {
    super::recover::whole_bytes(journal)
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
