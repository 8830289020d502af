//! What the documents show is what the programs do: the README's tour, replayed, and every sample configuration, read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod console;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Session, blocks};
use liaison_tests::fed::binaries;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_readmes_tour_runs_as_it_is_written() {
    let steps: Vec<_> =
        blocks(&document("README.md"), "console").iter().flat_map(|block| console::steps(block)).collect();
    assert!(steps.len() > 15, "the tour is gone from the README");
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::start(folder.path(), &binaries());
    for step in steps {
        session.replay(&step);
    }
}

#[test]
fn the_sample_configurations_have_no_mistake() {
    let folder = tempfile::tempdir().unwrap();
    for (name, program, file) in
        [("docs/operators.md", "liaison-relay", "relay.toml"), ("docs/integrators.md", "liaisond", "liaisond.toml")]
    {
        let samples = blocks(&document(name), "toml");
        assert_eq!(samples.len(), 1, "{name}");
        let path = folder.path().join(file);
        fs::write(&path, &samples[0]).unwrap();
        let check = Command::new(binaries().join(program)).arg("--config").arg(&path).arg("check").output();
        let output = check.unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        // Its files are missing, and that is all.
        assert!(said.contains("no such file") && !said.contains(&format!("{file}:")), "{name}:\n{said}");
    }
}
