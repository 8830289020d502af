//! The command line, run as a program against a daemon that lives in this test: the daemon is the outside world here,
//! and its part is played by a small server that speaks the same model over a real socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test")]

mod daemon;
mod errors;
mod receiving;
mod runner;
mod sending;
mod streams;
