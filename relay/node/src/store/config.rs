//! What a store is opened with.

use std::path::PathBuf;

/// Where the store is, and how full its disk may get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// A directory of its own, made if it is missing. Nothing else may be in it.
    pub directory: PathBuf,
    /// While less than this is free on the disk, batches that add are refused with [`super::StoreError::Full`]: what is
    /// left is for removing what is held, for small records, and for the engine's own rewriting. Default
    /// [`StoreConfig::FREE_BYTES_MIN`].
    pub free_bytes_min: u64,
}

impl StoreConfig {
    /// Two journals, the memory tables and a compaction of the largest tables fit in this, with room to spare.
    pub const FREE_BYTES_MIN: u64 = 512 * 1024 * 1024;

    /// The lease file: beside the directory, with `.lease` after its name, so that no copy of the store has it in it.
    #[must_use]
    pub fn lease_file(&self) -> PathBuf {
        let mut name = self.directory.clone().into_os_string();
        name.push(".lease");
        name.into()
    }

    /// The defaults, in `directory`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), free_bytes_min: Self::FREE_BYTES_MIN }
    }
}
