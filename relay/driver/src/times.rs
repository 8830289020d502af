//! How long the latest commits took.

use std::collections::VecDeque;
use std::time::Duration;

/// Commits that the median looks at.
const KEPT: usize = 256;

/// The latest commits' durations.
#[derive(Default)]
pub(crate) struct CommitTimes(VecDeque<Duration>);

impl CommitTimes {
    pub(crate) fn note(&mut self, took: Duration) {
        self.0.push_back(took);
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// In milliseconds; `None` before the first.
    pub(crate) fn median_ms(&self) -> Option<f64> {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).map(|median| median.as_secs_f64() * 1000.0)
    }
}
