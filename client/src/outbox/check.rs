//! The rules of a submission, and what is filled in.

use std::collections::BTreeSet;
use std::time::Duration;

use liaison_node::config::did_you_mean;
use liaison_protocol::inner::Tlp;
use liaison_protocol::roster::{AgencyStatus, Roster};
use liaison_protocol::{AgencyId, MessageId, Precedence, Timestamp, limits};

use super::submit::lifetime_max;
use crate::api::model::{Problem, ProblemCode, Submission};
use crate::office::Office;
use crate::problem::Answer;

/// Shortest lifetime that can be asked for.
const LIFETIME_MIN: Duration = Duration::from_secs(60);

/// A submission that breaks no rule, with its defaults.
pub(super) struct Checked {
    /// Ascending.
    pub(super) recipients: Vec<AgencyId>,
    /// Ascending.
    pub(super) info: Vec<AgencyId>,
    pub(super) precedence: Precedence,
    pub(super) tlp: Tlp,
    pub(super) created: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) thread: Option<MessageId>,
    pub(super) in_reply_to: Option<MessageId>,
}

pub(super) fn check(office: &Office, submission: &Submission) -> Answer<Checked> {
    let roster = office.roster();
    let precedence = submission.precedence.map_or(Precedence::Routine, Into::into);
    let recipients = recipients(submission)?;
    for agency in &recipients {
        check_recipient(&roster, &office.me, agency, precedence)?;
    }
    check_text(submission)?;
    let Some(tlp) = submission.tlp.map(Into::into).or(office.policy.default_tlp) else {
        let problem = Problem::new(ProblemCode::TlpMissing, "no TLP given, and [policy] default_tlp is not set");
        return Err(problem.with_hint("state one of clear, green, amber, amber+strict, red; none is guessed"));
    };
    let lifetime = lifetime(office, submission, &recipients)?;
    office.check_room()?;
    let (thread, in_reply_to) = match submission.in_reply_to {
        Some(id) => {
            let (name, thread) = office.held(id.0)?;
            (Some(thread), Some(name))
        }
        None => (None, None),
    };
    let mut info = submission.info.clone();
    info.sort();
    let created = office.now();
    let expires = created.after(lifetime);
    Ok(Checked { recipients, info, precedence, tlp, created, expires, thread, in_reply_to })
}

fn recipients(submission: &Submission) -> Answer<Vec<AgencyId>> {
    let named = submission.to.len() + submission.info.len();
    let all: BTreeSet<AgencyId> = submission.to.iter().chain(&submission.info).cloned().collect();
    if named == 0 {
        return Err(bad("no recipient"));
    }
    if all.len() != named {
        let mut seen = BTreeSet::new();
        let twice = submission.to.iter().chain(&submission.info).find(|agency| !seen.insert(*agency));
        return Err(bad(format!("{} is named twice", twice.map_or("a recipient", |agency| agency.as_str()))));
    }
    if named > limits::RECIPIENTS_MAX {
        let detail = format!("{named} recipients, at most {} are possible", limits::RECIPIENTS_MAX);
        return Err(Problem::new(ProblemCode::TooLarge, detail));
    }
    Ok(all.into_iter().collect())
}

fn check_recipient(roster: &Roster, me: &AgencyId, to: &AgencyId, precedence: Precedence) -> Answer<()> {
    let Some(agency) = roster.agency(to) else { return Err(unknown_agency(roster, to)) };
    if agency.status != AgencyStatus::Active {
        let detail = format!("{to} is suspended in roster version {}", roster.version());
        return Err(Problem::new(ProblemCode::NoAgreement, detail));
    }
    let Some(agreement) = roster.agreement(me, to) else {
        let detail = format!("no agreement lets {me} write to {to} (roster version {})", roster.version());
        return Err(Problem::new(ProblemCode::NoAgreement, detail));
    };
    if precedence > agreement.max_precedence {
        let detail = format!("{me} may write to {to} up to {}, not {precedence}", agreement.max_precedence);
        return Err(Problem::new(ProblemCode::NoAgreement, detail));
    }
    // [RCPT-6] Its end could never be known: better refused now than delivered and called expired.
    if roster.agreement(to, me).is_none() {
        let detail = format!("no agreement lets {to} write to {me}, so no delivery receipt could come back");
        let hint = "ask for an agreement in that direction, too; routine is enough";
        return Err(Problem::new(ProblemCode::NoAgreement, detail).with_hint(hint));
    }
    Ok(())
}

/// With the agency that may have been meant.
pub(crate) fn unknown_agency(roster: &Roster, agency: &AgencyId) -> Problem {
    let problem = Problem::new(ProblemCode::UnknownAgency, format!("unknown agency '{agency}'"));
    match did_you_mean(agency.as_str(), roster.agencies().map(|known| known.id.as_str())) {
        Some(near) => problem.with_hint(format!("did you mean '{near}'?")),
        None => problem,
    }
}

fn check_text(submission: &Submission) -> Answer<()> {
    let one_line = |text: &str| !text.chars().any(char::is_control);
    if submission.subject.len() > limits::SUBJECT_BYTES_MAX {
        let detail =
            format!("the subject has {} bytes, at most {}", submission.subject.len(), limits::SUBJECT_BYTES_MAX);
        return Err(Problem::new(ProblemCode::TooLarge, detail));
    }
    if !one_line(&submission.subject) {
        return Err(bad("the subject has a control character; a subject is one line"));
    }
    if submission.handling.len() > limits::HANDLING_MAX {
        return Err(bad(format!("at most {} handling codes", limits::HANDLING_MAX)));
    }
    let fits = |code: &String| (1..=limits::HANDLING_BYTES_MAX).contains(&code.len()) && one_line(code);
    if let Some(code) = submission.handling.iter().find(|code| !fits(code)) {
        let shown: String = code.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(bad(format!("handling code '{shown}': 1 to {} bytes on one line", limits::HANDLING_BYTES_MAX)));
    }
    Ok(())
}

fn lifetime(office: &Office, submission: &Submission, recipients: &[AgencyId]) -> Answer<Duration> {
    let longest = lifetime_max(office, recipients);
    let Some(asked) = submission.expires_in_s else { return Ok(limits::LIFETIME_DEFAULT.min(longest)) };
    let asked = Duration::from_secs(asked);
    if asked < LIFETIME_MIN || asked > limits::LIFETIME_MAX {
        return Err(bad(format!("a lifetime of {} s: 60 s to 30 days are possible", asked.as_secs())));
    }
    if asked > longest {
        let roster = office.roster();
        let keeps = |agency: &&AgencyId| roster.agency(agency).is_some_and(|agency| agency.max_ttl == longest);
        let who = recipients.iter().find(keeps).map_or("a recipient", AgencyId::as_str);
        let days = longest.as_secs() / 86_400;
        let detail = format!("{who} can open messages for {days} days; a longer lifetime is of no use");
        return Err(bad(detail).with_hint(format!("ask for at most {days}d, or send to {who} apart")));
    }
    Ok(asked)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::BadRequest, detail)
}
