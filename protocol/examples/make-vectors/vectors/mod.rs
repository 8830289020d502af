//! The vectors, a module for each file. What SPEC.md defines by formula is computed here a second time, from its text,
//! and compared with what the library made: the vectors are not merely what the library happens to do.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "inputs are constants; a wrong one must stop the run")]

mod chunk;
mod ids;
mod keyfile;
mod prekey;
mod refused;
mod seal;
mod world;

/// Name and content of every file.
pub(crate) fn all() -> Vec<(&'static str, String)> {
    let files = [
        ("chunk", chunk::file()),
        ("envelope", refused::file()),
        ("ids", ids::file()),
        ("keyfile", keyfile::file()),
        ("prekey", prekey::file()),
        ("seal", seal::file()),
    ];
    files.map(|(name, json)| (name, serde_json::to_string_pretty(&json).unwrap() + "\n")).into()
}
