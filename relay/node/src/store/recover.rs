//! A look at the journals before the engine opens them.
//!
//! After a power cut the last batch may be half on disk, with its parts in any order: it was never acknowledged, and is
//! dropped. The engine tells that from damage only in part. It cuts a journal off at the first thing that it cannot
//! parse, and whatever was committed behind that is gone without a word; and where a torn batch parses and its checksum
//! is wrong, it refuses to open for ever. So the journals are read here first:
//!
//! - damage with a whole batch behind it, in the same journal or in a later one, is corruption: a fault;
//! - damage behind all whole batches is a torn tail: it is kept aside in `torn`, cut off, and logged.
//!
//! A bit that flips in the very last batch cannot be told from a torn write, and costs that batch. The message comes
//! again: its sender's outbox keeps it until the delivery receipt is in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use liaison_protocol::mutant::{Mutant, planted};
use xxhash_rust::xxh3::Xxh3;

use super::Fault;
use super::directory::{fault, sync_directory};

/// Where a torn tail is kept: the last one only.
const TORN: &str = "torn";
const SUFFIX: &str = ".jnl";

/// Ends each batch (fjall 3, `file::MAGIC_BYTES`).
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];
const BLOCK_BYTES: usize = 4096;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
/// Items in a batch: beyond every batch of ours, and short of what would take long to disprove.
const ITEMS_MAX: u32 = 1 << 24;
/// How far a batch's number may be ahead of the one before it: beyond a year of work.
const SEQNO_AHEAD_MAX: Seqno = 1 << 40;
/// The engine's own bound.
const SEQNO_MAX: Seqno = 1 << 62;

/// Checks the journals in `data`, and cuts off a torn tail, which is kept in `keep`.
pub(super) fn check_journals(data: &Path, keep: &Path) -> Result<(), Fault> {
    let mut last = None;
    let mut torn: Vec<Tail> = Vec::new();
    for path in journals(data)? {
        let scan = scan(&path, last).map_err(|error| fault("reading", &path, &error))?;
        if let Some(tail) = torn.first().filter(|_| scan.last > last) {
            return Err(tail.corrupt());
        }
        last = scan.last;
        if scan.damaged {
            let tail = Tail { path, start: scan.whole };
            if tail.is_followed().map_err(|error| fault("reading", &tail.path, &error))? {
                return Err(tail.corrupt());
            }
            torn.push(tail);
        }
    }
    torn.iter().try_for_each(|tail| tail.cut(keep))
}

/// The end of a journal that is no whole batch.
struct Tail {
    path: PathBuf,
    start: u64,
}

impl Tail {
    fn corrupt(&self) -> Fault {
        Fault::Journal { journal: self.path.clone(), start: self.start }
    }

    /// Whether a whole batch begins anywhere behind the damage, whatever its number: the one before may be what is wrong.
    fn is_followed(&self) -> io::Result<bool> {
        if planted(Mutant::DamageCutOff) {
            return Ok(false);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.start + 1))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(end);
        let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == TAG_START);
        for (start, _) in starts {
            let mut reader = Reader { inner: bytes.get(start..).unwrap_or_default(), at: 0 };
            if matches!(reader.batch(None)?, Step::Batch { .. }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn cut(&self, keep: &Path) -> Result<(), Fault> {
        let kept = keep.join(TORN);
        let cut = || -> io::Result<u64> {
            let mut journal = OpenOptions::new().read(true).write(true).open(&self.path)?;
            journal.seek(SeekFrom::Start(self.start))?;
            io::copy(&mut journal, &mut File::create(&kept)?)?;
            let bytes = journal.metadata()?.len() - self.start;
            journal.set_len(self.start)?;
            journal.sync_all()?;
            Ok(bytes)
        };
        let bytes = cut().map_err(|error| fault("cutting off a torn tail of", &self.path, &error))?;
        sync_directory(keep)?;
        tracing::warn!(
            journal = %self.path.display(), start = self.start, bytes, kept = %kept.display(),
            "the last batch was half written when the node stopped, and never acknowledged: dropped"
        );
        Ok(())
    }
}

/// In the order in which they were written.
fn journals(data: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    let listing = |error: &io::Error| fault("listing", data, error);
    for entry in fs::read_dir(data).map_err(|error| listing(&error))? {
        let path = entry.map_err(|error| listing(&error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(SUFFIX)).and_then(|number| number.parse::<u64>().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

struct Scan {
    /// Where the whole batches end.
    whole: u64,
    /// Whether anything but zeros is behind them: the engine makes a journal larger than it is yet.
    damaged: bool,
    /// Of the last whole batch, here or before.
    last: Option<Seqno>,
}

/// Numbers a batch. They rise from batch to batch, over all journals.
type Seqno = u64;

fn scan(path: &Path, last: Option<Seqno>) -> io::Result<Scan> {
    scan_from(BufReader::with_capacity(256 * 1024, File::open(path)?), last)
}

fn scan_from(journal: impl Read, mut last: Option<Seqno>) -> io::Result<Scan> {
    let mut reader = Reader { inner: journal, at: 0 };
    let mut whole = 0;
    loop {
        let damaged = match reader.batch(last)? {
            Step::Batch { seqno } => {
                whole = reader.at;
                last = Some(seqno);
                continue;
            }
            Step::Damage => true,
            Step::End => false,
        };
        return Ok(Scan { whole, damaged, last });
    }
}

/// How many bytes of a journal are whole batches, and whether anything but room is behind them. For fuzzing.
pub(super) fn whole_bytes(journal: &[u8]) -> Option<(u64, bool)> {
    scan_from(journal, None).ok().map(|scan| (scan.whole, scan.damaged))
}

enum Step {
    Batch { seqno: Seqno },
    Damage,
    End,
}

/// Reads batches as fjall 3 writes them: a start with the number of items and the batch's sequence number, the items,
/// and an end with a checksum over the items' bytes.
struct Reader<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Reader<R> {
    /// The next batch, whole and checked, with a number above `last`: the checksum does not cover the number.
    fn batch(&mut self, last: Option<Seqno>) -> io::Result<Step> {
        let mut tag = [0];
        if !self.fill(&mut tag)? {
            return Ok(Step::End);
        }
        match tag {
            [TAG_START] => self.rest_of_batch(last),
            [0] => self.zeros(),
            _ => Ok(Step::Damage),
        }
    }

    fn rest_of_batch(&mut self, last: Option<Seqno>) -> io::Result<Step> {
        let Some((items, seqno)) = self.start()? else { return Ok(Step::Damage) };
        let plausible = match last {
            Some(last) => (last.saturating_add(1)..=last.saturating_add(SEQNO_AHEAD_MAX)).contains(&seqno),
            None => seqno <= SEQNO_MAX,
        };
        if !plausible || !(1..=ITEMS_MAX).contains(&items) {
            return Ok(Step::Damage);
        }
        let mut hasher = Xxh3::new();
        for _ in 0..items {
            if !self.item(&mut hasher)? {
                return Ok(Step::Damage);
            }
        }
        let mut end = [0; 13];
        let whole = self.fill(&mut end)?;
        let checksum = hasher.digest().to_le_bytes();
        let expected = [&[TAG_END], checksum.as_slice(), &TRAILER].concat();
        Ok(if whole && end.as_slice() == expected { Step::Batch { seqno } } else { Step::Damage })
    }

    fn start(&mut self) -> io::Result<Option<(u32, u64)>> {
        let (mut items, mut seqno) = ([0; 4], [0; 8]);
        let whole = self.fill(&mut items)? && self.fill(&mut seqno)?;
        Ok(whole.then(|| (u32::from_le_bytes(items), u64::from_le_bytes(seqno))))
    }

    /// Whether an item is here; its bytes go to the hasher.
    fn item(&mut self, hasher: &mut Xxh3) -> io::Result<bool> {
        let mut tag = [0];
        if !self.fill(&mut tag)? {
            return Ok(false);
        }
        hasher.update(&tag);
        match tag {
            [TAG_ITEM] => self.key_and_value(hasher),
            [TAG_CLEAR] => self.hash(8, hasher),
            _ => Ok(false),
        }
    }

    fn key_and_value(&mut self, hasher: &mut Xxh3) -> io::Result<bool> {
        // Kind of value, compression, keyspace; then the lengths of key, value, and value as it is on disk.
        let (mut kinds, mut key, mut value, mut on_disk) = ([0; 10], [0; 2], [0; 4], [0; 4]);
        for part in [kinds.as_mut_slice(), &mut key, &mut value, &mut on_disk] {
            if !self.fill(part)? {
                return Ok(false);
            }
            hasher.update(part);
        }
        let [kind, compression, ..] = kinds;
        // Values and tombstones, as they are: nothing is compressed.
        if kind > 2 || compression != 0 || value != on_disk {
            return Ok(false);
        }
        self.hash(u64::from(u16::from_le_bytes(key)) + u64::from(u32::from_le_bytes(value)), hasher)
    }

    /// Whether there are `bytes` more; they go to the hasher.
    fn hash(&mut self, mut bytes: u64, hasher: &mut Xxh3) -> io::Result<bool> {
        let mut block = [0; BLOCK_BYTES];
        while bytes > 0 {
            let size = usize::try_from(bytes).unwrap_or(usize::MAX).min(block.len());
            let part = block.get_mut(..size).unwrap_or_default();
            if !self.fill(part)? {
                return Ok(false);
            }
            hasher.update(part);
            bytes -= size as u64;
        }
        Ok(true)
    }

    /// Nothing but zeros to the end is room that the engine made.
    fn zeros(&mut self) -> io::Result<Step> {
        // Some 64 MiB at every start: compared as blocks, which is fast in test builds, too.
        let mut block = [0; BLOCK_BYTES];
        loop {
            let size = self.inner.read(&mut block)?;
            match block.get(..size) {
                None | Some([]) => return Ok(Step::End),
                found if found != ZEROS.get(..size) => return Ok(Step::Damage),
                Some(_) => {}
            }
        }
    }

    /// Whether there was enough to fill `part`.
    fn fill(&mut self, part: &mut [u8]) -> io::Result<bool> {
        self.at += part.len() as u64;
        match self.inner.read_exact(part) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Where each batch of a journal ends.
#[cfg(test)]
pub(super) fn batch_ends(path: &Path) -> Vec<u64> {
    let mut reader = Reader { inner: BufReader::new(File::open(path).unwrap()), at: 0 };
    let mut ends = Vec::new();
    while let Step::Batch { .. } = reader.batch(None).unwrap() {
        ends.push(reader.at);
    }
    ends
}
