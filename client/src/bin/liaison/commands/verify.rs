//! `liaison verify`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use liaison_node::exit::Exit;
use liaison_protocol::evidence::{self, EvidenceError, NOT_PROVEN, Strength, Verdict};
use liaison_protocol::inner::{Content, Inner};
use liaison_protocol::roster::TrustAnchor;
use serde::Serialize;
use utoipa::ToSchema;

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, GOOD, paint};
use crate::selector::Selector;
use crate::text::{safe_line, safe_text};

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison verify case1142.evidence --roots roots.json\n  liaison verify 4m7x0q",
    after_help = "Needs nothing but the file and the federation's public root keys: no daemon, no network, no clock."
)]
pub(crate) struct Args {
    /// A file of evidence ('-': standard input), or a message whose evidence the daemon has
    #[arg(value_name = "FILE|MSG")]
    subject: String,
    /// The federation's public root keys [config: roots, env: LIAISON_ROOTS]
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
}

/// SPEC.md, section 21.
const EVIDENCE_BYTES_MAX: u64 = 256 << 20;
/// 32 root keys take less.
const ROOTS_BYTES_MAX: u64 = 1 << 20;

/// What evidence shows.
#[derive(Debug, Serialize, ToSchema)]
struct Verified {
    /// Everything in it holds.
    valid: bool,
    /// Why not.
    reason: Option<String>,
    /// The message.
    message: Option<String>,
    /// What follows from the root keys, by signatures and hashes alone.
    proven: Vec<String>,
    /// Somebody's word, mostly a clock's.
    claimed: Vec<String>,
    /// True, and a reason to look closer.
    look_closer: Vec<String>,
    /// What no evidence proves.
    not_proven: Vec<String>,
    /// The subject, if the evidence opens the message.
    subject: Option<String>,
    /// The text, if the evidence opens the message.
    text: Option<String>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<Verified>()?;
    let anchor = anchor(cx, args.roots.as_deref())?;
    let bundle = bundle(cx, &args.subject).await?;
    let (verified, text) = match evidence::verify(bundle, &anchor) {
        Ok(verdict) => (valid(&verdict), render(&verdict)),
        Err(EvidenceError::Archive(error)) => {
            let message = format!("{}: not valid evidence: {error}", args.subject);
            return Err(Failure::new(Exit::Data, "not_evidence", message));
        }
        Err(error) => (invalid(&error), format!("{}: {}\n", paint(BAD, "NOT VALID"), safe_line(&error.to_string()))),
    };
    if cx.out.is_json() {
        cx.out.object(&verified)?;
    } else {
        cx.out.data(&text)?;
    }
    Ok(if verified.valid { Exit::Done } else { Exit::Finding })
}

fn anchor(cx: &Context, flag: Option<&Path>) -> Result<TrustAnchor, Failure> {
    let path = flag.or(cx.settings.roots.value.as_deref());
    let path = path.ok_or_else(|| {
        Failure::usage("no root keys").hint("name the federation's roots.json: --roots FILE, or roots in the profile")
    })?;
    let bytes = crate::files::read(path, ROOTS_BYTES_MAX)?;
    let wrong = |error| Failure::new(Exit::Data, "bad_roots", format!("{}: {error}", path.display()));
    TrustAnchor::from_json(&bytes).map_err(wrong)
}

/// A file of this name, or the message that it names.
async fn bundle(cx: &Context, subject: &str) -> Result<Bytes, Failure> {
    let path = Path::new(subject);
    if crate::files::is_stdin(path) || path.exists() {
        return Ok(crate::files::read(path, EVIDENCE_BYTES_MAX)?.into());
    }
    match subject.parse::<Selector>() {
        Ok(selector) => Ok(cx.client.evidence(&cx.resolve(&selector)?).await?.into()),
        Err(reason) => {
            Err(Failure::new(Exit::NoInput, "input_unreadable", format!("{subject}: no such file, and {reason}")))
        }
    }
}

fn valid(verdict: &Verdict) -> Verified {
    let facts =
        |strength| verdict.facts.iter().filter(|fact| fact.strength() == strength).map(ToString::to_string).collect();
    let message = verdict.content.as_ref().and_then(said);
    Verified {
        valid: true,
        reason: None,
        message: Some(verdict.message.to_string()),
        proven: facts(Strength::Proven),
        claimed: facts(Strength::Claimed),
        look_closer: facts(Strength::Warning),
        not_proven: NOT_PROVEN.map(Into::into).into(),
        subject: message.map(|message| message.subject.clone()),
        text: message.map(|message| message.text.clone()),
    }
}

fn invalid(error: &EvidenceError) -> Verified {
    Verified {
        valid: false,
        reason: Some(error.to_string()),
        message: None,
        proven: Vec::new(),
        claimed: Vec::new(),
        look_closer: Vec::new(),
        not_proven: Vec::new(),
        subject: None,
        text: None,
    }
}

fn said(inner: &Inner) -> Option<&liaison_protocol::inner::Message> {
    match &inner.content {
        Content::Message(message) => Some(message),
        Content::Receipts(_) | Content::Notice(_) => None,
    }
}

/// The verdict, then the content that it opens. Both hold what strangers wrote.
fn render(verdict: &Verdict) -> String {
    let text = safe_text(&verdict.to_string());
    let text = match text.strip_prefix("valid") {
        Some(rest) => paint(GOOD, "valid") + rest,
        None => text,
    };
    let content = verdict.content.as_ref().and_then(said).map(|message| {
        let attachments = message.attachments.iter().map(|part| {
            format!("attachment: {}, {} bytes, SHA-256 {}\n", safe_line(&part.name), part.total_len, part.sha256)
        });
        let attachments: String = attachments.collect();
        format!(
            "content:\nsubject: {}\n{attachments}\n{}\n",
            safe_line(&message.subject),
            safe_text(&message.text).trim_end()
        )
    });
    text + &content.unwrap_or_default()
}
