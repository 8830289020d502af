//! Wall time that never runs backwards within a process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use liaison_protocol::Timestamp;

static LATEST_MS: AtomicU64 = AtomicU64::new(0);

/// This program is not older: a clock that says so is wrong. Raised with each release.
pub const BUILT: Timestamp = Timestamp::from_millis(1_793_491_200_000);

/// Now, or the latest time that this process has seen if the system's clock was set back: nothing expires, and no key is
/// chosen, twice in two ways.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(LATEST_MS.fetch_max(millis, Ordering::Relaxed).max(millis))
}
