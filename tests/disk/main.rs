//! The real programs on disks that lose what was not synced, on disks that fail, and killed at any step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod cuts;
mod failures;
mod journals;
mod kills;
mod shared;
mod starts;
