//! The preload library's log, read backwards.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::draw::Draw;

/// `struct entry` in `preload/disk.c`.
const ENTRY_BYTES: usize = 48;

/// What a power cut took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Writes that no sync covered, and that were undone.
    pub writes: usize,
    /// Such writes that reached the disk all the same, whole or in part.
    pub survived: usize,
    /// Names: files and folders made, renamed or removed without a sync of their directory, and undone.
    pub names: usize,
}

#[derive(Debug)]
struct Entry {
    kind: u8,
    inode: u64,
    offset: u64,
    written: u64,
    size: u64,
    payload: Vec<u8>,
}

impl Entry {
    const fn is_name(&self) -> bool {
        matches!(self.kind, b'C' | b'M' | b'R' | b'U' | b'X')
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(std::ffi::OsStr::from_bytes(&self.payload))
    }

    /// Where the library kept a file that lost its name.
    fn kept(&self, log: &Path) -> Option<PathBuf> {
        (self.offset > 0).then(|| log.join(format!("{}-{}", self.written, self.offset)))
    }
}

#[expect(clippy::host_endian_bytes, reason = "a process of this machine wrote it")]
fn read(log: &Path) -> Vec<Entry> {
    let bytes = fs::read(log.join("log")).unwrap_or_default();
    let (mut rest, mut entries) = (bytes.as_slice(), Vec::new());
    // The last entry may be cut short by the kill: then its call has not been made.
    while let Some((head, tail)) = rest.split_at_checked(ENTRY_BYTES) {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let length = usize::try_from(number(40)).expect("a length");
        let Some((payload, tail)) = tail.split_at_checked(length) else { break };
        entries.push(Entry {
            kind: head[0],
            inode: number(8),
            offset: number(16),
            written: number(24),
            size: number(32),
            payload: payload.to_vec(),
        });
        rest = tail;
    }
    entries
}

pub(super) fn syncs(log: &Path) -> (usize, usize) {
    let entries = read(log);
    let count = |kind: u8| entries.iter().filter(|entry| entry.kind == kind).count();
    (count(b'S'), count(b'F'))
}

/// What no sync covered, in the order in which it was done.
fn pending(entries: Vec<Entry>) -> Vec<Entry> {
    let mut pending: Vec<(Entry, bool)> = Vec::new();
    for entry in entries {
        match entry.kind {
            // A sync covers a file's content, or a directory's names; not what an earlier, failed one should have covered.
            b'S' => pending.retain(|(change, is_lost)| *is_lost || change.inode != entry.inode),
            b'F' => pending.iter_mut().for_each(|(change, is_lost)| *is_lost |= change.inode == entry.inode),
            _ => pending.push((entry, false)),
        }
    }
    pending.into_iter().map(|(change, _)| change).collect()
}

/// Undoes what is pending below `root`; with `draw`, a part of it survives.
pub(super) fn undo(root: &Path, log: &Path, mut draw: Option<&mut Draw>) -> Loss {
    let (names, writes): (Vec<_>, Vec<_>) = pending(read(log)).into_iter().partition(Entry::is_name);
    let files = by_inode(root, log);
    let mut loss = Loss::default();
    let mut surviving = Vec::new();
    for write in &writes {
        let Some(file) = files.get(&write.inode) else { continue };
        match draw.as_mut().and_then(|draw| survivor(write, file, draw)) {
            Some(part) => surviving.push((write, file, part)),
            None => loss.writes += 1,
        }
    }
    for write in writes.iter().rev() {
        let Some(file) = files.get(&write.inode) else { continue };
        let open = File::options().write(true).open(file).expect("a file of the program");
        open.set_len(write.size).and_then(|()| open.write_all_at(&write.payload, write.offset)).expect("room");
    }
    for (write, file, part) in surviving {
        let open = File::options().write(true).open(file).expect("a file of the program");
        match write.kind {
            b'T' => open.set_len(write.written),
            _ => open.write_all_at(&part, write.offset),
        }
        .expect("room");
        loss.survived += 1;
    }
    // File systems keep the order of names: a beginning survives.
    let kept = draw.map_or(0, |draw| usize::try_from(draw.below(names.len() as u64 + 1)).expect("a count"));
    for name in names[kept..].iter().rev() {
        undo_name(name, log);
        loss.names += 1;
    }
    loss
}

/// What of a write reached the disk: nothing, all, or its beginning.
fn survivor(write: &Entry, file: &Path, draw: &mut Draw) -> Option<Vec<u8>> {
    if draw.permille(500) {
        return None;
    }
    if write.kind == b'T' {
        return Some(Vec::new());
    }
    let whole = draw.permille(700);
    let length = if whole { write.written } else { draw.below(write.written.max(1)) };
    let mut bytes = vec![0; usize::try_from(length).expect("a length")];
    let open = File::open(file).ok()?;
    let mut done = 0;
    while done < bytes.len() {
        let got = open.read_at(&mut bytes[done..], write.offset + done as u64).ok()?;
        if got == 0 {
            break;
        }
        done += got;
    }
    bytes.truncate(done);
    Some(bytes)
}

/// A file that was made is gone, one that was removed is back, and so on. What a later change made impossible is left.
fn undo_name(name: &Entry, log: &Path) {
    match name.kind {
        b'C' => drop(fs::remove_file(name.path())),
        b'M' => drop(fs::remove_dir(name.path())),
        b'X' => drop(fs::create_dir(name.path())),
        b'U' => {
            if let Some(kept) = name.kept(log) {
                drop(fs::hard_link(kept, name.path()));
            }
        }
        _ => {
            let mut both = name.payload.split(|byte| *byte == 0);
            let mut path = || PathBuf::from(std::ffi::OsStr::from_bytes(both.next().unwrap_or_default()));
            let (from, to) = (path(), path());
            drop(fs::rename(&to, &from));
            if let Some(kept) = name.kept(log) {
                drop(fs::hard_link(kept, to));
            }
        }
    }
}

fn by_inode(root: &Path, log: &Path) -> BTreeMap<u64, PathBuf> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![root.to_owned(), log.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                files.insert(metadata.ino(), entry.path());
            }
        }
    }
    files
}
