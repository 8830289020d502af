//! The fuzz targets over everything that is committed for them: starting points, and inputs that once broke something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use liaison_tests::fuzz::{self, TARGETS, Target};

fn inputs(kind: &str, target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target.name);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_committed_input_passes_its_target() {
    for target in TARGETS {
        for kind in ["corpus", "regressions"] {
            for (path, bytes) in inputs(kind, target) {
                println!("{}", path.display());
                (target.run)(&bytes);
            }
        }
    }
}

#[test]
fn every_target_has_a_corpus_that_is_the_one_which_the_command_makes() {
    let made = fuzz::seeds(&liaison_tests::vectors);
    for target in TARGETS {
        let mut committed: Vec<_> = inputs("corpus", target);
        committed.sort();
        assert!(!committed.is_empty(), "{}: cargo run -p liaison-tests --bin fuzz-corpus", target.name);
        let committed = committed.iter().map(|(path, bytes)| (path.file_name().unwrap().to_str().unwrap(), bytes));
        let expected =
            made.iter().filter(|seed| seed.target == target.name).map(|seed| (seed.name.as_str(), &seed.bytes));
        assert!(committed.eq(expected), "{}: the corpus is not the command's", target.name);
    }
}

#[test]
fn inputs_around_the_corpus_pass_too() {
    let mut draw = liaison_tests::draw::Draw::new(1);
    for target in TARGETS {
        for (_, bytes) in inputs("corpus", target) {
            for _ in 0..8 {
                let mut bytes = bytes.clone();
                if let Some(byte) =
                    usize::try_from(draw.below(bytes.len().max(1) as u64)).ok().and_then(|at| bytes.get_mut(at))
                {
                    *byte = draw.next() as u8;
                }
                (target.run)(&bytes);
            }
        }
    }
}
