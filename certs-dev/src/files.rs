//! Writing files so that a reader sees the old or the new one, and nobody else sees a secret.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file or folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}: {source}", path.display())]
pub struct FileError {
    /// What was tried.
    pub verb: &'static str,
    /// Which.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { verb, path, source }
    }
}

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Its owner: mode 0600.
    Private,
    /// Everyone: mode 0644.
    Public,
}

/// Writes a temporary file beside `path`, syncs it and renames it over `path`.
pub(crate) fn write(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let mode = match access {
        Access::Private => 0o600,
        Access::Public => 0o644,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(FileError::new("write", path))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::new("read", path))
}

/// Makes a folder that only its owner enters.
pub(crate) fn folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(FileError::new("make", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(FileError::new("make", path))
}
