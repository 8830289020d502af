//! The daemon's local API, `/v1` on a Unix socket: what is said ([`model`]) and how a program asks ([`client`]).

pub mod client;
pub mod model;
mod words;
