//! Proofs of custody on their way back to the sender.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use liaison_core::action::{Passed, Taken};
use liaison_core::op::DedupeKey;
use liaison_core::proofs::PassedProofs;
use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::frame::{Acks, CUSTODY_PROOFS_MAX, ControlFrame, Custody as CustodyFrame, CustodyProof};
use liaison_protocol::receipt::{CustodyLeaf, Proof, ReceiptBody, SignedReceipt, check_custody};
use liaison_protocol::{MessageId, NodeId, Timestamp};

use crate::Driver;
use crate::agency::{Custody, OwnEvent};
use crate::output::Metric;
use crate::receipts::Signed;

/// Messages of which a relay still knows who handed them over, after they have left.
const ORIGINS_MAX: usize = 65_536;

/// Proofs kept for peers that are away. What does not fit is asked for again by an inquiry.
const KEPT_MAX: usize = 4_096;

/// An alarm lasts so long after the last of them.
const UNPROVEN_ALARM: Duration = Duration::from_secs(3_600);
/// Between two lines in the log about one peer.
const UNPROVEN_LOG: Duration = Duration::from_secs(60);

/// The nodes that handed over what has left, so that later holders' proofs find their way. Volatile: after a restart the dedupe
/// memory says the same, and a proof that is lost costs no message, and is asked for again.
#[derive(Default)]
pub(crate) struct Origins {
    from: BTreeMap<MessageId, NodeId>,
    order: VecDeque<MessageId>,
    /// Gathered in this turn, by where they go.
    outgoing: BTreeMap<NodeId, Vec<CustodyProof>>,
    /// For peers without a link, until they have one.
    kept: BTreeMap<NodeId, Vec<CustodyProof>>,
    passed: PassedProofs,
}

/// A relay's acknowledgements without a receipt that holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unproven {
    count: u64,
    last: Timestamp,
    logged: Timestamp,
}

impl Default for Unproven {
    fn default() -> Self {
        Self { count: 0, last: Timestamp::ZERO, logged: Timestamp::ZERO }
    }
}

impl Origins {
    fn remember(&mut self, id: MessageId, from: NodeId) {
        if self.from.insert(id, from).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > ORIGINS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.from.remove(&oldest);
            }
        }
    }
}

impl Driver {
    /// Acknowledgements enter the core with the receipt that covers them, verified: one signature for a commit of theirs.
    pub(crate) fn handle_acks(&mut self, link: LinkKey, rank: u8, acks: Acks) {
        let Acks { acks, receipt } = acks;
        let receipt = receipt.filter(|_| self.links.get(&link).is_some_and(|link| link.kind == NodeKind::Relay));
        let receipt = receipt.and_then(|receipt| match self.signed_receipts.verify(&receipt, &self.roster) {
            Ok(receipt) => Some(receipt),
            Err(error) => {
                tracing::warn!(link = link.0, error, "the receipt of acknowledgements does not verify");
                None
            }
        });
        self.apply(Event::Acked { link, rank, acks, receipt });
    }

    /// A relay lets nobody show that it has taken over.
    pub(crate) fn unproven(&mut self, peer: NodeId) {
        let now = self.now();
        self.measure(Metric::Unproven { peer: peer.clone() });
        let known = self.unproven.entry(peer.clone()).or_default();
        if now.since(known.logged) >= UNPROVEN_LOG || known.count == 0 {
            known.logged = now;
            tracing::error!(%peer, "a relay acknowledges without a custody receipt that holds: what the relay was sent is kept");
        }
        (known.count, known.last) = (known.count.saturating_add(1), now);
    }

    pub(crate) fn unproven_alarms(&self, now: Timestamp) -> Vec<String> {
        let fresh = self.unproven.iter().filter(|(_, unproven)| now.since(unproven.last) < UNPROVEN_ALARM);
        let alarm = |(peer, unproven): (&NodeId, &Unproven)| {
            let count = unproven.count;
            format!(
                "{peer} has acknowledged {count} transfers without a custody receipt that holds: they are kept here, \
                 and go another way where there is one"
            )
        };
        fresh.map(alarm).collect()
    }

    /// The next relay has signed for it: the proof goes back one hop, or is ours.
    pub(crate) fn pass_back(&mut self, passed: Passed) {
        let Passed { from, proof } = passed;
        if from == self.me {
            return self.handle_own_proof(&proof);
        }
        self.origins.remember(proof.id, from.clone());
        self.origins.outgoing.entry(from).or_default().push(proof);
    }

    /// A receipt anew, for whoever asked.
    pub(crate) fn attest(&mut self, link: LinkKey, custody: usize, taken: &Taken, signed: Option<&Signed>) {
        let Some(signed) = signed else { return };
        let (Some(proof), Some(time)) = (signed.proof(custody), receipt_time(&signed.bytes)) else { return };
        let (receipt, indices) = (signed.bytes.clone(), taken.indices.clone());
        let leaf = CustodyLeaf { id: taken.id, received_from: taken.from.clone(), time, indices: indices.clone() };
        let proof = CustodyProof { id: taken.id, indices, receipt, proof, leaf: leaf.encode().into() };
        self.control(link, ControlFrame::Custody(CustodyFrame { proofs: vec![proof] }));
    }

    pub(crate) fn handle_custody(&mut self, frame: CustodyFrame) {
        for proof in frame.proofs {
            if self.kind == NodeKind::Daemon {
                self.handle_own_proof(&proof);
            } else if self.origins.passed.admit(&proof)
                && let Some(from) = self.origin_of(&proof)
            {
                self.origins.outgoing.entry(from).or_default().push(proof);
            }
        }
        self.flush_proofs();
    }

    fn origin_of(&mut self, proof: &CustodyProof) -> Option<NodeId> {
        if let Some(from) = self.origins.from.get(&proof.id) {
            return Some(from.clone());
        }
        let key = DedupeKey { id: proof.id, index: *proof.indices.first()? };
        match self.store.remembered(&key) {
            Ok(seen) => seen?.from.filter(|from| *from != self.me),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// A peer is here that proofs may be kept for.
    pub(crate) fn send_kept_proofs(&mut self, peer: &NodeId) {
        if let Some(proofs) = self.origins.kept.remove(peer) {
            self.origins.outgoing.entry(peer.clone()).or_default().extend(proofs);
            self.flush_proofs();
        }
    }

    /// Sends on what was gathered, and keeps some of it for a peer that is away.
    pub(crate) fn flush_proofs(&mut self) {
        for (to, proofs) in std::mem::take(&mut self.origins.outgoing) {
            let Some(link) = self.link_to(&to) else {
                let room = KEPT_MAX.saturating_sub(self.origins.kept.values().map(Vec::len).sum());
                self.origins.kept.entry(to).or_default().extend(proofs.into_iter().take(room));
                continue;
            };
            for proofs in proofs.chunks(CUSTODY_PROOFS_MAX) {
                self.control(link, ControlFrame::Custody(CustodyFrame { proofs: proofs.to_vec() }));
            }
        }
    }

    /// A proof about a message of this agency's own: believed only as far as it verifies.
    fn handle_own_proof(&mut self, proof: &CustodyProof) {
        match self.verify(proof) {
            Ok((leaf, body)) => self.progress(OwnEvent::Custody(Box::new(Custody {
                id: leaf.id,
                indices: leaf.indices,
                holder: body.issuer,
                from: leaf.received_from,
                at: leaf.time,
                receipt: proof.receipt.clone(),
                proof: proof.proof.clone(),
            }))),
            Err(error) => tracing::warn!(message = %proof.id.short(), error, "a custody proof does not verify"),
        }
    }

    fn verify(&mut self, proof: &CustodyProof) -> Result<(CustodyLeaf, ReceiptBody), String> {
        let leaf = CustodyLeaf::decode(&proof.leaf).map_err(|error| error.to_string())?;
        let path = Proof::decode(&proof.proof).map_err(|error| error.to_string())?;
        let body = self.signed_receipts.verify(&proof.receipt, &self.roster)?.body().clone();
        check_custody(&body, &path, &leaf, &self.roster).map_err(|error| error.to_string())?;
        if leaf.id == proof.id { Ok((leaf, body)) } else { Err("the proof is about another message".into()) }
    }
}

fn receipt_time(receipt: &bytes::Bytes) -> Option<Timestamp> {
    Some(SignedReceipt::decode(receipt).ok()?.decode_body().ok()?.time)
}
