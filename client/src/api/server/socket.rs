//! The socket, and who calls.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

/// This user and its group.
const MODE: u32 = 0o660;
/// `sockaddr_un` has 108 bytes, the last of them zero.
const PATH_BYTES_MAX: usize = 107;

/// Why the socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error("{}: another daemon listens here; stop it first, or set another [api] socket", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// The system will not.
    #[error("{}: {error}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Something else has that name: it is left alone.
    #[error("{}: exists and is no socket; set another [api] socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Longer than the system allows.
    #[error("{}: the path of a socket has at most {PATH_BYTES_MAX} bytes; set a shorter [api] socket", path.display())]
    TooLong {
        /// The socket.
        path: PathBuf,
    },
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

/// Listens at `path` with mode 0660, over a socket that a dead process left there.
///
/// # Errors
/// [`ListenError`].
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile), ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    clear(path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    // In a folder of our own until it has its mode, so that nobody connects before.
    let private = folder.join(format!(".{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&private).map_err(io_error)?;
    let made = bind_in(&private, path);
    let _ = std::fs::remove_dir(&private);
    Ok((made?, SocketFile { path: path.into(), device_and_inode: identity(path) }))
}

fn bind_in(private: &Path, path: &Path) -> Result<UnixListener, ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    let first = private.join("s");
    if first.as_os_str().len().max(path.as_os_str().len()) > PATH_BYTES_MAX {
        return Err(ListenError::TooLong { path: path.into() });
    }
    let listener = UnixListener::bind(&first).map_err(io_error)?;
    let moved =
        std::fs::set_permissions(&first, Permissions::from_mode(MODE)).and_then(|()| std::fs::rename(&first, path));
    if let Err(error) = moved {
        let _ = std::fs::remove_file(&first);
        return Err(io_error(error));
    }
    Ok(listener)
}

fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.into() });
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ListenError::InUse { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| ListenError::Io { path: path.into(), error })
        }
        Err(error) => Err(ListenError::Io { path: path.into(), error }),
    }
}

/// Who calls, as the kernel says. The socket's mode has let it in; the log says who asked for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|cred| cred.uid()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("liaisond.sock");
        let (first, file) = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(matches!(bind(&path), Err(ListenError::InUse { .. })));
        std::mem::forget(file);
        drop(first);
        let (_second, file) = bind(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("liaisond.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(ListenError::NotASocket { .. })));
        let long = folder.path().join("x".repeat(108));
        assert!(matches!(bind(&long), Err(ListenError::TooLong { .. })));
    }
}
