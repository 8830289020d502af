//! Making the receipts that are owed: those that wait for one sender travel together, under one signature.
//!
//! What they claim is durable before they are made; the envelope and the end of the debt are one commit. A receipt
//! that was signed and not committed has never left the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_node::bundles;
use liaison_node::store::{Numbers, StoreError};
use liaison_protocol::inner::{Content, SignedStatement};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::receipt::{
    DeliveryLeaf, Issuer, Proven, ReadFacts, ReceiptChain, RefusalFacts, UnsignedReceipt, plain_statement, statement,
};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::sign::SignError;
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Precedence, Timestamp, limits};

use super::due::{Due, DueKind};
use crate::inbox::{Head, head_place, read_wish_place, receipt_place};
use crate::office::Office;
use crate::outbox::sealing::{Outgoing, Sealing, SealingError};
use crate::shelf::{Place, ReadError, Shelf};

/// Receipts for one sender in one envelope.
const TOGETHER_MAX: usize = 1024;
/// Bytes of one envelope's statements, about.
const BYTES_MAX: usize = 60 * 1024;
/// Debts looked at in one turn.
const LOOKED_AT_MAX: usize = 8192;
/// None waits longer for others to join it.
pub(crate) const GATHER: Duration = Duration::from_millis(50);
/// When a sender whose key is not known is tried again.
const LATER: Duration = Duration::from_secs(30);

/// Agencies that cannot be written to now.
#[derive(Clone, Default)]
pub(crate) struct Shelved(BTreeMap<AgencyId, Wait>);

#[derive(Clone, Copy)]
struct Wait {
    /// Then the agency is tried again.
    until: Timestamp,
    /// No key of the agency was known: one that comes ends the wait.
    for_key: bool,
}

/// An envelope of receipts, and the end of what it pays.
struct Paid {
    outgoing: Outgoing,
    ops: Vec<Op>,
}

/// Pays what is owed until nothing is, or nobody who is owed can be written to. Returns when to try those again.
pub(crate) async fn make_receipts(
    office: &Arc<Office>,
    shelved: &mut Shelved,
) -> Result<Option<Duration>, crate::api::model::Problem> {
    loop {
        let now = office.now();
        let (for_worker, waiting) = (Arc::clone(office), shelved.clone());
        let by_sender;
        (*shelved, by_sender) = crate::blocking(move || {
            let waiting = for_worker.still_waiting(waiting, now)?;
            let by_sender = for_worker.owed(&waiting)?;
            Ok::<_, ReadError>((waiting, by_sender))
        })
        .await??;
        if by_sender.is_empty() {
            return Ok((!shelved.0.is_empty()).then_some(LATER));
        }
        for (sender, owed) in by_sender {
            let (for_worker, to) = (Arc::clone(office), sender.clone());
            // Until the commit: a message that is marked read meanwhile must find its delivery receipt, or be found.
            let _alone = office.reading.write().await;
            let paid = office.costly(move || for_worker.pay(&to, &owed)).await?;
            match paid {
                Ok(Paid { outgoing, ops }) => match outgoing.branch([0]) {
                    Some(envelope) => office.node.submit(envelope, 1, ops).await?,
                    None => drop(shelved.0.insert(sender, Wait { until: now.after(LATER), for_key: true })),
                },
                Err(PayError::Unpayable(reason)) => {
                    tracing::warn!(to = %sender, reason, "receipts wait");
                    shelved.0.insert(sender, Wait { until: now.after(LATER), for_key: false });
                }
                Err(PayError::Read(error)) => return Err(error.into()),
            }
        }
    }
}

enum PayError {
    Read(ReadError),
    Unpayable(String),
}

impl From<ReadError> for PayError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<SignError> for PayError {
    fn from(error: SignError) -> Self {
        Self::Unpayable(error.to_string())
    }
}

impl From<SealingError> for PayError {
    fn from(error: SealingError) -> Self {
        match error {
            SealingError::Read(error) => Self::Read(error),
            SealingError::Seal(error) => Self::Unpayable(error.to_string()),
        }
    }
}

impl Office {
    fn still_waiting(&self, mut shelved: Shelved, now: Timestamp) -> Result<Shelved, ReadError> {
        shelved.0.retain(|_, wait| wait.until > now);
        let mut keyed = Vec::new();
        for agency in shelved.0.iter().filter(|(_, wait)| wait.for_key).map(|(agency, _)| agency) {
            let known = bundles::get(self.shelf.store(), agency, &self.roster(), now)?;
            keyed.extend(known.and_then(|known| known.select(now)).map(|_| agency.clone()));
        }
        shelved.0.retain(|agency, _| !keyed.contains(agency));
        Ok(shelved)
    }

    fn owed(&self, not_now: &Shelved) -> Result<BTreeMap<AgencyId, Vec<Due>>, ReadError> {
        let mut by_sender: BTreeMap<AgencyId, Vec<Due>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = Due::list(&self.shelf, after.as_deref(), LOOKED_AT_MAX)?;
            let ended = page.len() < LOOKED_AT_MAX;
            after = page.last().map(|(key, _)| key.clone());
            for (_, due) in page {
                if not_now.0.contains_key(&due.sender) {
                    continue;
                }
                let owed = by_sender.entry(due.sender.clone()).or_default();
                if owed.len() < TOGETHER_MAX {
                    owed.push(due);
                }
            }
            if ended || !by_sender.is_empty() {
                return Ok(by_sender);
            }
        }
    }

    fn pay(&self, sender: &AgencyId, owed: &[Due]) -> Result<Paid, PayError> {
        let now = self.now();
        let roster = self.roster();
        // Receipts pass the same rules as any message.
        let Some(agreement) = roster.agreement(&self.me, sender) else {
            return Err(PayError::Unpayable(format!("no agreement lets {} write to {sender}", self.me)));
        };
        let mut statements = Statements { office: self, now, said: Vec::new() };
        let delivered = owed.iter().filter(|due| matches!(due.kind, DueKind::Delivered { .. }));
        let delivered: Vec<&Due> = delivered.take(deliveries_max(owed.len())).collect();
        let mut paid = delivered.clone();
        let receipt = statements.deliveries(&delivered)?;
        let made: BTreeSet<MessageId> = delivered.iter().map(|due| due.id).collect();
        // A read receipt names the last delivery receipt: with one that is made here, it comes in the next letter.
        let waits = |due: &Due| matches!(due.kind, DueKind::Read { .. }) && made.contains(&due.id);
        for due in owed.iter().filter(|due| !matches!(due.kind, DueKind::Delivered { .. }) && !waits(due)) {
            if statements.bytes() > BYTES_MAX {
                break;
            }
            statements.single(due)?;
            paid.push(due);
        }
        let mut ops: Vec<Op> = paid.iter().map(|due| due.delete()).collect();
        for due in &delivered {
            ops.extend(self.follow_up(due, receipt)?);
        }
        let precedence = paid.iter().map(|due| due.precedence).max().unwrap_or(Precedence::Routine);
        ops.push(self.chain_record());
        let content = Content::Receipts(statements.said);
        let lifetime = roster.agency(sender).map_or(limits::LIFETIME_DEFAULT, |agency| agency.max_ttl);
        let outgoing = self.seal(&Sealing {
            content: &content,
            recipients: std::slice::from_ref(sender),
            created: now,
            expires: now.after(lifetime),
            precedence: precedence.min(agreement.max_precedence),
        })?;
        Ok(Paid { outgoing, ops })
    }

    /// The delivery receipt's hash is kept for the read receipt; which is owed if the message was read meanwhile, and names
    /// this one if it was owed already.
    fn follow_up(&self, due: &Due, receipt: Hash) -> Result<Vec<Op>, ReadError> {
        if self.shelf.get_clear::<Head>(&head_place(due.id))?.is_none() {
            return Ok(Vec::new());
        }
        let mut ops = vec![Shelf::put_clear(receipt_place(due.id), &receipt)];
        if planted(Mutant::DeliveredIsRead) {
            let kind = DueKind::Read { at: self.now(), delivery: receipt };
            ops.push(Due { kind, ..due.clone() }.put());
        }
        let wish = read_wish_place(due.id);
        let wished = self.shelf.get_clear::<Timestamp>(&wish)?;
        let read = |at: Timestamp| Due { kind: DueKind::Read { at, delivery: receipt }, ..due.clone() };
        let owed = self.shelf.get_clear::<Due>(&read(self.now()).place())?.map(|owed| owed.kind);
        let owed = owed.and_then(|kind| if let DueKind::Read { at, .. } = kind { Some(at) } else { None });
        if let Some(at) = wished.or(owed) {
            ops.extend([read(at).put(), wish.delete()]);
        }
        Ok(ops)
    }

    /// A receipt with the chain's next number, which is set aside before anybody signs it ([RCPT-8]). A number that was
    /// taken is not taken again, whatever becomes of its receipt.
    fn numbered(
        &self,
        make: impl FnOnce(&mut ReceiptChain, &Issuer) -> UnsignedReceipt,
    ) -> Result<UnsignedReceipt, ReadError> {
        let mut chain = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        let receipt = make(&mut chain, &self.issuer());
        self.lease.reserve(Numbers::Receipts, chain.seq).map_err(StoreError::from)?;
        Ok(receipt)
    }

    fn chain_record(&self) -> Op {
        let chain = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        Shelf::put_clear(chain_place(), &*chain)
    }

    /// At a start: the chain goes on behind every number that this agency can have signed, whatever copy of the store
    /// was put back ([RCPT-8]).
    pub(crate) fn resume_receipts(&self) -> Result<(), ReadError> {
        let stored: Option<ReceiptChain> = self.shelf.get_clear(&chain_place())?;
        let stored = stored.unwrap_or_default();
        let used = self.lease.used(Numbers::Receipts, stored.seq);
        *self.receipts.lock().unwrap_or_else(PoisonError::into_inner) = stored;
        let _marker = self.numbered(|chain, issuer| chain.resume(issuer, used, self.now()))?;
        Ok(())
    }

    fn issuer(&self) -> Issuer {
        let roster = self.roster();
        Issuer {
            federation: roster.federation(),
            id: NodeId::from(&self.me),
            key: self.signer.key_id(),
            roster_version: roster.version(),
        }
    }
}

/// So many leaves with their proofs stay within [`BYTES_MAX`]: 110 bytes of leaf, 34 a level of the tree.
fn deliveries_max(owed: usize) -> usize {
    let levels = usize::BITS - owed.max(1).leading_zeros();
    BYTES_MAX / (110 + 34 * levels as usize)
}

/// Statements under construction.
struct Statements<'a> {
    office: &'a Office,
    now: Timestamp,
    said: Vec<SignedStatement>,
}

impl Statements<'_> {
    fn deliveries(&mut self, delivered: &[&Due]) -> Result<Hash, PayError> {
        if delivered.is_empty() {
            return Ok(Hash::ZERO);
        }
        let leaf = |due: &&Due| {
            let at = if let DueKind::Delivered { at } = due.kind { at } else { self.now };
            DeliveryLeaf { id: due.id, recipient: self.office.me.clone(), time: at, opened: true }
        };
        let leaves: Vec<DeliveryLeaf> = delivered.iter().map(leaf).collect();
        let receipt = self.office.numbered(|chain, issuer| chain.next_delivery(issuer, &leaves, self.now))?;
        let signed = receipt.sign(&*self.office.signer)?;
        let proven = (0..).zip(leaves).filter_map(|(index, leaf)| Some(Proven { leaf, proof: receipt.proof(index)? }));
        let proven: Vec<Proven<DeliveryLeaf>> = proven.collect();
        self.said.push(statement(&signed, &proven));
        Ok(receipt.hash())
    }

    fn single(&mut self, due: &Due) -> Result<(), PayError> {
        let recipient = self.office.me.clone();
        let receipt = match &due.kind {
            DueKind::Delivered { .. } => return Ok(()),
            DueKind::Read { at, delivery } => {
                let facts = ReadFacts { id: due.id, recipient, delivery: *delivery };
                self.office.numbered(|chain, issuer| chain.next_read(issuer, facts, (*at).max(self.now)))?
            }
            DueKind::Damaged { detail, .. } => {
                let reason = RefusalReason::Malformed;
                let facts = RefusalFacts { id: due.id, recipient, reason, detail: detail.clone(), retry_after_ms: 0 };
                self.office.numbered(|chain, issuer| chain.next_refusal(issuer, facts, self.now))?
            }
        };
        self.said.push(plain_statement(&receipt.sign(&*self.office.signer)?));
        Ok(())
    }

    fn bytes(&self) -> usize {
        let of = |said: &SignedStatement| said.receipt.len() + said.proofs.iter().map(bytes::Bytes::len).sum::<usize>();
        self.said.iter().map(of).sum()
    }
}

fn chain_place() -> Place {
    Place::new(Table::Meta, b'c', &[])
}
