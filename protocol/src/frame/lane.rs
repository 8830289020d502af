//! Frames of lanes: envelopes one way, acknowledgements back (SPEC.md, "Lanes").

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::control::{PROOF_BYTES_MAX, RECEIPT_BYTES_MAX};
use super::{FrameType, Payload, is_ascending};
use crate::bounded::list;
use crate::codec::Malformed;
use crate::ids::NodeId;
use crate::limits::{ATTEMPTS_MAX, DETAIL_BYTES_MAX, HOPS_MAX, RECIPIENTS_MAX};
use crate::time::Timestamp;

/// Lanes a direction: one a precedence (rank 0 is flash), and one for chunks of attachments (rank 4).
pub const LANES: u8 = 5;
/// Names in a transfer's path: more than an envelope may pass, so that a loop is refused with its reason.
pub const PATH_MAX: usize = 2 * HOPS_MAX;
/// Acknowledgements in one frame.
pub const ACKS_MAX: usize = 1024;

/// The first frame of a lane's stream, by the side that sends envelopes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneOpen {
    /// Below [`LANES`]; each rank is opened at most once a direction and link.
    pub rank: u8,
}

/// One envelope on its way to its next holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// 1 for the lane's first transfer, then rising by 1.
    pub seq: u64,
    /// Submission of this envelope by its sender, 1 to [`ATTEMPTS_MAX`].
    pub attempt: u8,
    /// Which of the header's recipients this copy is for: strictly ascending, at least one.
    #[serde(deserialize_with = "list::<_, _, RECIPIENTS_MAX>")]
    pub branch: Vec<u16>,
    /// Relays that this copy has passed, in order, without the one that sends it now; at most [`PATH_MAX`].
    #[serde(deserialize_with = "list::<_, _, PATH_MAX>")]
    pub path: Vec<NodeId>,
    /// When the first relay accepted custody, by its clock; the sender's own time on the first hop.
    pub accepted: Timestamp,
    /// `Envelope::encode`. Nothing in it is verified yet.
    pub envelope: Bytes,
}

/// Acknowledgements of a lane's transfers, on the lane's own stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// At least one, at most [`ACKS_MAX`].
    #[serde(deserialize_with = "list::<_, _, ACKS_MAX>")]
    pub acks: Vec<Ack>,
    /// The signed custody receipt that covers them; at most [`RECEIPT_BYTES_MAX`]. Daemons give none.
    pub receipt: Option<Bytes>,
}

/// What became of one transfer, recipient by recipient. What it does not name is still the sender's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The transfer's.
    pub seq: u64,
    /// In the receiver's custody, durably: by this transfer, or by an earlier one. Strictly ascending, like the other
    /// lists.
    #[serde(deserialize_with = "list::<_, _, RECIPIENTS_MAX>")]
    pub taken: Vec<u16>,
    /// Has been in the receiver's custody, and has left it.
    #[serde(deserialize_with = "list::<_, _, RECIPIENTS_MAX>")]
    pub duplicate: Vec<u16>,
    /// Refused; ascending by index.
    #[serde(deserialize_with = "list::<_, _, RECIPIENTS_MAX>")]
    pub refused: Vec<Refused>,
    /// Merkle path from this transfer's leaf to the receipt's root; at most [`PROOF_BYTES_MAX`].
    pub proof: Option<Bytes>,
}

/// Why custody was refused for one recipient. Nothing was stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which of the header's recipients.
    pub index: u16,
    /// SPEC.md, "Refusals"; a code that is not known is treated as final when `retry_after_ms` is 0.
    pub reason: u16,
    /// For people; at most [`DETAIL_BYTES_MAX`] bytes.
    pub detail: String,
    /// Milliseconds after which trying again makes sense; 0 if it never does.
    pub retry_after_ms: u32,
}

/// Indices of recipients: strictly ascending, each below [`RECIPIENTS_MAX`] ([FRAME-3]).
pub(super) fn check_indices(what: &'static str, indices: &[u16]) -> Result<(), Malformed> {
    if indices.iter().any(|index| usize::from(*index) >= RECIPIENTS_MAX) {
        return Err(Malformed::Rule { what, rule: "an index is below 1024" });
    }
    if is_ascending(indices) { Ok(()) } else { Err(Malformed::Rule { what, rule: "strictly ascending" }) }
}

impl Payload for LaneOpen {
    const TYPE: FrameType = FrameType::LaneOpen;

    fn check(&self) -> Result<(), Malformed> {
        if self.rank < LANES { Ok(()) } else { Err(Malformed::Rule { what: "lane", rule: "a rank is 0 to 4" }) }
    }
}

impl Payload for Transfer {
    const TYPE: FrameType = FrameType::Transfer;

    fn check(&self) -> Result<(), Malformed> {
        let rule = |rule| Err(Malformed::Rule { what: "transfer", rule });
        if self.seq == 0 {
            return rule("seq starts at 1");
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.attempt) {
            return rule("an attempt is 1 to 16");
        }
        if self.branch.is_empty() {
            return rule("a branch has at least one recipient");
        }
        if self.path.len() > PATH_MAX {
            return rule("a path has at most 8 names");
        }
        check_indices("branch", &self.branch)
    }
}

impl Payload for Acks {
    const TYPE: FrameType = FrameType::Acks;

    fn check(&self) -> Result<(), Malformed> {
        let rule = |rule| Err(Malformed::Rule { what: "acks", rule });
        if self.acks.is_empty() || self.acks.len() > ACKS_MAX {
            return rule("1 to 1024 acknowledgements");
        }
        if self.receipt.as_ref().is_some_and(|receipt| receipt.len() > RECEIPT_BYTES_MAX) {
            return rule("a receipt has at most 8 KiB");
        }
        self.acks.iter().try_for_each(Ack::check)
    }
}

impl Ack {
    fn check(&self) -> Result<(), Malformed> {
        let rule = |rule| Err(Malformed::Rule { what: "ack", rule });
        let refused: Vec<u16> = self.refused.iter().map(|refused| refused.index).collect();
        for indices in [&self.taken, &self.duplicate, &refused] {
            check_indices("ack", indices)?;
        }
        if self.seq == 0 {
            return rule("seq starts at 1");
        }
        if self.taken.is_empty() && self.duplicate.is_empty() && refused.is_empty() {
            return rule("an acknowledgement names at least one recipient");
        }
        let mut all = [self.taken.as_slice(), &self.duplicate, &refused].concat();
        all.sort_unstable();
        if !is_ascending(&all) {
            return rule("a recipient has one outcome");
        }
        if self.proof.as_ref().is_some_and(|proof| proof.len() > PROOF_BYTES_MAX) {
            return rule("a proof has at most 1 KiB");
        }
        if self.refused.iter().any(|refused| refused.detail.len() > DETAIL_BYTES_MAX) {
            return rule("a detail has at most 256 bytes");
        }
        Ok(())
    }
}
