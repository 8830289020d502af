//! Measures the disk store: ingest, the relay's mix of accepting and releasing, ordered draining, memory, and opening
//! with a backlog; beside a yardstick from the same run, a bare append and `fdatasync` per batch.
//!
//! ```text
//! cargo run --release -p liaison-node --example store_bench -- DIRECTORY [BACKLOG]
//! ```
//! DIRECTORY must be on the disk to measure, and is filled and emptied. BACKLOG is the number of queued envelopes for
//! the second part: default 100,000; the bound of the design is for 1,000,000, which takes some 4 GiB of disk.

use std::collections::VecDeque;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use liaison_core::op::{DedupeKey, Entry, Held, Op, Position, Remembered};
use liaison_node::store::{DiskStore, Reads as _, Store, StoreConfig};
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BODY_BYTES: usize = 2048;
const RUN: Duration = Duration::from_secs(5);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let directory: PathBuf = args.next().ok_or("usage: store_bench DIRECTORY [BACKLOG]")?.into();
    let backlog: u64 = args.next().map_or(Ok(100_000), |text| text.parse())?;
    fs::create_dir_all(&directory)?;

    println!(
        "{:<34} {:>22} {:>22} {:>22}",
        "messages/s (CPU us, bytes written)", "1/commit", "64/commit", "256/commit"
    );
    row("bare append + fdatasync", &directory, bare)?;
    row("store: accept", &directory, ingest)?;
    row("store: accept, release the oldest", &directory, relay)?;
    backlogged(&directory.join("backlog"), backlog)
}

fn row(name: &str, directory: &Path, run: fn(&Path, usize) -> Outcome<f64>) -> Outcome<()> {
    let mut line = format!("{name:<34}");
    for batch in [1, 64, 256] {
        let place = directory.join("rate");
        let before = Spent::now()?;
        let rate = run(&place, batch)?;
        let spent = Spent::now()?.per(before, (rate * RUN.as_secs_f64()) as u64);
        line += &format!(" {:>22}", format!("{rate:.0} ({}, {})", spent.micros, spent.bytes));
        fs::remove_dir_all(&place)?;
    }
    println!("{line}");
    Ok(())
}

/// The least that a durable batch can cost on this disk.
fn bare(place: &Path, batch: usize) -> Outcome<f64> {
    fs::create_dir_all(place)?;
    let mut file = OpenOptions::new().create(true).append(true).open(place.join("log"))?;
    let block = vec![0xa5; batch * BODY_BYTES];
    rate(batch, || {
        file.write_all(&block)?;
        Ok(file.sync_data()?)
    })
}

fn ingest(place: &Path, batch: usize) -> Outcome<f64> {
    let store = DiskStore::open(&StoreConfig::new(place))?;
    let mut source = Source::new(1);
    rate(batch, || {
        let mut ops = Vec::new();
        (0..batch).for_each(|_| drop(source.accept(&mut ops)));
        let _durable = store.commit(&ops)?;
        Ok(())
    })
}

/// What a relay does when it keeps up: each commit takes a batch and releases the one before the last few.
fn relay(place: &Path, batch: usize) -> Outcome<f64> {
    let store = DiskStore::open(&StoreConfig::new(place))?;
    let mut source = Source::new(1);
    let mut held = VecDeque::new();
    rate(batch, || {
        let mut ops = Vec::new();
        (0..batch).for_each(|_| held.extend(source.accept(&mut ops)));
        while held.len() > 4 * batch {
            release(held.pop_front(), &mut ops);
        }
        let _durable = store.commit(&ops)?;
        Ok(())
    })
}

/// Fills the store, opens it anew, and drains it in order.
fn backlogged(place: &Path, backlog: u64) -> Outcome<()> {
    println!("\nwith {backlog} queued for 1,000 agencies");
    let started = Started::now()?;
    let mut source = Source::new(1_000);
    {
        let store = DiskStore::open(&StoreConfig::new(place))?;
        while source.seq < backlog {
            let mut ops = Vec::new();
            (0..256).for_each(|_| drop(source.accept(&mut ops)));
            let _durable = store.commit(&ops)?;
        }
        report("filled", started, backlog, &store)?;
        let started = Instant::now();
        drop(store);
        println!("{:<34} {:>19.0} ms", "closed", millis(started));
    }

    let started = Instant::now();
    let store = DiskStore::open(&StoreConfig::new(place))?;
    println!("{:<34} {:>19.0} ms", "opened", millis(started));
    let queues = store.queues()?;
    let first = queues.first().ok_or("no queue")?;
    let head = store.head(&first.queue, first.rank, 0, 1)?;
    let (_, entry) = head.first().ok_or("no entry")?;
    let bytes = store.envelope(&entry.id)?.ok_or("no envelope")?;
    println!("{:<34} {:>19.0} ms ({} bytes)", "  to the first delivery", millis(started), bytes.len());

    let started = Instant::now();
    let mut known = 0;
    for number in 0..10_000 {
        known += u64::from(store.remembered(&source.key(number * 7919 % (2 * backlog)))?.is_some());
    }
    println!("{:<34} {:>19.1} us (half of them known: {known})", "remembered, at random", millis(started) / 10.0);

    let started = Started::now()?;
    let drained = drain(&store)?;
    report("drained in order, 64 a commit", started, drained, &store)?;
    let started = Started::now()?;
    std::thread::sleep(Duration::from_secs(5));
    report("  5 s later", started, 0, &store)?;
    drop(store);
    Ok(fs::remove_dir_all(place)?)
}

fn drain(store: &DiskStore) -> Outcome<u64> {
    let mut drained = 0;
    for totals in store.queues()? {
        let mut last = 0;
        loop {
            let head = store.head(&totals.queue, totals.rank, last, 64)?;
            let Some((seq, _)) = head.last() else { break };
            last = *seq;
            let mut ops = Vec::new();
            for (seq, entry) in head {
                store.envelope(&entry.id)?.ok_or("an entry without its envelope")?;
                let position = Position { queue: totals.queue.clone(), rank: totals.rank, seq };
                release(Some((position, entry)), &mut ops);
                drained += 1;
            }
            let _durable = store.commit(&ops)?;
        }
    }
    Ok(drained)
}

fn report(what: &str, started: Started, count: u64, store: &DiskStore) -> Outcome<()> {
    let rate = count as f64 / started.at.elapsed().as_secs_f64();
    let spent = Spent::now()?.per(started.spent, count);
    let disk = store.usage()?.used_bytes >> 20;
    let rate = format!("{rate:.0} /s ({}, {})", spent.micros, spent.bytes);
    println!("{what:<34} {rate:>22}    {disk} MiB on disk, {} MiB resident", resident_mib()?);
    Ok(())
}

struct Started {
    at: Instant,
    spent: Spent,
}

impl Started {
    fn now() -> Outcome<Self> {
        Ok(Self { at: Instant::now(), spent: Spent::now()? })
    }
}

fn rate(batch: usize, mut commit: impl FnMut() -> Outcome<()>) -> Outcome<f64> {
    let started = Instant::now();
    let mut commits = 0;
    while started.elapsed() < RUN {
        commit()?;
        commits += 1;
    }
    Ok((commits * batch) as f64 / started.elapsed().as_secs_f64())
}

/// What this process has used so far: processor time, and bytes handed to the disk.
#[derive(Clone, Copy)]
struct Spent {
    micros: u64,
    bytes: u64,
}

impl Spent {
    fn now() -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let after_name = stat.rsplit(") ").next().ok_or("no name")?;
        // Fields 14 and 15, in ticks of 10 ms: the name is field 2.
        let ticks: u64 = after_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or(0)).sum();
        let io = fs::read_to_string("/proc/self/io")?;
        let bytes = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).ok_or("no write_bytes")?;
        Ok(Self { micros: ticks * 10_000, bytes: bytes.parse()? })
    }

    fn per(self, before: Self, messages: u64) -> Self {
        let messages = messages.max(1);
        Self { micros: (self.micros - before.micros) / messages, bytes: (self.bytes - before.bytes) / messages }
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn resident_mib() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

/// Makes messages that compress no better than sealed ones, for queues in turn.
struct Source {
    seq: u64,
    queues: Vec<AgencyId>,
    body: Vec<u8>,
}

impl Source {
    fn new(queues: u64) -> Self {
        let queues = (0..queues).filter_map(|number| format!("agency-{number}").parse().ok()).collect();
        let body = (0..BODY_BYTES / 32).flat_map(|block| Hash::of(&[&block.to_be_bytes()]).0).collect();
        Self { seq: 0, queues, body }
    }

    fn accept(&mut self, ops: &mut Vec<Op>) -> Option<(Position, Entry)> {
        let key = self.key(self.seq);
        self.seq += 1;
        let queue = self.queues.get(self.seq as usize % self.queues.len())?.clone();
        let position = Position { queue, rank: (self.seq % 4) as u8, seq: self.seq };
        let accepted = Timestamp::from_millis(1_800_000_000_000 + self.seq);
        let sender = position.queue.clone().into();
        let entry = Entry {
            id: key.id,
            index: 0,
            attempt: 1,
            from: "ap-1".parse().ok()?,
            path: vec!["ap-1".parse().ok()?],
            sender,
            accepted,
            expires: accepted.after(WEEK),
            bytes: BODY_BYTES as u32,
        };
        let mut body = self.body.clone();
        for (byte, salt) in body.iter_mut().zip(key.id.0.0.iter().cycle()) {
            *byte ^= salt;
        }
        ops.push(Op::PutEnvelope { id: key.id, bytes: Bytes::from(body) });
        ops.push(Op::Enqueue { position: position.clone(), entry: entry.clone() });
        ops.push(Op::Remember { key, record: remembered(Held::Yes, &entry) });
        Some((position, entry))
    }

    fn key(&self, number: u64) -> DedupeKey {
        DedupeKey { id: MessageId(Hash::of(&[b"message", &number.to_be_bytes()])), index: 0 }
    }
}

fn release(held: Option<(Position, Entry)>, ops: &mut Vec<Op>) {
    let Some((position, entry)) = held else { return };
    let key = DedupeKey { id: entry.id, index: entry.index };
    ops.push(Op::Remember { key, record: remembered(Held::Released, &entry) });
    ops.push(Op::Dequeue { position, id: entry.id, expires: entry.expires });
}

fn remembered(held: Held, entry: &Entry) -> Remembered {
    Remembered {
        from: Some(entry.from.clone()),
        ..Remembered::mark(entry.attempt, held, entry.expires.after(Duration::from_secs(86_400)))
    }
}
