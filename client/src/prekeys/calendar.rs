//! Which prekeys there are to be, and which are to go (security.md, "Calendar prekeys"). Pure.

use std::time::Duration;

use liaison_protocol::{Timestamp, limits};

/// A window: one UTC day.
pub const WINDOW: Duration = Duration::from_secs(86_400);
/// Past the last expiry under a key, this long it is kept for mail that is still on its way.
pub const MARGIN: Duration = Duration::from_secs(86_400);
/// A private key is erased this long after its window, whatever is undrained.
pub const KEPT_MAX: Duration = Duration::from_secs(90 * 86_400);

const _: () = assert!(limits::PREKEY_DAYS_AHEAD as usize + 90 + 2 <= super::slots::SLOTS);
const _: () = assert!(limits::PREKEY_DAYS_AHEAD as usize <= limits::PREKEYS_MAX);

/// One day's window, by its first second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(pub u64);

impl Window {
    /// The window that holds `at`.
    #[must_use]
    pub const fn holding(at: Timestamp) -> Self {
        let seconds = at.as_millis() / 1000;
        Self(seconds - seconds % WINDOW.as_secs())
    }

    /// First instant.
    #[must_use]
    pub const fn not_before(self) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_mul(1000))
    }

    /// End, not in the window itself.
    #[must_use]
    pub fn not_after(self) -> Timestamp {
        self.not_before().after(WINDOW)
    }

    /// The windows to publish: today's and those of the days ahead, 35 together.
    pub fn published(now: Timestamp) -> impl Iterator<Item = Self> {
        let today = Self::holding(now).0;
        (0..u64::from(limits::PREKEY_DAYS_AHEAD)).map(move |day| Self(today + day * WINDOW.as_secs()))
    }

    /// Whether the private key of this window is to be erased: past the last expiry of what may be sealed to it and a
    /// margin, and every home relay has been drained since that expiry (at `drained`, the earliest of them); or past
    /// the cap.
    ///
    /// `witnessed` is the latest time that others have stated: a clock that jumps ahead erases nothing before its time, and
    /// a daemon that hears from nobody keeps its keys until it does.
    #[must_use]
    pub fn is_spent(
        self,
        lifetime_max: Duration,
        drained: Option<Timestamp>,
        witnessed: Timestamp,
        now: Timestamp,
    ) -> bool {
        let last_expiry = self.not_after().after(lifetime_max);
        let drained_since = drained.is_some_and(|drained| drained > last_expiry);
        let known = witnessed.min(now);
        (known > last_expiry.after(MARGIN) && drained_since) || known > self.not_after().after(KEPT_MAX)
    }
}

/// Keys to erase so that `count` slots become free, of those that are `held` and not to be published at `now`: first
/// those of days that nobody can have sealed to, because a clock that had jumped made them, the furthest first; then the
/// oldest.
#[must_use]
pub fn evicted(held: &[Window], count: usize, witnessed: Timestamp, now: Timestamp) -> Vec<Window> {
    let wanted: Vec<Window> = Window::published(now).collect();
    let last = Window::published(witnessed.after(WINDOW)).last();
    let jumped = |window: &Window| Some(*window) > last;
    let mut candidates: Vec<Window> = held.iter().copied().filter(|window| !wanted.contains(window)).collect();
    candidates
        .sort_unstable_by_key(|window| (!jumped(window), if jumped(window) { u64::MAX - window.0 } else { window.0 }));
    candidates.truncate(count);
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    fn at(days: u64, millis: u64) -> Timestamp {
        Timestamp::from_millis(days * DAY + millis)
    }

    #[test]
    fn thirty_five_days_are_published_from_today() {
        let windows: Vec<_> = Window::published(at(20_000, 5)).collect();
        assert_eq!(windows.len(), 35);
        assert_eq!(windows[0].not_before(), at(20_000, 0));
        assert!(windows.windows(2).all(|pair| pair[0].not_after() == pair[1].not_before()));
    }

    // [PREKEY-4]
    #[test]
    fn a_key_lives_nine_days_where_relays_are_drained() {
        let (window, lifetime) = (Window::holding(at(100, 7)), Duration::from_secs(7 * 86_400));
        assert!(!window.is_spent(lifetime, Some(at(109, 0)), at(109, 0), at(109, 0)));
        assert!(window.is_spent(lifetime, Some(at(108, 1)), at(109, 1), at(109, 1)));
    }

    #[test]
    fn a_clock_that_jumps_ahead_erases_nothing_that_others_have_not_seen_end() {
        let (window, lifetime) = (Window::holding(at(100, 0)), Duration::from_secs(7 * 86_400));
        let jumped = at(140, 0);
        assert!(!window.is_spent(lifetime, Some(jumped), at(100, 5), jumped));
        assert!(window.is_spent(lifetime, Some(jumped), at(109, 1), jumped));
    }

    // [PREKEY-4]
    #[test]
    fn an_undrained_relay_keeps_a_key_until_the_cap() {
        let (window, lifetime) = (Window::holding(at(100, 0)), Duration::from_secs(7 * 86_400));
        for drained in [None, Some(at(108, 0))] {
            assert!(!window.is_spent(lifetime, drained, at(191, 0), at(191, 0)));
            assert!(window.is_spent(lifetime, drained, at(191, 1), at(191, 1)));
            assert!(!window.is_spent(lifetime, drained, at(101, 0), at(500, 0)), "by a clock that no relay confirms");
        }
    }

    #[test]
    fn room_is_made_of_days_that_a_jump_made_and_then_of_the_oldest() {
        let day = |day| Window::holding(at(day, 0));
        let held = [95, 100, 101, 300, 200, 135, 137].map(day);
        let evicted = |count| evicted(&held, count, at(100, 7), at(100, 9));
        assert_eq!(evicted(2), [300, 200].map(day));
        // Today's and the 34 days ahead are to be published; so is the day after, at a clock that runs a day ahead.
        assert_eq!(evicted(9), [300, 200, 137, 95, 135].map(day));
    }
}
