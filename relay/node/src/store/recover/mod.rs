//! A look at the journals before the engine opens them.
//!
//! After a power cut the last batch may be half on disk, with its parts in any order: it was never acknowledged, and is
//! dropped. The engine tells that from damage only in part. It cuts a journal off at the first thing that it cannot
//! parse, and whatever was committed behind that is gone without a word; and where a torn batch parses and its checksum
//! is wrong, it refuses to open for ever. So the journals are read here first:
//!
//! - damage with a whole batch behind it, in the same journal or in a later one, is corruption: a fault; so is a whole
//!   batch whose number is out of order;
//! - damage behind all whole batches is a torn tail: it is kept aside in `torn`, cut off, and logged.
//!
//! A bit that flips in the very last batch cannot be told from a torn write, and costs that batch. The message comes
//! again: its sender's outbox keeps it until the delivery receipt is in.

mod journal;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use self::journal::{Place, Verdict};
use super::Fault;
use super::brand::Brand;
use super::directory::{fault, sync_directory};

/// Where a torn tail is kept: the last one only.
const TORN: &str = "torn";
const SUFFIX: &str = ".jnl";
const READ_BYTES: usize = 256 * 1024;

/// Checks the journals in `data`, and cuts off a torn tail, which is kept in `keep`.
pub(super) fn check_journals(data: &Path, keep: &Path, brand: Option<&Brand>) -> Result<(), Fault> {
    let journals = journals(data)?;
    let path = |index: usize| journals.get(index).map_or(data, PathBuf::as_path);
    let open = |index| File::open(path(index)).map(|file| BufReader::with_capacity(READ_BYTES, file));
    let verdict = journal::judge(journals.len(), brand, open);
    match verdict.map_err(|(index, error)| fault("reading", path(index), &error))? {
        Verdict::Sound { torn } => torn.iter().try_for_each(|place| cut(path(place.journal), place.start, keep)),
        Verdict::Corrupt(place) => {
            Err(Fault::Journal { journal: path(place.journal).display().to_string().into(), start: place.start })
        }
    }
}

/// What [`check_journals`] would make of these journals, in the order in which they were written. For tests.
pub(super) fn judge_bytes(journals: &[&[u8]], brand: &Brand) -> Option<Verdict> {
    let open = |index| Ok(io::Cursor::new(journals.get(index).copied().unwrap_or_default()));
    journal::judge(journals.len(), Some(brand), open).ok()
}

/// Cuts a journal off at `start`.
fn cut(path: &Path, start: u64, keep: &Path) -> Result<(), Fault> {
    let kept = keep.join(TORN);
    let cut = || -> io::Result<u64> {
        let mut journal = OpenOptions::new().read(true).write(true).open(path)?;
        journal.seek(SeekFrom::Start(start))?;
        io::copy(&mut journal, &mut File::create(&kept)?)?;
        let bytes = journal.metadata()?.len() - start;
        journal.set_len(start)?;
        journal.sync_all()?;
        Ok(bytes)
    };
    let bytes = cut().map_err(|error| fault("cutting off a torn tail of", path, &error))?;
    sync_directory(keep)?;
    tracing::warn!(
        journal = %path.display(), start, bytes, kept = %kept.display(),
        "the last batch was half written when the node stopped, and never acknowledged: dropped"
    );
    Ok(())
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

#[cfg(test)]
pub(super) use self::journal::batch_ends;
pub(super) use self::journal::whole_bytes;
