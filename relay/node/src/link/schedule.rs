//! When to dial which address. Pure: time and jitter are arguments.

use liaison_protocol::mutant::{Mutant, planted};
use tokio::time::Instant;

use super::config::LinkTiming;

/// The addresses of one peer, by their index, and when each is due.
///
/// An address that does not answer is tried every [`LinkTiming::probe`], however long it has been silent, so that a
/// restored path is noticed at once. One that refuses waits longer each time, up to [`LinkTiming::backoff_max`].
#[derive(Debug)]
pub(super) struct Schedule {
    timing: LinkTiming,
    addresses: Vec<Due>,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    refusals: u32,
}

impl Schedule {
    /// All are due within one interval, the first now.
    pub(super) fn new(addresses: usize, timing: LinkTiming, now: Instant) -> Self {
        let mut schedule = Self { timing, addresses: Vec::new() };
        schedule.addresses.resize_with(addresses, || Due { at: now, refusals: 0 });
        schedule.hurry(0, now);
        schedule
    }

    /// Which address is due next, and when; the first of several.
    pub(super) fn next(&self) -> Option<(usize, Instant)> {
        self.addresses.iter().map(|due| due.at).enumerate().min_by_key(|(_, at)| *at)
    }

    /// An attempt begins. Its outcome is awaited, but not before the next one begins.
    pub(super) fn started(&mut self, index: usize, now: Instant, jitter: f64) {
        if let Some(due) = self.addresses.get_mut(index) {
            due.at = now + self.timing.probe.mul_f64(1.0 + jitter / 10.0);
            if planted(Mutant::ProbesGiveUp) {
                due.refusals += 1;
                due.at += self.timing.probe * due.refusals;
            }
        }
    }

    /// An address answered with a refusal: full jitter between nothing and a bound that doubles.
    pub(super) fn refused(&mut self, index: usize, now: Instant, jitter: f64) {
        if let Some(due) = self.addresses.get_mut(index) {
            let bound = self.timing.backoff_min.saturating_mul(1 << due.refusals.min(16)).min(self.timing.backoff_max);
            due.refusals = due.refusals.saturating_add(1);
            due.at = now + bound.mul_f64(jitter);
        }
    }

    /// A link dropped, or the roster changed: all addresses are due, `first` at once and the others soon after.
    /// Refusals are not forgotten: a peer that refuses after every hello is still one that refuses.
    pub(super) fn hurry(&mut self, first: usize, now: Instant) {
        let count = self.addresses.len().max(1);
        let step = self.timing.probe / u32::try_from(count).unwrap_or(u32::MAX);
        for (index, due) in self.addresses.iter_mut().enumerate() {
            let turn = (index + count - first % count) % count;
            due.at = now + step.saturating_mul(u32::try_from(turn).unwrap_or(u32::MAX));
        }
    }

    /// A link held: earlier refusals count no more.
    pub(super) fn forgive(&mut self) {
        self.addresses.iter_mut().for_each(|due| due.refusals = 0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silent_address_is_probed_every_second_for_ever() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1, LinkTiming::default(), start);
        let mut now = start;
        for _ in 0..100_000 {
            let (index, at) = schedule.next().unwrap();
            assert!(at.duration_since(now) <= Duration::from_millis(1100));
            now = at;
            schedule.started(index, now, 1.0);
        }
    }

    #[test]
    fn addresses_take_turns_within_one_second() {
        let start = Instant::now();
        let mut schedule = Schedule::new(3, LinkTiming::default(), start);
        let mut order = Vec::new();
        for _ in 0..6 {
            let (index, at) = schedule.next().unwrap();
            order.push(index);
            schedule.started(index, at, 0.0);
        }
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
        schedule.hurry(2, start);
        assert_eq!(schedule.next(), Some((2, start)), "the one that worked comes first");
    }

    #[test]
    fn refusals_back_off_to_a_minute_and_one_address_does_not_hold_up_another() {
        let start = Instant::now();
        let mut schedule = Schedule::new(2, LinkTiming::default(), start);
        let waits: Vec<_> = (0..12)
            .map(|_| {
                schedule.refused(0, start, 1.0);
                schedule.addresses[0].at.duration_since(start).as_millis()
            })
            .collect();
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[11], 60_000);
        assert_eq!(schedule.next().unwrap().0, 1);
        schedule.forgive();
        schedule.refused(0, start, 1.0);
        assert_eq!(schedule.addresses[0].at, start + Duration::from_millis(250));
    }
}
