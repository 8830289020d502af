//! The operator surface of a relay.

pub mod config;
