//! Stores for tests and for the simulator: one that keeps everything in memory, and one that fails on demand.
//!
//! Neither is for production: [`MemoryStore`] is durable only as long as its process.

mod faulty;
mod memory;

pub use faulty::{Failure, FaultyStore};
pub use memory::MemoryStore;
