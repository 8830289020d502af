//! Frames of the control stream, after the hellos (SPEC.md, "Control stream").

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::tally::Comparison;
use super::{FrameType, Payload, is_ascending};
use crate::bounded::list;
use crate::codec::{self, Fixed, Malformed};
use crate::hash::Hash;
use crate::ids::{AgencyId, MessageId, NodeId};
use crate::limits::{AGENCIES_MAX, HOPS_MAX, INQUIRY_HOPS_MAX, PREKEY_BYTES, PREKEYS_MAX, RECIPIENTS_MAX, RELAYS_MAX};
use crate::time::Timestamp;

/// Proofs in one custody frame.
pub const CUSTODY_PROOFS_MAX: usize = 512;
/// A signed receipt, encoded.
pub const RECEIPT_BYTES_MAX: usize = 8 * 1024;
/// A Merkle path, encoded.
pub const PROOF_BYTES_MAX: usize = 1024;
/// The facts that a leaf hashes, encoded.
pub const LEAF_BYTES_MAX: usize = 4 * 1024;
/// A signed prekey bundle, encoded.
pub const BUNDLE_BYTES_MAX: usize = 16 * 1024;

/// What goes over the control stream, both ways, in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlFrame {
    /// Prekeys of one agency.
    Bundle(Bundle),
    /// Which bundles the sender holds, so that the peer can ask for newer ones.
    BundleOffer(BundleOffer),
    /// Asks for bundles.
    BundleRequest(BundleRequest),
    /// What went from one relay to the other.
    Comparison(Comparison),
    /// Custody receipts passed back towards the sender.
    Custody(Custody),
    /// Asks where a message is.
    Inquiry(Inquiry),
    /// Answers an inquiry.
    InquiryAnswer(InquiryAnswer),
    /// Agencies whose links to the sender have come up or gone.
    Presence(Presence),
    /// Which relays can be reached through the sender.
    Reach(Reach),
    /// The answer to a [`RosterRequest`].
    Roster(RosterFrame),
    /// Which roster the sender follows, whenever that changes.
    RosterOffer(RosterOffer),
    /// Asks for a roster.
    RosterRequest(RosterRequest),
    /// What time it is at the sender.
    Time(Time),
}

/// What time it is at the sender, so that a node whose clock is wrong finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// By the sender's clock, when it sends this.
    pub now: Timestamp,
}

/// Asks for the first roster after a version. One [`RosterFrame`] answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterRequest {
    /// The version that the asking side trusts; 0 for none.
    pub after: u32,
}

/// One signed roster; the answer to one [`RosterRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterFrame {
    /// The DSSE document as its publisher made it. Nothing in it is trusted yet. Empty: the peer has no such roster.
    pub bytes: Bytes,
}

/// Which roster the sender follows, after its hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterOffer {
    /// Its version.
    pub version: u32,
    /// SHA-256 of its payload.
    pub hash: Hash,
}

/// One bundle's place in its agency's history: a higher `(epoch, seq)` replaces a lower one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleVersion {
    /// Whose prekeys.
    pub agency: AgencyId,
    /// Rises when an agency restores from backup.
    pub epoch: u32,
    /// Rises with each bundle of an epoch.
    pub seq: u64,
}

/// Which bundles the sender holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleOffer {
    /// Strictly ascending by agency.
    #[serde(deserialize_with = "list::<_, _, AGENCIES_MAX>")]
    pub bundles: Vec<BundleVersion>,
}

/// Asks for the bundles of some agencies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRequest {
    /// Strictly ascending.
    #[serde(deserialize_with = "list::<_, _, AGENCIES_MAX>")]
    pub agencies: Vec<AgencyId>,
}

/// One agency's signed bundle and the public keys that it names by hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The signed bundle, encoded; at most [`BUNDLE_BYTES_MAX`]. Nothing in it is trusted yet.
    pub bundle: Bytes,
    /// Public X-Wing keys, as the bundle orders them.
    #[serde(deserialize_with = "list::<_, _, PREKEYS_MAX>")]
    pub keys: Vec<Fixed<PREKEY_BYTES>>,
}

/// Receipts on their way back to the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Custody {
    /// At most [`CUSTODY_PROOFS_MAX`].
    #[serde(deserialize_with = "list::<_, _, CUSTODY_PROOFS_MAX>")]
    pub proofs: Vec<CustodyProof>,
}

/// That some node took custody of a message for some of its recipients. Unverified until `receipt` says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyProof {
    /// The message.
    pub id: MessageId,
    /// Which of the header's recipients, strictly ascending, at least one.
    #[serde(deserialize_with = "list::<_, _, RECIPIENTS_MAX>")]
    pub indices: Vec<u16>,
    /// The signed receipt, encoded; at most [`RECEIPT_BYTES_MAX`].
    pub receipt: Bytes,
    /// The Merkle path from the leaf to the receipt's root; at most [`PROOF_BYTES_MAX`].
    pub proof: Bytes,
    /// The facts in the leaf, encoded; at most [`LEAF_BYTES_MAX`].
    pub leaf: Bytes,
}

/// Where is this message, for this recipient?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inquiry {
    /// The message.
    pub id: MessageId,
    /// Which of the header's recipients.
    pub index: u16,
    /// How often it may still be passed on, 0 to [`INQUIRY_HOPS_MAX`].
    pub hops: u8,
}

/// Answers an [`Inquiry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InquiryAnswer {
    /// The message.
    pub id: MessageId,
    /// Which of the header's recipients.
    pub index: u16,
    /// Who says so: the peer itself, or whoever it asked in turn.
    pub by: NodeId,
    /// What that node knows.
    pub state: CustodyState,
}

/// What a node knows of a message. On the wire: `u8`, then an optional name that only 2 has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CustodyStateWire", into = "CustodyStateWire")]
pub enum CustodyState {
    /// 1: it is here.
    Held,
    /// 2: it was here, and that node acknowledged it.
    Released {
        /// Who took it over.
        to: NodeId,
    },
    /// 3: never seen, or forgotten: the sender submits it again.
    Unknown,
    /// 4: it is in the recipient's inbox.
    Delivered,
}

#[derive(Serialize, Deserialize)]
struct CustodyStateWire {
    state: u8,
    to: Option<NodeId>,
}

impl From<CustodyState> for CustodyStateWire {
    fn from(state: CustodyState) -> Self {
        match state {
            CustodyState::Held => Self { state: 1, to: None },
            CustodyState::Released { to } => Self { state: 2, to: Some(to) },
            CustodyState::Unknown => Self { state: 3, to: None },
            CustodyState::Delivered => Self { state: 4, to: None },
        }
    }
}

impl TryFrom<CustodyStateWire> for CustodyState {
    type Error = &'static str;

    fn try_from(wire: CustodyStateWire) -> Result<Self, Self::Error> {
        match (wire.state, wire.to) {
            (1, None) => Ok(Self::Held),
            (2, Some(to)) => Ok(Self::Released { to }),
            (3, None) => Ok(Self::Unknown),
            (4, None) => Ok(Self::Delivered),
            _ => Err("a custody state is 1 to 4, and 2 alone names a node"),
        }
    }
}

/// Which relays the sender can reach, and at what cost. Sent again whenever it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Strictly ascending by relay.
    #[serde(deserialize_with = "list::<_, _, RELAYS_MAX>")]
    pub relays: Vec<ReachEntry>,
}

/// One relay that can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachEntry {
    /// The relay.
    pub relay: NodeId,
    /// Sum of the links' costs to it.
    pub cost: u32,
    /// Links to it, 1 to [`HOPS_MAX`].
    pub hops: u8,
}

/// Changes of which agencies are linked to the sender, among those of which both ends are home relays. What the first
/// one of a link does not name has no link. In all at most [`AGENCIES_MAX`] names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Their links are gone; strictly ascending.
    #[serde(deserialize_with = "list::<_, _, AGENCIES_MAX>")]
    pub left: Vec<AgencyId>,
    /// Their links are up; strictly ascending.
    #[serde(deserialize_with = "list::<_, _, AGENCIES_MAX>")]
    pub linked: Vec<AgencyId>,
}

// [FRAME-3]
pub(super) fn ascending<'a, K: Ord + 'a>(
    what: &'static str,
    keys: impl Iterator<Item = &'a K>,
) -> Result<(), Malformed> {
    let keys: Vec<_> = keys.collect();
    if is_ascending(&keys) { Ok(()) } else { Err(Malformed::Rule { what, rule: "strictly ascending" }) }
}

/// Our own lists obey the bounds that the decoder sets for the peer's.
pub(super) fn at_most<T>(what: &'static str, list: &[T], max: usize) -> Result<(), Malformed> {
    if list.len() <= max { Ok(()) } else { Err(Malformed::TooLong { what, bytes: list.len(), bytes_max: max }) }
}

impl Payload for RosterRequest {
    const TYPE: FrameType = FrameType::RosterRequest;
}

impl Payload for Time {
    const TYPE: FrameType = FrameType::Time;
}

impl Payload for RosterFrame {
    const TYPE: FrameType = FrameType::Roster;
}

impl Payload for RosterOffer {
    const TYPE: FrameType = FrameType::RosterOffer;
}

impl Payload for BundleOffer {
    const TYPE: FrameType = FrameType::BundleOffer;

    fn check(&self) -> Result<(), Malformed> {
        at_most("bundle offer", &self.bundles, AGENCIES_MAX)?;
        ascending("bundle offer", self.bundles.iter().map(|bundle| &bundle.agency))
    }
}

impl Payload for BundleRequest {
    const TYPE: FrameType = FrameType::BundleRequest;

    fn check(&self) -> Result<(), Malformed> {
        at_most("bundle request", &self.agencies, AGENCIES_MAX)?;
        ascending("bundle request", self.agencies.iter())
    }
}

impl Bundle {
    /// As nodes keep it: at most `limit` bytes, called `what` in errors.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(what: &'static str, bytes: &[u8], limit: usize) -> Result<Self, Malformed> {
        codec::decode(what, bytes, limit)
    }

    /// The same, as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

impl Payload for Bundle {
    const TYPE: FrameType = FrameType::Bundle;

    fn check(&self) -> Result<(), Malformed> {
        at_most("bundle keys", &self.keys, PREKEYS_MAX)?;
        at_most("bundle", &self.bundle, BUNDLE_BYTES_MAX)
    }
}

impl Payload for Custody {
    const TYPE: FrameType = FrameType::Custody;

    fn check(&self) -> Result<(), Malformed> {
        at_most("custody proofs", &self.proofs, CUSTODY_PROOFS_MAX)?;
        self.proofs.iter().try_for_each(CustodyProof::check)
    }
}

impl CustodyProof {
    fn check(&self) -> Result<(), Malformed> {
        super::lane::check_indices("custody indices", &self.indices)?;
        if self.indices.is_empty() {
            return Err(Malformed::Rule { what: "custody indices", rule: "at least one" });
        }
        at_most("custody receipt", &self.receipt, RECEIPT_BYTES_MAX)?;
        at_most("custody proof", &self.proof, PROOF_BYTES_MAX)?;
        at_most("custody leaf", &self.leaf, LEAF_BYTES_MAX)
    }
}

impl Payload for Inquiry {
    const TYPE: FrameType = FrameType::Inquiry;

    fn check(&self) -> Result<(), Malformed> {
        if self.hops > INQUIRY_HOPS_MAX {
            return Err(Malformed::Rule { what: "inquiry", rule: "at most 5 hops" });
        }
        super::lane::check_indices("inquiry", &[self.index])
    }
}

impl Payload for InquiryAnswer {
    const TYPE: FrameType = FrameType::InquiryAnswer;

    fn check(&self) -> Result<(), Malformed> {
        super::lane::check_indices("inquiry answer", &[self.index])
    }
}

impl Payload for Presence {
    const TYPE: FrameType = FrameType::Presence;

    fn check(&self) -> Result<(), Malformed> {
        let names = self.left.len() + self.linked.len();
        if names > AGENCIES_MAX {
            return Err(Malformed::TooLong { what: "presence", bytes: names, bytes_max: AGENCIES_MAX });
        }
        ascending("presence", self.left.iter())?;
        ascending("presence", self.linked.iter())
    }
}

impl Payload for Reach {
    const TYPE: FrameType = FrameType::Reach;

    fn check(&self) -> Result<(), Malformed> {
        at_most("reach", &self.relays, RELAYS_MAX)?;
        ascending("reach", self.relays.iter().map(|entry| &entry.relay))?;
        if self.relays.iter().any(|entry| entry.hops == 0 || usize::from(entry.hops) > HOPS_MAX) {
            return Err(Malformed::Rule { what: "reach", rule: "1 to 4 hops" });
        }
        Ok(())
    }
}
