//! Evidence of one message, as one file for a third party.

use bytes::Bytes;
use liaison_core::op::Table;
use liaison_protocol::evidence::{EvidenceParts, Exporter, assemble};
use liaison_protocol::inner::SignedStatement;
use liaison_protocol::receipt::{CustodyLeaf, Proof, Proven};
use liaison_protocol::roster::{History, Roster};
use liaison_protocol::{MessageId, NodeId};

use crate::api::model::{Direction, Problem, ProblemCode};
use crate::kept::Kept;
use crate::office::Office;
use crate::outbox::fact::{CustodyFact, Fact, Facts};
use crate::outbox::unknown;
use crate::problem::Answer;
use crate::shelf::ReadError;

impl Office {
    /// `GET /v1/messages/{id}/evidence`: the envelope as it was signed, the key that opens this one message, every
    /// receipt, and the rosters that vouch for their keys.
    ///
    /// # Errors
    /// A problem document.
    pub fn evidence(&self, id: MessageId, way: Direction) -> Answer<Vec<u8>> {
        let (kept, receipts, table) = match way {
            Direction::In => (self.received_kept(id)?.ok_or_else(|| unknown(id))?, Vec::new(), Table::Inbox),
            Direction::Out => {
                let facts = self.facts(id)?;
                let envelope = telling(&facts, id);
                let place = crate::outbox::sealing_place(id, envelope);
                let kept: Kept = self.shelf.get(&place)?.ok_or_else(|| unknown(id))?;
                (kept, statements(&facts, envelope), Table::Outbox)
            }
        };
        let envelope = kept.envelope(table, &self.roster().federation())?;
        let envelope = envelope.envelope();
        let opening = kept.content_key();
        let rosters = self.rosters()?;
        let parts = EvidenceParts {
            header: &envelope.header,
            signature: &envelope.signature,
            body: Some(&envelope.body),
            opening: Some(&opening),
            bundles: &[],
            receipts: &receipts,
            rosters: rosters.iter().collect(),
        };
        let me = NodeId::from(&self.me);
        let exporter = Exporter { id: &me, time: self.now(), signer: Some(&*self.signer) };
        assemble(&parts, &exporter).map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))
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

/// Of a message's sealings, the one that receipts are about; the first, if none or it is.
fn telling(facts: &Facts, first: MessageId) -> MessageId {
    let about_first = facts.custody.iter().any(|fact| fact.envelope == first)
        || facts.by_recipient.iter().any(|(_, fact)| matches!(fact, Fact::Delivered(p) if p.envelope == first));
    let resealed = facts.by_recipient.iter().rev().find_map(|(_, fact)| match fact {
        Fact::Resealed { envelope, .. } => Some(*envelope),
        _ => None,
    });
    if about_first { first } else { resealed.unwrap_or(first) }
}

fn statements(facts: &Facts, envelope: MessageId) -> Vec<SignedStatement> {
    let custody = facts.custody.iter().filter(|fact| fact.envelope == envelope).filter_map(custody_statement);
    let others = facts.by_recipient.iter().filter_map(|(_, fact)| match fact {
        Fact::Delivered(proven) if proven.envelope == envelope => {
            Some(SignedStatement { receipt: proven.receipt.clone(), proofs: vec![proven.proof.clone()] })
        }
        Fact::Read(proven) if proven.envelope == envelope => plain(&proven.receipt),
        Fact::Refused { envelope: of, receipt, .. } if *of == envelope => plain(receipt),
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
