//! The real programs, end to end: what was accepted arrives, once, whatever is killed on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod aging;
mod api;
mod chaos;
mod delivery;
mod endurance;
mod formats;
mod loss;
mod network;
mod outage;
mod refusals;
mod restore;
mod secrets;
mod shared;
