//! One lane of one link, as its sender sees it: what is in flight, and how much more may be.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::{MessageId, Timestamp};

use crate::op::Position;

/// Transfers in flight on one lane: more than a group commit takes, so that the next one fills while one syncs.
const FLIGHTS_MAX: usize = 512;
/// Bytes in flight on one lane: what a link queues for it, less the frames' own overhead.
const FLIGHT_BYTES_MAX: usize = 7 * 512 * 1024;
/// A peer that keeps its link alive and acknowledges nothing for so long is closed.
const ACK_DEADLINE: Duration = Duration::from_secs(60);

/// A transfer without its acknowledgement.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) id: MessageId,
    /// Recipient's index, and where its entry stands.
    pub(crate) entries: Vec<(u16, Position)>,
    pub(crate) bytes: usize,
    deadline: Timestamp,
}

/// How long a lane gives way to more urgent ones that have something in flight: urgent envelopes then are durable at the
/// next holder before less urgent ones leave, and a stream of flash still does not starve routine.
pub(crate) const GIVE_WAY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    last_seq: u64,
    flights: BTreeMap<u64, Flight>,
    bytes: usize,
    /// Since when it gives way.
    gives_way_since: Option<Timestamp>,
}

impl Lane {
    /// Whether a transfer of so many bytes may be sent now. One always may.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.flights.is_empty() || self.flights.len() < FLIGHTS_MAX && self.bytes + bytes <= FLIGHT_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Whether it still gives way at `now`, to lanes that are `busy`.
    pub(crate) fn gives_way(&mut self, busy: bool, now: Timestamp) -> bool {
        if !busy {
            self.gives_way_since = None;
            return false;
        }
        let since = *self.gives_way_since.get_or_insert(now);
        now < since.after(GIVE_WAY)
    }

    /// It has used its turn: it gives way anew.
    pub(crate) const fn end_turn(&mut self) {
        self.gives_way_since = None;
    }

    /// Until when it gives way.
    pub(crate) fn waits_until(&self) -> Option<Timestamp> {
        self.gives_way_since.map(|since| since.after(GIVE_WAY))
    }

    /// Gives the transfer's number.
    pub(crate) fn send(&mut self, id: MessageId, entries: Vec<(u16, Position)>, bytes: usize, now: Timestamp) -> u64 {
        self.last_seq += 1;
        self.bytes += bytes;
        self.flights.insert(self.last_seq, Flight { id, entries, bytes, deadline: now.after(ACK_DEADLINE) });
        self.last_seq
    }

    /// `None`: never sent, or acknowledged before.
    pub(crate) fn acknowledge(&mut self, seq: u64) -> Option<Flight> {
        let flight = self.flights.remove(&seq)?;
        self.bytes -= flight.bytes;
        Some(flight)
    }

    /// Everything in flight, when the link is gone.
    pub(crate) fn into_flights(self) -> impl Iterator<Item = Flight> {
        self.flights.into_values()
    }

    /// When the oldest transfer should have been acknowledged.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.flights.values().next().map(|flight| flight.deadline)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }
}
