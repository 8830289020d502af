//! The way of a draft into the outbox: check, confirm, upload, submit, wait.

use std::path::PathBuf;

use liaison_client::api::client::ClientError;
use liaison_client::api::model::{Agencies, AttachmentRef, MessageState, Submission, Submitted};
use liaison_protocol::{AgencyId, limits};

use super::flags::{Delivery, apply_settings};
use super::upload::{self, Source};
use super::{Draft, confirm, wait};
use crate::context::Context;
use crate::failure::Failure;
use crate::suggest;
use crate::text::{bytes, count, safe_line};
use liaison_node::exit::Exit;

/// Sends `draft`, or shows what would be sent.
pub(crate) async fn send(cx: &Context, mut draft: Draft, how: &Delivery) -> Result<Exit, Failure> {
    cx.out.check_fields::<Submitted>()?;
    apply_settings(cx, &mut draft)?;
    let sources = open_all(cx, &draft.attach)?;
    check_attachments(&sources, &draft)?;
    let submission = address(&draft, &cx.agencies().await?)?;
    // The daemon sees everything but the attachments before a byte of them moves: what it refuses, it refuses now.
    let rehearsal = Submission { dry_run: true, ..submission.clone() };
    let mut checked = cx.client.submit(&rehearsal, None).await.map_err(explain)?;
    checked.parts += u32::try_from(sources.len() + draft.carry.len()).unwrap_or(u32::MAX);
    checked.bytes += sources.iter().map(Source::bytes).sum::<u64>();
    checked.bytes += draft.carry.iter().map(|carried| carried.part.bytes).sum::<u64>();
    if how.dry_run {
        return report(cx, &checked).map(|()| Exit::Done);
    }
    let recipients = checked.to.len() + checked.info.len();
    if let Some((reason, word)) = confirm::reason(checked.tlp, checked.precedence, recipients)
        && !how.yes
    {
        confirm::ask(&reason, word).await?;
    }
    if let Some(submitted) = repeat(cx, &submission, &sources, how).await? {
        return finish(cx, submitted, how).await;
    }
    let mut uploaded = Uploaded::default();
    let submitted = match bring(cx, how, sources, &draft, submission, &mut uploaded).await {
        Ok(submitted) => submitted,
        Err(failure) => {
            uploaded.give_up(cx, &failure).await;
            return Err(failure);
        }
    };
    let Uploaded { attachments, keys } = uploaded;
    let uploads = keys.iter().cloned().zip(attachments.into_iter().map(|attachment| attachment.upload)).collect();
    upload::forget(cx, &keys);
    if let Some(key) = how.id_key.clone().filter(|_| !keys.is_empty()) {
        cx.state().remember_sent(key, uploads);
    }
    finish(cx, submitted, how).await
}

/// Every file is opened before anything is sent. A file that is named twice is attached once.
fn open_all(cx: &Context, paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources: Vec<Source> = Vec::new();
    for path in paths {
        let source = Source::open(path)?;
        if sources.iter().any(|known| known.key() == source.key() && known.name() == source.name()) {
            cx.out.note(&format!("{} is named twice and attached once", path.display()));
        } else {
            sources.push(source);
        }
    }
    Ok(sources)
}

/// What the daemon would refuse after the first uploads, it is not asked.
fn check_attachments(sources: &[Source], draft: &Draft) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(Exit::Data, "too_large", message));
    let count = sources.len() + draft.carry.len();
    if count > limits::ATTACHMENTS_MAX {
        return refuse(format!("{count} attachments; a message has at most {}", limits::ATTACHMENTS_MAX));
    }
    let chunks = |bytes: u64| bytes.div_ceil(limits::CHUNK_BYTES as u64);
    let own = sources.iter().map(|source| chunks(source.bytes())).sum::<u64>();
    let all = own + draft.carry.iter().map(|carried| chunks(carried.part.bytes)).sum::<u64>();
    if all > limits::CHUNKS_MAX as u64 {
        let max = limits::CHUNKS_MAX as u64 * limits::CHUNK_BYTES as u64;
        return refuse(format!("the attachments are longer than {} together", bytes(max)));
    }
    for source in sources {
        let name = source.name();
        if !(1..=limits::ATTACHMENT_NAME_BYTES_MAX).contains(&name.len()) {
            return refuse(format!("the name '{}' has more than 255 bytes", safe_line(name)));
        }
        if name.chars().any(|c| c.is_control() || c == '\\') {
            let message = format!("the name '{}' has a control character or a backslash", safe_line(name));
            return Err(Failure::new(Exit::Data, "bad_request", message).hint("attach a copy with another name"));
        }
    }
    Ok(())
}

/// The same files under the same key have been sent from here before: naming the uploads of then makes it the same
/// message, and saves uploading them again. `None` if it was not, or if the daemon no longer knows.
async fn repeat(
    cx: &Context,
    submission: &Submission,
    sources: &[Source],
    how: &Delivery,
) -> Result<Option<Submitted>, Failure> {
    let Some(key) = &how.id_key else { return Ok(None) };
    let files: Vec<String> = sources.iter().map(Source::key).collect();
    let Some(uploads) = cx.state().sent_uploads(key, &files) else { return Ok(None) };
    let named = uploads.into_iter().zip(sources);
    let attachments = named.map(|(upload, source)| AttachmentRef { upload, name: source.name().to_owned() }).collect();
    match submit(cx, &Submission { attachments, ..submission.clone() }, Some(key)).await {
        Err(failure) if failure.code == "unknown_upload" => Ok(None),
        submitted => submitted.map(Some),
    }
}

/// Names checked against the roster, for the best possible answer to a slip.
fn address(draft: &Draft, agencies: &Agencies) -> Result<Submission, Failure> {
    if draft.to.is_empty() && draft.info.is_empty() {
        return Err(Failure::usage("no recipient").hint("name one with --to"));
    }
    if draft.subject.trim().is_empty() {
        return Err(Failure::usage("no subject").hint("give one with -s"));
    }
    let given = |names: &[String]| -> Vec<String> {
        names.iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let resolve =
        |names: &[String]| -> Result<Vec<_>, _> { given(names).iter().map(|name| agency(name, agencies)).collect() };
    Ok(Submission {
        to: resolve(&draft.to)?,
        info: resolve(&draft.info)?,
        subject: draft.subject.clone(),
        text: draft.text.clone(),
        tlp: draft.tlp,
        handling: draft.handling.clone(),
        precedence: draft.precedence,
        expires_in_s: draft.expires.map(|span| span.as_secs()),
        content_type: draft.content_type,
        in_reply_to: draft.in_reply_to,
        attachments: Vec::new(),
        dry_run: false,
    })
}

/// The roster's agency of this name.
pub(crate) fn agency(name: &str, agencies: &Agencies) -> Result<AgencyId, Failure> {
    let known = agencies.agencies.iter().map(|agency| agency.id.as_str());
    if let Some(found) = agencies.agencies.iter().find(|agency| agency.id.as_str() == name) {
        return Ok(found.id.clone());
    }
    let question = suggest::question(&suggest::near(name, known));
    let message = format!("unknown agency '{name}'{}", question.map(|q| format!("; {q}")).unwrap_or_default());
    Err(Failure::new(Exit::NoAgency, "unknown_agency", message).hint("all of them: liaison agencies"))
}

fn explain(error: ClientError) -> Failure {
    let failure = Failure::from(error);
    match failure.code.as_str() {
        "tlp_missing" => failure.hint("give --tlp, or set tlp in the profile (liaison config show)"),
        _ => failure,
    }
}

/// What the daemon has of a message that is not sent yet.
#[derive(Default)]
struct Uploaded {
    attachments: Vec<AttachmentRef>,
    /// By which the files' uploads are remembered.
    keys: Vec<String>,
}

impl Uploaded {
    /// Frees the uploads of a message that was refused for good. What may be sent later is kept, and resumed.
    async fn give_up(&self, cx: &Context, failure: &Failure) {
        let refused = [Exit::Data, Exit::NoAgency, Exit::Refused].map(Exit::code).contains(&failure.exit);
        if failure.retryable || !refused {
            return;
        }
        for attachment in &self.attachments {
            if let Err(error) = cx.client.delete_upload(&attachment.upload).await {
                cx.out.detail(&format!("the upload of {} is kept for a day: {error}", attachment.name));
            }
        }
        upload::forget(cx, &self.keys);
    }
}

/// Uploads the attachments, noting each in `uploaded`, and submits the message.
async fn bring(
    cx: &Context,
    how: &Delivery,
    sources: Vec<Source>,
    draft: &Draft,
    submission: Submission,
    uploaded: &mut Uploaded,
) -> Result<Submitted, Failure> {
    for source in sources {
        let (attachment, key) = upload::file(cx, how.progress, source).await?;
        uploaded.attachments.push(attachment);
        uploaded.keys.push(key);
    }
    for carried in &draft.carry {
        uploaded.attachments.push(upload::carried(cx, how.progress, carried).await?);
    }
    let attachments = uploaded.attachments.clone();
    submit(cx, &Submission { attachments, ..submission }, how.id_key.as_deref()).await
}

/// Submits under a key, so that an answer that got lost can be asked for again without sending twice.
async fn submit(cx: &Context, submission: &Submission, key: Option<&str>) -> Result<Submitted, Failure> {
    let key = match key {
        Some(key) => key.to_owned(),
        None => random_key()?,
    };
    match cx.client.submit(submission, Some(&key)).await {
        Err(ClientError::HungUp { .. } | ClientError::Timeout { .. }) => {
            cx.out.detail("the answer was lost; asking again under the same key");
            cx.client.submit(submission, Some(&key)).await.map_err(explain)
        }
        answer => answer.map_err(explain),
    }
}

fn random_key() -> Result<String, Failure> {
    let mut key = [0u8; 16];
    getrandom::fill(&mut key).map_err(|error| Failure::new(Exit::Internal, "internal", error))?;
    Ok(key.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn finish(cx: &Context, mut submitted: Submitted, how: &Delivery) -> Result<Exit, Failure> {
    let Some(id) = submitted.id else {
        return Err(Failure::new(Exit::Internal, "answer_not_understood", "the daemon names no id"));
    };
    cx.remember_sent(id);
    let stored = |failure: Failure| {
        let message = format!("the message is in the outbox as {id}; {}", failure.message);
        cx.out.note(&message);
        Failure { message, ..failure }
    };
    let Some(goal) = how.wait else {
        report(cx, &submitted).map_err(stored)?;
        cx.out.note(&format!("to follow the message: liaison status {}", id.short()));
        return Ok(Exit::Done);
    };
    // Said before the wait: whoever interrupts it knows that the message is on its way.
    if !cx.out.is_json() {
        report(cx, &submitted).map_err(stored)?;
    }
    let waited = wait::until(&cx.client, id, goal, how.timeout).await;
    if let Ok(trace) = &waited {
        submitted.state = trace.state;
        cx.out.note(&format!("{}: {}", id.short(), reached(trace.state)));
    }
    if cx.out.is_json() {
        report(cx, &submitted).map_err(stored)?;
    }
    waited.map(|_| Exit::Done)
}

const fn reached(state: MessageState) -> &'static str {
    match state {
        MessageState::Read => "read by every recipient",
        MessageState::Delivered => "delivered to every recipient",
        _ => "stored",
    }
}

fn report(cx: &Context, submitted: &Submitted) -> Result<(), Failure> {
    if cx.out.is_json() { cx.out.object(submitted) } else { cx.out.data(&render(submitted)) }
}

/// `4m7x0qd2ka  stored in outbox (fsync 3 ms)   to ncb.ee   priority   TLP:AMBER   2 parts, 1.2 MiB`
fn render(submitted: &Submitted) -> String {
    let list = |agencies: &[AgencyId]| agencies.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ");
    let mut to = format!("to {}", list(&submitted.to));
    if !submitted.info.is_empty() {
        to += &format!(" (info {})", list(&submitted.info));
    }
    let stored = match (submitted.id, submitted.repeated) {
        (None, _) => "not sent (dry run)".to_owned(),
        (Some(id), true) => format!("{}  already in outbox (same key)", id.short()),
        (Some(id), false) => format!("{}  stored in outbox (fsync {:.0} ms)", id.short(), submitted.fsync_ms.ceil()),
    };
    let size = format!("{}, {}", count(submitted.parts.into(), "part", "parts"), bytes(submitted.bytes));
    let tlp = submitted.tlp.as_str().to_uppercase();
    format!("{stored}   {}   {}   TLP:{tlp}   {size}\n", safe_line(&to), submitted.precedence)
}

#[cfg(test)]
mod tests;
