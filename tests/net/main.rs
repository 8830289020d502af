//! The real programs over bad networks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod firewalls;
mod machines;
mod namespaces;
mod relays;
mod shared;
mod weather;
