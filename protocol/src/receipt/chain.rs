//! One issuer's receipts, one after another: making the next one, and finding out who tells two stories.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::delivery::{DeliveryLeaf, ReadFacts, RefusalFacts};
use super::merkle::{MerkleTree, Proof};
use super::{Batch, CustodyLeaf, Payload, ReceiptBody, ReceiptError, Restored, SignedReceipt, sign};
use crate::codec::{self, Malformed};
use crate::hash::Hash;
use crate::ids::{FederationId, KeyId, NodeId};
use crate::mutant::{Mutant, planted};
use crate::roster::{Roster, RosterVersion};
use crate::sign::{SignError, Signer};
use crate::time::Timestamp;

/// A chain that goes on at a start does so at this number or a higher one, and so much more for each second since 1970.
pub const RESUME_SEQ_MIN: u64 = 1 << 32;

/// Numbers between two starts that are a second apart, or a millisecond: more receipts than anyone makes in it.
const RESUME_SEQ_SECOND: u64 = 1 << 21;
const RESUME_SEQ_MILLI: u64 = 1 << 11;

/// Who makes receipts, under which roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The federation.
    pub federation: FederationId,
    /// Its name.
    pub id: NodeId,
    /// The key that will sign.
    pub key: KeyId,
    /// The roster that it follows.
    pub roster_version: RosterVersion,
}

/// The head of an issuer's chain. Its encoding is committed together with whatever the receipt is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptChain {
    /// The last receipt made; 0 before the first.
    pub seq: u64,
    /// Its hash; zeros before the first.
    pub prev: Hash,
}

impl Default for ReceiptChain {
    fn default() -> Self {
        Self { seq: 0, prev: Hash::ZERO }
    }
}

/// A receipt that claims what is not durable yet: commit first, then [`UnsignedReceipt::sign`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "its number is taken: leaving it out leaves a gap in the chain"]
pub struct UnsignedReceipt {
    body: Bytes,
    hash: Hash,
    tree: Option<MerkleTree>,
}

impl UnsignedReceipt {
    /// The body's bytes: what is committed, so that it can be signed after a crash.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// SHA-256 of the body.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The proof for leaf `index` of a batch, in the order given.
    #[must_use]
    pub fn proof(&self, index: u32) -> Option<Proof> {
        self.tree.as_ref()?.proof(index)
    }

    /// A body that was committed before a crash, to be signed now.
    ///
    /// # Errors
    /// The bytes are no receipt.
    pub fn from_body(body: Bytes) -> Result<Self, Malformed> {
        ReceiptBody::decode(&body)?;
        Ok(Self { hash: Hash::of(&[&body]), body, tree: None })
    }

    /// Signs, once what it claims is durable ([RCPT-1]).
    ///
    /// # Errors
    /// The signer's.
    pub fn sign(&self, signer: &dyn Signer) -> Result<SignedReceipt, SignError> {
        sign(self.body.clone(), signer)
    }
}

impl ReceiptChain {
    /// The record that is committed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode("receipt chain", bytes, 64)
    }

    /// The custody receipt for one commit. Its time is at least that of every leaf.
    ///
    /// # Panics
    /// No leaf, or more than [`crate::limits::RECEIPT_BATCH_MAX`]: a commit is bounded before.
    pub fn next_custody(&mut self, issuer: &Issuer, leaves: &[CustodyLeaf], time: Timestamp) -> UnsignedReceipt {
        let tree = MerkleTree::new(leaves.iter().map(CustodyLeaf::hash).collect());
        let time = leaves.iter().map(|leaf| leaf.time).fold(time, Timestamp::max);
        let batch = Batch { root: tree.root(), size: tree.size() };
        self.next(issuer, time, Payload::Custody(batch), Some(tree))
    }

    /// The delivery receipt for one commit. Its time is at least that of every leaf.
    ///
    /// # Panics
    /// As [`ReceiptChain::next_custody`].
    pub fn next_delivery(&mut self, issuer: &Issuer, leaves: &[DeliveryLeaf], time: Timestamp) -> UnsignedReceipt {
        let tree = MerkleTree::new(leaves.iter().map(DeliveryLeaf::hash).collect());
        let time = leaves.iter().map(|leaf| leaf.time).fold(time, Timestamp::max);
        let batch = Batch { root: tree.root(), size: tree.size() };
        self.next(issuer, time, Payload::Delivery(batch), Some(tree))
    }

    /// A read receipt.
    pub fn next_read(&mut self, issuer: &Issuer, facts: ReadFacts, time: Timestamp) -> UnsignedReceipt {
        self.next(issuer, time, Payload::Read(facts), None)
    }

    /// A refusal, or a relay's non-delivery notice. The detail is cut to what fits.
    pub fn next_refusal(&mut self, issuer: &Issuer, mut facts: RefusalFacts, time: Timestamp) -> UnsignedReceipt {
        while facts.detail.len() > crate::limits::DETAIL_BYTES_MAX {
            facts.detail.pop();
        }
        self.next(issuer, time, Payload::Refusal(facts), None)
    }

    /// The first receipt of each start. It says after which receipt this issuer goes on. Its number is past all that
    /// the store knows, past `used`, which the lease file has set aside, and past all that the clock allows the issuer
    /// to have signed. So a store that was put back or lost repeats no number, nor does a whole machine that was put
    /// back, as long as its clock is right ([RCPT-8]).
    pub fn resume(&mut self, issuer: &Issuer, used: u64, time: Timestamp) -> UnsignedReceipt {
        let resumed_after = if self.prev == Hash::ZERO { 0 } else { self.seq };
        let payload = Payload::Restored(Restored { resumed_after });
        let passed = self.seq.max(used).max(numbers_by(time).saturating_add(RESUME_SEQ_MIN - 1));
        self.seq = if planted(Mutant::LeaseIgnored) { self.seq } else { passed };
        self.next(issuer, time, payload, None)
    }

    fn next(
        &mut self,
        issuer: &Issuer,
        time: Timestamp,
        payload: Payload,
        tree: Option<MerkleTree>,
    ) -> UnsignedReceipt {
        let seq = self.seq.saturating_add(1);
        let body = ReceiptBody {
            federation: issuer.federation,
            issuer: issuer.id.clone(),
            issuer_key: issuer.key,
            roster_version: issuer.roster_version,
            time,
            seq,
            prev: self.prev,
            payload,
        };
        let body = Bytes::from(body.encode());
        let hash = Hash::of(&[&body]);
        *self = Self { seq, prev: hash };
        UnsignedReceipt { body, hash, tree }
    }
}

/// More than an issuer can have numbered by `time`. Below 2^53 until 2106, so that every reader of JSON can tell
/// numbers apart.
const fn numbers_by(time: Timestamp) -> u64 {
    let (seconds, millis) = (time.as_millis() / 1000, time.as_millis() % 1000);
    let seconds = seconds.saturating_mul(RESUME_SEQ_SECOND);
    seconds.saturating_add(millis * RESUME_SEQ_MILLI)
}

/// Two receipts of one issuer that cannot both stand in one history: proof that it tells two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equivocation {
    /// One story.
    pub first: SignedReceipt,
    /// The other.
    pub second: SignedReceipt,
}

impl Equivocation {
    /// Whether it proves what it says: both are signed by the same issuer, and either share a number, or the second
    /// follows on another receipt than the first.
    ///
    /// # Errors
    /// A signature does not verify.
    pub fn verify(&self, roster: &Roster) -> Result<bool, ReceiptError> {
        let (first, second) = (self.first.verify(roster)?, self.second.verify(roster)?);
        Ok(first.issuer == second.issuer && contradicts((&self.first, &first), (&self.second, &second)))
    }
}

// [RCPT-4]
fn contradicts(first: (&SignedReceipt, &ReceiptBody), second: (&SignedReceipt, &ReceiptBody)) -> bool {
    let ((first, first_body), (second, second_body)) = (first, second);
    if planted(Mutant::EquivocationUnseen) {
        return false;
    }
    let same_number = first_body.seq == second_body.seq && first.body != second.body;
    let after = predecessor(second_body) == first_body.seq && second_body.prev != first.hash();
    same_number || after
}

/// The number that `body.prev` is the hash of.
fn predecessor(body: &ReceiptBody) -> u64 {
    match &body.payload {
        Payload::Restored(restored) => restored.resumed_after,
        _ => body.seq.saturating_sub(1),
    }
}

/// What stands out in an issuer's receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainFinding {
    /// Two histories.
    Equivocation(Box<Equivocation>),
    /// Receipts that we have not seen. No proof of anything: ours are a sample, unless the issuer owes us all.
    Gap {
        /// The last one before.
        after: u64,
        /// The first one behind.
        before: u64,
    },
    /// A gap that the issuer explains: it went on there, after a start or a restore.
    Restored {
        /// The marker.
        seq: u64,
        /// The last receipt that its store knew.
        resumed_after: u64,
    },
    /// The issuer's clock went backwards.
    TimeOrder {
        /// The earlier receipt with the later time.
        seq: u64,
    },
}

/// Looks through verified receipts of one issuer, in any order; the same one twice is no finding.
///
/// # Errors
/// A body does not decode: it was never verified.
pub fn audit(receipts: &[SignedReceipt]) -> Result<Vec<ChainFinding>, Malformed> {
    let read = receipts.iter().map(|receipt| Ok((receipt, receipt.decode_body()?)));
    let mut read = read.collect::<Result<Vec<_>, Malformed>>()?;
    read.sort_by(|(a, a_body), (b, b_body)| (a_body.seq, &a.body).cmp(&(b_body.seq, &b.body)));
    read.dedup_by(|(a, _), (b, _)| a.body == b.body);
    let mut findings = Vec::new();
    let mut by_seq: BTreeMap<u64, (&SignedReceipt, &ReceiptBody)> = BTreeMap::new();
    let mut before: Option<&ReceiptBody> = None;
    for (receipt, body) in &read {
        let rivals = [by_seq.get(&body.seq), by_seq.get(&predecessor(body))];
        let rival = rivals.into_iter().flatten().find(|rival| contradicts(**rival, (receipt, body)));
        if let Some((other, _)) = rival {
            let equivocation = Equivocation { first: (*other).clone(), second: (*receipt).clone() };
            findings.push(ChainFinding::Equivocation(Box::new(equivocation)));
        } else if let Some(first) = before {
            findings.extend(between(first, body));
        }
        if let Some(first) = before.filter(|first| first.time > body.time) {
            findings.push(ChainFinding::TimeOrder { seq: first.seq });
        }
        by_seq.entry(body.seq).or_insert((receipt, body));
        before = Some(body);
    }
    Ok(findings)
}

/// What lies between two neighbours that do not contradict each other.
fn between(first: &ReceiptBody, second: &ReceiptBody) -> Option<ChainFinding> {
    match &second.payload {
        Payload::Restored(restored) if restored.resumed_after <= first.seq => {
            Some(ChainFinding::Restored { seq: second.seq, resumed_after: restored.resumed_after })
        }
        _ if predecessor(second) > first.seq => Some(ChainFinding::Gap { after: first.seq, before: second.seq }),
        _ => None,
    }
}
