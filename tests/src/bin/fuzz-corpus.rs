//! Writes `tests/fuzz/corpus` anew: `cargo run -p liaison-tests --bin fuzz-corpus`.
//!
//! Only the committed starting points: what a fuzzing run adds lives in `target/fuzz`.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use liaison_tests::fuzz;

fn main() -> anyhow::Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = tests.join("fuzz/corpus");
    if corpus.exists() {
        fs::remove_dir_all(&corpus).context("the old corpus cannot be removed")?;
    }
    let seeds = fuzz::seeds(&liaison_tests::vectors);
    for seed in &seeds {
        let folder = corpus.join(seed.target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(&seed.name), &seed.bytes)?;
    }
    println!("{} inputs for {} targets", seeds.len(), fuzz::TARGETS.len());
    Ok(())
}
