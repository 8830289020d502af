//! Bounded memory for what has been received and not yet been stored.

use std::sync::Arc;

use liaison_protocol::limits::LANE_FRAME_BYTES_MAX;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of received envelopes that may wait, over all links of an endpoint.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    free: Arc<Semaphore>,
}

impl Rooms {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(bytes_max.clamp(LANE_FRAME_BYTES_MAX, u32::MAX as usize))) }
    }

    /// Waits until there is room for an envelope.
    pub(super) async fn take(&self, bytes: usize) -> Room {
        let bytes = u32::try_from(bytes.min(LANE_FRAME_BYTES_MAX)).unwrap_or(u32::MAX);
        // The semaphore is never closed; were it, the envelope would only not be counted.
        Room { _permit: self.free.clone().acquire_many_owned(bytes).await.ok() }
    }
}

/// The room that a received envelope takes. Keep it until the envelope is stored or refused, then drop it: links are
/// read only while there is room.
#[derive(Debug)]
#[must_use = "dropping it says that the envelope needs no memory any more"]
pub struct Room {
    _permit: Option<OwnedSemaphorePermit>,
}
