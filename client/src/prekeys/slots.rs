//! The slot file: one random key for each prekey, in a file that is overwritten in place.
//!
//! A prekey's private half rests in the store, encrypted under its slot's key. The store never overwrites: deleted
//! values live on until it compacts. Erasing the slot erases the private half wherever copies of it are
//! (security.md, "Keys at rest"). On a copy-on-write file system or behind a remapping disk the old sector may
//! survive; the record then still needs the identity key file.
//!
//! ```text
//!  "LSNS" u8=1 planned[12] published[12] check[8] zero[27]    header, 64 bytes
//!  position: u32be epoch | u64be number, of this agency's bundle (all zero: none is known)
//!  slot: u64be window start, seconds (0: free) | key[32] | check[8] = SHA-256(label || start || key) | zero[16]
//! ```
//!
//! The header says how far the agency's bundles have come: `planned` is written before a bundle is committed to the store,
//! `published` after that, and before anybody hears of the bundle. So a store that is behind `published`, or ahead of
//! `planned`, is not of this file's time: one of the two was restored.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use liaison_node::config::{SecretError, check_secret};
use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::{Hash, label};
use rand_core::CryptoRng;
use rustix::fs::OFlags;
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Slots: 35 days ahead, today, and at most 90 days past; the rest is spare.
pub const SLOTS: usize = 160;

const MAGIC: &[u8; 5] = b"LSNS\x01";
const HEADER_BYTES: usize = 64;
const SLOT_BYTES: usize = 64;
const FILE_BYTES: usize = HEADER_BYTES + SLOTS * SLOT_BYTES;

/// What is wrong with the slot file.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// All slots hold live keys; making room for new ones makes this unreachable.
    #[error("{path}: all {SLOTS} slots are in use")]
    Exhausted {
        /// The file.
        path: PathBuf,
    },
    /// Not a slot file of this version.
    #[error(
        "{path}: not a prekey slot file of version 1; delete the file if its keys are lost: senders seal their mail again"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read or write it, or could have put it there.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The open slot file. The store's lock makes this the only process that writes it.
pub struct SlotFile {
    path: PathBuf,
    octets: Box<dyn SlotOctets>,
    slots: Vec<Option<Slot>>,
    progress: Progress,
}

/// How far this agency's bundles have come. None in a file of a version that did not write it, and in a torn header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The bundle that is being, or was, committed to the store.
    pub planned: Option<BundlePosition>,
    /// The last one that is committed: others may know it.
    pub published: Option<BundlePosition>,
}

/// What a slot file is made of. The outside world, so tests bring their own.
pub trait SlotOctets: Send + Sync + 'static {
    /// All of them; none in a new file.
    ///
    /// # Errors
    /// As the file system says.
    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>>;

    /// Replaces those from `offset` on, which are durable after the next [`SlotOctets::sync`].
    ///
    /// # Errors
    /// As the file system says.
    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()>;

    /// On return, what was written is durable, and what it replaced is gone.
    ///
    /// # Errors
    /// As the file system says.
    fn sync(&self) -> io::Result<()>;
}

impl SlotOctets for File {
    fn read(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        // No more than a slot file has, and one octet that tells a longer one.
        let length = self.metadata()?.len().min(FILE_BYTES as u64 + 1);
        let mut octets = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
        self.read_exact_at(&mut octets, 0)?;
        Ok(octets)
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.write_all_at(octets, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

struct Slot {
    start: u64,
    key: Zeroizing<[u8; 32]>,
}

impl SlotFile {
    /// Opens the file, or makes it with mode 0600.
    ///
    /// # Errors
    /// [`SlotError::Format`], [`SlotError::Io`], [`SlotError::Secret`].
    pub fn open(path: &Path) -> Result<Self, SlotError> {
        let io = |source| SlotError::Io { path: path.into(), source };
        if !path.try_exists().map_err(io)? {
            make(path).map_err(io)?;
        }
        // The checks are made on the open file, so that it cannot be swapped in between.
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = file.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::LOOP) => SecretError::SymbolicLink { path: path.into() }.into(),
            _ => io(error),
        })?;
        check_secret(path, &file)?;
        Self::over(path, Box::new(file))
    }

    /// Reads the slots, or makes free ones. Torn slots count as free: their key was never used, because a slot is
    /// durable before a record is written under it.
    ///
    /// # Errors
    /// [`SlotError::Format`], [`SlotError::Io`].
    pub fn over(path: &Path, octets: Box<dyn SlotOctets>) -> Result<Self, SlotError> {
        let io = |source| SlotError::Io { path: path.into(), source };
        let mut bytes = octets.read().map_err(io)?;
        if bytes.is_empty() {
            *bytes = empty();
            octets.write(0, &bytes).and_then(|()| octets.sync()).map_err(io)?;
        }
        if bytes.len() != FILE_BYTES || !bytes.starts_with(MAGIC) {
            return Err(SlotError::Format { path: path.into() });
        }
        let progress = bytes.get(MAGIC.len()..).and_then(decode_progress).unwrap_or_default();
        let slots = bytes.chunks_exact(SLOT_BYTES).skip(HEADER_BYTES / SLOT_BYTES).map(decode).collect();
        Ok(Self { path: path.into(), octets, slots, progress })
    }

    /// How far this agency's bundles have come.
    #[must_use]
    pub const fn progress(&self) -> Progress {
        self.progress
    }

    /// A bundle is to be committed at `position`. Durable with the next sync, which [`SlotFile::fill`] makes.
    ///
    /// # Errors
    /// [`SlotError::Io`].
    pub fn plan(&mut self, position: BundlePosition) -> Result<(), SlotError> {
        self.progress.planned = Some(position);
        self.write_progress()
    }

    /// It is committed. On return that is durable.
    ///
    /// # Errors
    /// [`SlotError::Io`].
    pub fn publish(&mut self, position: BundlePosition) -> Result<(), SlotError> {
        self.progress = Progress { planned: Some(position), published: Some(position) };
        self.write_progress()?;
        self.sync()
    }

    fn write_progress(&self) -> Result<(), SlotError> {
        let octets = encode_progress(self.progress);
        self.octets
            .write(MAGIC.len() as u64, &octets)
            .map_err(|source| SlotError::Io { path: self.path.clone(), source })
    }

    /// The key of the window that starts at `start`.
    #[must_use]
    pub fn key(&self, start: u64) -> Option<&[u8; 32]> {
        self.slots.iter().flatten().find(|slot| slot.start == start).map(|slot| &*slot.key)
    }

    /// How many more keys there is room for.
    #[must_use]
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    /// Windows that have a key, in the order of the file.
    pub fn starts(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().flatten().map(|slot| slot.start)
    }

    /// Makes keys for the windows, one sync for all. On return they are durable.
    ///
    /// # Errors
    /// [`SlotError::Exhausted`], [`SlotError::Io`].
    pub fn fill(&mut self, starts: &[u64], rng: &mut impl CryptoRng) -> Result<(), SlotError> {
        for start in starts {
            let free = self.slots.iter().position(Option::is_none);
            let free = free.ok_or_else(|| SlotError::Exhausted { path: self.path.clone() })?;
            let mut key = Zeroizing::new([0; 32]);
            rng.fill_bytes(key.as_mut());
            let slot = Slot { start: *start, key };
            self.write(free, &encode(&slot))?;
            if let Some(place) = self.slots.get_mut(free) {
                *place = Some(slot);
            }
        }
        self.sync()
    }

    /// Overwrites the keys of the windows, one sync for all. On return they are gone.
    ///
    /// # Errors
    /// [`SlotError::Io`].
    pub fn erase(&mut self, starts: &[u64]) -> Result<(), SlotError> {
        for start in starts {
            while let Some(index) = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|s| s.start == *start))
            {
                self.write(index, &[0; SLOT_BYTES])?;
                if let Some(place) = self.slots.get_mut(index) {
                    *place = None;
                }
            }
        }
        self.sync()
    }

    fn write(&self, index: usize, bytes: &[u8; SLOT_BYTES]) -> Result<(), SlotError> {
        let offset = HEADER_BYTES + index * SLOT_BYTES;
        self.octets.write(offset as u64, bytes).map_err(|source| SlotError::Io { path: self.path.clone(), source })
    }

    fn sync(&self) -> Result<(), SlotError> {
        self.octets.sync().map_err(|source| SlotError::Io { path: self.path.clone(), source })
    }
}

/// A file without a key.
fn empty() -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    bytes.iter_mut().zip(MAGIC).for_each(|(byte, magic)| *byte = *magic);
    bytes
}

/// Makes the file under another name first: whatever a power cut leaves, under its own name it is whole or not there.
fn make(path: &Path) -> io::Result<()> {
    let draft = path.with_extension("new");
    // One that is left over, or that somebody else has put there, would keep its mode.
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&empty())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent)?.sync_all()
}

const PROGRESS_BYTES: usize = 32;
const _: () = assert!(MAGIC.len() + PROGRESS_BYTES <= HEADER_BYTES);

fn encode_progress(progress: Progress) -> [u8; PROGRESS_BYTES] {
    let mut bytes = [0; PROGRESS_BYTES];
    let position = |position: Option<BundlePosition>| {
        let BundlePosition { epoch, seq } = position.unwrap_or(BundlePosition { epoch: 0, seq: 0 });
        [epoch.to_be_bytes().as_slice(), seq.to_be_bytes().as_slice()].concat()
    };
    let fields = [position(progress.planned), position(progress.published)].concat();
    let sum = progress_check(&fields);
    for (place, byte) in bytes.iter_mut().zip(fields.iter().chain(&sum)) {
        *place = *byte;
    }
    bytes
}

fn decode_progress(bytes: &[u8]) -> Option<Progress> {
    let (planned, rest) = bytes.split_first_chunk::<12>()?;
    let (published, rest) = rest.split_first_chunk::<12>()?;
    let position = |bytes: &[u8; 12]| {
        let (epoch, seq) = bytes.split_first_chunk::<4>()?;
        let seq = u64::from_be_bytes(*seq.first_chunk()?);
        let epoch = u32::from_be_bytes(*epoch);
        (epoch != 0 || seq != 0).then_some(BundlePosition { epoch, seq })
    };
    let sound = rest.starts_with(&progress_check(&[planned.as_slice(), published].concat()));
    sound.then(|| Progress { planned: position(planned), published: position(published) })
}

fn progress_check(fields: &[u8]) -> [u8; 8] {
    let Hash(hash) = Hash::of(&[label::AT_REST, b"slot progress", fields]);
    hash.first_chunk().copied().unwrap_or_default()
}

fn check(start: u64, key: &[u8; 32]) -> [u8; 8] {
    let Hash(hash) = Hash::of(&[label::AT_REST, b"slot", &start.to_be_bytes(), key]);
    hash.first_chunk().copied().unwrap_or_default()
}

fn encode(slot: &Slot) -> Zeroizing<[u8; SLOT_BYTES]> {
    let mut bytes = Zeroizing::new([0; SLOT_BYTES]);
    let fields = [&slot.start.to_be_bytes()[..], slot.key.as_ref(), &check(slot.start, &slot.key)];
    for (place, byte) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Slot> {
    let (start, rest) = bytes.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let start = u64::from_be_bytes(*start);
    (start != 0 && rest.starts_with(&check(start, key))).then(|| Slot { start, key: Zeroizing::new(*key) })
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use rand_core::UnwrapErr;

    use super::*;

    #[test]
    fn keys_survive_reopening_and_erased_ones_leave_no_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prekeys.slots");
        let mut slots = SlotFile::open(&path).unwrap();
        slots.fill(&[10, 20, 30], &mut UnwrapErr(SysRng)).unwrap();
        let (kept, erased) = (*slots.key(10).unwrap(), *slots.key(20).unwrap());
        slots.erase(&[20]).unwrap();
        drop(slots);

        let slots = SlotFile::open(&path).unwrap();
        assert_eq!(slots.starts().collect::<Vec<_>>(), [10, 30]);
        assert_eq!(slots.key(10), Some(&kept));
        assert_eq!(slots.key(20), None);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(32).any(|window| window == kept));
        assert!(!bytes.windows(8).any(|window| erased.starts_with(window)));
    }

    #[test]
    fn how_far_bundles_have_come_survives_reopening_and_a_torn_header_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prekeys.slots");
        let mut slots = SlotFile::open(&path).unwrap();
        assert_eq!(slots.progress(), Progress::default());
        let [first, second] = [(7, 1), (7, 2)].map(|(epoch, seq)| BundlePosition { epoch, seq });
        slots.publish(first).unwrap();
        slots.plan(second).unwrap();
        slots.fill(&[10], &mut UnwrapErr(SysRng)).unwrap();
        drop(slots);
        let slots = SlotFile::open(&path).unwrap();
        assert_eq!(slots.progress(), Progress { planned: Some(second), published: Some(first) });
        drop(slots);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[MAGIC.len() + 3] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let slots = SlotFile::open(&path).unwrap();
        assert_eq!((slots.progress(), slots.starts().count()), (Progress::default(), 1));
    }

    #[test]
    fn a_file_whose_making_was_cut_short_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prekeys.slots");
        std::fs::write(path.with_extension("new"), MAGIC).unwrap();
        SlotFile::open(&path).unwrap().fill(&[10], &mut UnwrapErr(SysRng)).unwrap();
        assert_eq!(SlotFile::open(&path).unwrap().starts().collect::<Vec<_>>(), [10]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused_with_what_to_do() {
        use std::fs::{Permissions, set_permissions};
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prekeys.slots");
        // A draft with a mode of its own does not hand it on.
        std::fs::write(path.with_extension("new"), b"").unwrap();
        set_permissions(path.with_extension("new"), Permissions::from_mode(0o666)).unwrap();
        SlotFile::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o666, 0o640, 0o604, 0o602] {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let said = SlotFile::open(&path).err().unwrap().to_string();
            assert!(said.contains(&format!("mode 0{mode:o}")) && said.contains("chmod 600"), "{said}");
        }
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = dir.path().join("link.slots");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(SlotFile::open(&link), Err(SlotError::Secret(SecretError::SymbolicLink { .. }))));
        SlotFile::open(&path).unwrap();
    }

    #[test]
    fn a_torn_slot_is_free_and_a_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prekeys.slots");
        let mut slots = SlotFile::open(&path).unwrap();
        slots.fill(&[10], &mut UnwrapErr(SysRng)).unwrap();
        drop(slots);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HEADER_BYTES + 20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(SlotFile::open(&path).unwrap().starts().count(), 0);

        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(SlotFile::open(&path), Err(SlotError::Format { .. })));
    }
}
