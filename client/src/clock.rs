//! What time it is.

use liaison_protocol::Timestamp;

/// Tells the time. The outside world, so tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock; within a process it never runs backwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        liaison_node::clock::now()
    }
}
