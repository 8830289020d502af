//! What time it is, and waiting for a later one.

use std::pin::Pin;
use std::time::Duration;

use liaison_protocol::Timestamp;

/// Tells the time. The outside world, so tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits for `span`.
    fn sleep(&self, span: Duration) -> Wait {
        Box::pin(tokio::time::sleep(span))
    }

    /// Waits before another look around that nobody has called for: about `span`, and longer where it is known that
    /// nothing has changed.
    fn idle(&self, span: Duration) -> Wait {
        self.sleep(span)
    }
}

/// Ends when the time has come.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The system's clock; within a process it never runs backwards.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        liaison_node::clock::now()
    }
}
