//! How opening a store fails.

use std::path::PathBuf;

use liaison_driver::store_error::{Fault, StoreError};

/// Why a store cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk, or what is on it.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// There are files, and they are not a store: nothing was touched.
    #[error("{} is not a Liaison store and not empty; name another directory", directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
    },
    /// One process at a time.
    #[error("{} is in use by another process; stop it first", directory.display())]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// Written by a newer version, or by one too old to be read.
    #[error(
        "{} has store format {found}, this program reads format {supported}; use the program that wrote it, or a newer one",
        directory.display()
    )]
    Version {
        /// The directory.
        directory: PathBuf,
        /// What the store says.
        found: u32,
        /// What this program writes.
        supported: u32,
    },
}

impl From<StoreError> for OpenError {
    /// For the reads that opening makes: they end in faults only.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fault(fault) => Self::Fault(fault),
            StoreError::Full { .. } | StoreError::Misuse(_) => {
                Self::Fault(Fault::Io { doing: "opening", cause: error.to_string().into() })
            }
        }
    }
}
