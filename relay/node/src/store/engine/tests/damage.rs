//! Journals and tables that the disk has changed.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use liaison_core::op::Op;

use super::child::{assert_holds, batch, last_batch, model, verify};
use super::{OnDisk, open};
use crate::store::Reads as _;
use crate::store::conformance::{at, enqueue, entry};
use crate::store::recover::batch_ends;
use crate::store::testing::{MemoryStore, batch_of_one};
use crate::store::{DiskStore, Fault, OpenError, Store, StoreError};

const BATCHES: u64 = 24;

/// A closed store with [`BATCHES`] batches in its journal, and where each ends.
struct Written {
    place: OnDisk,
    ends: Vec<u64>,
}

impl Written {
    fn new() -> Self {
        let place = OnDisk::in_memory();
        let store = open(&place.directory()).unwrap();
        for number in 1..=BATCHES {
            let _durable = store.commit(&batch(number)).unwrap();
        }
        drop(store);
        let mut ends = batch_ends(&journal(&place.directory()));
        // The first is the store's brand.
        ends.remove(0);
        assert_eq!(ends.len() as u64, BATCHES, "the format of the journal is what is expected");
        // Some of the room that the engine made, and not all 64 MiB of it, for each copy.
        shorten(&place.directory(), ends[ends.len() - 1] + 5_000);
        Self { place, ends }
    }

    fn copy(&self) -> OnDisk {
        let copy = OnDisk::in_memory();
        copy_directory(&self.place.directory(), &copy.directory());
        copy
    }

    /// Batches that end at or before `position`.
    fn whole(&self, position: u64) -> u64 {
        self.ends.iter().filter(|end| **end <= position).count() as u64
    }

    fn end(&self, batch: u64) -> u64 {
        self.ends[batch as usize - 1]
    }
}

pub(super) fn journal(directory: &Path) -> PathBuf {
    let files = fs::read_dir(directory.join("data")).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "jnl")).collect();
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}

pub(super) fn shorten(directory: &Path, length: u64) {
    OpenOptions::new().write(true).open(journal(directory)).unwrap().set_len(length).unwrap();
}

fn flip(path: &Path, position: u64, bit: u32) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], position).unwrap();
}

pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_truncated_journal_loses_what_is_cut_and_nothing_before() {
    let written = Written::new();
    let last = written.end(BATCHES);
    let inside = (0..12).map(|nth| last * (nth * 8 + 3) / 100);
    let at_the_end = [last - 1, last - 5, last - 14, last, last + 1, written.end(BATCHES - 1) + 1];
    for position in inside.chain(at_the_end).chain([0, 1, written.end(1), written.end(7)]) {
        let copy = written.copy();
        shorten(&copy.directory(), position);
        let store = open(&copy.directory()).unwrap_or_else(|error| panic!("cut at {position}: {error}"));
        assert_eq!(verify(&store), written.whole(position), "cut at {position}");
        // And it goes on from there, for good.
        let next = last_batch(&store) + 1;
        let _durable = store.commit(&batch(next)).unwrap();
        drop(store);
        assert_eq!(verify(&open(&copy.directory()).unwrap()), next);
    }
}

#[test]
fn a_torn_last_batch_is_dropped_whatever_part_of_it_is_missing() {
    let written = Written::new();
    let (start, end) = (written.end(BATCHES - 1), written.end(BATCHES));
    // A power cut may leave any page of the last write out: the file then reads as zeros there.
    for from in (0..12).map(|nth| start + (end - start) * nth / 12) {
        let copy = written.copy();
        let file = OpenOptions::new().write(true).open(journal(&copy.directory())).unwrap();
        let length = ((end - start) / 12).max(1);
        file.write_all_at(&vec![0; length as usize], from).unwrap();
        drop(file);
        let store = open(&copy.directory()).unwrap_or_else(|error| panic!("torn at {from}: {error}"));
        assert_eq!(verify(&store), BATCHES - 1, "torn at {from}");
        assert!(copy.directory().join("torn").metadata().unwrap().len() > 0);
    }
}

/// Whoever may send an envelope may write what it likes into it, also for the moment of a power cut.
#[test]
fn an_envelope_that_looks_like_a_batch_never_stops_a_start_after_a_power_cut() {
    let place = OnDisk::in_memory();
    let store = open(&place.directory()).unwrap();
    for number in 1..=2 {
        let _durable = store.commit(&batch(number)).unwrap();
    }
    let hostile = (0..200).flat_map(|seqno| batch_of_one(seqno, b"value")).collect();
    commit_half(store, &place, hostile);
    assert_eq!(verify(&open(&place.directory()).unwrap()), 2);
}

/// Each beginning claims all that is behind it: to follow every one of them takes most of a minute.
#[test]
fn an_envelope_full_of_beginnings_of_batches_never_holds_up_a_start_after_a_power_cut() {
    let place = OnDisk::in_memory();
    let store = open(&place.directory()).unwrap();
    let _durable = store.commit(&batch(1)).unwrap();
    let beginning = &batch_of_one(0, b"")[..1 + 4 + 8 + 1 + 10 + 2];
    let beginnings = (0..120_000).rev().flat_map(|left: u32| {
        let claim = (left * 34 + 20).to_le_bytes();
        [beginning, &claim, &claim].concat()
    });
    commit_half(store, &place, beginnings.collect());
    let began = Instant::now();
    assert_eq!(verify(&open(&place.directory()).unwrap()), 1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Commits an envelope of these bytes; the first sector of its batch does not reach the disk.
fn commit_half(store: DiskStore, place: &OnDisk, hostile: Vec<u8>) {
    let (position, entry) = (at("ncb.ee", 1, 1000), entry(500, 0));
    let envelope = Op::PutEnvelope { id: entry.id, bytes: hostile.into() };
    let _durable = store.commit(&[envelope, enqueue(&position, &entry)]).unwrap();
    drop(store);
    let journal = journal(&place.directory());
    let ends = batch_ends(&journal);
    let start = ends[ends.len() - 2];
    OpenOptions::new().write(true).open(&journal).unwrap().write_all_at(&[0; 16], start).unwrap();
}

#[test]
fn a_flipped_bit_in_the_journal_is_a_fault_or_costs_the_last_batch() {
    let written = Written::new();
    let (before_last, last) = (written.end(BATCHES - 1), written.end(BATCHES));
    let inside = (0..30).map(|nth| before_last * (nth * 3 + 2) / 100);
    // Tag, count, number, kinds and lengths of a batch in the middle, and the end of the one before it.
    let headers = (0..60).map(|nth| written.end(9) - 14 + nth);
    let in_the_last = (0..20).map(|nth| before_last + (last - before_last) * nth / 20);
    let behind = [last, last + 1, last + 4_000];
    for (bit, position) in (0..).zip(inside.chain(headers).chain(in_the_last).chain(behind)) {
        let copy = written.copy();
        flip(&journal(&copy.directory()), position, bit);
        match open(&copy.directory()) {
            Err(OpenError::Fault(Fault::Journal { .. })) => assert!(position < before_last, "{position}"),
            Err(other) => panic!("flipped at {position}: {other}"),
            Ok(store) => {
                let expected = if position < last { BATCHES - 1..=BATCHES } else { BATCHES..=BATCHES };
                let found = verify(&store);
                assert!(expected.contains(&found), "flipped at {position}: {found} batches");
                // Only a number that stays in order can be wrong before the last batch without being seen.
                assert!(position >= before_last || found == BATCHES, "flipped at {position}");
            }
        }
    }
}

/// No checksum covers it. It stays in order, and nothing is lost; or it does not, and is seen.
#[test]
fn a_flipped_bit_in_a_batchs_number_never_costs_a_batch() {
    let written = Written::new();
    for batch in [BATCHES - 1, BATCHES] {
        for bit in [0, 1, 3, 8, 20, 47, 63] {
            let copy = written.copy();
            // Behind its tag and the count of its items.
            flip(&journal(&copy.directory()), written.end(batch - 1) + 5 + u64::from(bit / 8), bit);
            match open(&copy.directory()) {
                Err(OpenError::Fault(Fault::Journal { .. })) => {}
                Err(other) => panic!("bit {bit} of number {batch}: {other}"),
                Ok(store) => assert_eq!(verify(&store), BATCHES, "bit {bit} of number {batch}"),
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_table_is_a_fault_and_never_another_answer() {
    let place = OnDisk::in_memory();
    let store = open(&place.directory()).unwrap();
    let mut number = 0;
    // Until some of it is in tables, of every kind.
    while files(&place.directory(), "blobs").is_empty() || files(&place.directory(), "tables").len() < 3 {
        number += 1;
        let _durable = store.commit(&batch(number)).unwrap();
    }
    drop(store);
    let model = model(number);
    let mut faults = 0;
    let mut harmless = 0;
    for kind in ["blobs", "tables"] {
        for path in files(&place.directory(), kind) {
            let length = path.metadata().unwrap().len();
            for (bit, position) in (0..).zip([length / 7, length / 2, length * 9 / 10, length.saturating_sub(20)]) {
                let copy = OnDisk::in_memory();
                copy_directory(&place.directory(), &copy.directory());
                flip(&copy.directory().join(path.strip_prefix(place.directory()).unwrap()), position, bit);
                match is_fault(&copy.directory(), &model, number) {
                    true => faults += 1,
                    false => harmless += 1,
                }
            }
        }
    }
    assert!(faults > 0, "{harmless} flips were harmless");
}

/// Whether opening or reading ends in a fault; if not, all answers are right.
fn is_fault(directory: &Path, model: &MemoryStore, last: u64) -> bool {
    let Ok(store) = open(directory) else { return true };
    let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| assert_holds(&store, model, last)));
    let fault = matches!(store.last_seq(), Err(StoreError::Fault(_)));
    assert!(right.is_ok() || fault, "another answer, and no fault");
    right.is_err()
}

fn files(directory: &Path, kind: &str) -> Vec<PathBuf> {
    let keyspaces = fs::read_dir(directory.join("data").join("keyspaces")).unwrap();
    let folders = keyspaces.map(|entry| entry.unwrap().path().join(kind)).filter(|folder| folder.is_dir());
    let mut files: Vec<_> =
        folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()).collect();
    // The engine's own list of keyspaces has a table as well.
    files.retain(|path| !path.starts_with(directory.join("data/keyspaces/0")));
    files.sort();
    files
}
