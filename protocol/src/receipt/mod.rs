//! Signed statements about messages: custody, delivery, reading, refusal (SPEC.md, "Receipts").
//!
//! ```text
//!  CustodyLeaf… ─► ReceiptChain::next_custody ─► UnsignedReceipt ─► (commit, fsync) ─► sign ─► SignedReceipt
//!                                                    └ proof(i) ───────────────────────────────┐
//!  SignedReceipt + Proof + CustodyLeaf ─► verify_custody(roster) ─► ReceiptBody ◄───────────────┘
//! ```
//!
//! Invariants: a receipt is signed only after what it claims is durable; all receipts of one issuer form one chain
//! (`seq` by one, `prev` the hash of the one before), so that a second history shows.

mod chain;
mod custody;
mod delivery;
mod merkle;
mod statement;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use chain::{ChainFinding, Equivocation, Issuer, RESUME_SEQ_MIN, ReceiptChain, UnsignedReceipt, audit};
pub use custody::{CUSTODY_LEAF_BYTES_MAX, CustodyLeaf, check_custody, verify_custody};
pub use delivery::{
    DELIVERY_LEAF_BYTES_MAX, DeliveryLeaf, ReadFacts, RefusalFacts, verify_delivery, verify_read, verify_refusal,
};
pub use merkle::{MerkleTree, PATH_MAX, PROOF_BYTES_MAX, Proof};
pub use statement::{Proven, Statement, plain_statement, statement, verify_statement};

use crate::codec::{self, Malformed};
use crate::hash::Hash;
use crate::ids::{FederationId, KeyId, NodeId};
use crate::mutant::{Mutant, planted};
use crate::roster::{Roster, RosterVersion};
use crate::sign::{SignError, Signature, Signer};
use crate::time::Timestamp;
use crate::{bounded, label, limits};

/// The version of receipts that this crate reads and writes.
pub const RECEIPT_VERSION: u8 = 1;
/// Bytes of a body at most: the fixed part, an issuer, and a refusal with its detail.
pub const BODY_BYTES_MAX: usize = 1024;
/// Bytes of an encoded [`SignedReceipt`] at most.
pub const RECEIPT_BYTES_MAX: usize = BODY_BYTES_MAX + limits::SIGNATURE_BYTES_MAX + 8;

/// What an issuer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptBody {
    /// In which federation.
    pub federation: FederationId,
    /// Who speaks.
    pub issuer: NodeId,
    /// With which of its keys.
    pub issuer_key: KeyId,
    /// The roster that it followed.
    pub roster_version: RosterVersion,
    /// When, by its clock.
    pub time: Timestamp,
    /// Counts the issuer's receipts, from 1.
    pub seq: u64,
    /// Hash of the issuer's receipt before; zeros in the first.
    pub prev: Hash,
    /// What it says.
    pub payload: Payload,
}

/// What a receipt says. On the wire a number before the rest, and the fields after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// 1: a relay took the batch's messages into custody.
    Custody(Batch),
    /// 2: the batch's messages are durable in an inbox.
    Delivery(Batch),
    /// 3: a message was read.
    Read(ReadFacts),
    /// 4: a message is not delivered.
    Refusal(RefusalFacts),
    /// 5: the issuer was restored from a backup, and does not know which receipts it made since.
    Restored(Restored),
}

/// A tree over many leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its root.
    pub root: Hash,
    /// Its leaves.
    pub size: u32,
}

impl Batch {
    fn check(&self, proof: &Proof, leaf: Hash) -> Result<(), ReceiptError> {
        let holds = proof.root(leaf, self.size) == Some(self.root);
        if holds || planted(Mutant::LeafUnchecked) { Ok(()) } else { Err(ReceiptError::NotInBatch) }
    }
}

/// A gap that its issuer explains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The last receipt that the backup knew.
    pub resumed_after: u64,
}

impl Payload {
    const fn kind(&self) -> u8 {
        match self {
            Self::Custody(_) => 1,
            Self::Delivery(_) => 2,
            Self::Read(_) => 3,
            Self::Refusal(_) => 4,
            Self::Restored(_) => 5,
        }
    }

    /// The word that people and logs use.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::Custody(_) => "custody",
            Self::Delivery(_) => "delivery",
            Self::Read(_) => "read",
            Self::Refusal(_) => "refusal",
            Self::Restored(_) => "restored",
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Custody(batch) | Self::Delivery(batch) => codec::encode(batch),
            Self::Read(facts) => codec::encode(facts),
            Self::Refusal(facts) => codec::encode(facts),
            Self::Restored(facts) => codec::encode(facts),
        }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        match kind {
            1 => codec::decode(WHAT, bytes, BODY_BYTES_MAX).map(Self::Custody),
            2 => codec::decode(WHAT, bytes, BODY_BYTES_MAX).map(Self::Delivery),
            3 => codec::decode(WHAT, bytes, BODY_BYTES_MAX).map(Self::Read),
            4 => codec::decode(WHAT, bytes, BODY_BYTES_MAX).map(Self::Refusal),
            5 => codec::decode(WHAT, bytes, BODY_BYTES_MAX).map(Self::Restored),
            _ => Err(Malformed::Rule { what: WHAT, rule: "its type is 1 to 5" }),
        }
    }
}

const WHAT: &str = "receipt";

/// The fields before the payload, in the order of the wire.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u8,
    kind: u8,
    federation: FederationId,
    issuer: NodeId,
    issuer_key: KeyId,
    roster_version: RosterVersion,
    time: Timestamp,
    seq: u64,
    prev: Hash,
}

impl ReceiptBody {
    /// The bytes that are hashed and signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = codec::encode(&Head {
            version: RECEIPT_VERSION,
            kind: self.payload.kind(),
            federation: self.federation,
            issuer: self.issuer.clone(),
            issuer_key: self.issuer_key,
            roster_version: self.roster_version,
            time: self.time,
            seq: self.seq,
            prev: self.prev,
        });
        bytes.extend_from_slice(&self.payload.encode());
        bytes
    }

    /// # Errors
    /// [`Malformed`], also for a version that this crate does not know.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > BODY_BYTES_MAX {
            return Err(Malformed::TooLong { what: WHAT, bytes: bytes.len(), bytes_max: BODY_BYTES_MAX });
        }
        let undecodable = |_| Malformed::Undecodable { what: WHAT };
        let (head, rest) = postcard::take_from_bytes::<Head>(bytes).map_err(undecodable)?;
        if head.version != RECEIPT_VERSION {
            return Err(Malformed::Rule { what: WHAT, rule: "its version is 1" });
        }
        let Head { federation, issuer, issuer_key, roster_version, time, seq, prev, .. } = head;
        let payload = Payload::decode(head.kind, rest)?;
        let body = Self { federation, issuer, issuer_key, roster_version, time, seq, prev, payload };
        if body.encode() == bytes { Ok(body) } else { Err(Malformed::NotCanonical { what: WHAT }) }
    }
}

/// A receipt as received: nothing in it is trusted until [`SignedReceipt::verify`] or one of the `verify_*`
/// functions has said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// The body's bytes; [`SignedReceipt::decode_body`] reads them.
    #[serde(deserialize_with = "bounded::shared::<_, BODY_BYTES_MAX>", serialize_with = "bounded::serialize_bytes")]
    pub body: Bytes,
    /// The issuer's, over label and hash.
    pub signature: Signature,
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The signature does not cover this body.
    #[error("the signature of {issuer} under the receipt does not verify")]
    BadSignature {
        /// Who is said to have signed.
        issuer: NodeId,
    },
    /// Of another federation.
    #[error("the receipt belongs to federation {found}")]
    Federation {
        /// Which.
        found: FederationId,
    },
    /// It says something else than what was to be proven.
    #[error("a {expected} receipt was expected, this is a {found} receipt")]
    Kind {
        /// What was to come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// The bytes are no receipt.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A read receipt without the delivery receipt that it names.
    #[error("the delivery receipt that the read receipt names is missing")]
    NoDelivery,
    /// The leaf is not in the signed batch.
    #[error("the message is not in the batch that was signed")]
    NotInBatch,
    /// It is older than what it is about.
    #[error("the receipt is older than what it is about")]
    TimeOrder,
    /// The roster knows no such key of this issuer at that time.
    #[error("no key {key} of {issuer} was valid when the receipt was made")]
    UnknownIssuer {
        /// The issuer.
        issuer: NodeId,
        /// The key.
        key: KeyId,
    },
    /// Whoever signed may not say this.
    #[error("{issuer} signed, and {rule}")]
    WrongIssuer {
        /// The issuer.
        issuer: NodeId,
        /// Why not.
        rule: &'static str,
    },
}

impl SignedReceipt {
    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode(WHAT, bytes, RECEIPT_BYTES_MAX)
    }

    /// What the next receipt of the issuer names as `prev`, and a read receipt as its delivery.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&[&self.body])
    }

    /// What it says, unverified.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode_body(&self) -> Result<ReceiptBody, Malformed> {
        ReceiptBody::decode(&self.body)
    }

    /// Whether the issuer that it names signed it, with a key that `roster` gives it for that time. What it says is
    /// then for the `verify_*` function of its kind.
    ///
    /// # Errors
    /// [`ReceiptError`].
    // [RCPT-2]
    pub fn verify(&self, roster: &Roster) -> Result<ReceiptBody, ReceiptError> {
        let body = self.decode_body()?;
        if body.federation != roster.federation() {
            return Err(ReceiptError::Federation { found: body.federation });
        }
        let Some(key) = roster.sign_key(&body.issuer, body.issuer_key, body.time) else {
            return Err(ReceiptError::UnknownIssuer { issuer: body.issuer, key: body.issuer_key });
        };
        match key.verify(&signed_message(&self.hash()), &self.signature) {
            Ok(()) => Ok(body),
            Err(_) if planted(Mutant::ReceiptSignatureUnchecked) => Ok(body),
            Err(_) => Err(ReceiptError::BadSignature { issuer: body.issuer }),
        }
    }
}

/// Signs the body of an [`UnsignedReceipt`].
fn sign(body: Bytes, signer: &dyn Signer) -> Result<SignedReceipt, SignError> {
    let signature = signer.sign(&signed_message(&Hash::of(&[&body])))?;
    Ok(SignedReceipt { body, signature })
}

fn signed_message(hash: &Hash) -> Vec<u8> {
    [label::RECEIPT_SIG, &hash.0].concat()
}
