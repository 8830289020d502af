//! A hostile peer with real keys, or none, against the real programs (docs/reliability.md, "Attacks"): each attack ends in
//! its refusal, and nothing of it is delivered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod agency;
mod forge;
mod frames;
mod hostile;
mod overload;
mod relay;
mod shared;
mod stranger;
mod thief;
