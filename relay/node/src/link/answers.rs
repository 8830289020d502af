//! How often a peer has acknowledged something new: the answers that [`super::liveness`] waits for.
//!
//! quinn counts frames. A peer that hears nothing repeats its last acknowledgement with whatever it sends, which is no
//! answer. Congestion control alone is told what is acknowledged for the first time.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// The congestion control that quinn has by default, counting.
struct Counting {
    inner: Box<dyn Controller>,
    answers: u64,
}

/// Makes a congestion control for each path.
pub(super) struct CountingFactory(Arc<CubicConfig>);

impl CountingFactory {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }
}

/// Packets of ours that the peer has acknowledged, on the path of the moment.
pub(super) fn count(connection: &Connection) -> u64 {
    connection.congestion_state().into_any().downcast::<Counting>().map_or(0, |counting| counting.answers)
}

impl ControllerFactory for CountingFactory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Counting { inner: self.0.clone().build(now, current_mtu), answers: 0 })
    }
}

impl Controller for Counting {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.answers += 1;
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
        Box::new(Self { inner: self.inner.clone_box(), answers: self.answers })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
