//! The proof that a batch is on disk.

/// A batch is on disk, under a completed sync. Acknowledgements are made from it: acknowledging before the sync does not
/// compile.
#[derive(Debug)]
#[must_use = "the senders still wait for their acknowledgement"]
pub struct Durable {
    commit: u64,
}

impl Durable {
    /// For store engines alone, after the sync of a batch has returned. `commit` counts the engine's commits since it was
    /// opened, from 1.
    pub const fn assertion(commit: u64) -> Self {
        Self { commit }
    }

    /// The number of this commit since the store was opened, from 1.
    #[must_use]
    pub const fn commit(&self) -> u64 {
        self.commit
    }
}
