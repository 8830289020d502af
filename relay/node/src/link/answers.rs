//! How often a peer has acknowledged something new, and how soon: the answers that [`super::liveness`] waits for.
//!
//! quinn counts frames. A peer that hears nothing repeats its last acknowledgement with whatever it sends, which is no
//! answer. Congestion control alone is told what is acknowledged for the first time.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// What the peer has answered on the path of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// Packets of ours that it has acknowledged.
    pub(super) count: u64,
    /// How long the newest of them took there and back: not smoothed.
    pub(super) round_trip: Option<Duration>,
}

/// The congestion control that quinn has by default, counting.
struct Counting {
    inner: Box<dyn Controller>,
    answers: Answers,
    /// When the newest packet was sent that has an answer.
    newest: Option<Instant>,
}

/// Makes a congestion control for each path.
pub(super) struct CountingFactory(Arc<CubicConfig>);

impl CountingFactory {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }
}

/// What the peer has answered so far.
pub(super) fn of(connection: &Connection) -> Answers {
    let counting = connection.congestion_state().into_any().downcast::<Counting>();
    counting.map_or_else(|_| Answers::default(), |counting| counting.answers)
}

impl ControllerFactory for CountingFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = self.0.clone().build(now, current_mtu);
        Box::new(Counting { inner, answers: Answers::default(), newest: None })
    }
}

impl Controller for Counting {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.answers.count += 1;
        // One that was overtaken tells how late it is, not how long a packet takes.
        if self.newest.is_none_or(|newest| newest <= sent) {
            self.newest = Some(sent);
            self.answers.round_trip = Some(now.saturating_duration_since(sent));
        }
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
