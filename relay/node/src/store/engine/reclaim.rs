//! Gives the space of removed bodies back.
//!
//! The engine frees a file of separated values when compaction finds that all in it is dead, and compacts when tables
//! pile up. Removing writes next to nothing: a node that only drains, because its disk is full, would remove gigabytes
//! before the first compaction. So after so many bytes removed, the tombstones are flushed and the tree compacted. With
//! the values beside it the tree is small: a million messages are 60 MiB.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Keyspace};

use super::caught;
use super::keys;
use super::spaces::failed;
use crate::store::{Fault, StoreError};

/// Removed bytes that are worth a compaction, if they are a quarter of what the keyspace has on disk, or if more than
/// half of that is dead.
pub(super) const RECLAIM_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// The same while the disk is low.
const RECLAIM_BYTES_LOW: u64 = 16 * 1024 * 1024;
/// For the flush. Compacting without it only frees less.
const FLUSH_MAX: Duration = Duration::from_secs(30);
const FLUSH_POLL: Duration = Duration::from_millis(20);

/// A thread that compacts on demand, until it is dropped.
pub(super) struct Reclaimer {
    jobs: Option<SyncSender<Keyspace>>,
    thread: Option<JoinHandle<()>>,
}

/// How much was removed from one keyspace since it was compacted for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    bytes: u64,
    /// Asking for sizes costs: not for every commit.
    asked_at: u64,
}

/// What [`Removed`] is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    pub(super) bytes_min: u64,
    pub(super) disk_is_low: bool,
    /// Bytes of what is held in the keyspace, at most; `None` if that is not known.
    pub(super) held_bytes: Option<u64>,
}

impl Removed {
    pub(super) fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it is time; then counts from zero.
    pub(super) fn take_if_due(&mut self, disk_bytes: impl FnOnce() -> u64, pressure: Pressure) -> bool {
        let step = if pressure.disk_is_low { RECLAIM_BYTES_LOW.min(pressure.bytes_min) } else { pressure.bytes_min };
        if self.bytes < step || self.bytes < self.asked_at + step / 8 {
            return false;
        }
        self.asked_at = self.bytes;
        let disk_bytes = disk_bytes();
        let dead_bytes = pressure.held_bytes.map_or(0, |held| disk_bytes.saturating_sub(held));
        let due = pressure.disk_is_low || self.bytes >= disk_bytes / 4 || dead_bytes > disk_bytes / 2;
        if due {
            *self = Self::default();
        }
        due
    }
}

impl Reclaimer {
    /// A failure goes to `fault`: it stops the store.
    pub(super) fn spawn(fault: Arc<OnceLock<Fault>>) -> Result<Self, Fault> {
        let (jobs, queue) = sync_channel(2);
        let thread = thread::Builder::new().name("store-reclaim".into()).spawn(move || run(&queue, &fault));
        let thread =
            thread.map_err(|error| Fault::Io { doing: "starting a thread", cause: error.to_string().into() })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Compacts soon. While one compaction runs and others wait, more are not needed.
    pub(super) fn request(&self, keyspace: &Keyspace) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(keyspace.clone());
        }
    }
}

impl Drop for Reclaimer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // Its panics are caught inside.
            let _ = thread.join();
        }
    }
}

fn run(queue: &Receiver<Keyspace>, fault: &OnceLock<Fault>) {
    while let Ok(keyspace) = queue.recv() {
        if let Err(StoreError::Fault(found)) = caught("reclaiming space", || reclaim(&keyspace)) {
            tracing::error!("{found}");
            let _ = fault.set(found);
            return;
        }
    }
}

fn reclaim(keyspace: &Keyspace) -> Result<(), StoreError> {
    let before = keyspace.disk_space();
    let started = Instant::now();
    flush(keyspace)?;
    keyspace.major_compact().map_err(|error| failed("compacting", &error))?;
    if keyspace.fragmented_blob_bytes() > 0 {
        // What the first one found dead, the second one frees.
        keyspace.major_compact().map_err(|error| failed("compacting", &error))?;
    }
    // Files go with the last version of the tree that names them, and a version goes when there is a write after the one
    // that replaced it and a memory table is rotated: an idle store would keep them.
    keyspace.insert(keys::HEARTBEAT, []).map_err(|error| failed("writing", &error))?;
    flush(keyspace)?;
    tracing::debug!(
        keyspace = %keyspace.name(), before, after = keyspace.disk_space(), took = ?started.elapsed(),
        "space reclaimed"
    );
    Ok(())
}

/// Brings what is in memory to tables, and waits for that.
fn flush(keyspace: &Keyspace) -> Result<(), StoreError> {
    let started = Instant::now();
    keyspace.rotate_memtable().map_err(|error| failed("flushing", &error))?;
    while keyspace.tree.sealed_memtable_count() > 0 && started.elapsed() < FLUSH_MAX {
        thread::sleep(FLUSH_POLL);
    }
    Ok(())
}
