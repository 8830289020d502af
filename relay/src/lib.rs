//! The operator surface of a relay: its configuration, its checks, its commands, and what it shows of itself.
//!
//! It moves no message and decides nothing about one: that is [`liaison_node`] and [`liaison_core`].
//!
//! ```text
//!  relay.toml ─► config ─► keys, check ─► service ─► liaison_node::run
//!  operators ─► cli ─► admin (Unix socket) ─► OperatorHandle ──┘
//!  Prometheus, load balancers ─► admin (loopback HTTP)
//! ```

pub mod admin;
pub mod check;
pub mod cli;
pub mod config;
pub mod failure;
pub mod finding;
pub mod keys;
pub mod reload;
pub mod service;
pub mod telemetry;
