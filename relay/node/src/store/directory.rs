//! The store's directory: whose it is, in which format, and that no other process has it.
//!
//! ```text
//! DIRECTORY/lock     locked while a process has the store open
//! DIRECTORY/format   "liaison store 1", and "incomplete" behind it until the engine's files are whole
//! DIRECTORY/brand    what marks its batches ([`super::brand`])
//! DIRECTORY/data/    the engine's
//! ```
//!
//! A crash while a store is made leaves `incomplete`: nothing was ever acknowledged from it, and it is made anew.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use liaison_protocol::mutant::{Mutant, planted};

use super::{Fault, OpenError};

/// Format of the store. It changes with keys, values, keyspaces or engine; CHANGELOG.md says how to get there.
pub(super) const FORMAT: u32 = 1;

const LOCK: &str = "lock";
const FORMAT_FILE: &str = "format";
const DATA: &str = "data";
const HEADING: &str = "liaison store ";
const INCOMPLETE: &str = " incomplete";

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: LockFile,
    /// Whether the engine's files are still to be made.
    fresh: bool,
}

impl Directory {
    /// Takes a directory that is a store, or is empty or missing, and leaves any other as it is.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        make(path)?;
        if is_foreign(path)? {
            return Err(OpenError::Foreign { directory: path.into() });
        }
        let lock = lock(path)?;
        keep_private(path)?;
        let fresh = match read_format(path)? {
            Some(Format { version, .. }) if version != FORMAT && !planted(Mutant::OtherFormatOpened) => {
                return Err(OpenError::Version { directory: path.into(), found: version, supported: FORMAT });
            }
            Some(Format { complete, .. }) => !complete,
            None => true,
        };
        let directory = Self { path: path.into(), _lock: lock, fresh };
        if fresh {
            directory.start_anew()?;
        } else if !directory.data().is_dir() {
            return Err(fault("opening the store", &directory.data(), &io::ErrorKind::NotFound.into()).into());
        }
        Ok(directory)
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// The engine's files are whole and durable: from now on they are never made anew.
    pub(super) fn complete(&mut self) -> Result<(), Fault> {
        write_format(&self.path, &format!("{HEADING}{FORMAT}\n"))?;
        self.fresh = false;
        Ok(())
    }

    fn start_anew(&self) -> Result<(), Fault> {
        write_format(&self.path, &format!("{HEADING}{FORMAT}{INCOMPLETE}\n"))?;
        match fs::remove_dir_all(self.data()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("making the store anew", &self.data(), &error))
            }
            _ => Ok(()),
        }
    }
}

struct Format {
    version: u32,
    complete: bool,
}

fn make(path: &Path) -> Result<(), Fault> {
    if path.is_dir() {
        return Ok(());
    }
    // Not even the names of queues are anyone else's business.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| fault("making the directory", path, &error))?;
    path.parent().filter(|parent| parent.is_dir()).map_or(Ok(()), sync_directory)
}

/// A folder that somebody made beforehand may be open to others, and so are files that were made in it before. A folder of
/// another owner, as a mounted volume can be, stays as it is; then the engine's own folder is closed.
fn keep_private(path: &Path) -> Result<(), Fault> {
    let data = path.join(DATA);
    let [above, inner] = [path, &data].map(|folder| match fs::metadata(folder) {
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map(|()| {
                tracing::warn!(folder = %folder.display(), "others could read the store: its folder has mode 0700 now");
            })
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    });
    if above.is_err() {
        inner.map_err(|error| fault("closing to others (chmod 700 it, or its owner)", &data, &error))?;
    }
    Ok(())
}

fn is_foreign(path: &Path) -> Result<bool, Fault> {
    let listing = |error: &io::Error| fault("listing", path, error);
    if path.join(FORMAT_FILE).is_file() {
        return Ok(false);
    }
    for entry in fs::read_dir(path).map_err(|error| listing(&error))? {
        let name = entry.map_err(|error| listing(&error))?.file_name();
        // A crash right after locking leaves the lock alone; a mount point may have a lost+found.
        if name != LOCK && name != "lost+found" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The locked file. A child process that is being started holds the file for a moment as well: closing it would leave the
/// lock until then, so the lock is given back by itself.
#[derive(Debug)]
struct LockFile(File);

impl Drop for LockFile {
    fn drop(&mut self) {
        // A lock that cannot be given back ends with the file.
        let _ = self.0.unlock();
    }
}

fn lock(path: &Path) -> Result<LockFile, OpenError> {
    let file = path.join(LOCK);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file);
    let lock = lock.map_err(|error| fault("opening", &file, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(LockFile(lock)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { directory: path.into() }),
        Err(TryLockError::Error(error)) => Err(fault("locking", &file, &error).into()),
    }
}

fn read_format(path: &Path) -> Result<Option<Format>, Fault> {
    let file = path.join(FORMAT_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault("reading", &file, &error)),
    };
    let rest = text.trim_end().strip_prefix(HEADING);
    let format = rest.and_then(|rest| {
        let (version, complete) = rest.strip_suffix(INCOMPLETE).map_or((rest, true), |version| (version, false));
        Some(Format { version: version.parse().ok()?, complete })
    });
    let wrong = || fault("reading", &file, &io::Error::other("does not name a store's format"));
    format.map(Some).ok_or_else(wrong)
}

fn write_format(path: &Path, text: &str) -> Result<(), Fault> {
    replace(&path.join(FORMAT_FILE), text.as_bytes())
}

/// Replaces the file, so that it holds the old bytes or the new, and is durable.
pub(super) fn replace(file: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let draft = file.with_extension("new");
    let write = || -> io::Result<()> {
        let mut out = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&draft)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&draft, file)
    };
    write().map_err(|error| fault("writing", file, &error))?;
    file.parent().map_or(Ok(()), sync_directory)
}

pub(super) fn sync_directory(path: &Path) -> Result<(), Fault> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| fault("syncing", path, &error))
}

pub(super) fn fault(doing: &'static str, path: &Path, error: &io::Error) -> Fault {
    Fault::Io { doing, cause: format!("{}: {error}", path.display()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_second_claim_is_refused_and_names_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        let first = Directory::claim(&path).unwrap();
        let second = Directory::claim(&path).unwrap_err();
        assert_eq!(second, OpenError::Locked { directory: path.clone() });
        assert!(second.to_string().contains(path.to_str().unwrap()));
        drop(first);
        Directory::claim(&path).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_read_is_closed_to_them() {
        let temp = tempfile::tempdir().unwrap();
        let mut directory = Directory::claim(temp.path()).unwrap();
        fs::create_dir(directory.data()).unwrap();
        directory.complete().unwrap();
        let data = directory.data();
        drop(directory);
        for folder in [temp.path(), &data] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Directory::claim(temp.path()).unwrap();
        for folder in [temp.path(), &data] {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
    }

    #[test]
    fn a_foreign_directory_is_refused_and_left_as_it_was() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.tex"), "years of work").unwrap();
        let refused = Directory::claim(temp.path()).unwrap_err();
        assert_eq!(refused, OpenError::Foreign { directory: temp.path().into() });
        assert_eq!(names(temp.path()), ["thesis.tex"]);
    }

    #[test]
    fn an_unknown_format_is_refused_in_words() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(FORMAT_FILE), "liaison store 7\n").unwrap();
        let refused = Directory::claim(temp.path()).unwrap_err();
        let path: PathBuf = temp.path().into();
        assert_eq!(refused, OpenError::Version { directory: path, found: 7, supported: FORMAT });
        assert!(refused.to_string().contains("format 7"), "{refused}");
        fs::write(temp.path().join(FORMAT_FILE), "something else").unwrap();
        assert!(matches!(Directory::claim(temp.path()), Err(OpenError::Fault(_))));
    }

    #[test]
    fn a_store_that_was_never_whole_is_made_anew_and_a_whole_one_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let mut first = Directory::claim(temp.path()).unwrap();
        assert!(first.is_fresh());
        fs::create_dir(first.data()).unwrap();
        fs::write(first.data().join("half"), "").unwrap();
        drop(first);

        first = Directory::claim(temp.path()).unwrap();
        assert!(first.is_fresh() && !first.data().exists());
        fs::create_dir(first.data()).unwrap();
        fs::write(first.data().join("whole"), "").unwrap();
        first.complete().unwrap();
        drop(first);

        let second = Directory::claim(temp.path()).unwrap();
        assert!(!second.is_fresh() && second.data().join("whole").exists());
    }

    #[test]
    fn a_whole_store_without_its_data_is_a_fault() {
        let temp = tempfile::tempdir().unwrap();
        let mut directory = Directory::claim(temp.path()).unwrap();
        directory.complete().unwrap();
        drop(directory);
        assert!(matches!(Directory::claim(temp.path()), Err(OpenError::Fault(_))));
    }
}
