//! This node's chain of receipts: bodies are committed with what they claim, and signed after.

use std::sync::Arc;

use bytes::Bytes;
use liaison_core::NodeKind;
use liaison_core::action::Taken;
use liaison_core::op::{Op, Table};
use liaison_protocol::receipt::{CustodyLeaf, Issuer, ReceiptChain, RefusalFacts, SignedReceipt, UnsignedReceipt};
use liaison_protocol::roster::Roster;
use liaison_protocol::sign::{SignError, Signer};
use liaison_protocol::{NodeId, Timestamp, codec};

use crate::store_error::StoreError;
use crate::view::Reads;

const CHAIN_KEY: &[u8] = b"receipt-chain";
/// The body of the receipt of the last start: what the next one's `prev` is the hash of.
const MARKER_KEY: &[u8] = b"receipt-marker";

/// This node's receipt chain.
pub(crate) struct Receipts {
    chain: ReceiptChain,
    me: NodeId,
    signer: Arc<dyn Signer>,
}

/// Receipt and proofs for one commit's acknowledgements.
pub(crate) struct Signed {
    receipt: UnsignedReceipt,
    pub(crate) bytes: Bytes,
}

impl Signed {
    /// The proof of the commit's `index`th custody.
    pub(crate) fn proof(&self, index: usize) -> Option<Bytes> {
        let proof = self.receipt.proof(u32::try_from(index).ok()?)?;
        Some(proof.encode().into())
    }
}

impl Receipts {
    /// The receipts of a node that starts, and what to commit first.
    pub(crate) fn open(
        kind: NodeKind,
        (me, signer): (NodeId, Arc<dyn Signer>),
        reserved: u64,
        (store, roster): (&dyn Reads, &Roster),
        now: Timestamp,
    ) -> Result<(Self, Vec<Op>), StoreError> {
        match kind {
            // A daemon signs its receipts itself.
            NodeKind::Daemon => Ok((Self { chain: ReceiptChain::default(), me, signer }, Vec::new())),
            NodeKind::Relay => Self::resume((me, signer), reserved, store, roster, now),
        }
    }

    /// Goes on behind every number that this relay can have signed: the store may be new, or an old copy of it put back
    /// ([RCPT-8]). Gives what to commit before the first receipt leaves.
    fn resume(
        (me, signer): (NodeId, Arc<dyn Signer>),
        reserved: u64,
        store: &dyn Reads,
        roster: &Roster,
        now: Timestamp,
    ) -> Result<(Self, Vec<Op>), StoreError> {
        let stored = store.get(Table::Meta, CHAIN_KEY)?;
        let chain = stored.and_then(|bytes| ReceiptChain::decode(&bytes).ok()).unwrap_or_default();
        let used = chain.seq.max(reserved);
        let mut receipts = Self { chain, me, signer };
        let issuer = receipts.issuer(roster);
        let marker = receipts.chain.resume(&issuer, used, now);
        let marker = Op::Put { table: Table::Meta, key: MARKER_KEY.into(), value: marker.body().clone() };
        let record = receipts.record();
        Ok((receipts, vec![record, marker]))
    }

    /// The chain's last number. It must be set aside before anything with it leaves this node: before the commit of its
    /// record.
    pub(crate) const fn last_number(&self) -> u64 {
        self.chain.seq
    }

    fn issuer(&self, roster: &Roster) -> Issuer {
        Issuer {
            federation: roster.federation(),
            id: self.me.clone(),
            key: self.signer.key_id(),
            roster_version: roster.version(),
        }
    }

    /// The receipt for what a commit takes into custody, and the record to commit with it.
    pub(crate) fn custody(&mut self, taken: &[Taken], roster: &Roster, now: Timestamp) -> (UnsignedReceipt, Op) {
        let leaf = |taken: &Taken| CustodyLeaf {
            id: taken.id,
            received_from: taken.from.clone(),
            time: now,
            indices: taken.indices.clone(),
        };
        let leaves: Vec<CustodyLeaf> = taken.iter().map(leaf).collect();
        let issuer = self.issuer(roster);
        let receipt = self.chain.next_custody(&issuer, &leaves, now);
        (receipt, self.record())
    }

    /// Signs a receipt whose commit has ended.
    pub(crate) fn sign(&self, receipt: UnsignedReceipt) -> Result<Signed, SignError> {
        let bytes = receipt.sign(&*self.signer)?.encode().into();
        Ok(Signed { receipt, bytes })
    }

    /// A refusal, for a notice that is committed together with the record. `None`: the signer fails.
    pub(crate) fn refusal(
        &mut self,
        facts: RefusalFacts,
        roster: &Roster,
        now: Timestamp,
    ) -> Option<(SignedReceipt, Op)> {
        let issuer = self.issuer(roster);
        let receipt = self.chain.next_refusal(&issuer, facts, now);
        receipt.sign(&*self.signer).ok().map(|receipt| (receipt, self.record()))
    }

    fn record(&self) -> Op {
        Op::Put { table: Table::Meta, key: CHAIN_KEY.into(), value: codec::encode(&self.chain).into() }
    }
}
