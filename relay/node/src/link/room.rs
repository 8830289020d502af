//! Bounded memory for what has been received and not yet been stored.

use std::sync::Arc;

use liaison_protocol::Role;
use liaison_protocol::limits::LANE_FRAME_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Envelopes of one lane that may wait. What waits stands in front of everybody's flash, so that whoever floods gets no
/// more than one worker checks in one go.
pub(super) const AGENCY_LANE_MAX: usize = 16;
/// The same where a relay sends, which speaks for many agencies: two commits' worth, so that one is checked while the one
/// before syncs.
const RELAY_LANE_MAX: usize = 64;

/// Bytes of received envelopes that may wait, over all links of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
}

impl Rooms {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes_max.clamp(LANE_FRAME_BYTES_MAX, u32::MAX as usize))) }
    }

    /// The share of one lane of a peer.
    pub(super) fn lane(&self, peer: Role) -> LaneRooms {
        let frames_max = match peer {
            Role::Agency => AGENCY_LANE_MAX,
            Role::Relay => RELAY_LANE_MAX,
        };
        LaneRooms { all: self.clone(), free: Arc::new(Semaphore::new(frames_max)) }
    }
}

/// What one lane may take of [`Rooms`].
pub(super) struct LaneRooms {
    all: Rooms,
    free: Arc<Semaphore>,
}

impl LaneRooms {
    /// Waits until there is room for an envelope.
    pub(super) async fn take(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes.min(LANE_FRAME_BYTES_MAX)).unwrap_or(u32::MAX);
        // The semaphores are never closed; were they, the envelope would only not be counted.
        let frame = self.free.clone().acquire_owned().await.ok();
        Room { _frame: frame, _bytes: self.all.free.clone().acquire_many_owned(bytes).await.ok() }
    }
}

/// The room that a received envelope takes. Keep it until the envelope is stored or refused, then drop it: links are
/// read only while there is room.
#[derive(Debug)]
#[must_use = "dropping it says that the envelope needs no memory any more"]
pub struct Room {
    _frame: Option<OwnedSemaphorePermit>,
    _bytes: Option<OwnedSemaphorePermit>,
}
