//! Comparing clocks with the peers: each says its time when the link comes up and once a minute.

use std::time::Duration;

use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::Timestamp;
use liaison_protocol::frame::{ControlFrame, Time};

use crate::Driver;
use crate::status::ClockStanding;

/// Between two statements on a link.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// This node's latest statements about the time and about its clock.
pub(crate) struct ClockTalk {
    /// The time when the peers were last told what time it is here.
    told: Timestamp,
    /// The log says that the clock is off.
    is_off: bool,
}

impl Default for ClockTalk {
    fn default() -> Self {
        Self { told: Timestamp::ZERO, is_off: false }
    }
}

impl Driver {
    pub(crate) fn tell_time(&mut self, link: LinkKey) {
        self.control(link, ControlFrame::Time(Time { now: self.now() }));
    }

    /// Tells every peer, if a minute has passed.
    pub(crate) fn tell_time_to_all(&mut self) {
        let now = self.now();
        if now.since(self.clock_talk.told) >= TELL_EVERY || now < self.clock_talk.told {
            self.clock_talk.told = now;
            self.control_all(&ControlFrame::Time(Time { now }));
        }
    }

    pub(crate) fn handle_time(&mut self, link: LinkKey, time: Time) {
        self.apply(Event::ClockTold { link, theirs: time.now });
        self.look_at_clock();
    }

    /// Says when the clock is found to be off, and when it is right again.
    pub(crate) fn look_at_clock(&mut self) {
        let off_ms = self.core.clocks().off_ms();
        if off_ms.is_some() == self.clock_talk.is_off {
            return;
        }
        self.clock_talk.is_off = off_ms.is_some();
        match off_ms {
            Some(ahead_ms) if self.kind == NodeKind::Relay => {
                tracing::error!(
                    ahead_ms,
                    "this clock differs from the peers': no new custody until an operator sets the clock (NTP)"
                );
            }
            Some(ahead_ms) => tracing::error!(ahead_ms, "this clock differs from the relays': set the clock (NTP)"),
            None => tracing::info!("this clock agrees with its peers' again"),
        }
    }

    pub(crate) fn clock_standing(&self) -> ClockStanding {
        if self.core.clocks().off_ms().is_some() { ClockStanding::Off } else { ClockStanding::Sane }
    }

    pub(crate) fn clock_alarms(&self) -> Vec<String> {
        let alarm = |ahead_ms: i64| {
            let (seconds, way) = (ahead_ms.unsigned_abs() / 1_000, if ahead_ms < 0 { "behind" } else { "ahead of" });
            let then = if self.kind == NodeKind::Relay { ": no new custody" } else { "" };
            format!("this clock is {seconds} s {way} the peers'{then}; set the clock: timedatectl set-ntp true")
        };
        self.core.clocks().off_ms().map(alarm).into_iter().collect()
    }
}
