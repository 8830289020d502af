//! Where keys and passphrases are kept, and the checks before one is read.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// Environment variable that systemd sets to the folder of `LoadCredential=`.
pub const CREDENTIALS_ENV: &str = "CREDENTIALS_DIRECTORY";

/// A secret's place, never the secret itself, so that a configuration can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `credential:NAME`: a systemd credential.
    Credential(String),
    /// `file:PATH`: a file of mode 0600 or 0400 that belongs to this user or to root.
    File(PathBuf),
}

/// Why a reference to a secret is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSecretRefError {
    /// A credential's name is one file name.
    #[error("'{name}' is not a credential's name: no '/', not empty")]
    CredentialName {
        /// What was written.
        name: String,
    },
    /// The secret itself, or an unknown scheme.
    #[error("write \"file:PATH\" or \"credential:NAME\"; secrets themselves do not belong in this file")]
    Scheme,
    /// Hardware tokens are not supported yet.
    #[error("pkcs11 tokens are not supported by this version; write \"file:PATH\" or \"credential:NAME\"")]
    Token,
}

impl FromStr for SecretRef {
    type Err = ParseSecretRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("credential", name)) if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') => {
                Err(ParseSecretRefError::CredentialName { name: name.into() })
            }
            Some(("credential", name)) => Ok(Self::Credential(name.into())),
            Some(("file", path)) if !path.is_empty() && !path.contains('\0') => Ok(Self::File(path.into())),
            Some(("pkcs11", _)) => Err(ParseSecretRefError::Token),
            _ => Err(ParseSecretRefError::Scheme),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl SecretRef {
    /// Relative files start from `folder`.
    #[must_use]
    pub fn under(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            Self::Credential(_) => self,
        }
    }

    /// The file that holds it.
    ///
    /// # Errors
    /// A credential without [`CREDENTIALS_ENV`] in the environment.
    pub fn locate(&self) -> Result<PathBuf, SecretError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Credential(name) => match std::env::var_os(CREDENTIALS_ENV) {
                Some(folder) => Ok(Path::new(&folder).join(name)),
                None => Err(SecretError::NoCredentials { name: name.clone() }),
            },
        }
    }

    /// Reads the secret, at most `bytes_max`, after checking who else may read it.
    ///
    /// # Errors
    /// As [`read_secret`]; a credential's group bits are not held against it, because systemd grants access by ACL.
    pub fn read(&self, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let others = match self {
            Self::Credential(_) => 0o007,
            Self::File(_) => 0o077,
        };
        read_checked(&self.locate()?, bytes_max, others)
    }

    /// As [`SecretRef::read`], without one trailing line end: how people write passphrases to files.
    ///
    /// # Errors
    /// As [`SecretRef::read`].
    pub fn read_line(&self) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let mut secret = self.read(4096)?;
        if secret.last() == Some(&b'\n') {
            secret.pop();
            if secret.last() == Some(&b'\r') {
                secret.pop();
            }
        }
        Ok(secret)
    }
}

/// Why a secret is not used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be opened or read.
    #[error("{}: {}", path.display(), reason_of(error))]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// `credential:` outside a service.
    #[error(
        "credential:{name}: {CREDENTIALS_ENV} is not set; run under systemd with LoadCredential={name}, or use file:"
    )]
    NoCredentials {
        /// Its name.
        name: String,
    },
    /// A device, folder or pipe.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// Which file.
        path: PathBuf,
    },
    /// Somebody else could have planted it.
    #[error("{}: belongs to user {owner}; the owner must be the user who runs this (uid {us}) or root", path.display())]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our effective user id.
        us: u32,
    },
    /// Others can read it.
    #[error("{}: mode {mode:04o} gives others access; run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A symbolic link could be turned elsewhere between check and use.
    #[error("{}: is a symbolic link; name the file itself", path.display())]
    SymbolicLink {
        /// Which file.
        path: PathBuf,
    },
    /// Longer than anything of its kind.
    #[error("{}: longer than {bytes_max} bytes; is this the right file?", path.display())]
    TooLong {
        /// Which file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
}

impl SecretError {
    /// The message without the path, where the path was just said.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Io { error, .. } => reason_of(error),
            Self::NotAFile { .. } => "not a regular file".into(),
            other => other.to_string(),
        }
    }
}

fn reason_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

/// Reads a secret file, at most `bytes_max`: a regular file, no symbolic link, owned by us or root, no access for
/// group and others. The checks are made on the open file, so that it cannot be swapped in between.
///
/// # Errors
/// The first check that fails.
pub fn read_secret(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    read_checked(path, bytes_max, 0o077)
}

/// Reads a file that is no secret, at most `bytes_max`.
///
/// # Errors
/// Not readable, no regular file, or longer.
pub fn read_public(path: &Path, bytes_max: u64) -> Result<Vec<u8>, SecretError> {
    let io_error = |error| SecretError::Io { path: path.into(), error };
    // Not to hang on a pipe that somebody left there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| io_error(errno.into()))?);
    if !file.metadata().map_err(io_error)?.is_file() {
        return Err(SecretError::NotAFile { path: path.into() });
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > bytes_max {
        return Err(SecretError::TooLong { path: path.into(), bytes_max });
    }
    Ok(bytes)
}

fn read_checked(path: &Path, bytes_max: u64, others: u32) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        rustix::io::Errno::LOOP => SecretError::SymbolicLink { path: path.into() },
        errno => SecretError::Io { path: path.into(), error: errno.into() },
    })?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|error| SecretError::Io { path: path.into(), error })?;
    check(path, &metadata, others)?;
    if metadata.len() > bytes_max {
        return Err(SecretError::TooLong { path: path.into(), bytes_max });
    }
    // Room for all of it at once: a growing vector would leave copies of the secret behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(usize::try_from(bytes_max).unwrap_or(0)));
    let read = file.take(bytes_max).read_to_end(&mut secret);
    read.map_err(|error| SecretError::Io { path: path.into(), error })?;
    Ok(secret)
}

/// Checks an open file that holds secrets: a regular one, owned by us or root, no access for group and others.
///
/// # Errors
/// The first check that fails.
pub fn check_secret(path: &Path, file: &File) -> Result<(), SecretError> {
    let metadata = file.metadata().map_err(|error| SecretError::Io { path: path.into(), error })?;
    check(path, &metadata, 0o077)
}

fn check(path: &Path, metadata: &Metadata, others: u32) -> Result<(), SecretError> {
    if !metadata.is_file() {
        return Err(SecretError::NotAFile { path: path.into() });
    }
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        return Err(SecretError::Owner { path: path.into(), owner: metadata.uid(), us });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & others != 0 {
        return Err(SecretError::Permissions { path: path.into(), mode });
    }
    Ok(())
}
