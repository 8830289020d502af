//! Whole-system tests and their harness.
//!
//! [`sim`] runs many real cores, relays and daemons, in one thread against a simulated network, disk and clock, from one
//! seed. [`fed`] runs the real programs; the end-to-end tests are made of it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness fails loudly, where the test can be read"
)]

pub mod anyone;
pub mod bench;
pub mod fed;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod sim;
