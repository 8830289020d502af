//! The programs themselves, built as the tests are.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where `liaison`, `liaisond`, `liaison-relay` and `certs-dev` are; they are brought up to date first.
pub(crate) fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(crate::root());
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "the programs do not build");
    // This test is TARGET/PROFILE/deps/docs-HASH.
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(2).unwrap().to_owned()
}
