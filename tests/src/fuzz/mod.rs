//! What fuzzing runs: one function for each parser and each machine that bytes drive.
//!
//! A target takes any bytes and panics if a property does not hold. `tests/fuzz` links them with libFuzzer; the
//! workspace's own tests run them over the committed corpora and over every input that once broke something.
//!
//! ```text
//!  tests/fuzz/corpus/TARGET/       where a fuzzer starts: made by `cargo run -p liaison-tests --bin fuzz-corpus`
//!  tests/fuzz/regressions/TARGET/  what a fuzzer found, under a name that says what broke
//!  tests/fuzz/dictionaries/        words that the formats use
//! ```

mod chunk;
mod corpus;
mod disk;
mod edit;
mod roster_state;
mod signed;
mod slots;
mod text;
mod wire;
mod world;

pub use corpus::{Seed, seeds};

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its corpus's.
    pub name: &'static str,
    /// Panics if a property does not hold for these bytes.
    pub run: fn(&[u8]),
    /// The dictionary that helps, in `tests/fuzz/dictionaries`.
    pub dictionary: Option<&'static str>,
    /// Longest input worth trying.
    pub bytes_max: usize,
}

const fn target(name: &'static str, run: fn(&[u8]), dictionary: Option<&'static str>, bytes_max: usize) -> Target {
    Target { name, run, dictionary, bytes_max }
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    target("altered-bundle", signed::altered_bundle, None, 64),
    target("altered-chunk", chunk::altered_chunk, None, 64),
    target("altered-envelope", signed::altered_envelope, None, 64),
    target("altered-evidence", signed::altered_evidence, None, 64),
    target("altered-roster", signed::altered_roster, None, 64),
    target("altered-slots", slots::altered_slots, None, 64),
    target("altered-statement", signed::altered_statement, None, 64),
    target("bundle", signed::bundle, None, 8192),
    target("daemon-config", text::daemon_config, Some("toml"), 4096),
    target("dsse", signed::dsse, Some("json"), 16_384),
    target("envelope", wire::envelope, None, 16_384),
    target("evidence", signed::evidence, None, 32_768),
    target("frames", wire::frames, None, 16_384),
    target("header", wire::header, None, 4096),
    target("inner", wire::inner, None, 8192),
    target("journal", disk::journal, None, 8192),
    target("keyfile", signed::keyfile, None, 256),
    target("names", text::names, Some("names"), 128),
    target("payloads", wire::payloads, None, 8192),
    target("prekey", wire::prekey, None, 1216),
    target("records", disk::records, None, 4096),
    target("relay-config", text::relay_config, Some("toml"), 4096),
    target("requests", text::requests, Some("json"), 4096),
    target("roster", signed::roster, Some("json"), 16_384),
    target("roster-state", roster_state::roster_state, None, 64),
    target("rows", disk::rows, None, 1024),
    target("signed-header", signed::signed_header, None, 4096),
    target("statement", signed::statement, None, 4096),
    target("wrap", wire::wrap, None, 1200),
];

/// The target of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Makes what the targets share, so that no target's first run has to.
pub fn prepare() {
    std::sync::LazyLock::force(&world::WORLD);
}
