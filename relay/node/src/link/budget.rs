//! What each peer has used up of its budgets for control frames (SPEC.md, "Budgets").
//!
//! A peer's budgets are its own, and not its link's: dialing anew refills nothing. Over budget, the control stream is
//! not read until there is room again, and QUIC stops the peer. That costs nobody else anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use liaison_core::budget::{Bucket, Pace};
use liaison_protocol::frame::{Budget, CloseCode, FRAME_HEADER_BYTES, FrameType};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{NodeId, Role};
use tokio::time::Instant;

use super::end::End;
use super::progress::Progress;
use crate::metric;

/// The longest single wait, so that the sums stay small.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Two buckets for each frame type: frames, and bytes.
type Used = BTreeMap<FrameType, [Bucket; 2]>;

/// The budgets of all peers.
#[derive(Debug)]
pub(super) struct Budgets {
    origin: Instant,
    peers: Mutex<BTreeMap<NodeId, Arc<Mutex<Used>>>>,
}

impl Budgets {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, peers: Mutex::default() }
    }

    /// The meter of a new link of `peer`. Peers without a link, and with nothing used up, are forgotten: the table
    /// holds no more than the roster's nodes.
    pub(super) fn meter(&self, peer: &NodeId, role: Role, rosters_asked: Arc<AtomicU32>) -> Meter {
        let now = self.origin.elapsed();
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, used| Arc::strong_count(used) > 1 || !is_full(&locked(used), now));
        let used = Arc::clone(peers.entry(peer.clone()).or_default());
        Meter { peer: peer.clone(), role, origin: self.origin, used, rosters_asked }
    }
}

fn is_full(used: &Used, now: Duration) -> bool {
    used.values().flatten().all(|bucket| bucket.is_full(now))
}

fn locked(used: &Mutex<Used>) -> MutexGuard<'_, Used> {
    used.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Judges the heads of one control stream's frames.
#[derive(Debug)]
pub(super) struct Meter {
    peer: NodeId,
    role: Role,
    origin: Instant,
    used: Arc<Mutex<Used>>,
    /// Rosters that this side has asked for and that have not begun to come.
    rosters_asked: Arc<AtomicU32>,
}

impl Meter {
    /// Waits until the peer may send this frame, and counts the frame. Meanwhile nobody blames the peer for not moving.
    ///
    /// # Errors
    /// The peer may never send such a frame, or was not asked for it.
    // [FRAME-4] [FRAME-5] [FRAME-6]
    pub(super) async fn admit(&self, frame: FrameType, payload_bytes: usize, received: &Progress) -> Result<(), End> {
        let (name, role) = (frame.as_str(), self.role);
        let violation = |detail: String| End::us(CloseCode::ProtocolViolation, detail);
        let budget =
            frame.budget(role).ok_or_else(|| violation(format!("a {name} frame from a node that is {role}")))?;
        if frame == FrameType::Roster && !planted(Mutant::RostersUnasked) {
            let asked =
                self.rosters_asked.fetch_update(Ordering::AcqRel, Ordering::Acquire, |asked| asked.checked_sub(1));
            asked.map_err(|_| violation("a roster that was not asked for".into()))?;
        }
        let mut wait = self.wait(frame, budget);
        if !wait.is_zero() {
            metric::over_budget(&self.peer);
            tracing::info!(peer = %self.peer, frame = name, ?wait, "over budget: the control stream is not read");
        }
        let _held = (!wait.is_zero()).then(|| received.hold());
        // A link before this one may take from the same budgets meanwhile.
        while !wait.is_zero() && !planted(Mutant::BudgetUncounted) {
            tokio::time::sleep(wait.min(WAIT_MAX)).await;
            wait = self.wait(frame, budget);
        }
        self.take(frame, budget, FRAME_HEADER_BYTES + payload_bytes);
        Ok(())
    }

    fn wait(&self, frame: FrameType, budget: Budget) -> Duration {
        let (now, [frames, bytes]) = (self.origin.elapsed(), paces(budget));
        let used = locked(&self.used).get(&frame).copied().unwrap_or_default();
        used[0].wait(frames, now).max(used[1].wait(bytes, now))
    }

    fn take(&self, frame: FrameType, budget: Budget, frame_bytes: usize) {
        let (now, [frames, bytes]) = (self.origin.elapsed(), paces(budget));
        let mut used = locked(&self.used);
        let [of_frames, of_bytes] = used.entry(frame).or_default();
        of_frames.take(1, frames, now);
        of_bytes.take(frame_bytes as u64, bytes, now);
    }
}

fn paces(budget: Budget) -> [Pace; 2] {
    let Budget { frames, frames_per_minute, bytes, bytes_per_s } = budget;
    [
        Pace { at_once: frames.into(), per_minute: frames_per_minute.into() },
        Pace { at_once: bytes.into(), per_minute: u64::from(bytes_per_s) * 60 },
    ]
}
