//! The time of a turn. The driver has no clock: its host says what time it is.

use std::time::Duration;

use liaison_protocol::Timestamp;

/// The time of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// By the calendar. An operator, or NTP, may set it.
    pub now: Timestamp,
    /// Since the node started, by a clock that nobody sets.
    pub elapsed: Duration,
}
