//! When to try again: exponential backoff with full jitter.

use std::time::Duration;

use liaison_protocol::Timestamp;
use liaison_protocol::mutant::{Mutant, planted};

/// Shortest and longest wait after a peer's refusal (design: 250 ms to 60 s).
const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A repeatable source of jitter: SplitMix64 (Steele, Lea, Flood 2014). It spreads load, and guards nothing.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// Same seed, same jitter.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Something between nothing and `span`.
    pub fn within(&mut self, span: Duration) -> Duration {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.next() % millis.saturating_add(1).max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// How often in a row something was refused.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// When to try again after one more refusal: not before `asked` (the peer's word), and at most 60 s later than that.
    pub fn refused(&mut self, now: Timestamp, asked: Duration, jitter: &mut Jitter) -> Timestamp {
        let ceiling = WAIT_MIN.saturating_mul(1 << self.failures.min(10)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        let asked = if planted(Mutant::BackoffIgnoresThePeer) { Duration::ZERO } else { asked };
        now.after(asked.max(WAIT_MIN)).after(jitter.within(ceiling))
    }

    /// Whether the last time was a refusal.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// It was accepted: begin anew.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_start_anew_after_success() {
        let mut jitter = Jitter::new(1);
        let mut backoff = Backoff::default();
        let now = Timestamp::from_millis(1_000);
        let mut longest = Duration::ZERO;
        for _ in 0..1_000 {
            let wait = backoff.refused(now, Duration::ZERO, &mut jitter).since(now);
            assert!((WAIT_MIN..=WAIT_MIN + WAIT_MAX).contains(&wait), "{wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > Duration::from_secs(50));
        backoff.reset();
        assert!(backoff.refused(now, Duration::ZERO, &mut jitter).since(now) <= 2 * WAIT_MIN);
    }

    #[test]
    fn the_peers_own_time_is_never_undercut() {
        let now = Timestamp::from_millis(0);
        let asked = Duration::from_secs(90);
        let due = Backoff::default().refused(now, asked, &mut Jitter::new(7));
        assert!(due.since(now) >= asked);
    }
}
