//! Binding a socket of this machine.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// `sockaddr_un` has 108 bytes, the last of them zero.
const PATH_BYTES_MAX: usize = 107;

/// What listens, and where that is configured: for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The program, in a word.
    pub program: &'static str,
    /// The key of its configuration that names the socket.
    pub key: &'static str,
}

/// Why the socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error("{}: another {} listens here; stop that process first, or set another {}", path.display(), listener.program, listener.key)]
    InUse {
        /// The socket.
        path: PathBuf,
        /// For whom.
        listener: Listener,
    },
    /// The system will not.
    #[error("{}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// The folder is not there.
    #[error("{}: the folder {} does not exist; make that folder, or set another {}", path.display(), folder.display(), listener.key)]
    NoFolder {
        /// The socket.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
        /// For whom.
        listener: Listener,
    },
    /// Something else has that name: it is left alone.
    #[error("{}: exists and is no socket; set another {}", path.display(), listener.key)]
    NotASocket {
        /// The file.
        path: PathBuf,
        /// For whom.
        listener: Listener,
    },
    /// Longer than the system allows.
    #[error("{}: the path of a socket has at most {PATH_BYTES_MAX} bytes; set a shorter {}", path.display(), listener.key)]
    TooLong {
        /// The socket.
        path: PathBuf,
        /// For whom.
        listener: Listener,
    },
}

/// Whether a socket can be made at `path`: what [`bind`] asks first, for a check that starts nothing. A live process that
/// listens there is no mistake of the configuration.
///
/// # Errors
/// [`ListenError`].
pub fn check_path(path: &Path, listener: Listener) -> Result<(), ListenError> {
    if private_in(folder_of(path)).join(FIRST_NAME).as_os_str().len().max(path.as_os_str().len()) > PATH_BYTES_MAX {
        return Err(ListenError::TooLong { path: path.into(), listener });
    }
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(ListenError::NoFolder { path: path.into(), folder: folder.into(), listener });
    }
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(ListenError::NotASocket { path: path.into(), listener })
        }
        _ => Ok(()),
    }
}

/// The socket's name until it has its mode.
const FIRST_NAME: &str = "s";

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."))
}

fn private_in(folder: &Path) -> PathBuf {
    folder.join(format!(".{}", std::process::id()))
}

/// Removes the socket when dropped, if it is still the one that was made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device_and_inode: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.device_and_inode.is_some() && identity(&self.path) == self.device_and_inode {
            // Nobody is left to be told.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Listens at `path` with this mode, over a socket that a dead process left there.
///
/// # Errors
/// [`ListenError`].
pub fn bind(path: &Path, mode: u32, listener: Listener) -> Result<(UnixListener, SocketFile), ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    check_path(path, listener)?;
    clear(path, listener)?;
    // In a folder of our own until it has its mode, so that nobody connects before.
    let private = private_in(folder_of(path));
    DirBuilder::new().mode(0o700).create(&private).map_err(io_error)?;
    let made = bind_in(&private, path, mode);
    let _ = std::fs::remove_dir(&private);
    Ok((made?, SocketFile { path: path.into(), device_and_inode: identity(path) }))
}

fn bind_in(private: &Path, path: &Path, mode: u32) -> Result<UnixListener, ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    let first = private.join(FIRST_NAME);
    let listener = UnixListener::bind(&first).map_err(io_error)?;
    let moved =
        std::fs::set_permissions(&first, Permissions::from_mode(mode)).and_then(|()| std::fs::rename(&first, path));
    if let Err(error) = moved {
        let _ = std::fs::remove_file(&first);
        return Err(io_error(error));
    }
    Ok(listener)
}

fn clear(path: &Path, listener: Listener) -> Result<(), ListenError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.into(), listener });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse { path: path.into(), listener }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| ListenError::Io { path: path.into(), error })
        }
        Err(error) => Err(ListenError::Io { path: path.into(), error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Listener = Listener { program: "daemon", key: "[api] socket" };

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("liaisond.sock");
        let (first, file) = bind(&path, 0o660, HERE).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let said = bind(&path, 0o660, HERE).unwrap_err().to_string();
        assert!(
            said.contains("another daemon listens here; stop that process first, or set another [api] socket"),
            "{said}"
        );
        std::mem::forget(file);
        drop(first);
        let (_second, file) = bind(&path, 0o660, HERE).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("liaisond.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path, 0o660, HERE), Err(ListenError::NotASocket { .. })));
        let long = folder.path().join("x".repeat(108));
        let nowhere = folder.path().join("missing/liaisond.sock");
        // The check that starts nothing says the same.
        for refused in [bind(&long, 0o660, HERE).map(drop), check_path(&long, HERE)] {
            assert!(matches!(refused, Err(ListenError::TooLong { .. })));
        }
        for refused in [bind(&nowhere, 0o660, HERE).map(drop), check_path(&nowhere, HERE)] {
            assert!(matches!(refused, Err(ListenError::NoFolder { .. })));
        }
        assert!(matches!(check_path(&path, HERE), Err(ListenError::NotASocket { .. })));
        check_path(&folder.path().join("free.sock"), HERE).unwrap();
    }
}
