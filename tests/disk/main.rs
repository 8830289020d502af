//! The real programs on disks that lose what was not synced, and on disks that fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod cuts;
mod failures;
mod shared;
