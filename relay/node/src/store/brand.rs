//! What marks the batches of one store.
//!
//! Envelopes stand in the journal as they came, and a sender may write into one what looks like a whole batch. When a
//! power cut tears the batch that it is in, that must not pass for something that was committed later, which would be
//! damage that no node may start with ([`super::recover`]). So every batch begins with a row that nobody outside can know.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Fault;
use super::directory::{fault, replace};

const FILE: &str = "brand";
const BYTES: usize = 16;

/// Sixteen random bytes, the same in every batch of a store. They mark, and protect nothing: not a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Brand([u8; BYTES]);

impl Brand {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn draw() -> Result<Self, Fault> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|error| Fault::Io { doing: "drawing a brand for the store", cause: error.to_string().into() })?;
        Ok(Self(bytes))
    }

    /// The brand of the store in `directory`; `None` until its first branded batch is durable.
    ///
    /// # Errors
    /// The file cannot be read, or is no brand.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, Fault> {
        let file = path(directory);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault("reading", &file, &error)),
        };
        let wrong = |_| fault("reading", &file, &io::Error::other("does not hold a brand of 16 bytes"));
        bytes.try_into().map(|bytes| Some(Self(bytes))).map_err(wrong)
    }

    /// Keeps it in `directory`. A batch that bears it must be durable: from now on others do not count.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn write(&self, directory: &Path) -> Result<(), Fault> {
        replace(&path(directory), &self.0)
    }

    /// The value of the row that marks a batch.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it stands in these bytes of a journal.
    pub(super) fn places<'a>(&'a self, journal: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        journal.windows(BYTES).enumerate().filter(|(_, window)| *window == self.0).map(|(place, _)| place)
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}
