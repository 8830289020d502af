//! What the run loop holds of a link.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::frame::{
    Acks, CloseCode, ControlFrame, Frame, FrameError, LANES, ROSTER_FRAME_BYTES_MAX, Transfer,
};
use liaison_protocol::limits::{CONTROL_FRAME_BYTES_MAX, LANE_FRAME_BYTES_MAX};
use liaison_protocol::{NodeId, Role};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::end::End;
use super::progress::Progress;

/// Frames and bytes that wait for a lane: twice what the core keeps in flight on one, because an acknowledgement may
/// come before its frame's room is free. When full, transfers stay where they are: in the store.
const LANE_FRAMES_MAX: usize = 1024;
const LANE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same for acknowledgements of one lane. A peer that lets this fill up does not read, and is closed.
const ACKS_FRAMES_MAX: usize = 4096;
const ACKS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same for the control stream.
const CONTROL_FRAMES_MAX: usize = 1024;
const CONTROL_BYTES_MAX: usize = ROSTER_FRAME_BYTES_MAX + 2 * CONTROL_FRAME_BYTES_MAX;

const _: () = assert!(LANE_BYTES_MAX > LANE_FRAME_BYTES_MAX && CONTROL_BYTES_MAX <= u32::MAX as usize);

/// Names one link of this process; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) u64);

impl LinkId {
    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link-{}", self.0)
    }
}

/// Why a frame was not queued. Nothing of it was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link is gone; its `Down` is on the way.
    #[error("the link is down")]
    Closed,
    /// The frame breaks a rule of the protocol: a bug of ours.
    #[error("the frame breaks a rule: {0}")]
    Frame(#[from] FrameError),
    /// As much waits as may wait. Acknowledgements that arrive tell when there is room again.
    #[error("the queue is full")]
    Full,
    /// No such rank; or acknowledgements for a lane that the peer has not opened.
    #[error("there is no lane of rank {rank}")]
    NoLane {
        /// The rank.
        rank: u8,
    },
}

/// A frame on its way to QUIC. Its room in the queue is free again once it is dropped.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Bytes,
    _room: OwnedSemaphorePermit,
}

/// A queue bounded by frames and by bytes.
#[derive(Debug)]
pub(super) struct Queue {
    frames: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    bytes_max: usize,
}

impl Queue {
    fn new(frames_max: usize, bytes_max: usize) -> (Self, mpsc::Receiver<Outgoing>) {
        let (frames, receiver) = mpsc::channel(frames_max);
        (Self { frames, room: Arc::new(Semaphore::new(bytes_max)), bytes_max }, receiver)
    }

    fn waiting_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.room.available_permits())
    }

    fn push(&self, frame: Bytes) -> Result<(), SendError> {
        let bytes = u32::try_from(frame.len()).map_err(|_| SendError::Full)?;
        let room = self.room.clone().try_acquire_many_owned(bytes).map_err(|_| SendError::Full)?;
        self.frames.try_send(Outgoing { frame, _room: room }).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            mpsc::error::TrySendError::Full(_) => SendError::Full,
        })
    }
}

/// A lane that we use for the first time: its task opens the stream.
pub(super) struct NewLane {
    pub(super) rank: u8,
    pub(super) queue: mpsc::Receiver<Outgoing>,
}

/// What the handle and the link's tasks share.
pub(super) struct Shared {
    pub(super) id: LinkId,
    pub(super) peer: NodeId,
    pub(super) role: Role,
    pub(super) connection: quinn::Connection,
    pub(super) received: Arc<Progress>,
    pub(super) sent: Arc<Progress>,
    pub(super) closing: watch::Sender<Option<End>>,
    /// Rosters that were asked for over this link and that have not begun to come.
    pub(super) rosters_asked: Arc<AtomicU32>,
    control: Queue,
    lanes: [OnceLock<Queue>; LANES as usize],
    acks: [OnceLock<Queue>; LANES as usize],
    new_lanes: mpsc::Sender<NewLane>,
}

/// The other ends of a [`Shared`]'s queues.
pub(super) struct Queues {
    pub(super) control: mpsc::Receiver<Outgoing>,
    pub(super) new_lanes: mpsc::Receiver<NewLane>,
    pub(super) closing: watch::Receiver<Option<End>>,
}

impl Shared {
    pub(super) fn new(
        id: LinkId,
        peer: NodeId,
        role: Role,
        connection: quinn::Connection,
        progress: [Arc<Progress>; 2],
    ) -> (Arc<Self>, Queues) {
        let (control, control_receiver) = Queue::new(CONTROL_FRAMES_MAX, CONTROL_BYTES_MAX);
        // Each rank is new once.
        let (new_lanes, new_lanes_receiver) = mpsc::channel(LANES as usize);
        let (closing, closing_receiver) = watch::channel(None);
        let [received, sent] = progress;
        let (lanes, acks, rosters_asked) = Default::default();
        let shared = Self {
            id,
            peer,
            role,
            connection,
            received,
            sent,
            closing,
            rosters_asked,
            control,
            lanes,
            acks,
            new_lanes,
        };
        let queues = Queues { control: control_receiver, new_lanes: new_lanes_receiver, closing: closing_receiver };
        (Arc::new(shared), queues)
    }

    /// Asks the link's task to end. The first reason counts.
    pub(super) fn close(&self, end: End) {
        self.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            if first {
                *closing = Some(end);
            }
            first
        });
    }

    /// The peer opened a lane: from now on its transfers can be acknowledged. `None` if it had opened it before.
    pub(super) fn open_acks(&self, rank: u8) -> Option<mpsc::Receiver<Outgoing>> {
        let (queue, receiver) = Queue::new(ACKS_FRAMES_MAX, ACKS_BYTES_MAX);
        self.acks.get(usize::from(rank))?.set(queue).ok()?;
        Some(receiver)
    }

    fn lane(&self, rank: u8) -> Result<&Queue, SendError> {
        let lane = self.lanes.get(usize::from(rank)).ok_or(SendError::NoLane { rank })?;
        Ok(lane.get_or_init(|| {
            let (queue, receiver) = Queue::new(LANE_FRAMES_MAX, LANE_BYTES_MAX);
            // Fails only once the link's task is gone; then the queue is closed, as it should be.
            let _ = self.new_lanes.try_send(NewLane { rank, queue: receiver });
            queue
        }))
    }
}

/// Sends over one link. Cheap to clone; none of its functions waits.
#[derive(Clone)]
pub struct LinkHandle(pub(super) Arc<Shared>);

impl LinkHandle {
    /// The link.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.0.id
    }

    /// Who is at the other end.
    #[must_use]
    pub fn peer(&self) -> &NodeId {
        &self.0.peer
    }

    /// Queues a frame for the control stream.
    ///
    /// # Errors
    /// Nothing was queued.
    pub fn control(&self, frame: &ControlFrame) -> Result<(), SendError> {
        let asks = matches!(frame, ControlFrame::RosterRequest(_));
        // Before the question is on its way: the answer must not overtake this.
        self.0.rosters_asked.fetch_add(u32::from(asks), Ordering::AcqRel);
        let queued = self.0.control.push(frame.encode()?.into());
        if queued.is_err() {
            self.0.rosters_asked.fetch_sub(u32::from(asks), Ordering::AcqRel);
        }
        queued
    }

    /// Queues an encoded frame for the control stream: many links share its bytes.
    ///
    /// # Errors
    /// Nothing was queued.
    pub fn control_encoded(&self, frame: &Bytes) -> Result<(), SendError> {
        self.0.control.push(frame.clone())
    }

    /// Bytes of control frames that wait for QUIC to take them.
    #[must_use]
    pub fn control_backlog(&self) -> usize {
        self.0.control.waiting_bytes()
    }

    /// Queues an envelope for the lane of `rank`, which is opened with the first one. `transfer.seq` starts at 1 and
    /// rises by 1 with every transfer that was queued.
    ///
    /// # Errors
    /// Nothing was queued: the envelope stays in the store.
    pub fn transfer(&self, rank: u8, transfer: Transfer) -> Result<(), SendError> {
        let frame = Frame::Transfer(transfer).encode()?;
        self.0.lane(rank)?.push(frame.into())
    }

    /// Queues acknowledgements of transfers that came on the lane of `rank`. A peer that lets them pile up is closed
    /// with `timeout`: what is not acknowledged comes again on its next link.
    ///
    /// # Errors
    /// Nothing was queued.
    pub fn acks(&self, rank: u8, acks: Acks) -> Result<(), SendError> {
        let frame = Frame::Acks(acks).encode()?;
        let queue = self.0.acks.get(usize::from(rank)).and_then(OnceLock::get).ok_or(SendError::NoLane { rank })?;
        queue.push(frame.into()).inspect_err(|error| {
            if *error == SendError::Full {
                self.0.close(End::us(CloseCode::Timeout, "the peer does not read its acknowledgements"));
            }
        })
    }

    /// Closes the link. With `shutdown` and `draining`, acknowledgements and control frames that are queued are
    /// given a moment to arrive ([`super::LinkTiming::drain`]). `Down` follows.
    pub fn close(&self, code: CloseCode) {
        self.0.close(End::us(code, ""));
    }

    /// The smoothed round trip.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.0.connection.rtt()
    }

    /// Where the peer's packets come from, for people.
    #[must_use]
    pub fn remote_address(&self) -> std::net::SocketAddr {
        self.0.connection.remote_address()
    }

    /// Bytes received and sent in UDP datagrams since the link is up.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let stats = self.0.connection.stats();
        (stats.udp_rx.bytes, stats.udp_tx.bytes)
    }
}

impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkHandle({} to {})", self.0.id, self.0.peer)
    }
}
