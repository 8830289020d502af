//! Bounded waiting.

use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `seen` gives something.
///
/// # Panics
/// It does not within [`PATIENCE`].
pub fn eventually<T>(what: &str, seen: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, seen)
}

/// Waits until `seen` gives something.
///
/// # Panics
/// It does not within `patience`.
pub fn eventually_within<T>(patience: Duration, what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = seen() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come within {patience:?}");
        std::thread::sleep(Duration::from_millis(30));
    }
}
