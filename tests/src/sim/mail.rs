//! What simulated nodes write and read: messages, receipts and notices, sealed and signed for real.

use std::time::Duration;

use liaison_core::NodeKind;
use liaison_core::event::{Ended, Local};
use liaison_core::op::{Entry, Op, Position};
use liaison_protocol::envelope::{Envelope, Header, VerifiedEnvelope};
use liaison_protocol::inner::{Content, ContentType, Message, SignedStatement, Tlp};
use liaison_protocol::open::open;
use liaison_protocol::receipt::{
    DeliveryLeaf, Proven, RefusalFacts, Statement, plain_statement, statement, verify_statement,
};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::Role;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{AgencyId, MessageId, Precedence, Timestamp};

use super::records;
use super::trace::NodeNo;
use super::world::World;

/// Lifetime of receipts and notices.
const STATEMENT_LIFE: Duration = Duration::from_secs(7 * 86_400);

impl World<'_> {
    pub(super) fn seal(
        &mut self,
        node: NodeNo,
        to: &[NodeNo],
        precedence: Precedence,
        expires: Timestamp,
        content: &Content,
    ) -> VerifiedEnvelope {
        let created = self.clock(node);
        let key = |to: NodeNo| match self.keys.select(node, to, created) {
            Some((key, _)) => key,
            None => self.federation.prekey(to).public(),
        };
        let recipients: Vec<_> = to.iter().map(|to| (self.federation.agency(*to), key(*to))).collect();
        let request = SealRequest {
            federation: self.nodes[node].roster().federation(),
            sender: &self.nodes[node].id,
            recipients: &recipients,
            created,
            expires,
            precedence,
            content,
        };
        let sealed = seal(&request, self.federation.signer(node), &mut self.rng).expect("what the plan asks for seals");
        self.note_sealed(node, &sealed.envelope);
        sealed.envelope
    }

    /// `None`: no prekey of the agency's is meant for this time.
    fn notice_expires(&self, node: NodeNo, to: NodeNo, now: Timestamp) -> Option<Timestamp> {
        let expires = now.after(STATEMENT_LIFE);
        if !self.plan.office {
            return Some(expires);
        }
        let (_, expires_max) = self.keys.select(node, to, now)?;
        Some(expires.min(expires_max))
    }

    /// Delivery receipts for one sender.
    pub(super) fn receipts(&mut self, node: NodeNo, to: NodeNo, ids: &[MessageId]) -> VerifiedEnvelope {
        let now = self.clock(node);
        let recipient = self.federation.agency(node);
        let leaf = |id: &MessageId| DeliveryLeaf { id: *id, recipient: recipient.clone(), time: now, opened: true };
        let leaves: Vec<DeliveryLeaf> = ids.iter().map(leaf).collect();
        let signer = self.federation.signer(node);
        let (issuer, chain) = self.nodes[node].chain(signer);
        let unsigned = chain.next_delivery(&issuer, &leaves, now);
        let receipt = unsigned.sign(signer).expect("keys in memory sign");
        let proof = |index: u32| unsigned.proof(index).expect("every leaf has a proof");
        let proven: Vec<_> =
            leaves.into_iter().zip(0..).map(|(leaf, index)| Proven { leaf, proof: proof(index) }).collect();
        let content = Content::Receipts(vec![statement(&receipt, &proven)]);
        self.seal(node, &[to], Precedence::Routine, now.after(STATEMENT_LIFE), &content)
    }

    /// What ends an entry: a record at the sender's daemon, a notice at a relay.
    pub(super) fn end(
        &mut self,
        node: NodeNo,
        position: &Position,
        entry: &Entry,
        (reason, detail): (RefusalReason, &str),
        now: Timestamp,
    ) -> Ended {
        if let Some(ended) = self.end_at_office(node, (position, entry), (reason, detail), now) {
            return ended;
        }
        if self.nodes[node].kind == NodeKind::Daemon {
            return Ended::Records(self.told(node, entry.id, entry.index, node, reason));
        }
        if self.nodes[node].roster().role(&entry.sender) != Some(Role::Agency) {
            return Ended::Records(Vec::new());
        }
        let Some(sender) = self.federation.number(&entry.sender) else { return Ended::Records(Vec::new()) };
        // A relay may not know the sender's prekeys yet.
        if self.now_ms < self.plan.quiet_ms() && self.rng.percent(15) {
            return Ended::Later;
        }
        let facts = RefusalFacts {
            id: entry.id,
            recipient: position.queue.clone(),
            reason,
            detail: String::new(),
            retry_after_ms: 0,
        };
        match self.notice(node, sender, position.rank, facts) {
            Some(notice) => Ended::Notice(Box::new(notice)),
            None => Ended::Later,
        }
    }

    /// A relay's word to a sender. `None`: no prekey of the sender's is known that is meant for now.
    pub(super) fn notice(
        &mut self,
        node: NodeNo,
        to: NodeNo,
        rank: u8,
        facts: RefusalFacts,
    ) -> Option<VerifiedEnvelope> {
        let now = self.clock(node);
        let expires = self.notice_expires(node, to, now)?;
        let signer = self.federation.signer(node);
        let (issuer, chain) = self.nodes[node].chain(signer);
        let receipt = chain.next_refusal(&issuer, facts, now).sign(signer).expect("keys in memory sign");
        self.note_signed(node, &receipt);
        let content = Content::Notice(plain_statement(&receipt));
        let precedence = Precedence::from_rank(rank).unwrap_or_default();
        Some(self.seal(node, &[to], precedence, expires, &content))
    }

    /// The sender's own records of an end; none if it does not wait for this recipient.
    pub(super) fn told(&self, node: NodeNo, id: MessageId, index: u16, by: NodeNo, reason: RefusalReason) -> Vec<Op> {
        if self.nodes[node].disk().record(&records::is_open(id, index)).is_none() {
            return Vec::new();
        }
        vec![records::told(id, index, by, reason.code()), records::closed(id, index)]
    }

    /// What an agency makes of an envelope.
    pub(super) fn open(&mut self, node: NodeNo, envelope: &VerifiedEnvelope) -> Local {
        let me = self.federation.agency(node);
        let opened = match open(envelope, &me, self.federation.prekey(node)) {
            Ok(opened) => opened,
            Err(error) => {
                return Local::Refuse { reason: error.reason(), detail: error.to_string(), ops: Vec::new() };
            }
        };
        let ops = match opened.inner.content {
            Content::Message(message) => self.deliver(node, envelope, &message),
            Content::Notice(said) => self.learn(node, &[said]),
            Content::Receipts(said) => self.learn(node, &said),
        };
        Local::Deliver { ops, chain: None }
    }

    fn deliver(&mut self, node: NodeNo, envelope: &VerifiedEnvelope, message: &Message) -> Vec<Op> {
        let Some(sender) = self.federation.number(&envelope.header().sender) else { return Vec::new() };
        let state = &mut self.nodes[node];
        state.received += 1;
        let id = envelope.id();
        vec![records::inbox(id, state.received, sender, &message.text), records::due(id, sender)]
    }

    /// Receipts and notices, believed as far as their signatures go.
    fn learn(&self, node: NodeNo, statements: &[SignedStatement]) -> Vec<Op> {
        let mut ops = Vec::new();
        for said in statements {
            match verify_statement(said, self.nodes[node].roster()) {
                Ok(Statement::Delivered(_, leaves)) => {
                    for leaf in leaves {
                        let Some(index) = self.index_in_copy(node, leaf.id, &leaf.recipient) else { continue };
                        ops.extend([records::receipted(leaf.id, index), records::closed(leaf.id, index)]);
                    }
                }
                Ok(Statement::Refused(body, facts)) => {
                    let Some(index) = self.index_in_copy(node, facts.id, &facts.recipient) else { continue };
                    let Some(by) = self.federation.number(&body.issuer) else { continue };
                    ops.extend(self.told(node, facts.id, index, by, facts.reason));
                }
                _ => {}
            }
        }
        ops
    }

    fn index_in_copy(&self, node: NodeNo, id: MessageId, recipient: &AgencyId) -> Option<u16> {
        let copy = self.nodes[node].disk().record(&records::copy_key(id)).cloned()?;
        let envelope = Envelope::decode_shared(copy).ok()?;
        Header::decode(&envelope.header).ok()?.recipient_index(recipient)
    }
}

/// A message of people.
pub(super) fn message(text: &str) -> Content {
    Content::Message(Message {
        thread: None,
        in_reply_to: None,
        chain: None,
        info: Vec::new(),
        subject: "simulated".into(),
        tlp: Tlp::Green,
        handling: Vec::new(),
        content_type: ContentType::Text,
        text: text.into(),
        attachments: Vec::new(),
    })
}
