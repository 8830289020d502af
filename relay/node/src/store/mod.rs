//! The durable store: where custody lives.
//!
//! [`Store`] is what the rest of a node sees: batches of operations that are atomic and durable when [`Store::commit`]
//! returns, and reads of what was committed. It does not decide anything (the core does), it is not a cache, and it
//! serves one process at a time.
//!
//! ```text
//!  core ── ops ──► Writer (a thread) ── commit ──► Store ── one write, one fdatasync ──► disk
//!  core ◄─ Durable ──────┘                           └── head, envelope, remembered … ──► anyone, any time
//! ```
//!
//! Invariants: a [`Durable`] exists only after the sync; a batch is there whole or not at all; an envelope's bytes are
//! there while, and only while, an entry names it; after a [`Fault`] nothing is written again.

mod brand;
#[cfg(test)]
mod bundles_tests;
mod config;
#[cfg(test)]
mod conformance;
mod directory;
mod engine;
mod error;
mod lease;
mod recover;
pub mod testing;
mod writer;

use liaison_core::op::Op;

pub use config::StoreConfig;
pub use engine::DiskStore;
pub use error::OpenError;
pub use lease::{Lease, LeaseOctets, Numbers};
pub use liaison_core::durable::Durable;
pub use liaison_driver::query::{Expiring, IdPrefix, ParseIdPrefixError, QueueTotals, Record, Usage};
pub use liaison_driver::store_error::{Fault, Misuse, StoreError};
pub use liaison_driver::view::Reads;
pub use writer::{Committer, Pending, Writer};

/// A durable store of queues, envelopes, the dedupe memory and records.
///
/// Reads see every commit that has returned, and may run on any thread beside a commit. They block on the disk: async
/// code calls them from a thread that may block. Every method answers [`Fault`] once one has.
pub trait Store: Reads {
    /// Applies `ops` in their order, all or none, and returns once they are durable. An empty batch is durable at once.
    /// One caller at a time: a second one waits.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Misuse`]: nothing was written, and the store goes on. [`StoreError::Fault`]:
    /// whether the batch is on disk is unknown, and is found out by opening the store anew.
    fn commit(&self, ops: &[Op]) -> Result<Durable, StoreError>;
}
