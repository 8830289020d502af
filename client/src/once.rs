//! Idempotency keys: the same key and content name the same message.
//!
//! A key is remembered with its message, in the same commit, until the message's expiry and a day more. Two requests
//! with one key take turns, so that the second finds what the first left.

use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::inner::Tlp;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{Hash, Timestamp, limits};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::api::model::{ContentType, Precedence, Problem, ProblemCode, Submission, Submitted};
use crate::office::Office;
use crate::problem::Answer;
use crate::shelf::{Place, ReadError, Shelf};

/// A key, at most.
const KEY_BYTES_MAX: usize = 255;
/// Keys take turns in so many lines.
const LINES: usize = 64;

/// Where keys take turns.
pub(crate) struct Turns(Vec<Arc<tokio::sync::Mutex<()>>>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..LINES).map(|_| Arc::default()).collect())
    }
}

/// What is known of a submission's key.
pub(crate) enum Recall {
    /// It has none, or a new one: whoever holds this has its turn.
    New(Option<NewKey>),
    /// This very submission was answered before.
    Repeated(Box<Submitted>),
}

/// A key that is used for the first time.
pub(crate) struct NewKey {
    place: Place,
    content: Hash,
    shelf: Arc<Shelf>,
    _turn: OwnedMutexGuard<()>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) content: Hash,
    /// JSON: the answer's fields may be left out, which the records' own form does not allow.
    pub(crate) answer: String,
    pub(crate) until: Timestamp,
}

impl Recall {
    /// Remembers the answer, if there is a key.
    pub(crate) fn record(&self, answer: &Submitted, expires: Timestamp) -> Option<Op> {
        let Self::New(Some(key)) = self else { return None };
        if planted(Mutant::SubmissionKeyForgotten) {
            return None;
        }
        let answer = serde_json::to_string(answer).unwrap_or_default();
        let record = Record { content: key.content, answer, until: expires.after(KEPT) };
        Some(key.shelf.put(key.place.clone(), &record))
    }
}

/// The submission as it is meant: with every default, and recipients in one order. So two forms of one message count as
/// one, such as those of two versions of a client library.
fn meant(submission: &Submission, default_tlp: Option<Tlp>) -> Submission {
    let mut meant = submission.clone();
    meant.to.sort();
    meant.info.sort();
    meant.tlp = meant.tlp.or_else(|| default_tlp.map(Into::into));
    meant.precedence.get_or_insert(Precedence::Routine);
    meant.content_type.get_or_insert(ContentType::Text);
    meant.expires_in_s.get_or_insert(limits::LIFETIME_DEFAULT.as_secs());
    meant
}

const KEPT: Duration = limits::DEDUPE_MARGIN;

impl Office {
    /// Looks a key up, after whoever has its turn.
    pub(crate) async fn once(self: &Arc<Self>, key: Option<&str>, submission: &Submission) -> Answer<Recall> {
        let Some(key) = key.filter(|_| !submission.dry_run) else { return Ok(Recall::New(None)) };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            let detail = format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes");
            return Err(Problem::new(ProblemCode::BadRequest, detail));
        }
        let name = Hash::of(&[b"idempotency-key", key.as_bytes()]);
        let content = serde_json::to_vec(&meant(submission, self.policy.default_tlp))
            .map_err(|error| Problem::new(ProblemCode::Internal, error.to_string()))
            .map(|json| Hash::of(&[&json]))?;
        let turn = if planted(Mutant::SubmissionKeysTakeNoTurns) { Arc::default() } else { self.turns.turn(name) };
        let turn = turn.lock_owned().await;
        let place = Place::new(Table::Submissions, b'i', &[&name.0]);
        let (shelf, looked_up) = (Arc::clone(&self.shelf), place.clone());
        let record = crate::blocking(move || shelf.get::<Record>(&looked_up)).await??;
        let Some(record) = record.filter(|record| record.until > self.now()) else {
            let shelf = Arc::clone(&self.shelf);
            return Ok(Recall::New(Some(NewKey { place, content, shelf, _turn: turn })));
        };
        if record.content != content && !planted(Mutant::SubmissionContentIgnored) {
            return Err(Problem::new(
                ProblemCode::IdempotencyConflict,
                "this Idempotency-Key was used with other content",
            ));
        }
        let answer: Submitted =
            serde_json::from_str(&record.answer).map_err(|_| ReadError::Malformed { table: Table::Submissions })?;
        Ok(Recall::Repeated(Box::new(Submitted { repeated: true, ..answer })))
    }

    /// Keys that are over, at most `limit` records looked at after `after`.
    pub(crate) fn forget_keys(&self, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        for record in self.shelf.scan(Table::Submissions, b"i") {
            let (key, value) = record?;
            let record: Record = self.shelf.open_record(Table::Submissions, key.clone(), &value)?;
            if record.until <= now {
                ops.push(Op::Delete { table: Table::Submissions, key });
            }
        }
        Ok(ops)
    }
}

impl Turns {
    fn turn(&self, name: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let line = usize::from(name.0.first().copied().unwrap_or(0)) % LINES;
        self.0.get(line).cloned().unwrap_or_default()
    }
}
