//! Binding the admin socket.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::config::SocketMode;

/// Why the admin socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error("{}: another relay listens here; stop it first, or set another [listen] admin_socket", path.display())]
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
    #[error("{}: exists and is no socket; set another [listen] admin_socket", path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Longer than the system allows.
    #[error("{}: the path of a socket has at most 107 bytes; set a shorter [listen] admin_socket", path.display())]
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
pub fn bind_socket(path: &Path, mode: SocketMode) -> Result<(UnixListener, SocketFile), ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    clear(path)?;
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    // In a folder of our own until it has its mode, so that nobody connects before.
    let private = folder.join(format!(".{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&private).map_err(io_error)?;
    let made = bind_in(&private, path, mode);
    let _ = std::fs::remove_dir(&private);
    let listener = made?;
    Ok((listener, SocketFile { path: path.into(), device_and_inode: identity(path) }))
}

fn bind_in(private: &Path, path: &Path, mode: SocketMode) -> Result<UnixListener, ListenError> {
    let io_error = |error| ListenError::Io { path: path.into(), error };
    let first = private.join("s");
    // `sockaddr_un` has 108 bytes, the last of them zero.
    if first.as_os_str().len().max(path.as_os_str().len()) > 107 {
        return Err(ListenError::TooLong { path: path.into() });
    }
    let listener = UnixListener::bind(&first).map_err(io_error)?;
    let moved = std::fs::set_permissions(&first, std::fs::Permissions::from_mode(mode.bits()))
        .and_then(|()| std::fs::rename(&first, path));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.sock");
        let (first, file) = bind_socket(&path, SocketMode::User).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let said = bind_socket(&path, SocketMode::User).unwrap_err().to_string();
        assert!(said.contains("another relay listens here"), "{said}");
        std::mem::forget(file);
        drop(first);
        let (_second, file) = bind_socket(&path, SocketMode::Group).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_socket(&path, SocketMode::User), Err(ListenError::NotASocket { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let long = folder.path().join("x".repeat(108));
        assert!(matches!(bind_socket(&long, SocketMode::User), Err(ListenError::TooLong { .. })));
    }
}
