//! Writes the test vectors of SPEC.md: `cargo run -p liaison-protocol --example make-vectors`, from the workspace's root.
//!
//! The same inputs give the same files. `tests/vectors.rs` makes them again and compares.

mod vectors;

use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    for (name, text) in vectors::all() {
        if let Err(error) = std::fs::write(format!("{folder}/{name}.json"), text) {
            eprintln!("{folder}/{name}.json: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
