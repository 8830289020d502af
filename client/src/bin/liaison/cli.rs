//! The grammar.

use std::ffi::OsString;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use liaison_client::api::model::{ParseWordError, Tlp};

use crate::commands;
use crate::failure::Failure;
use crate::out::Format;
use liaison_node::exit::Exit;

/// Sealed, signed messages between agencies, across outages.
#[derive(Debug, Parser)]
#[command(
    name = "liaison",
    version,
    disable_help_subcommand = true,
    before_help = "Examples:\n  liaison send --to ncb.ee -s \"Case 1142\" --tlp amber -a hits.csv < note.txt\n  \
                   liaison inbox --unread\n  liaison read @1\n  liaison status @last",
    after_help = "Exit codes: liaison help exit-codes. Messages are named by any unique beginning of their id, by @last (the one sent last), \
                  or by @1, @2 … from the last listing on this terminal."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// Settings from profiles/NAME.toml [env: LIAISON_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The daemon's socket [env: LIAISON_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// JSON on stdout: an object a line for lists, one object otherwise; FIELDS picks (id,from,subject)
    #[arg(long, global = true, value_name = "FIELDS", num_args = 0..=1, require_equals = true)]
    pub(crate) json: Option<Option<String>>,
    /// When to use colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<ColorWhen>,
    /// No remarks on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// More remarks on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

impl Global {
    pub(crate) fn format(&self) -> Format {
        let split = |fields: &String| fields.split(',').map(|field| field.trim().to_owned()).collect();
        match &self.json {
            None => Format::Text,
            Some(fields) => Format::Json(fields.as_ref().map(split)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    Auto,
    Always,
    Never,
}

impl fmt::Display for ColorWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

impl FromStr for ColorWhen {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        <Self as ValueEnum>::from_str(word, false).map_err(|_| format!("'{word}' is not one of auto, always, never"))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a message: returns once the message is durable in the outbox
    Send(commands::send::Args),
    /// Write and send a message in $VISUAL or $EDITOR
    Compose(commands::compose::Args),
    /// Answer a message
    Reply(commands::reply::Args),
    /// Send a message on, with its attachments
    Forward(commands::forward::Args),
    /// List received messages, newest first
    Inbox(commands::inbox::Args),
    /// List sent messages, newest first, and how far each is
    Outbox(commands::outbox::Args),
    /// Show a message, its signer, and whether the signature holds
    Read(commands::read::Args),
    /// Save a message's attachments
    Save(commands::save::Args),
    /// List a message's thread
    Thread(commands::thread::Args),
    /// Show where a message is, hop by hop; without MSG, how the daemon is
    Status(commands::status::Args),
    /// List a message's signed receipts, or export them as evidence
    Receipts(commands::receipts::Args),
    /// Verify evidence offline, from the federation's root keys alone
    Verify(commands::verify::Args),
    /// Try again now what waits in the outbox
    Retry(commands::retry::Args),
    /// Call a message back while no relay has taken over
    Cancel(commands::cancel::Args),
    /// Print events as they happen, one JSON object a line
    Watch(commands::watch::Args),
    /// List the federation's agencies
    Agencies(commands::agencies::Args),
    /// Show one agency
    #[command(subcommand)]
    Agency(commands::agencies::AgencyCommand),
    /// Check daemon, links, roster, clock, keys and disk
    Doctor,
    /// Show or check the configuration
    #[command(subcommand)]
    Config(commands::config::Command),
    /// List, choose or show profiles
    #[command(subcommand)]
    Profile(commands::profile::Command),
    /// Print a completion script for a shell
    Completion(commands::completion::Args),
    /// Print the manual page, or write one for each command
    Man(commands::man::Args),
    /// Show on this machine what Liaison does: a federation, an outage, tampering; under 20 s
    Demo(crate::demo::Args),
    /// Print versions
    Version,
    /// Print help on a command or a topic (exit-codes)
    Help(commands::help::Args),
}

/// The grammar with our layout: examples first.
pub(crate) fn command() -> clap::Command {
    const TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";
    fn lay_out(command: clap::Command) -> clap::Command {
        command.help_template(TEMPLATE).mut_subcommands(lay_out)
    }
    lay_out(Cli::command())
}

/// Parses, and says whether errors are to be JSON.
///
/// # Errors
/// Help was printed, or the usage was wrong and is explained.
pub(crate) fn parse(arguments: &[OsString]) -> Result<(Cli, bool), ExitCode> {
    let wants_json = |argument: &OsString| argument.to_str().is_some_and(|a| a == "--json" || a.starts_with("--json="));
    let json = arguments.iter().take_while(|argument| *argument != "--").any(wants_json);
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    parsed.map(|cli| (cli, json)).map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            // A reader that is gone (`--help | head`) is no failure.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        if json {
            let text = error.render().to_string();
            let message = text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default();
            complain(&Failure::usage(message), true);
        } else {
            let _ = error.print();
        }
        Exit::Usage.into()
    })
}

/// The last word on stderr.
pub(crate) fn complain(failure: &Failure, json: bool) {
    let _ = writeln!(anstream::stderr().lock(), "{}", failure.render(json));
}

/// One of a closed list of words, in any case; completion and help know the list.
pub(crate) fn word<T>(all: &'static [T]) -> impl TypedValueParser<Value = T>
where
    T: Copy + Word + FromStr<Err = ParseWordError> + Send + Sync + 'static,
{
    let words: Vec<&'static str> = all.iter().map(|word| word.text()).collect();
    PossibleValuesParser::new(words).try_map(|word| word.to_ascii_lowercase().parse::<T>())
}

/// A TLP mark, with or without `TLP:` before it, in any case.
pub(crate) fn tlp_word() -> impl TypedValueParser<Value = Tlp> {
    /// Forms that people write, and that help and completion do not show.
    const ALSO: [&str; 7] =
        ["tlp:clear", "tlp:green", "tlp:amber", "tlp:amber+strict", "tlp:red", "white", "tlp:white"];
    let shown = Tlp::ALL.iter().map(|word| PossibleValue::new(word.text()));
    let hidden = ALSO.into_iter().map(|word| PossibleValue::new(word).hide(true));
    PossibleValuesParser::new(shown.chain(hidden)).try_map(|word| {
        let word = word.to_ascii_lowercase();
        match word.strip_prefix("tlp:").unwrap_or(&word) {
            "white" => Err("in TLP 2.0 white is clear: write --tlp clear".to_owned()),
            mark => mark.parse::<Tlp>().map_err(|error| error.to_string()),
        }
    })
}

/// The word of a value of [`word`].
pub(crate) trait Word {
    fn text(&self) -> &'static str;
}

macro_rules! impl_word {
    ($($type:ident),+) => {$(
        impl Word for liaison_client::api::model::$type {
            fn text(&self) -> &'static str {
                self.as_str()
            }
        }
    )+};
}
impl_word!(ContentType, Precedence, Tlp);

#[cfg(test)]
mod tests;
