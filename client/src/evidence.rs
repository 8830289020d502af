//! Evidence of one message, as one file for a third party.

use std::collections::BTreeSet;

use bytes::Bytes;
use liaison_core::op::Table;
use liaison_protocol::evidence::{AssembleError, Attempt, EvidenceParts, Exporter, assemble};
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::receipt::{CustodyLeaf, Proof, Proven};
use liaison_protocol::roster::{History, Roster};
use liaison_protocol::{MessageId, NodeId};

use crate::api::model::{Direction, Problem, ProblemCode};
use crate::kept::Kept;
use crate::office::Office;
use crate::outbox::fact::{CustodyFact, Fact, Facts};
use crate::outbox::{kept_place, resealed_place, unknown};
use crate::problem::Answer;
use crate::shelf::ReadError;

impl Office {
    /// `GET /v1/messages/{id}/evidence`: every envelope of the message as it was signed, the keys that open this one message,
    /// every receipt, and the rosters that vouch for their keys.
    ///
    /// # Errors
    /// A problem document.
    pub fn evidence(&self, id: MessageId, way: Direction) -> Answer<Vec<u8>> {
        let federation = self.roster().federation();
        let (kept, later, receipts, table) = match way {
            Direction::In => {
                let kept = self.received_kept(self.entry(id)?)?.ok_or_else(|| unknown(id))?;
                (kept, Vec::new(), Vec::new(), Table::Inbox)
            }
            Direction::Out => {
                let kept: Kept = self.shelf.get(&kept_place(id))?.ok_or_else(|| unknown(id))?;
                let facts = self.facts(id)?;
                let later = self.later_sealings(id, &facts)?;
                let envelopes: BTreeSet<MessageId> = later.iter().map(|(id, _)| *id).chain([id]).collect();
                (kept, later, statements(&facts, &envelopes), Table::Outbox)
            }
        };
        let envelope = kept.envelope(table, &federation)?;
        let envelope = envelope.envelope();
        let opening = kept.content_key();
        let attempts = later.into_iter().map(|(_, kept)| {
            let envelope = kept.envelope(table, &federation)?.into_envelope();
            let opening = kept.content_key();
            Ok(Attempt { header: envelope.header, signature: envelope.signature, body: envelope.body, opening })
        });
        let attempts = attempts.collect::<Result<Vec<_>, ReadError>>()?;
        let rosters = self.rosters()?;
        let parts = EvidenceParts {
            header: &envelope.header,
            signature: &envelope.signature,
            body: Some(&envelope.body),
            opening: Some(&opening),
            attempts: &attempts,
            bundles: &[],
            receipts: &receipts,
            rosters: rosters.iter().collect(),
        };
        let me = NodeId::from(&self.me);
        let exporter = Exporter { id: &me, time: self.now(), signer: Some(&*self.signer) };
        assemble(&parts, &exporter).map_err(|error| {
            let too_large = matches!(error, AssembleError::TooLarge { .. });
            let code = if too_large { ProblemCode::TooLarge } else { ProblemCode::Internal };
            Problem::new(code, error.to_string())
        })
    }

    /// The later envelopes of a sent message: those that count for a recipient, and each that such a one replaced.
    fn later_sealings(&self, first: MessageId, facts: &Facts) -> Result<Vec<(MessageId, Kept)>, ReadError> {
        let federation = self.roster().federation();
        let mut later: Vec<(MessageId, Kept)> = Vec::new();
        for (_, envelope, _) in facts.resealed() {
            let mut next = Some(envelope);
            while let Some(id) = next.filter(|id| *id != first && later.iter().all(|(known, _)| known != id)) {
                let Some(kept) = self.shelf.get::<Kept>(&resealed_place(id))? else { break };
                next = kept.open(Table::Outbox, &federation)?.message.chain.map(|chain| chain.previous);
                later.push((id, kept));
            }
        }
        Ok(later)
    }

    /// Every roster that this daemon has followed, oldest first, from whichever root keys it began with.
    fn rosters(&self) -> Result<Vec<Roster>, ReadError> {
        let records = self.shelf.scan(Table::Meta, b"roster/");
        let kept = records.map(|record| record.map(|(_, bytes)| bytes)).collect::<Result<Vec<_>, _>>()?;
        match History::verify(&kept, &self.anchor) {
            Ok(history) if !history.rosters.is_empty() => return Ok(history.rosters),
            Ok(_) => {}
            Err((at, error)) => tracing::warn!(%error, at, "kept rosters are left out of evidence"),
        }
        Ok(vec![Roster::clone(&self.roster())])
    }
}

/// All signed statements about these envelopes. What was said of an attachment's chunk is not about the message.
fn statements(facts: &Facts, envelopes: &BTreeSet<MessageId>) -> Vec<SignedStatement> {
    let custody = facts.custody.iter().filter(|fact| envelopes.contains(&fact.envelope)).filter_map(custody_statement);
    let others = facts.by_recipient.iter().filter_map(|(_, fact)| match fact {
        Fact::Delivered(proven) if envelopes.contains(&proven.envelope) => {
            Some(SignedStatement { receipt: proven.receipt.clone(), proofs: vec![proven.proof.clone()] })
        }
        Fact::Read(proven) if envelopes.contains(&proven.envelope) => plain(&proven.receipt),
        Fact::Refused { envelope, receipt, .. } if envelopes.contains(envelope) => plain(receipt),
        _ => None,
    });
    custody.chain(others).collect()
}

fn plain(receipt: &Bytes) -> Option<SignedStatement> {
    (!receipt.is_empty()).then(|| SignedStatement { receipt: receipt.clone(), proofs: Vec::new() })
}

fn custody_statement(fact: &CustodyFact) -> Option<SignedStatement> {
    let leaf = CustodyLeaf {
        id: fact.envelope,
        received_from: fact.from.clone(),
        time: fact.at,
        indices: fact.indices.clone(),
    };
    let proof = Proof::decode(&fact.proof).ok()?;
    Some(SignedStatement { receipt: fact.receipt.clone(), proofs: vec![Proven { leaf, proof }.encode().into()] })
}
