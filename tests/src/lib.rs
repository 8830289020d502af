//! Whole-system tests and their harness.
//!
//! [`sim`] runs many real cores, relays and daemons, in one thread against a simulated network, disk and clock, from one
//! seed. [`fed`] runs the real programs; the end-to-end tests are made of it. [`fuzz`] holds what fuzzers run.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness fails loudly, where the test can be read"
)]

pub mod agency;
pub mod anyone;
pub mod bench;
pub mod check;
pub mod disk;
pub mod draw;
pub mod fed;
pub mod fuzz;
pub mod gauge;
pub mod journals;
pub mod keys;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod net;
pub mod overload;
pub mod raw;
pub mod sim;
pub mod soak;

/// A file of the protocol's test vectors.
///
/// # Panics
/// There is no such file, or it is not JSON.
#[must_use]
pub fn vectors(file: &str) -> serde_json::Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors").join(file);
    let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("vectors are JSON")
}
