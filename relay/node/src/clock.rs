//! Wall time that never runs backwards within a process, and never stands still.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use liaison_protocol::Timestamp;

/// This program is not older: a clock that says so is wrong. Raised with each release.
pub const BUILT: Timestamp = Timestamp::from_millis(1_793_491_200_000);

static SHOWN: Mutex<Option<Shown>> = Mutex::new(None);

/// Now. Where the system's clock was set back, time goes on from the latest that this process has seen, at half its
/// speed, until the system's has caught up: nothing expires, and no key is chosen, twice in two ways; what waits for a
/// time waits at most twice as long.
#[must_use]
pub fn now() -> Timestamp {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let (shown_now, time) = Shown::next(*shown, wall, Instant::now());
    *shown = Some(shown_now);
    Timestamp::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// The latest time of the system's clock, and when that was.
#[derive(Clone, Copy, Debug)]
struct Shown {
    wall: Duration,
    at: Instant,
}

impl Shown {
    /// What is shown at `at`, when the system's clock shows `wall`.
    fn next(before: Option<Self>, wall: Duration, at: Instant) -> (Self, Duration) {
        let slow = before.map(|shown| (shown, shown.wall + at.saturating_duration_since(shown.at) / 2));
        match slow {
            Some((shown, slow)) if slow > wall => (shown, slow),
            _ => (Self { wall, at }, wall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_clock_that_is_set_back_goes_on_at_half_its_speed_until_the_system_has_caught_up() {
        let start = Instant::now();
        let mut shown = None;
        let mut see = |true_time: Duration, ahead: Duration| {
            let (next, time) = Shown::next(shown, 100 * HOUR + true_time + ahead, start + true_time);
            shown = Some(next);
            time - 100 * HOUR
        };
        assert_eq!(see(HOUR, Duration::ZERO), HOUR);
        assert_eq!(see(2 * HOUR, 10 * HOUR), 12 * HOUR, "it was set ahead, and it is believed");
        assert_eq!(see(2 * HOUR, Duration::ZERO), 12 * HOUR, "and set back");
        assert_eq!(see(4 * HOUR, Duration::ZERO), 13 * HOUR);
        assert_eq!(see(20 * HOUR, Duration::ZERO), 21 * HOUR);
        assert_eq!(see(23 * HOUR, Duration::ZERO), 23 * HOUR, "it has caught up");
        assert_eq!(see(24 * HOUR, Duration::ZERO), 24 * HOUR);
    }
}
