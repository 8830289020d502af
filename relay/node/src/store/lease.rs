//! The lease file: numbers that a node has set aside, kept beside its store and never in a backup.
//!
//! Who puts an old copy of a store back puts its old numbers back with it. The node would then sign a second receipt
//! of a number that it has used, which is proof of two histories ([RCPT-4]); and hand out cursors that applications
//! have already passed. So numbers are set aside here, durably and many at a time, before the first of them is used,
//! and a start goes on behind them.
//!
//! ```text
//!  "LSNL" u8=1 zero[3] | turn u64be | receipts u64be | events u64be | check[8] = SHA-256(label || all before)
//!  one record at 0, one at 512, written in turn: a torn one leaves the other, which sets aside what is in use
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, label};

use super::Fault;
use super::directory::{fault, sync_directory};

/// Numbers that one sync sets aside.
const STEP: u64 = 1 << 16;
/// Past every cursor that a store with events, and without a lease, can have handed out.
const UNKNOWN_SKIP: u64 = 1 << 32;

const MAGIC: &[u8; 8] = b"LSNL\x01\0\0\0";
const RECORD_BYTES: usize = 40;
/// Records lie in sectors of their own: one write tears one at most.
const SECTOR: usize = 512;
const FILE_BYTES: usize = SECTOR + RECORD_BYTES;

/// A kind of number that is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Events, and entries of inbox and outbox: what applications keep as cursors.
    Events,
    /// Receipts of one issuer.
    Receipts,
}

/// The open lease file. Clones share it.
#[derive(Clone)]
pub struct Lease(Arc<Mutex<Open>>);

/// The octets of a lease file. The outside world, so tests bring their own.
pub trait LeaseOctets: Send + Sync + 'static {
    /// All of them, or as many as a lease file has and one more; none in a new file.
    ///
    /// # Errors
    /// As the file system says.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Replaces those from `offset` on, durably.
    ///
    /// # Errors
    /// As the file system says.
    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()>;
}

impl LeaseOctets for File {
    fn read(&self) -> io::Result<Vec<u8>> {
        let length = self.metadata()?.len().min(FILE_BYTES as u64 + 1);
        let mut octets = vec![0; usize::try_from(length).unwrap_or(0)];
        self.read_exact_at(&mut octets, 0)?;
        Ok(octets)
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.write_all_at(octets, offset)?;
        self.sync_data()
    }
}

struct Open {
    path: PathBuf,
    octets: Box<dyn LeaseOctets>,
    /// What is durable.
    record: Record,
    /// Whether the file was there: without it, nobody knows what was used.
    found: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Record {
    /// Counts writes; the higher one of two records counts.
    turn: u64,
    receipts: u64,
    events: u64,
}

impl Lease {
    /// Opens the file, or makes it with mode 0600.
    ///
    /// # Errors
    /// [`Fault::Io`]: the file system's, or the file is something else.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let failed = |error: io::Error| fault("opening the lease file beside the store", path, &error);
        let new = !path.try_exists().map_err(failed)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = options.map_err(failed)?;
        let lease = Self::over(path, Box::new(file))?;
        if new {
            path.parent().map_or(Ok(()), |parent| {
                sync_directory(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })
            })?;
        }
        Ok(lease)
    }

    /// The same over octets of one's own. A file that a crash cut short while it was made counts as new.
    ///
    /// # Errors
    /// [`Fault::Io`].
    pub fn over(path: &Path, octets: Box<dyn LeaseOctets>) -> Result<Self, Fault> {
        let bytes = octets.read().map_err(|error| fault("reading the lease file", path, &error))?;
        let records = [0, SECTOR].map(|start| bytes.get(start..).and_then(Record::decode));
        let record = records.into_iter().flatten().max_by_key(|record| record.turn);
        let foreign =
            bytes.len() > FILE_BYTES || !bytes.iter().zip(MAGIC).all(|(byte, magic)| byte == magic || *byte == 0);
        if record.is_none() && foreign {
            let error = io::Error::other(
                "not a lease file of version 1; if its content is lost, delete it: numbers go on past all that were used",
            );
            return Err(fault("reading the lease file", path, &error));
        }
        let open = Open { path: path.into(), octets, record: record.unwrap_or_default(), found: record.is_some() };
        Ok(Self(Arc::new(Mutex::new(open))))
    }

    /// The last number that may have been used; `last` is the last one that the store knows, 0 for none.
    #[must_use]
    pub fn used(&self, numbers: Numbers, last: u64) -> u64 {
        if planted(Mutant::LeaseIgnored) {
            return last;
        }
        let open = self.lock();
        // Receipts go on past all that the clock allows, and need no guess.
        let known = open.found || last == 0 || numbers == Numbers::Receipts;
        let unknown = if known { 0 } else { last.saturating_add(UNKNOWN_SKIP) };
        last.max(open.record.of(numbers)).max(unknown)
    }

    /// On return `number`, and those before it, may be used: whatever is put back, no start goes on before it. Costs a
    /// sync once in 65,536 numbers.
    ///
    /// # Errors
    /// [`Fault::Io`]: the number must not be used, and the node must stop ([ERR-2]).
    pub fn reserve(&self, numbers: Numbers, number: u64) -> Result<(), Fault> {
        let mut open = self.lock();
        if number <= open.record.of(numbers) {
            return Ok(());
        }
        let mut next = Record { turn: open.record.turn.saturating_add(1), ..open.record };
        *next.of_mut(numbers) = number.saturating_add(STEP);
        let offset = if next.turn.is_multiple_of(2) { 0 } else { SECTOR as u64 };
        let written = open.octets.write(offset, &next.encode());
        written.map_err(|error| fault("writing the lease file", &open.path, &error))?;
        open.record = next;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        // No code panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    const fn of(&self, numbers: Numbers) -> u64 {
        match numbers {
            Numbers::Events => self.events,
            Numbers::Receipts => self.receipts,
        }
    }

    const fn of_mut(&mut self, numbers: Numbers) -> &mut u64 {
        match numbers {
            Numbers::Events => &mut self.events,
            Numbers::Receipts => &mut self.receipts,
        }
    }

    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let numbers = [self.turn, self.receipts, self.events].map(u64::to_be_bytes);
        let fields = MAGIC.iter().chain(numbers.iter().flatten()).copied().chain(self.check());
        bytes.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (turn, rest) = rest.split_first_chunk::<8>()?;
        let (receipts, rest) = rest.split_first_chunk::<8>()?;
        let (events, rest) = rest.split_first_chunk::<8>()?;
        let [turn, receipts, events] = [turn, receipts, events].map(|bytes| u64::from_be_bytes(*bytes));
        let record = Self { turn, receipts, events };
        rest.starts_with(&record.check()).then_some(record)
    }

    fn check(&self) -> [u8; 8] {
        let [turn, receipts, events] = [self.turn, self.receipts, self.events].map(u64::to_be_bytes);
        let Hash(hash) = Hash::of(&[label::AT_REST, b"lease", &turn, &receipts, &events]);
        hash.first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(path: &Path) -> Lease {
        Lease::open(path).unwrap()
    }

    fn path() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store.lease");
        (temp, path)
    }

    #[test]
    fn what_was_set_aside_counts_as_used_after_every_start() {
        let (_temp, path) = path();
        let first = lease(&path);
        assert_eq!((first.used(Numbers::Receipts, 0), first.used(Numbers::Events, 0)), (0, 0));
        first.reserve(Numbers::Receipts, 7).unwrap();
        first.reserve(Numbers::Events, 1).unwrap();
        first.reserve(Numbers::Receipts, 7 + STEP).unwrap();
        let again = lease(&path);
        assert_eq!(again.used(Numbers::Receipts, 3), 7 + STEP, "a number within what is set aside costs no write");
        assert_eq!(again.used(Numbers::Events, 3), 1 + STEP);
        assert_eq!(again.used(Numbers::Receipts, 1 << 40), 1 << 40, "the store may know better");
        again.reserve(Numbers::Receipts, 8 + STEP).unwrap();
        assert_eq!(lease(&path).used(Numbers::Receipts, 0), 8 + 2 * STEP);
    }

    #[test]
    fn without_a_lease_a_store_with_numbers_goes_on_far_behind_them() {
        let (_temp, path) = path();
        assert_eq!(lease(&path).used(Numbers::Events, 12), 12 + UNKNOWN_SKIP);
    }

    // [RCPT-4] Whichever write is torn, and wherever: no number that was used is handed out again.
    #[test]
    fn a_torn_write_leaves_what_was_set_aside_before() {
        let (_temp, path) = path();
        for cut in 0..=RECORD_BYTES {
            for writes in 1..4u64 {
                let _ = std::fs::remove_file(&path);
                let open = lease(&path);
                (1..=writes).for_each(|n| open.reserve(Numbers::Receipts, n * STEP * 2).unwrap());
                let used = open.used(Numbers::Receipts, 0);
                let before = std::fs::read(&path).unwrap();
                open.reserve(Numbers::Receipts, used + 1).unwrap();
                let after = std::fs::read(&path).unwrap();
                let mut torn = before.clone();
                torn.resize(after.len(), 0);
                let changed = (0..after.len()).filter(|at| torn[*at] != after[*at]).take(cut).collect::<Vec<_>>();
                changed.into_iter().for_each(|at| torn[at] = after[at]);
                std::fs::write(&path, &torn).unwrap();
                assert!(lease(&path).used(Numbers::Receipts, 0) >= used, "cut {cut}, write {writes}");
            }
        }
    }

    #[test]
    fn a_foreign_file_is_refused_in_words_and_left_alone() {
        let (_temp, path) = path();
        std::fs::write(&path, "years of work").unwrap();
        let refused = Lease::open(&path).err().unwrap().to_string();
        assert!(refused.contains("not a lease file") && refused.contains("delete it"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"years of work");
    }

    #[test]
    fn a_file_whose_making_was_cut_short_is_new() {
        let (_temp, path) = path();
        for started in [&b""[..], b"LSN", &[0; FILE_BYTES]] {
            std::fs::write(&path, started).unwrap();
            lease(&path).reserve(Numbers::Receipts, 5).unwrap();
            assert_eq!(lease(&path).used(Numbers::Receipts, 0), 5 + STEP);
        }
    }
}
