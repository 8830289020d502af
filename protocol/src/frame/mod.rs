//! Frames on a link's streams (SPEC.md, "Frames"): `u8 type || u32be length || payload`.
//!
//! ```text
//!  control stream   Hello, then any ControlFrame           both ways, opened by the dialing side
//!  lane's stream    LaneOpen, then Transfer, Transfer, …   by the side that sends envelopes
//!                   Acks, Acks, …                          by the side that receives them
//! ```
//!
//! [`Frame::encode`] and [`Decoder`] are the only way out and in. What a decoder gives obeys every rule of its type;
//! whether it is *true* (signatures, roster, custody) is for others to find out.

mod budget;
mod close;
mod control;
mod decoder;
mod hello;
mod lane;
mod tally;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Malformed};
use crate::limits::{CONTROL_FRAME_BYTES_MAX, LANE_FRAME_BYTES_MAX, ROSTER_BYTES_MAX};

pub use budget::Budget;
pub use close::CloseCode;
pub use control::{
    BUNDLE_BYTES_MAX, Bundle, BundleOffer, BundleRequest, BundleVersion, CUSTODY_PROOFS_MAX, ControlFrame, Custody,
    CustodyProof, CustodyState, Inquiry, InquiryAnswer, LEAF_BYTES_MAX, PROOF_BYTES_MAX, Presence, RECEIPT_BYTES_MAX,
    Reach, ReachEntry, RosterFrame, RosterOffer, RosterRequest, Time,
};
pub use decoder::{Decoder, Expect};
pub use hello::{Agreed, FEATURES_MAX, Hello, HelloError, VERSION_MAX, VERSION_MIN, negotiate};
pub use lane::{ACKS_MAX, Ack, Acks, LANES, LaneOpen, PATH_MAX, Refused, Transfer};
pub use tally::{
    Comparison, HourTally, ROLL_ITEMS_MAX, Roll, RollAnswer, RollItem, TALLY_HOURS_MAX, Tallies, TalliesAnswer, Tally,
};

/// Type and length.
pub const FRAME_HEADER_BYTES: usize = 5;
/// A roster frame: the payload in base64, and its signatures.
pub const ROSTER_FRAME_BYTES_MAX: usize = ROSTER_BYTES_MAX / 3 * 4 + 256 * 1024;

/// What a frame is. Control frames are below 32, lane frames from 32 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameType {
    /// [`Hello`].
    Hello = 1,
    /// [`RosterRequest`].
    RosterRequest = 2,
    /// [`RosterFrame`].
    Roster = 3,
    /// [`BundleOffer`].
    BundleOffer = 4,
    /// [`BundleRequest`].
    BundleRequest = 5,
    /// [`Bundle`].
    Bundle = 6,
    /// [`Custody`].
    Custody = 7,
    /// [`Inquiry`].
    Inquiry = 8,
    /// [`InquiryAnswer`].
    InquiryAnswer = 9,
    /// [`Reach`].
    Reach = 10,
    /// [`Tallies`].
    Tallies = 11,
    /// [`TalliesAnswer`].
    TalliesAnswer = 12,
    /// [`Roll`].
    Roll = 13,
    /// [`RollAnswer`].
    RollAnswer = 14,
    /// [`Presence`].
    Presence = 15,
    /// [`Time`].
    Time = 16,
    /// [`RosterOffer`].
    RosterOffer = 17,
    /// [`LaneOpen`].
    LaneOpen = 32,
    /// [`Transfer`].
    Transfer = 33,
    /// [`Acks`].
    Acks = 34,
}

impl FrameType {
    /// All, by number.
    pub const ALL: [Self; 20] = [
        Self::Hello,
        Self::RosterRequest,
        Self::Roster,
        Self::BundleOffer,
        Self::BundleRequest,
        Self::Bundle,
        Self::Custody,
        Self::Inquiry,
        Self::InquiryAnswer,
        Self::Reach,
        Self::Tallies,
        Self::TalliesAnswer,
        Self::Roll,
        Self::RollAnswer,
        Self::Presence,
        Self::Time,
        Self::RosterOffer,
        Self::LaneOpen,
        Self::Transfer,
        Self::Acks,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type behind a number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Longest payload. Checked against a frame's header before its payload is read.
    #[must_use]
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Hello => 512,
            Self::LaneOpen | Self::RosterRequest | Self::Time => 16,
            Self::RosterOffer => 64,
            Self::Inquiry => 128,
            Self::InquiryAnswer => 256,
            Self::RollAnswer => 16 * 1024,
            Self::Tallies | Self::TalliesAnswer => 64 * 1024,
            Self::Roll => 256 * 1024,
            Self::Bundle => 128 * 1024,
            Self::Roster => ROSTER_FRAME_BYTES_MAX,
            Self::Acks | Self::BundleOffer | Self::BundleRequest | Self::Custody | Self::Presence | Self::Reach => {
                CONTROL_FRAME_BYTES_MAX
            }
            Self::Transfer => LANE_FRAME_BYTES_MAX,
        }
    }

    /// The word in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::RosterRequest => "roster request",
            Self::Roster => "roster",
            Self::BundleOffer => "bundle offer",
            Self::BundleRequest => "bundle request",
            Self::Bundle => "bundle",
            Self::Custody => "custody",
            Self::Inquiry => "inquiry",
            Self::InquiryAnswer => "inquiry answer",
            Self::Reach => "reach",
            Self::Tallies => "tallies",
            Self::TalliesAnswer => "tallies answer",
            Self::Roll => "roll",
            Self::RollAnswer => "roll answer",
            Self::Presence => "presence",
            Self::Time => "time",
            Self::RosterOffer => "roster offer",
            Self::LaneOpen => "lane open",
            Self::Transfer => "transfer",
            Self::Acks => "acks",
        }
    }
}

/// One frame, of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// What became of transfers.
    Acks(Acks),
    /// On the control stream, after the hello.
    Control(ControlFrame),
    /// The first frame of the control stream.
    Hello(Hello),
    /// The first frame of a lane.
    LaneOpen(LaneOpen),
    /// An envelope.
    Transfer(Transfer),
}

/// A peer breaks the framing, or we would: the same rules hold for what is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload breaks a rule of its type.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Claims, or has, a longer payload than its type allows.
    #[error("a {name} frame of {bytes} bytes, at most {bytes_max} allowed", name = frame.as_str())]
    TooLarge {
        /// Its type.
        frame: FrameType,
        /// Its length.
        bytes: usize,
        /// The bound of its type.
        bytes_max: usize,
    },
    /// A known type, where it must not come.
    #[error("a {name} frame where {expected} must come", name = frame.as_str())]
    Unexpected {
        /// Its type.
        frame: FrameType,
        /// What the stream's state allows.
        expected: Expect,
    },
    /// A type that this version does not know.
    #[error("unknown frame type {code}")]
    UnknownType {
        /// Its number.
        code: u8,
    },
}

impl FrameError {
    /// The code that closes the link.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::TooLarge { .. } => CloseCode::FrameTooLarge,
            Self::Malformed(_) | Self::Unexpected { .. } | Self::UnknownType { .. } => CloseCode::ProtocolViolation,
        }
    }
}

/// A frame's payload: its type, and the rules that its shape alone does not hold.
pub(crate) trait Payload: Serialize + DeserializeOwned {
    const TYPE: FrameType;

    /// Rules beyond the shape. Kept by the decoder for the peer, and by the encoder for us.
    fn check(&self) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Strictly ascending, which rules out duplicates.
fn is_ascending<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}

// [FRAME-2]
fn decode_payload<T: Payload>(payload: &[u8]) -> Result<T, FrameError> {
    let value: T = codec::decode(T::TYPE.as_str(), payload, T::TYPE.payload_bytes_max())?;
    value.check()?;
    Ok(value)
}

// [LIMIT-1]
fn encode_payload<T: Payload>(value: &T) -> Result<Vec<u8>, FrameError> {
    value.check()?;
    let payload = codec::encode(value);
    let (bytes, bytes_max) = (payload.len(), T::TYPE.payload_bytes_max());
    match u32::try_from(bytes) {
        Ok(length) if bytes <= bytes_max => {
            let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + bytes);
            frame.push(T::TYPE.code());
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(&payload);
            Ok(frame)
        }
        _ => Err(FrameError::TooLarge { frame: T::TYPE, bytes, bytes_max }),
    }
}

impl Frame {
    /// The whole frame: type, length, payload.
    ///
    /// # Errors
    /// The frame breaks a rule that a peer's decoder would refuse. Never for what a decoder gave.
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Acks(acks) => encode_payload(acks),
            Self::Control(frame) => frame.encode(),
            Self::Hello(hello) => encode_payload(hello),
            Self::LaneOpen(open) => encode_payload(open),
            Self::Transfer(transfer) => encode_payload(transfer),
        }
    }

    fn decode(frame: FrameType, payload: &[u8]) -> Result<Self, FrameError> {
        Ok(match frame {
            FrameType::Hello => Self::Hello(decode_payload(payload)?),
            FrameType::RosterRequest => Self::Control(ControlFrame::RosterRequest(decode_payload(payload)?)),
            FrameType::RosterOffer => Self::Control(ControlFrame::RosterOffer(decode_payload(payload)?)),
            FrameType::Roster => Self::Control(ControlFrame::Roster(decode_payload(payload)?)),
            FrameType::BundleOffer => Self::Control(ControlFrame::BundleOffer(decode_payload(payload)?)),
            FrameType::BundleRequest => Self::Control(ControlFrame::BundleRequest(decode_payload(payload)?)),
            FrameType::Bundle => Self::Control(ControlFrame::Bundle(decode_payload(payload)?)),
            FrameType::Custody => Self::Control(ControlFrame::Custody(decode_payload(payload)?)),
            FrameType::Inquiry => Self::Control(ControlFrame::Inquiry(decode_payload(payload)?)),
            FrameType::InquiryAnswer => Self::Control(ControlFrame::InquiryAnswer(decode_payload(payload)?)),
            FrameType::Presence => Self::Control(ControlFrame::Presence(decode_payload(payload)?)),
            FrameType::Reach => Self::Control(ControlFrame::Reach(decode_payload(payload)?)),
            FrameType::Tallies => Self::comparison(Comparison::Tallies(decode_payload(payload)?)),
            FrameType::TalliesAnswer => Self::comparison(Comparison::TalliesAnswer(decode_payload(payload)?)),
            FrameType::Roll => Self::comparison(Comparison::Roll(decode_payload(payload)?)),
            FrameType::RollAnswer => Self::comparison(Comparison::RollAnswer(decode_payload(payload)?)),
            FrameType::Time => Self::Control(ControlFrame::Time(decode_payload(payload)?)),
            FrameType::LaneOpen => Self::LaneOpen(decode_payload(payload)?),
            FrameType::Transfer => Self::Transfer(decode_payload(payload)?),
            FrameType::Acks => Self::Acks(decode_payload(payload)?),
        })
    }

    const fn comparison(comparison: Comparison) -> Self {
        Self::Control(ControlFrame::Comparison(comparison))
    }
}

impl ControlFrame {
    /// As [`Frame::encode`].
    ///
    /// # Errors
    /// As [`Frame::encode`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Self::Bundle(bundle) => encode_payload(bundle),
            Self::BundleOffer(offer) => encode_payload(offer),
            Self::BundleRequest(request) => encode_payload(request),
            Self::Comparison(Comparison::Tallies(tallies)) => encode_payload(tallies),
            Self::Comparison(Comparison::TalliesAnswer(answer)) => encode_payload(answer),
            Self::Comparison(Comparison::Roll(roll)) => encode_payload(roll),
            Self::Comparison(Comparison::RollAnswer(answer)) => encode_payload(answer),
            Self::Custody(custody) => encode_payload(custody),
            Self::Inquiry(inquiry) => encode_payload(inquiry),
            Self::InquiryAnswer(answer) => encode_payload(answer),
            Self::Presence(presence) => encode_payload(presence),
            Self::Reach(reach) => encode_payload(reach),
            Self::Roster(roster) => encode_payload(roster),
            Self::RosterOffer(offer) => encode_payload(offer),
            Self::RosterRequest(request) => encode_payload(request),
            Self::Time(time) => encode_payload(time),
        }
    }
}

impl From<ControlFrame> for Frame {
    fn from(frame: ControlFrame) -> Self {
        Self::Control(frame)
    }
}

#[cfg(test)]
mod tests;
