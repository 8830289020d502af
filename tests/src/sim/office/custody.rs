//! Receipts of custody on their way back to the sender, as the product's run loop makes, passes on and verifies them.

use std::collections::BTreeMap;

use bytes::Bytes;
use liaison_core::action::{Passed, Taken};
use liaison_core::op::{DedupeKey, Op, Table};
use liaison_core::proofs::PassedProofs;
use liaison_core::{Event, LinkKey};
use liaison_node::local::{Custody, OwnEvent};
use liaison_protocol::frame::CustodyProof;
use liaison_protocol::receipt::{CustodyLeaf, Proof, ReceiptChain, SignedReceipt, UnsignedReceipt, check_custody};
use liaison_protocol::{MessageId, NodeId, Timestamp};

use crate::sim::network::Frame;
use crate::sim::trace::{NodeNo, Step};
use crate::sim::world::World;

/// Where a relay keeps its chain.
const CHAIN: &[u8] = b"receipt-chain";

/// What a node knows of receipts, in one life.
#[derive(Default)]
pub(in crate::sim) struct Receipts {
    /// For the commit under way.
    unsigned: Option<UnsignedReceipt>,
    /// For the commit that has just ended.
    signed: Option<(UnsignedReceipt, Bytes)>,
    /// Who handed over what has left.
    origins: BTreeMap<MessageId, NodeId>,
    /// For peers without a link, until they have one.
    kept: BTreeMap<NodeId, Vec<CustodyProof>>,
    passed: PassedProofs,
}

impl World<'_> {
    /// A relay's receipts go on behind every number that it can have signed ([RCPT-8]).
    pub(in crate::sim) fn resume_receipts(&mut self, node: NodeNo) {
        if !self.plan.office || !self.federation.is_relay(node) {
            return;
        }
        let stored = self.nodes[node].disk().record(&(Table::Meta, CHAIN.to_vec())).cloned();
        let now = self.clock(node);
        // The lease lies outside of the store: it knows every number that was signed, whatever was put back.
        let used = self.nodes[node].chain.seq;
        let mut chain = stored.and_then(|bytes| ReceiptChain::decode(&bytes).ok()).unwrap_or_default();
        let (issuer, _) = self.nodes[node].chain(self.federation.signer(node));
        drop(chain.resume(&issuer, used, now));
        self.nodes[node].chain = chain;
    }

    /// Where a relay's receipts stand, for the commit that begins.
    pub(in crate::sim) fn chain_record(&self, node: NodeNo) -> Option<Op> {
        let value = self.nodes[node].chain.encode().into();
        let relay = self.plan.office && self.federation.is_relay(node);
        relay.then(|| Op::Put { table: Table::Meta, key: CHAIN.to_vec(), value })
    }

    /// A receipt leaves its node.
    pub(in crate::sim) fn note_signed(&mut self, node: NodeNo, receipt: &SignedReceipt) {
        if let Ok(body) = receipt.decode_body() {
            self.note(Step::Signed { node, seq: body.seq, receipt: receipt.hash() });
        }
    }

    /// A relay's commit takes custody: its receipt is made now, and signed once it is durable ([RCPT-1]).
    pub(in crate::sim) fn claim(&mut self, node: NodeNo, taken: &[Taken], now: Timestamp) {
        self.nodes[node].receipts.unsigned = None;
        if !self.federation.is_relay(node) || taken.is_empty() {
            return;
        }
        let leaves: Vec<CustodyLeaf> =
            taken.iter().map(|taken| leaf(taken.id, &taken.from, now, &taken.indices)).collect();
        let (issuer, chain) = self.nodes[node].chain(self.federation.signer(node));
        let receipt = chain.next_custody(&issuer, &leaves, now);
        self.nodes[node].receipts.unsigned = Some(receipt);
    }

    /// What was claimed is durable: while this commit's actions are carried out, they find its receipt.
    pub(in crate::sim) fn sign_claim(&mut self, node: NodeNo) {
        let signer = self.federation.signer(node);
        let Some(receipt) = self.nodes[node].receipts.unsigned.take() else {
            self.nodes[node].receipts.signed = None;
            return;
        };
        let signed = receipt.sign(signer).expect("keys in memory sign");
        self.note_signed(node, &signed);
        self.nodes[node].receipts.signed = Some((receipt, signed.encode().into()));
    }

    pub(in crate::sim) fn put_claim_away(&mut self, node: NodeNo) {
        self.nodes[node].receipts.signed = None;
    }

    /// The receipt of the commit that has just ended, and the proof of its `custody`th leaf.
    pub(in crate::sim) fn proof(&self, node: NodeNo, custody: usize) -> Option<(Bytes, Bytes)> {
        let (receipt, signed) = self.nodes[node].receipts.signed.as_ref()?;
        let proof = receipt.proof(u32::try_from(custody).ok()?)?;
        Some((signed.clone(), proof.encode().into()))
    }

    /// A receipt anew, for whoever asked.
    pub(in crate::sim) fn attest(&mut self, node: NodeNo, link: LinkKey, custody: usize, taken: &Taken) {
        let Some((receipt, proof)) = self.proof(node, custody).filter(|_| self.plan.office) else { return };
        let Some(time) = time_of(&receipt) else { return };
        let leaf = leaf(taken.id, &taken.from, time, &taken.indices).encode().into();
        let proof = CustodyProof { id: taken.id, indices: taken.indices.clone(), receipt, proof, leaf };
        self.transmit(node, link, Frame::Custody(vec![proof]));
    }

    /// What a relay signs that then drops the message.
    pub(in crate::sim) fn false_receipt(
        &mut self,
        node: NodeNo,
        from: NodeNo,
        id: MessageId,
        indices: &[u16],
    ) -> Option<(Bytes, Bytes)> {
        if !self.federation.is_relay(node) {
            return None;
        }
        let (now, from, signer) = (self.clock(node), self.nodes[from].id.clone(), self.federation.signer(node));
        let (issuer, chain) = self.nodes[node].chain(signer);
        let receipt = chain.next_custody(&issuer, &[leaf(id, &from, now, indices)], now);
        let proof = receipt.proof(0)?.encode().into();
        Some((receipt.sign(signer).expect("keys in memory sign").encode().into(), proof))
    }

    /// The next relay has signed for it: the proof goes back one hop, or is this agency's own.
    pub(in crate::sim) fn pass_back(&mut self, node: NodeNo, passed: Passed) -> Option<Event> {
        let Passed { from, proof } = passed;
        if !self.plan.office {
            return None;
        }
        if from == self.nodes[node].id {
            return self.own_proof(node, &proof);
        }
        self.nodes[node].receipts.origins.insert(proof.id, from.clone());
        self.send_proofs(node, &from, vec![proof]);
        None
    }

    pub(in crate::sim) fn custody_came(&mut self, node: NodeNo, proofs: Vec<CustodyProof>) {
        for proof in proofs {
            if self.nodes[node].desk.is_some() {
                if let Some(event) = self.own_proof(node, &proof) {
                    self.handle(node, event);
                }
            } else if self.nodes[node].receipts.passed.admit(&proof)
                && let Some(from) = self.origin_of(node, &proof)
            {
                self.send_proofs(node, &from, vec![proof]);
            }
        }
    }

    fn origin_of(&self, node: NodeNo, proof: &CustodyProof) -> Option<NodeId> {
        if let Some(from) = self.nodes[node].receipts.origins.get(&proof.id) {
            return Some(from.clone());
        }
        let key = DedupeKey { id: proof.id, index: *proof.indices.first()? };
        self.nodes[node].disk().remembered(&key)?.from.filter(|from| *from != self.nodes[node].id)
    }

    fn send_proofs(&mut self, node: NodeNo, to: &NodeId, proofs: Vec<CustodyProof>) {
        let to_peer = |(link, peer): (&LinkKey, &NodeNo)| (self.nodes[*peer].id == *to).then_some(*link);
        match self.nodes[node].links.iter().find_map(to_peer) {
            Some(link) => self.transmit(node, link, Frame::Custody(proofs)),
            None => self.nodes[node].receipts.kept.entry(to.clone()).or_default().extend(proofs),
        }
    }

    /// A peer is here that proofs may be kept for.
    pub(in crate::sim) fn send_kept_proofs(&mut self, node: NodeNo, peer: NodeNo) {
        let peer = self.nodes[peer].id.clone();
        if let Some(proofs) = self.nodes[node].receipts.kept.remove(&peer) {
            self.send_proofs(node, &peer, proofs);
        }
    }

    /// A proof about a message of this agency's own: believed only as far as it verifies.
    fn own_proof(&mut self, node: NodeNo, proof: &CustodyProof) -> Option<Event> {
        let leaf = CustodyLeaf::decode(&proof.leaf).ok()?;
        let path = Proof::decode(&proof.proof).ok()?;
        let roster = self.nodes[node].roster().clone();
        let body = SignedReceipt::decode(&proof.receipt).ok()?.verify(&roster).ok()?;
        check_custody(&body, &path, &leaf, &roster).ok()?;
        if leaf.id != proof.id {
            return None;
        }
        let custody = Custody {
            id: leaf.id,
            indices: leaf.indices,
            holder: body.issuer,
            from: leaf.received_from,
            at: leaf.time,
            receipt: proof.receipt.clone(),
            proof: proof.proof.clone(),
        };
        self.progress(node, OwnEvent::Custody(Box::new(custody)))
    }
}

fn leaf(id: MessageId, from: &NodeId, time: Timestamp, indices: &[u16]) -> CustodyLeaf {
    CustodyLeaf { id, received_from: from.clone(), time, indices: indices.to_vec() }
}

fn time_of(receipt: &Bytes) -> Option<Timestamp> {
    Some(SignedReceipt::decode(receipt).ok()?.decode_body().ok()?.time)
}
