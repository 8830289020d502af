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
