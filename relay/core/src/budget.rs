//! A budget that fills up again: pure, the time is an argument.

use std::time::Duration;

/// So many units at once, and so many more each minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Units at once, at least 1.
    pub at_once: u64,
    /// Units that come back each minute, at least 1.
    pub per_minute: u64,
}

impl Pace {
    /// How long so many units take to come back.
    fn span(self, units: u64) -> Duration {
        let nanos = u128::from(units) * 60_000_000_000 / u128::from(self.per_minute.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What one peer has used up of one budget. Times are spans since any fixed moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When everything that was taken has come back.
    full_at: Duration,
}

impl Bucket {
    /// How long until a unit is left; zero if one is.
    #[must_use]
    pub fn wait(&self, pace: Pace, now: Duration) -> Duration {
        let used = self.full_at.saturating_sub(now);
        (used + pace.span(1)).saturating_sub(pace.span(pace.at_once.max(1)))
    }

    /// Takes so many units, more than are left if need be: what follows waits the longer.
    pub fn take(&mut self, units: u64, pace: Pace, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(pace.span(units));
    }

    /// Takes one unit, if one is left.
    pub fn try_take(&mut self, pace: Pace, now: Duration) -> bool {
        let left = self.wait(pace, now).is_zero();
        if left {
            self.take(1, pace, now);
        }
        left
    }

    /// Whether nothing is used up: the bucket may be forgotten.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }

    /// When the bucket is full again.
    #[must_use]
    pub const fn full_at(&self) -> Duration {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(77);

    #[test]
    fn a_burst_passes_and_then_the_pace_holds() {
        let (pace, mut bucket) = (Pace { at_once: 5, per_minute: 60 }, Bucket::default());
        assert_eq!((0..50).filter(|_| bucket.try_take(pace, START)).count(), 5);
        assert_eq!(bucket.wait(pace, START), Duration::from_secs(1));
        let later = |seconds| START + Duration::from_secs(seconds);
        assert_eq!(
            (0..600).filter(|tenth| bucket.try_take(pace, START + Duration::from_millis(100 * tenth))).count(),
            59
        );
        assert!(!bucket.is_full(later(60)) && bucket.is_full(later(70)));
    }

    #[test]
    fn what_is_taken_beyond_the_rest_is_paid_back_before_the_next() {
        let (pace, mut bucket) = (Pace { at_once: 1_000, per_minute: 60_000 }, Bucket::default());
        bucket.take(999, pace, START);
        assert!(bucket.wait(pace, START).is_zero());
        bucket.take(4_000, pace, START);
        assert_eq!(bucket.wait(pace, START), Duration::from_secs(4));
    }

    #[test]
    fn a_clock_that_goes_back_grants_nothing() {
        let (pace, mut bucket) = (Pace { at_once: 1, per_minute: 1 }, Bucket::default());
        assert!(bucket.try_take(pace, START));
        assert!(!bucket.try_take(pace, Duration::ZERO));
    }
}
