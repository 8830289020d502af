//! One simulated node: a real core, a disk, and what a crash takes away.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use liaison_core::event::{Ended, Local};
use liaison_core::op::{DedupeKey, Entry, Op, Position, Table};
use liaison_core::{Config, LinkKey, Node, NodeKind};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::{Content, SignedStatement};
use liaison_protocol::open::open;
use liaison_protocol::receipt::{Issuer, Payload, ReceiptChain, RefusalFacts, SignedReceipt};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{NodeId, Precedence, Timestamp};

use super::disk::Disk;
use super::fixture::Federation;
use super::rng::SimRng;

/// What happens when an inbox record is written: the message, or a notice about one.
pub(super) const INBOX: Table = Table::Inbox;
/// Records about own messages that ended.
pub(super) const OUTBOX: Table = Table::Outbox;

pub(super) struct SimNode {
    pub(super) id: NodeId,
    pub(super) kind: NodeKind,
    /// `None`: crashed.
    pub(super) core: Option<Node>,
    /// Counts lives: what was under way in an earlier one is void.
    pub(super) life: u64,
    pub(super) disk: Disk,
    /// The batch that is being synced.
    pub(super) syncing: Option<Vec<Op>>,
    pub(super) links: BTreeMap<LinkKey, NodeId>,
    /// When the core's timer is set.
    pub(super) timer: Option<Timestamp>,
    home: Vec<NodeId>,
    received: u64,
}

impl SimNode {
    pub(super) fn new(id: NodeId, kind: NodeKind, home: Vec<NodeId>) -> Self {
        Self {
            id,
            kind,
            core: None,
            life: 0,
            disk: Disk::default(),
            syncing: None,
            links: BTreeMap::new(),
            timer: None,
            home,
            received: 0,
        }
    }

    /// Starts from what the disk holds.
    pub(super) fn start(&mut self, federation: &Federation, seed: u64) {
        let config = Config {
            me: self.id.clone(),
            kind: self.kind,
            home: self.home.clone(),
            costs: BTreeMap::new(),
            agency_bytes_max: 1 << 30,
            flash_reserve_percent: 5,
            agency_rate: None,
            seed,
        };
        self.core = Some(Node::new(config, Arc::clone(&federation.roster), self.disk.restored()));
    }

    /// Everything that is not on the disk is gone. `synced` says whether the batch that was being synced got there.
    pub(super) fn crash(&mut self, synced: bool) {
        self.core = None;
        self.life += 1;
        self.links.clear();
        self.timer = None;
        if let Some(ops) = self.syncing.take().filter(|_| synced) {
            self.disk.apply(ops);
        }
    }

    /// What an agency makes of an envelope: a record for each time that it is delivered, so that twice would show.
    pub(super) fn open(&mut self, envelope: &VerifiedEnvelope, federation: &Federation) -> Local {
        let me = self.id.to_agency();
        match open(envelope, &me, &federation.prekeys[&me]) {
            Ok(opened) => {
                self.received += 1;
                let key =
                    [envelope.id().0.0.as_slice(), &self.life.to_be_bytes(), &self.received.to_be_bytes()].concat();
                let value = match opened.inner.content {
                    Content::Message(message) => Bytes::from(message.text),
                    Content::Notice(statement) => notice_record(&statement),
                    Content::Receipts(_) => Bytes::new(),
                };
                Local::Deliver { ops: vec![Op::Put { table: INBOX, key, value }], chain: None }
            }
            Err(error) => Local::Refuse { reason: error.reason(), detail: error.to_string(), ops: Vec::new() },
        }
    }

    /// What ends an entry: a record at the sender's daemon, a notice at a relay.
    pub(super) fn end(
        &self,
        position: &Position,
        entry: &Entry,
        reason: RefusalReason,
        federation: &Federation,
        now: Timestamp,
        rng: &mut SimRng,
    ) -> Ended {
        let key = DedupeKey { id: entry.id, index: entry.index };
        let record = end_record(key, reason);
        if self.kind == NodeKind::Daemon {
            return Ended::Records(vec![record]);
        }
        let Some(prekey) = federation.prekeys.get(&entry.sender.to_agency()) else { return Ended::Records(Vec::new()) };
        let signer = &federation.signers[&self.id];
        let issuer = Issuer {
            federation: federation.roster.federation(),
            id: self.id.clone(),
            key: liaison_protocol::sign::Signer::key_id(signer),
            roster_version: federation.roster.version(),
        };
        let facts = RefusalFacts {
            id: key.id,
            recipient: position.queue.clone(),
            reason,
            detail: key.index.to_string(),
            retry_after_ms: 0,
        };
        let receipt =
            ReceiptChain::default().next_refusal(&issuer, facts, now).sign(signer).expect("keys in memory sign");
        let statement = SignedStatement { receipt: receipt.encode().into(), proofs: Vec::new() };
        let request = SealRequest {
            federation: federation.roster.federation(),
            sender: &self.id,
            recipients: &[(entry.sender.to_agency(), prekey.public())],
            created: now,
            expires: now.after(std::time::Duration::from_secs(7 * 86_400)),
            precedence: Precedence::Routine,
            content: &Content::Notice(statement),
        };
        Ended::Notice(Box::new(seal(&request, signer, rng).expect("a notice seals").envelope))
    }
}

/// The same record for a notice received and for an end at home: message, recipient's index, reason.
fn end_record(key: DedupeKey, reason: RefusalReason) -> Op {
    let value = Bytes::copy_from_slice(&reason.code().to_be_bytes());
    Op::Put { table: OUTBOX, key: end_key(key), value }
}

/// Key of an end's record.
pub(super) fn end_key(key: DedupeKey) -> Vec<u8> {
    [key.id.0.0.as_slice(), &key.index.to_be_bytes()].concat()
}

/// What a notice says, as an inbox value: a mark, then the end's key.
fn notice_record(statement: &SignedStatement) -> Bytes {
    let receipt = SignedReceipt::decode(&statement.receipt).expect("our own notice decodes");
    let Payload::Refusal(facts) = receipt.decode_body().expect("our own receipt decodes").payload else {
        panic!("a notice carries a refusal");
    };
    let index = facts.detail.parse().expect("the simulated relay writes the index there");
    Bytes::from([NOTICE, &end_key(DedupeKey { id: facts.id, index })].concat())
}

/// Marks an inbox record as a notice.
pub(super) const NOTICE: &[u8] = b"notice:";
