//! The daemon's local API, `/v1` on a Unix socket: what is said ([`model`]) how a program asks ([`client`]),
//! and who answers ([`server`]).

pub mod client;
pub mod model;
pub mod server;
mod words;
