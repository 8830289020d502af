//! The committed vectors are what the code makes today.

#[path = "../examples/make-vectors/vectors/mod.rs"]
mod vectors;

#[test]
fn the_committed_vectors_are_those_that_are_made_again() {
    for (name, made) in vectors::all() {
        let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == made, "{name}.json differs: run `cargo run -p liaison-protocol --example make-vectors`");
    }
}
