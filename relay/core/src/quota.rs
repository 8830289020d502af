//! How fast a sender may submit.

use std::time::Duration;

use liaison_protocol::Timestamp;

/// Envelopes a second, with bursts of ten seconds' worth. A token bucket in whole milliseconds.
#[derive(Clone, Debug)]
pub struct Rate {
    per_second: u32,
    /// Thousandths of a token.
    millitokens: u64,
    last: Timestamp,
}

const BURST_S: u64 = 10;

impl Rate {
    /// Full at `now`. `per_second` is at least 1.
    #[must_use]
    pub fn new(per_second: u32, now: Timestamp) -> Self {
        let per_second = per_second.max(1);
        Self { per_second, millitokens: u64::from(per_second) * BURST_S * 1000, last: now }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// When there is none: how long until there is.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        let elapsed_ms = u64::try_from(now.since(self.last).as_millis()).unwrap_or(u64::MAX);
        self.last = self.last.max(now);
        let full = u64::from(self.per_second) * BURST_S * 1000;
        self.millitokens = self.millitokens.saturating_add(elapsed_ms.saturating_mul(self.per_second.into())).min(full);
        match self.millitokens.checked_sub(1000) {
            Some(rest) => {
                self.millitokens = rest;
                Ok(())
            }
            None => Err(Duration::from_millis((1000 - self.millitokens).div_ceil(self.per_second.into()).max(1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Timestamp::from_millis(5_000);
        let mut rate = Rate::new(10, start);
        assert_eq!((0..200).filter(|_| rate.take(start).is_ok()).count(), 100);
        let wait = rate.take(start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(rate.take(start.after(wait)).is_ok());
    }

    #[test]
    fn a_clock_that_jumps_back_grants_nothing() {
        let start = Timestamp::from_millis(5_000);
        let mut rate = Rate::new(1, start);
        while rate.take(start).is_ok() {}
        assert!(rate.take(Timestamp::ZERO).is_err());
        assert!(rate.take(start).is_err());
    }
}
