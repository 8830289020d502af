//! The engine's keyspaces, and how each is tuned.
//!
//! Bound: design.md, "Numbers": a relay in 256 MiB with a million envelopes queued. The store's share is about half of
//! it: [`CACHE_BYTES`], memory tables (the active one of each keyspace and, for the busiest, one more on its way to
//! disk), filters and block indexes.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode};

use super::keys;
use crate::store::brand::Brand;
use crate::store::{Fault, StoreError};

/// Blocks of tables that were read. The kernel's page cache stands behind it.
const CACHE_BYTES: u64 = 16 * MIB;
/// Memory table of the keyspace with the envelopes: all of it is written per flush, so that a body which is released
/// before that never reaches a table.
const ENVELOPE_MEMTABLE_BYTES: u64 = 16 * MIB;
/// Memory table of any other.
const INDEX_MEMTABLE_BYTES: u64 = 4 * MIB;
/// A table on disk.
const INDEX_TABLE_BYTES: u64 = 16 * MIB;
/// Sealed journals beyond this make the engine flush whatever still needs the oldest. They are read at start.
const JOURNAL_BYTES: u64 = 64 * MIB;
/// Larger values are kept beside the tables, so that compaction does not copy them. Measured with 500,000 envelopes of
/// 2 KiB for 1,000 agencies: filling took 37 us of processor time a message, and 46 with the values in the tables;
/// draining 49 and 53; resident were 86 and 150 MiB.
const SEPARATE_BYTES: u32 = 1024;
/// File of separated values: freed when most of what is in it is.
const BLOB_FILE_BYTES: u64 = 32 * MIB;
/// Compaction rewrites a file of values of which more than this is dead, whatever its age.
const STALE_MAX: f32 = 0.5;
/// Open files of the engine: these, or a quarter of what the process may have.
const FILES_MAX: usize = 512;
const WORKERS: usize = 2;
const MIB: u64 = 1024 * 1024;

fn files_max() -> usize {
    let allowed = usize::try_from(crate::descriptors::limit() / 4).unwrap_or(usize::MAX);
    FILES_MAX.min(allowed)
}

/// Which keyspace; see [`super::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Space {
    Envelopes,
    Expiry,
    Ids,
    Queue,
    Records,
}

impl Space {
    const ALL: [Self; 5] = [Self::Envelopes, Self::Expiry, Self::Ids, Self::Queue, Self::Records];

    /// Part of the format.
    fn name(self) -> &'static str {
        match self {
            Self::Envelopes => "envelopes",
            Self::Expiry => "expiry",
            Self::Ids => "ids",
            Self::Queue => "queue",
            Self::Records => "records",
        }
    }

    fn options(self) -> KeyspaceCreateOptions {
        let options = KeyspaceCreateOptions::default()
            .manual_journal_persist(true)
            .max_memtable_size(INDEX_MEMTABLE_BYTES)
            .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(INDEX_TABLE_BYTES)))
            .index_block_pinning_policy(PinningPolicy::new([true, false]))
            .data_block_size_policy(BlockSizePolicy::all(4096));
        match self {
            Self::Envelopes => {
                options.max_memtable_size(ENVELOPE_MEMTABLE_BYTES).with_kv_separation(Some(separation()))
            }
            Self::Records => options.with_kv_separation(Some(separation())),
            Self::Expiry | Self::Ids | Self::Queue => options,
        }
    }
}

fn separation() -> KvSeparationOptions {
    KvSeparationOptions::default()
        .separation_threshold(SEPARATE_BYTES)
        .file_target_size(BLOB_FILE_BYTES)
        .staleness_threshold(STALE_MAX)
        .age_cutoff(1.0)
}

/// The database, open.
pub(super) struct Spaces {
    db: Database,
    brand: Brand,
    path: PathBuf,
    keyspaces: [Keyspace; Space::ALL.len()],
}

impl Spaces {
    pub(super) fn open(path: &Path, brand: Brand) -> Result<Self, fjall::Error> {
        let db = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(files_max()))
            .manual_journal_persist(true)
            .worker_threads(WORKERS)
            .open()?;
        let [envelopes, expiry, ids, queue, records] =
            Space::ALL.map(|space| db.keyspace(space.name(), || space.options()));
        let keyspaces = [envelopes?, expiry?, ids?, queue?, records?];
        Ok(Self { db, brand, path: path.into(), keyspaces })
    }

    pub(super) fn database(&self) -> &Database {
        &self.db
    }

    pub(super) fn keyspace(&self, space: Space) -> &Keyspace {
        let [envelopes, expiry, ids, queue, records] = &self.keyspaces;
        match space {
            Space::Envelopes => envelopes,
            Space::Expiry => expiry,
            Space::Ids => ids,
            Space::Queue => queue,
            Space::Records => records,
        }
    }

    /// Bytes on disk. The engine would count itself, and wait for a commit that is under way.
    pub(super) fn disk_bytes(&self) -> io::Result<u64> {
        let tables: u64 = self.keyspaces.iter().map(Keyspace::disk_space).sum();
        let mut journals = 0;
        for entry in fs::read_dir(&self.path)? {
            // A journal is made larger than it is yet: its blocks count.
            journals += match entry?.metadata() {
                Ok(file) if file.is_file() => file.blocks() * 512,
                Ok(_) => 0,
                // Dropped since.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            };
        }
        Ok(tables + journals)
    }

    /// A batch of this store, whose commit returns after `fdatasync`.
    pub(super) fn batch(&self, capacity: usize) -> OwnedWriteBatch {
        let batch = OwnedWriteBatch::with_capacity(self.db.clone(), capacity + 1);
        let mut batch = batch.durability(Some(PersistMode::SyncData));
        // First, where a start looks for it.
        batch.insert(self.keyspace(Space::Records), keys::BRAND, self.brand.as_bytes());
        batch
    }

    /// Adds a row to every keyspace. The engine drops a journal once every keyspace has a table that is as new as the
    /// journal: one whose newest rows were tombstones, since compacted away, would hold all journals for ever.
    pub(super) fn beat(&self, batch: &mut OwnedWriteBatch) {
        for keyspace in &self.keyspaces {
            batch.insert(keyspace, keys::HEARTBEAT, []);
        }
    }
}

/// What the engine says when it fails.
pub(super) fn failed(doing: &'static str, error: &dyn std::error::Error) -> StoreError {
    let mut cause = error.to_string();
    if let Some(source) = error.source() {
        cause = format!("{cause} ({source})");
    }
    Fault::Io { doing, cause: cause.into() }.into()
}

/// A value that does not say what its keyspace holds.
pub(super) fn corrupt(space: Space, key: &[u8], what: &'static str) -> StoreError {
    let key = key.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into();
    Fault::Corrupt { keyspace: space.name(), key, what }.into()
}
