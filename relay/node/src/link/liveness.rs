//! Noticing that a peer does not answer: long before the link is given up, and when it is. Pure: the time is an argument.

use std::time::Duration;

use liaison_protocol::mutant::{Mutant, planted};
use quinn::ConnectionStats;
use tokio::time::Instant;

use super::answers::Answers;

/// Watches whether packets that demand an acknowledgement get one.
#[derive(Debug)]
pub(super) struct Liveness {
    patience: Duration,
    demands: u64,
    answers: u64,
    waiting_since: Option<Instant>,
}

impl Liveness {
    pub(super) const fn new(patience: Duration) -> Self {
        Self { patience, demands: 0, answers: 0, waiting_since: None }
    }

    /// Takes a look; whether the link is to be doubted.
    pub(super) fn observe(&mut self, stats: &ConnectionStats, answers: Answers, now: Instant) -> bool {
        let count = if planted(Mutant::OldAnswersCount) { stats.frame_rx.acks } else { answers.count };
        // Smoothed, the round trip remembers for long what waited somewhere until a wire was back; and where the peer's
        // acknowledgements were lost, the last one alone is too long. Both at once are not.
        let last = answers.round_trip.filter(|_| !planted(Mutant::DoubtByOldRoundTrips));
        let round_trip = last.map_or(stats.path.rtt, |last| last.min(stats.path.rtt));
        self.step(demands(stats), count, round_trip, now)
    }

    fn step(&mut self, demands: u64, answers: u64, rtt: Duration, now: Instant) -> bool {
        if answers != self.answers {
            self.waiting_since = None;
        } else if demands != self.demands && self.waiting_since.is_none() {
            self.waiting_since = Some(now);
        }
        (self.demands, self.answers) = (demands, answers);
        let limit = self.patience + rtt * 4;
        self.waiting_since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
    }
}

/// How long nothing has come from the peer ([LINK-5]). QUIC's own idle timer begins anew with the first packet that is
/// sent into the silence (RFC 9000 section 10.1), and so ends up to a keep-alive late.
#[derive(Debug)]
pub(super) struct Silence {
    heard: u64,
    since: Instant,
}

impl Silence {
    pub(super) const fn new(now: Instant) -> Self {
        Self { heard: 0, since: now }
    }

    /// Takes a look; for how long the peer has been silent.
    pub(super) fn observe(&mut self, stats: &ConnectionStats, now: Instant) -> Duration {
        self.step(heard(stats), now)
    }

    fn step(&mut self, heard: u64, now: Instant) -> Duration {
        if heard != self.heard {
            *self = Self { heard, since: now };
        }
        now.saturating_duration_since(self.since)
    }
}

/// Frames received, of the kinds that a living peer sends at the latest when it is asked to: not datagrams, which
/// anybody can send in its name.
fn heard(stats: &ConnectionStats) -> u64 {
    let rx = &stats.frame_rx;
    [rx.acks, rx.ping, rx.stream, rx.crypto, rx.path_challenge, rx.path_response].iter().sum()
}

/// Frames sent that demand an acknowledgement (RFC 9002 section 2). What QUIC repeats into silence may have no other frame than
/// one that asks for it at once. Probes for a larger MTU, of two frames each, may get lost without meaning anything.
fn demands(stats: &ConnectionStats) -> u64 {
    let (tx, mtu_probes) = (&stats.frame_tx, stats.path.sent_plpmtud_probes);
    let all = [
        tx.stream,
        tx.ping.saturating_sub(mtu_probes),
        if planted(Mutant::ProbesAskForNothing) { 0 } else { tx.immediate_ack.saturating_sub(mtu_probes) },
        tx.crypto,
        tx.handshake_done.into(),
        tx.max_data,
        tx.max_stream_data,
        tx.max_streams_bidi,
        tx.data_blocked,
        tx.stream_data_blocked,
        tx.streams_blocked_bidi,
        tx.new_token,
        tx.new_connection_id,
        tx.retire_connection_id,
        tx.reset_stream,
        tx.stop_sending,
        tx.path_challenge,
        tx.path_response,
    ];
    all.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn silence_is_counted_from_what_came_last() {
        let start = Instant::now();
        let mut silence = Silence::new(start);
        let steps = [(5, 0), (5, 4000), (6, 5000), (6, 20_000)];
        let spans = steps.map(|(heard, millis)| silence.step(heard, at(start, millis)).as_millis());
        assert_eq!(spans, [0, 4000, 0, 15_000]);
    }

    #[test]
    fn what_quic_repeats_into_silence_is_a_demand_and_a_probe_for_a_larger_mtu_is_none() {
        let mut stats = ConnectionStats::default();
        (stats.frame_tx.stream, stats.frame_tx.acks) = (3, 7);
        assert_eq!(demands(&stats), 3);
        (stats.frame_tx.ping, stats.frame_tx.immediate_ack, stats.path.sent_plpmtud_probes) = (4, 4, 4);
        assert_eq!(demands(&stats), 3);
        stats.frame_tx.immediate_ack += 1;
        assert_eq!(demands(&stats), 4);
    }

    #[test]
    fn an_idle_link_is_never_doubted() {
        let (mut liveness, start) = (Liveness::new(Duration::from_secs(1)), Instant::now());
        assert!(!liveness.step(5, 5, RTT, start));
        assert!((0..100).all(|second| !liveness.step(5, 5, RTT, at(start, second * 1000))));
    }

    #[test]
    fn a_link_that_does_not_answer_is_doubted_until_it_does() {
        let (mut liveness, start) = (Liveness::new(Duration::from_secs(1)), Instant::now());
        assert!(!liveness.step(1, 0, RTT, start));
        assert!(!liveness.step(2, 0, RTT, at(start, 1300)), "the round trip counts");
        assert!(liveness.step(3, 0, RTT, at(start, 1400)));
        assert!(liveness.step(3, 0, RTT, at(start, 5000)), "also when QUIC is backing off");
        assert!(!liveness.step(4, 1, RTT, at(start, 5100)));
    }
}
