//! What the bytes of journals are: whole batches, then room, or damage.

use std::io::{self, Read, Seek, SeekFrom};

use liaison_protocol::mutant::{Mutant, planted};
use xxhash_rust::xxh3::Xxh3;

use crate::store::brand::Brand;
use crate::store::engine::keys;

/// Ends each batch (fjall 3, `file::MAGIC_BYTES`).
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];
const BLOCK_BYTES: usize = 4096;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const TAG_START: u8 = 1;
const TAG_ITEM: u8 = 2;
const TAG_END: u8 = 3;
const TAG_CLEAR: u8 = 4;
/// From the beginning of a batch to the brand, which is the value of its first item: tag, number of items and the batch's
/// number; tag, kinds and three lengths of the item, and its key.
const BEFORE_BRAND: usize = (1 + 4 + 8) + (1 + 10 + 2 + 4 + 4) + keys::BRAND.len();
/// Items in a batch: beyond every batch of ours, and short of what would take long to disprove.
const ITEMS_MAX: u32 = 1 << 24;
/// How far a batch's number may be ahead of the one before it: beyond a year of work.
const SEQNO_AHEAD_MAX: Seqno = 1 << 40;
/// The engine's own bound.
const SEQNO_MAX: Seqno = 1 << 62;

/// A place in a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which journal, in the order in which they were written.
    pub journal: usize,
    /// Where in it, in bytes.
    pub start: u64,
}

/// What is to be done about journals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What the engine can read is all that was written. In each place what follows is no whole batch: half of the last
    /// one, which was never acknowledged. It is to be cut off.
    Sound {
        /// At most one a journal.
        torn: Vec<Place>,
    },
    /// Something was committed behind this damage.
    Corrupt(Place),
}

/// Judges `count` journals, which `open` gives in the order in which they were written. `brand` marks the batches of
/// this store; without one every whole batch counts as this store's.
///
/// # Errors
/// A journal that cannot be read, and why.
pub(super) fn judge<R: Read + Seek>(
    count: usize,
    brand: Option<&Brand>,
    mut open: impl FnMut(usize) -> io::Result<R>,
) -> Result<Verdict, (usize, io::Error)> {
    let mut last = None;
    let mut torn: Vec<Place> = Vec::new();
    for index in 0..count {
        let at = |error| (index, error);
        let mut journal = open(index).map_err(at)?;
        let scan = scan(&mut journal, last).map_err(at)?;
        if let Some(place) = torn.first().filter(|_| scan.last > last) {
            return Ok(Verdict::Corrupt(*place));
        }
        last = scan.last;
        if scan.damaged {
            let place = Place { journal: index, start: scan.whole };
            if is_followed(&mut journal, scan.whole, brand).map_err(at)? {
                return Ok(Verdict::Corrupt(place));
            }
            torn.push(place);
        }
    }
    Ok(Verdict::Sound { torn })
}

/// Whether a whole batch of ours begins at `start` or anywhere behind it, whatever its number: the number itself may be
/// what is wrong, or the one before it. What is torn may hold an envelope, whose bytes others chose, and which looks like a batch.
fn is_followed<R: Read + Seek>(journal: &mut R, start: u64, brand: Option<&Brand>) -> io::Result<bool> {
    if planted(Mutant::DamageCutOff) {
        return Ok(false);
    }
    journal.seek(SeekFrom::Start(start + u64::from(planted(Mutant::OutOfOrderCutOff))))?;
    let mut bytes = Vec::new();
    journal.read_to_end(&mut bytes)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    let is_batch = |from: &usize| {
        let inner = bytes.get(*from..).unwrap_or_default();
        inner.first() == Some(&TAG_START) && matches!(Reader { inner, at: 0 }.batch(), Ok(Step::Batch { .. }))
    };
    Ok(match brand.filter(|_| !planted(Mutant::AnyBatchFollows)) {
        // One look for each batch of ours, however many beginnings an envelope feigns.
        Some(brand) => {
            brand.places(&bytes).filter_map(|place| place.checked_sub(BEFORE_BRAND)).any(|from| is_batch(&from))
        }
        None => (0..bytes.len()).any(|from| is_batch(&from)),
    })
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

fn scan(journal: impl Read, mut last: Option<Seqno>) -> io::Result<Scan> {
    let mut reader = Reader { inner: journal, at: 0 };
    let mut whole = 0;
    loop {
        let damaged = match reader.batch()? {
            Step::Batch { seqno } if follows(seqno, last) => {
                whole = reader.at;
                last = Some(seqno);
                continue;
            }
            Step::Batch { .. } | Step::Damage => true,
            Step::End => false,
        };
        return Ok(Scan { whole, damaged, last });
    }
}

/// Whether a batch of this number can come after the one of the `last`: the checksum does not cover it.
fn follows(seqno: Seqno, last: Option<Seqno>) -> bool {
    match last {
        Some(last) => (last.saturating_add(1)..=last.saturating_add(SEQNO_AHEAD_MAX)).contains(&seqno),
        None => seqno <= SEQNO_MAX,
    }
}

/// How many bytes of a journal are whole batches, and whether anything but room is behind them. For fuzzing.
pub(in crate::store) fn whole_bytes(journal: &[u8]) -> Option<(u64, bool)> {
    scan(journal, None).ok().map(|scan| (scan.whole, scan.damaged))
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
    /// The next batch, whole and checked, whatever its number.
    fn batch(&mut self) -> io::Result<Step> {
        let mut tag = [0];
        if !self.fill(&mut tag)? {
            return Ok(Step::End);
        }
        match tag {
            [TAG_START] => self.rest_of_batch(),
            [0] => self.zeros(),
            _ => Ok(Step::Damage),
        }
    }

    fn rest_of_batch(&mut self) -> io::Result<Step> {
        let Some((items, seqno)) = self.start()? else { return Ok(Step::Damage) };
        if !(1..=ITEMS_MAX).contains(&items) {
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
pub(in crate::store) fn batch_ends(path: &std::path::Path) -> Vec<u64> {
    let file = std::fs::File::open(path).unwrap();
    let mut reader = Reader { inner: io::BufReader::new(file), at: 0 };
    let mut ends = Vec::new();
    while let Step::Batch { .. } = reader.batch().unwrap() {
        ends.push(reader.at);
    }
    ends
}
