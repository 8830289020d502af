//! The operator's surface: the real program, and the real admin listeners before a run loop that the test plays.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod check;
mod console;
mod fork;
mod metrics;
mod run;
mod site;
mod systemd;
