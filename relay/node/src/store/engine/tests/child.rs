//! A process that commits a known sequence of batches, says which are durable, and may be killed.
//!
//! It is this test binary again, running only the ignored test below.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Held, Op, Position, Remembered, Table};

use super::model::{QUEUES, assert_same};
use super::open;
use crate::store::Reads as _;
use crate::store::conformance::{at, dequeue, enqueue, entry, id, millis, put};
use crate::store::testing::MemoryStore;
use crate::store::{DiskStore, Store, StoreConfig, StoreError};

const DIRECTORY: &str = "LIAISON_STORE_TEST_DIRECTORY";
const TASK: &str = "LIAISON_STORE_TEST_TASK";
const NAME: &str = "store::engine::tests::child::work_of_a_child_process";
const DURABLE: &str = "durable ";
const VERIFIED: &str = "verified ";
/// Printed where the store refused with a fault, and went on refusing.
pub(super) const FAULT: &str = "fault";
/// Printed where the disk was full, was drained, and took messages again.
pub(super) const RECOVERED: &str = "recovered";
/// Nobody killed the child: it ends all the same.
const BATCHES_MAX: u64 = 20_000;
/// Batches hold their messages this long, in batches.
const HELD_BATCHES: u64 = 4;

/// What a child does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Commits batches until it is killed, or the store fails.
    Commit,
    /// Commits a hundred batches.
    CommitHundred,
    /// As `Commit`, with files limited to 8 MiB once the store is open.
    CommitInSmallFiles,
    /// Fills a disk up to the reserve, drains the store, and goes on.
    FillAndDrain,
    /// Checks what is there against the model.
    Verify,
}

impl Task {
    const ALL: [Self; 5] =
        [Self::Commit, Self::CommitHundred, Self::CommitInSmallFiles, Self::FillAndDrain, Self::Verify];

    pub(super) fn name(self) -> String {
        format!("{self:?}")
    }
}

/// The arguments that make this binary a child, behind those of `wrapper`: a program that runs another, or nothing.
pub(super) fn command(wrapper: &[&str], task: Task, directory: &Path) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut parts: Vec<_> = wrapper.iter().map(std::ffi::OsString::from).collect();
    parts.extend([binary.into(), "--exact".into(), NAME.into(), "--ignored".into(), "--nocapture".into()]);
    let mut command = Command::new(parts.remove(0));
    command.args(parts).env(DIRECTORY, directory).env(TASK, task.name()).stdout(Stdio::piped());
    command
}

/// What a child said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The last batch that it called durable.
    pub(super) durable: u64,
    /// The last batch that it found in the store.
    pub(super) verified: Option<u64>,
    pub(super) lines: Vec<String>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        // The test harness prints before us on the same line.
        if let Some((_, number)) = line.split_once(DURABLE) {
            let number = number.trim().parse().unwrap();
            assert!(number > self.durable, "{number} after {}", self.durable);
            self.durable = number;
        }
        if let Some((_, number)) = line.split_once(VERIFIED) {
            self.verified = Some(number.trim().parse().unwrap());
        }
        self.lines.push(line.to_owned());
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.lines.iter().any(|line| line.trim().ends_with(word))
    }
}

/// Runs a child to its end.
pub(super) fn run(mut command: Command) -> Said {
    let mut child = command.spawn().unwrap();
    let said = hear_all(child.stdout.take().unwrap());
    child.wait().unwrap();
    said
}

/// Runs a child for a while after it has made a first batch durable, and kills it.
pub(super) fn run_and_kill(mut command: Command, after: Duration) -> Said {
    let mut child: Child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut said = Said::default();
    let mut line = String::new();
    while said.durable == 0 && lines.read_line(&mut line).unwrap() > 0 {
        said.hear(&line);
        line.clear();
    }
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    // The pipe ends with the child.
    lines.lines().map_while(Result::ok).for_each(|line| said.hear(&line));
    killer.join().unwrap();
    said
}

fn hear_all(stdout: ChildStdout) -> Said {
    let mut said = Said::default();
    BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| said.hear(&line));
    said
}

/// Batch `number`, the same in every process: a few messages of all sizes come, those of some batches ago go.
pub(super) fn batch(number: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    for (position, index, size) in messages(number) {
        let entry = entry(position.seq / 2, index);
        if index == 0 {
            ops.push(Op::PutEnvelope { id: entry.id, bytes: noise(position.seq, size) });
        }
        let record = Remembered::mark(1, Held::Yes, millis(number));
        ops.push(Op::Remember { key: DedupeKey { id: entry.id, index }, record });
        ops.push(enqueue(&position, &entry));
    }
    for (position, index, _) in number.checked_sub(HELD_BATCHES).map(messages).unwrap_or_default() {
        let entry = entry(position.seq / 2, index);
        let record = Remembered::mark(1, Held::Released, millis(number));
        ops.push(Op::Remember { key: DedupeKey { id: entry.id, index }, record });
        ops.push(dequeue(&position, &entry));
    }
    ops.push(put(Table::Outbox, format!("k{}", number % 9).as_bytes(), &number.to_be_bytes()));
    ops.push(put(Table::Meta, b"batch", &number.to_be_bytes()));
    ops
}

/// Where the entries of batch `number` are, with index and size. Of two sequences, the odd one is the second recipient.
fn messages(number: u64) -> Vec<(Position, u16, usize)> {
    let mut found = Vec::new();
    for nth in 0..=(number % 4) {
        let salt = number * 31 + nth * 7;
        let size = [300, 2_048, 2_048, 30_000, 250_000][salt as usize % 5];
        let seq = (number * 8 + nth) * 2;
        let lane = |salt: u64, seq| at(QUEUES[salt as usize % QUEUES.len()], (salt % 5) as u8, seq);
        found.push((lane(salt, seq), 0, size));
        if salt.is_multiple_of(3) {
            found.push((lane(salt + 1, seq + 1), 1, size));
        }
    }
    found
}

/// As incompressible as a sealed body (splitmix64).
fn noise(seed: u64, size: usize) -> Bytes {
    let mut state = seed;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    });
    let mut bytes = Vec::with_capacity(size + 8);
    for word in words.take(size.div_ceil(8)) {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

/// The last batch that is in the store.
pub(super) fn last_batch(store: &dyn Store) -> u64 {
    let number = store.get(Table::Meta, b"batch").unwrap();
    number.map_or(0, |number| u64::from_be_bytes(number.as_ref().try_into().unwrap()))
}

/// The store holds the batches up to its last, and nothing else, nor a part of another.
pub(super) fn verify(store: &dyn Store) -> u64 {
    let last = last_batch(store);
    assert_holds(store, &model(last), last);
    last
}

/// What the store holds after batch `last`.
pub(super) fn model(last: u64) -> MemoryStore {
    let model = MemoryStore::default();
    for number in 1..=last {
        let _durable = model.commit(&batch(number)).unwrap();
    }
    model
}

pub(super) fn assert_holds(store: &dyn Store, model: &MemoryStore, last: u64) {
    assert_same(store, model);
    for number in 0..=(last + 2) * 8 {
        for index in 0..2 {
            let key = DedupeKey { id: id(number), index };
            assert_eq!(store.remembered(&key).unwrap(), model.remembered(&key).unwrap(), "message {number}");
        }
    }
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "only as a child process of the other tests"]
fn work_of_a_child_process() {
    let (Some(directory), Ok(task)) = (std::env::var_os(DIRECTORY), std::env::var(TASK)) else { return };
    let directory = Path::new(&directory);
    match Task::ALL.into_iter().find(|known| known.name() == task).unwrap() {
        Task::Commit => commit_on(&open(directory).unwrap(), BATCHES_MAX),
        Task::CommitHundred => commit_on(&open(directory).unwrap(), 100),
        Task::CommitInSmallFiles => {
            let store = open(directory).unwrap();
            let limit = rustix::process::Rlimit { current: Some(8 << 20), maximum: Some(8 << 20) };
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            commit_on(&store, BATCHES_MAX);
        }
        Task::FillAndDrain => fill_and_drain(directory),
        Task::Verify => say(&format!("\n{VERIFIED}{}", verify(&open(directory).unwrap()))),
    }
}

fn commit_on(store: &DiskStore, batches_max: u64) {
    let mut error = None;
    for number in (last_batch(store) + 1..).take(batches_max as usize) {
        match store.commit(&batch(number)) {
            Ok(_) => say(&format!("{DURABLE}{number}")),
            Err(found) => {
                error = Some(found);
                break;
            }
        }
    }
    // Small records are taken as long as there is any room: to the very end of the disk.
    for number in 0u64.. {
        if !matches!(error, Some(StoreError::Full { .. })) {
            break;
        }
        let small = put(Table::Chunks, &number.to_be_bytes(), &noise(number, 60_000));
        error = store.commit(&[small]).err().or(error);
    }
    if let Some(error) = error {
        assert_stopped(store, &error);
    }
}

/// Nothing works any more: no commit, no read.
fn assert_stopped(store: &DiskStore, error: &StoreError) {
    assert!(matches!(error, StoreError::Fault(_)), "{error}");
    for ops in [batch(1), batch(2), Vec::new()] {
        assert_eq!(store.commit(&ops).unwrap_err(), *error);
    }
    assert_eq!(store.last_seq().unwrap_err(), *error);
    assert_eq!(store.usage().unwrap_err(), *error);
    say(FAULT);
}

fn fill_and_drain(directory: &Path) {
    let store = DiskStore::open(&StoreConfig { free_bytes_min: 48 << 20, ..StoreConfig::new(directory) }).unwrap();
    let mut seq = 0;
    let mut accept = |held: &mut Vec<(Position, _)>| {
        let mut ops = Vec::new();
        let mut taken = Vec::new();
        for _ in 0..16 {
            seq += 1;
            let (position, entry) = (at("ncb.ee", 1, seq), entry(seq, 0));
            let entry = liaison_core::op::Entry { bytes: 64 << 10, ..entry };
            ops.push(Op::PutEnvelope { id: entry.id, bytes: noise(seq, 64 << 10) });
            ops.push(enqueue(&position, &entry));
            taken.push((position, entry));
        }
        let result = store.commit(&ops);
        if result.is_ok() {
            held.extend(taken);
        }
        result.map(|_| ())
    };
    let mut held = Vec::new();
    let full = loop {
        if let Err(error) = accept(&mut held) {
            break error;
        }
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(held.len() > 500, "{} messages of 64 KiB were taken", held.len());
    // What is held can go, in small steps; and what it took comes back.
    for chunk in held.chunks(16) {
        let ops: Vec<_> = chunk.iter().map(|(position, entry)| dequeue(position, entry)).collect();
        let _durable = store.commit(&ops).unwrap();
    }
    held.clear();
    let mut before_full = 0;
    for _ in 0..100 {
        match accept(&mut held) {
            Ok(()) => before_full += 1,
            Err(StoreError::Full { .. }) => std::thread::sleep(Duration::from_millis(100)),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(before_full >= 8, "only {before_full} batches were taken after the drain");
    say(&format!("\n{RECOVERED}"));
}

/// Reads what a child wrote to a file.
pub(super) fn read(path: &Path) -> String {
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}
