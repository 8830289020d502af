//! The disk engine under the conformance suite, against a model, and through what disks and processes do.

mod child;
mod crash;
mod damage;
mod format;
mod full;
mod model;
mod sync;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Entry, Op};
use tempfile::TempDir;

use crate::store::conformance::{Place, at, conformance, dequeue, enqueue, entry};
use crate::store::{DiskStore, OpenError, Store, StoreConfig};

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where there is such a file system: for tests whose question is not the disk, and who would wait for it.
    fn in_memory() -> Self {
        tempfile::tempdir_in("/dev/shm").map_or_else(|_| Self::new(), Self)
    }

    fn directory(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

impl Place for OnDisk {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(open(&self.directory()).unwrap())
    }
}

/// Without a reserve: how full the disk of whoever runs this is, is not the question.
fn open(directory: &Path) -> Result<DiskStore, OpenError> {
    DiskStore::open(&StoreConfig { free_bytes_min: 0, ..StoreConfig::new(directory) })
}

conformance!(OnDisk::new());

#[test]
fn a_second_process_is_told_which_directory_is_in_use() {
    let place = OnDisk::new();
    let _first = place.open();
    let refused = open(&place.directory()).err().unwrap();
    assert_eq!(refused, OpenError::Locked { directory: place.directory() });
}

#[test]
fn the_space_of_removed_bodies_comes_back() {
    let place = OnDisk::in_memory();
    let config = StoreConfig { free_bytes_min: 0, ..StoreConfig::new(place.directory()) };
    let store = DiskStore::open_reclaiming(&config, 8 << 20).unwrap();
    // Not what the engine says: its files.
    let bodies = store.spaces.keyspace(super::Space::Envelopes).path().join("blobs");
    let bodies_on_disk = || {
        let files = std::fs::read_dir(&bodies).unwrap().filter_map(|file| file.ok()?.metadata().ok());
        files.map(|file| file.len()).sum::<u64>()
    };
    let mut held = Vec::new();
    for seq in 1..=640 {
        let (position, entry) = (at("ncb.ee", 1, seq), Entry { bytes: 64 << 10, ..entry(seq, 0) });
        let envelope = Op::PutEnvelope { id: entry.id, bytes: vec![seq as u8; 64 << 10].into() };
        let _durable = store.commit(&[envelope, enqueue(&position, &entry)]).unwrap();
        held.push(dequeue(&position, &entry));
    }
    assert!(eventually(|| bodies_on_disk() > 16 << 20), "{} bytes of bodies are on disk", bodies_on_disk());
    for ops in held.chunks(16) {
        let _durable = store.commit(ops).unwrap();
    }
    assert!(eventually(|| bodies_on_disk() < 8 << 20), "{} bytes of bodies are still on disk", bodies_on_disk());
}

fn eventually(condition: impl Fn() -> bool) -> bool {
    let started = std::time::Instant::now();
    while !condition() && started.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    condition()
}

#[test]
fn a_store_is_closed_when_it_is_dropped() {
    let place = OnDisk::new();
    for _ in 0..5 {
        drop(open(&place.directory()).unwrap());
    }
}
