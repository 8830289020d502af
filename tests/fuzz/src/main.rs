//! libFuzzer over one target of `liaison_tests::fuzz`, named by `LIAISON_FUZZ_TARGET`. `../run` starts it.
#![no_main]

mod alloc;

use std::sync::LazyLock;

use liaison_tests::fuzz::{self, Target};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Whatever the input, a target may hold this much, and so much for each of its bytes.
const BYTES_BASE: usize = 2 * 1024 * 1024;
const BYTES_EACH: usize = 64;
/// Argon2id's least memory, which a key file may ask for.
const KEYFILE_BYTES: usize = 9 * 1024 * 1024;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LIAISON_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::find(&name) else {
        eprintln!("LIAISON_FUZZ_TARGET is one of:");
        fuzz::TARGETS.iter().for_each(|target| eprintln!("  {}", target.name));
        std::process::exit(2);
    };
    fuzz::prepare();
    (target.run)(&[0]);
    target
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let target = *TARGET;
    let peak = alloc::peak_of(|| (target.run)(input));
    let base = if target.name == "keyfile" { BYTES_BASE + KEYFILE_BYTES } else { BYTES_BASE };
    let bound = base + BYTES_EACH * input.len();
    assert!(peak <= bound, "{peak} bytes were held for an input of {} bytes, at most {bound} allowed", input.len());
});
