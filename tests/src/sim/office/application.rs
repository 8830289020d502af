//! The application behind a daemon: submits under a key until it is answered, calls back, follows the inbox, and says what
//! it has read.

use std::time::Duration;

use liaison_client::api::model::{Direction, ListQuery, Problem, ProblemCode, Submission, Submitted, Tlp};
use liaison_protocol::{AgencyId, MessageId, NodeId};

use super::{Ended, Errand};
use crate::sim::plan::Mail;
use crate::sim::trace::{NodeNo, Step};
use crate::sim::world::{What, World};

/// Shortest lifetime that a daemon takes.
const LIFETIME_S_MIN: u64 = 60;
/// After this it asks again.
const AGAIN_MS: u64 = 1_000;

pub(super) fn lifetime(planned: &Mail) -> Duration {
    Duration::from_secs(planned.lifetime_s.max(LIFETIME_S_MIN))
}

impl World<'_> {
    /// No two messages of a plan have the same text.
    pub(in crate::sim) fn text_of(&self, mail: usize) -> String {
        let mut text = format!("message {mail} of seed {}", self.plan.seed);
        text.extend(std::iter::repeat_n('.', self.plan.pace.text_bytes));
        text
    }

    pub(in crate::sim) fn submit_to_office(&mut self, node: NodeNo, mail: usize) {
        let planned = &self.plan.mail[mail];
        let agency = |agency: &usize| self.federation.agency(self.plan.shape.relays() + agency);
        let submission = Submission {
            to: planned.to.iter().map(agency).collect::<Vec<AgencyId>>(),
            info: Vec::new(),
            subject: "simulated".into(),
            text: self.text_of(mail),
            tlp: Some(Tlp::Green),
            handling: Vec::new(),
            precedence: Some(planned.precedence.into()),
            expires_in_s: Some(lifetime(planned).as_secs()),
            content_type: None,
            in_reply_to: None,
            attachments: Vec::new(),
            dry_run: false,
        };
        let key = Some(format!("mail {mail}"));
        let files = self.files_of(mail);
        let uploads = self.nodes[node].agency.uploads.entry(mail).or_default().clone();
        let Some(office) = self.office(node) else { return };
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        let submit = async move {
            let attachments = uploads.bring(&office, &files).await?;
            office.submit(Submission { attachments, ..submission }, key).await
        };
        desk.errands.start(Errand::Submit { mail }, async move { Ended::Submitted(submit.await) });
    }

    pub(super) fn submit_answered(&mut self, node: NodeNo, mail: usize, result: Result<Submitted, Problem>) {
        match result {
            Ok(submitted) => {
                let Some(id) = submitted.id.map(|id| id.0) else { return };
                self.mail.insert(mail, id);
                self.note(Step::Answered { node, id, done: true });
                if let Some(ms) = self.plan.mail[mail].cancel_after_ms {
                    self.after(ms, What::Cancel { mail });
                }
            }
            Err(problem) if problem.code == ProblemCode::DiskFull.as_str() => {
                self.after(AGAIN_MS, What::Submit { mail });
            }
            Err(problem) if problem.code == ProblemCode::UnknownUpload.as_str() => {
                // Nobody went on with it for a day.
                self.nodes[node].agency.uploads.entry(mail).or_default().forget();
                self.after(AGAIN_MS, What::Submit { mail });
            }
            Err(problem) if problem.code == ProblemCode::StoreFault.as_str() => {
                self.die(node, "its office cannot read", false, 1_000);
            }
            // Refused by a rule: nothing was kept.
            Err(_) => {}
        }
    }

    pub(in crate::sim) fn cancel_at_office(&mut self, node: NodeNo, mail: usize) {
        let Some(id) = self.mail.get(&mail).copied() else { return };
        let Some(office) = self.office(node) else { return };
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        desk.errands.start(Errand::Cancel { id }, async move { Ended::Cancelled(office.cancel(id).await) });
    }

    /// Its calls died with the daemon: it makes them again.
    pub(in crate::sim) fn call_again(&mut self, node: NodeNo) {
        let unanswered = self.nodes[node].desk.take().map(|desk| desk.unanswered(node));
        for call in unanswered.into_iter().flatten() {
            self.after(AGAIN_MS, call);
        }
    }

    /// Takes a message over, and marks it read.
    pub(in crate::sim) fn mark(&mut self, node: NodeNo, id: MessageId) {
        let Some(office) = self.office(node) else { return self.after(AGAIN_MS, What::Mark { node, id }) };
        self.note(Step::Marking { node, id });
        let marks = async move {
            office.ack(id).await?;
            office.mark_read(id).await
        };
        let Some(desk) = self.nodes[node].desk.as_mut() else { return };
        desk.errands.start(Errand::Mark { id }, async move { Ended::Marked(marks.await) });
    }

    pub(super) fn mark_answered(&mut self, node: NodeNo, id: MessageId, result: Result<(), Problem>) {
        match result {
            Err(problem) if problem.code == ProblemCode::DiskFull.as_str() => {
                self.after(AGAIN_MS, What::Mark { node, id });
            }
            Err(problem) if problem.code == ProblemCode::StoreFault.as_str() => {
                self.die(node, "its office cannot read", false, 1_000);
            }
            result => self.note(Step::Marked { node, id, done: result.is_ok() }),
        }
    }

    /// The application reads what has come since it last looked.
    pub(super) fn follow_inbox(&mut self, node: NodeNo) {
        if !std::mem::take(&mut self.nodes[node].agency.arrivals) {
            return;
        }
        let Some(office) = self.office(node) else { return };
        loop {
            let query = ListQuery { after: Some(self.nodes[node].agency.cursor), ..ListQuery::default() };
            let Ok(page) = office.list(Direction::In, &query) else {
                return self.die(node, "its office cannot read", false, 1_000);
            };
            for line in &page.items {
                self.nodes[node].agency.cursor = line.seq;
                let Ok(message) = office.message(line.id.0, Direction::In) else {
                    return self.die(node, "its office cannot read", false, 1_000);
                };
                let sender = self.federation.number(&NodeId::from(&message.from)).expect("a name of the plan");
                let id = message.id.0;
                self.note(Step::Shown { node, id, sender, text: message.text });
                let Some(planned) = self.sent.get(&id).map(|mail| &self.plan.mail[*mail]) else { continue };
                if let Some(ms) = planned.read_after_ms {
                    self.after(ms, What::Mark { node, id });
                }
                if !planned.attached.is_empty() {
                    self.nodes[node].agency.arriving.insert(id);
                }
            }
            if page.next.is_none() {
                return self.read_attached(node);
            }
        }
    }
}
