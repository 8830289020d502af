//! The programs themselves, built as the tests are.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where `liaison`, `liaisond` and `liaison-relay` are; they are brought up to date first, once a process.
///
/// # Panics
/// They do not build.
#[must_use]
pub fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).clone()
}

fn build() -> PathBuf {
    // A test is TARGET/PROFILE/deps/NAME-HASH, a program TARGET/PROFILE/NAME.
    let this = std::env::current_exe().expect("a path of this program");
    let parent = this.parent().expect("a folder");
    let is_test = parent.ends_with("deps");
    let folder = if is_test { parent.parent().expect("a target folder") } else { parent }.to_owned();
    // Two test programs at a time would wait for each other's cargo anyway, and say so on the terminal.
    let lock = File::create(folder.join(".programs.lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet"]).current_dir(root);
    if is_test {
        // With a test among the targets cargo chooses the features that `cargo test --workspace` chooses, so that after
        // it nothing is left to build.
        cargo.args(["--workspace", "--bins", "--test", "e2e"]);
    } else {
        cargo.args(["-p", "liaison-relay", "-p", "liaison-client", "--bins"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo").success(), "the programs do not build");
    folder
}
