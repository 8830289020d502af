//! The flags that `send`, `compose`, `reply` and `forward` share.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use liaison_client::api::model::{ContentType, Precedence, Tlp};

use super::Draft;
use crate::cli::{tlp_word, word};
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::ProgressMode;
use crate::text::parse_span;

/// What the message says.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Content {
    /// Agencies that get the message for information only
    #[arg(long, value_name = "AGENCY,…", value_delimiter = ',')]
    pub(crate) info: Vec<String>,
    /// One line, sealed like the text
    #[arg(short, long)]
    pub(crate) subject: Option<String>,
    /// The text itself
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    pub(crate) body: Option<String>,
    /// The text from a file ('-' for standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Attach a file, or several (-a *.csv); any number of times; '-' for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
    /// How far the recipients may share the message; no built-in default
    #[arg(long, value_parser = tlp_word(), ignore_case = true)]
    pub(crate) tlp: Option<Tlp>,
    /// Handling code; any number of times
    #[arg(long, value_name = "CODE")]
    pub(crate) handling: Vec<String>,
    /// How urgent the message is [default: routine]
    #[arg(long, value_parser = word(Precedence::ALL), ignore_case = true)]
    pub(crate) precedence: Option<Precedence>,
    /// Lifetime, 1 minute to 30 days. A message that is not delivered by then ends in a notice to you [default: 7d]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(crate) expires: Option<Duration>,
    /// What the text is written in [default: text]
    #[arg(long = "type", value_name = "TYPE", value_parser = word(ContentType::ALL), ignore_case = true)]
    pub(crate) content_type: Option<ContentType>,
    /// '-': the text from standard input (the default if that is no terminal); after -a, more
    /// files to attach
    #[arg(value_name = "-|FILE")]
    rest: Vec<PathBuf>,
}

impl Content {
    /// Whether a lone `-` asks for the text from standard input.
    pub(crate) fn dash(&self) -> bool {
        self.rest.iter().any(|path| path.as_os_str() == "-")
    }

    /// Files to attach: those of `-a`, and those that a shell put behind it (`-a *.csv`).
    ///
    /// # Errors
    /// A file that no `-a` stands before, or two sources of the text.
    fn attached(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.dash() && (self.body.is_some() || self.file.is_some()) {
            return Err(Failure::usage("two texts: '-' and --body or --file").hint("give one of them"));
        }
        let mut rest = self.rest.iter().filter(|path| path.as_os_str() != "-").cloned();
        match rest.next() {
            Some(first) if self.attach.is_empty() => {
                let message = format!("what is '{}'?", first.display());
                Err(Failure::usage(message).hint("to attach a file, write -a before its name"))
            }
            first => Ok(self.attach.iter().cloned().chain(first).chain(rest).collect()),
        }
    }

    /// Puts what was given over what `draft` has: lists of agencies and codes in place of the draft's, files to attach
    /// beside the draft's. The text is not among it: see `input`.
    ///
    /// # Errors
    /// As [`Content::attached`].
    pub(crate) fn apply(&self, draft: &mut Draft) -> Result<(), Failure> {
        if !self.info.is_empty() {
            draft.info.clone_from(&self.info);
        }
        if !self.handling.is_empty() {
            draft.handling.clone_from(&self.handling);
        }
        draft.attach.extend(self.attached()?);
        if let Some(subject) = &self.subject {
            draft.subject.clone_from(subject);
        }
        draft.tlp = self.tlp.or(draft.tlp);
        draft.precedence = self.precedence.or(draft.precedence);
        draft.expires = self.expires.or(draft.expires);
        draft.content_type = self.content_type.or(draft.content_type);
        Ok(())
    }
}

/// How far to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitFor {
    /// Durable in the outbox: what send does anyway
    Stored,
    /// In every recipient's inbox, by signed receipts
    Delivered,
    /// Read by every recipient, by signed receipts
    Read,
}

/// How the message is handed over.
#[derive(Args, Clone, Debug)]
pub(crate) struct Delivery {
    /// Return only once the message is so far; a wait that runs out is exit 75 and no failed send
    #[arg(long, value_enum, value_name = "STATE")]
    pub(crate) wait: Option<WaitFor>,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_span)]
    pub(crate) timeout: Duration,
    /// Idempotency: the same key with the same content is the same message
    #[arg(long, value_name = "KEY", value_parser = parse_key)]
    pub(crate) id_key: Option<String>,
    /// Check recipients, sizes and policy, print what would go, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Progress of uploads, on stderr
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) progress: ProgressMode,
}

/// Travels in a header of the local API.
fn parse_key(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.into())
    } else {
        Err("a key has 1 to 255 printable ASCII characters and no blanks".into())
    }
}

/// Fills in what the profile states for messages that say nothing themselves.
pub(crate) fn apply_settings(cx: &Context, draft: &mut Draft) -> Result<(), Failure> {
    let settings = &cx.settings;
    draft.tlp = draft.tlp.or(settings.tlp.value);
    draft.precedence = draft.precedence.or(Some(settings.precedence.value));
    draft.expires = draft.expires.or(Some(settings.expires.value));
    let max = liaison_protocol::limits::LIFETIME_MAX;
    match draft.expires {
        Some(span) if span < LIFETIME_MIN || span > max => {
            Err(Failure::usage("a lifetime is at least 1 minute and at most 30 days"))
        }
        _ => Ok(()),
    }
}

/// Shorter ones would expire on the way.
const LIFETIME_MIN: Duration = Duration::from_secs(60);
