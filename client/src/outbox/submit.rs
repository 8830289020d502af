//! Taking a message: every rule is checked before anything is kept, and nothing is answered before it is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use liaison_core::op::Op;
use liaison_protocol::inner::{Content, Message};
use liaison_protocol::{AgencyId, MessageId, Timestamp};

use super::check::{Checked, check};
use super::fact::Fact;
use super::sealing::{Outgoing, Sealing, SealingError};
use super::work::Work;
use super::{
    EnvelopePart, EnvelopeRef, SentHead, envelope_place, head_place, kept_place, line_place, open_place, unkeyed_place,
};
use crate::api::model::{MessageState, Problem, ProblemCode, Submission, Submitted};
use crate::attachment::attach::{Attached, Claims};
use crate::events::{EventRecord, What};
use crate::inbox::{Line, Way, put_thread, thread_of};
use crate::office::Office;
use crate::once::Recall;
use crate::problem::Answer;
use crate::sequence::Ticket;
use crate::shelf::Shelf;

/// What is to be committed for a new message.
struct Prepared {
    outgoing: Outgoing,
    ops: Vec<Op>,
    answer: Submitted,
    feeds: bool,
    /// Its key keeps its turn until the commit has ended.
    _once: Recall,
    /// Its uploads belong to nobody else until then.
    _claims: Claims,
    /// Its number stays open until the commit has ended.
    _ticket: Ticket,
}

impl Office {
    /// Takes a message into the outbox. On return it is durable; whatever the network does, it goes out.
    ///
    /// # Errors
    /// A problem document: nothing was kept.
    pub async fn submit(self: &Arc<Self>, submission: Submission, key: Option<String>) -> Answer<Submitted> {
        let once = self.once(key.as_deref(), &submission).await?;
        if let Recall::Repeated(answer) = once {
            return Ok(*answer);
        }
        let office = Arc::clone(self);
        let dry_run = submission.dry_run;
        let prepared = self.costly(move || office.prepare(submission, once)).await??;
        if dry_run {
            return Ok(prepared.answer);
        }
        let started = Instant::now();
        let recipients = prepared.outgoing.envelope.header().recipients.len();
        let everyone = 0..u16::try_from(recipients).unwrap_or(u16::MAX);
        match prepared.outgoing.branch(everyone) {
            Some(envelope) => self.node.submit(envelope, 1, prepared.ops).await?,
            None => self.node.commit(prepared.ops).await?,
        }
        if prepared.feeds {
            self.wake.feed.notify_one();
        }
        if prepared.outgoing.roster_version != self.roster().version() {
            self.seal_the_unvouched_anew().await?;
        }
        Ok(Submitted { fsync_ms: started.elapsed().as_secs_f64() * 1000.0, ..prepared.answer })
    }

    fn prepare(&self, submission: Submission, once: Recall) -> Answer<Prepared> {
        let checked = check(self, &submission)?;
        let Attached { attachments, uploads, ops: consume, claims } = self.attach(&submission.attachments)?;
        let Checked { recipients, info, precedence, tlp, created, expires, thread, in_reply_to } = checked;
        let message = Message {
            thread,
            in_reply_to,
            chain: None,
            info: info.clone(),
            subject: submission.subject.clone(),
            tlp,
            handling: submission.handling.clone(),
            content_type: submission.content_type.map_or(liaison_protocol::inner::ContentType::Text, Into::into),
            text: submission.text.clone(),
            attachments,
        };
        let content = Content::Message(message);
        let sealing = Sealing { content: &content, recipients: &recipients, created, expires, precedence };
        let outgoing = self.seal(&sealing).map_err(seal_problem)?;
        let Content::Message(message) = &content else { return Err(internal()) };
        let (id, header) = (outgoing.envelope.id(), outgoing.envelope.header());
        let ticket = self.sequence.take();
        let line = Line::new(id, header, message, created);
        let head = SentHead {
            number: ticket.number(),
            created,
            expires: header.expires,
            precedence,
            recipients,
            thread: thread_of(id, message),
            uploads,
            bytes: line.bytes,
        };
        let answer = Submitted {
            id: (!submission.dry_run).then(|| id.into()),
            state: MessageState::Outbox,
            repeated: false,
            fsync_ms: 0.0,
            to: submission.to.clone(),
            info,
            precedence: precedence.into(),
            tlp: tlp.into(),
            parts: line.parts,
            bytes: line.bytes,
            expires: head.expires.into(),
        };
        let mut ops = self.records(id, &outgoing, &head, &line, created);
        ops.extend(consume);
        ops.extend(self.plan_feed(id, &head, message));
        ops.extend(once.record(&answer, head.expires));
        let feeds = !message.attachments.is_empty();
        Ok(Prepared { outgoing, ops, answer, feeds, _once: once, _claims: claims, _ticket: ticket })
    }

    fn records(&self, id: MessageId, outgoing: &Outgoing, head: &SentHead, line: &Line, now: Timestamp) -> Vec<Op> {
        let number = head.number;
        let event = EventRecord::new(What::Stored, now).about(id).marked(head.precedence, line.tlp);
        let mut ops = vec![
            self.shelf.put(kept_place(id), &self.keep(outgoing)),
            self.shelf.put(line_place(number), line),
            Shelf::put_clear(head_place(id), head),
            Shelf::put_clear(open_place(id), &id),
            Shelf::put_clear(envelope_place(id), &EnvelopeRef { first: id, part: EnvelopePart::Message }),
            put_thread(head.thread, number, Way::Out, id),
            event.put(number),
        ];
        for index in &outgoing.unkeyed {
            let Some(agency) = head.recipients.get(usize::from(*index)) else { continue };
            ops.push(Shelf::put_clear(unkeyed_place(agency, id), &(id, *index)));
            ops.push(Fact::Unkeyed { at: now, envelope: id }.put(id, *index));
            // The key may come between the look for it and this commit, with nobody waiting for it yet.
            ops.push(Work::Keyed { first: id, index: *index }.put(&self.shelf, now));
        }
        ops
    }
}

fn seal_problem(error: SealingError) -> Problem {
    use liaison_protocol::seal::SealError;
    match error {
        SealingError::Read(error) => error.into(),
        SealingError::Seal(error @ SealError::TooLong { .. }) => Problem::new(ProblemCode::TooLarge, error.to_string()),
        SealingError::Seal(error @ (SealError::Content(_) | SealError::Header(_))) => {
            Problem::new(ProblemCode::BadRequest, error.to_string())
        }
        SealingError::Seal(error) => Problem::new(ProblemCode::Internal, error.to_string()),
    }
}

fn internal() -> Problem {
    Problem::new(ProblemCode::Internal, "a message was expected")
}

/// Longest lifetime that every recipient accepts.
pub(super) fn lifetime_max(office: &Office, recipients: &[AgencyId]) -> Duration {
    let roster = office.roster();
    let of = |agency: &AgencyId| roster.agency(agency).map(|agency| agency.max_ttl);
    recipients.iter().filter_map(of).min().unwrap_or(liaison_protocol::limits::LIFETIME_MAX)
}
