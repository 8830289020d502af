//! The operator's command line. stdout is data, stderr is talk; exit codes: `liaison-relay help exit-codes`.

mod audit;
mod check;
mod control;
mod fail_on;
mod links;
mod meta;
mod out;
mod queues;
mod roster;
mod status;
mod table;
mod trace;
mod words;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use liaison_node::exit::Exit;

pub use crate::failure::Failure;
pub use out::Out;

use crate::admin::client::Client;
use crate::config::RelayConfig;

/// A relay of a Liaison federation: holds sealed messages, and passes them on.
#[derive(Debug, Parser)]
#[command(
    name = "liaison-relay",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    before_help = "Examples:\n  liaison-relay --config /etc/liaison/relay.toml check\n  liaison-relay run\n  \
                   liaison-relay status\n  liaison-relay queues --sort age",
    after_help = "Exit codes: liaison-relay help exit-codes."
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options for every command")]
pub(crate) struct Global {
    /// The relay's configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "LIAISON_RELAY_CONFIG",
        default_value = "/etc/liaison/relay.toml"
    )]
    pub(crate) config: PathBuf,
    /// The running relay's admin socket, if not the socket in the configuration
    #[arg(long, global = true, value_name = "PATH", env = "LIAISON_RELAY_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
    /// One JSON object a line on stdout; errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the relay until SIGTERM or Ctrl-C; SIGHUP reloads
    Run,
    /// Check configuration, keys, roster, disk and ports without starting
    Check(check::Args),
    /// Have the running relay read its files anew; says what was applied and what needs a restart
    Reload,
    /// One screen: roster, store, links, queues, alarms. Exits 1 if something is wrong
    Status,
    /// Links to peers, up or down, and why
    Links(links::Args),
    /// What is held, for whom, since when, and why a queue does not move
    Queues(queues::Args),
    /// One agency's queue
    #[command(subcommand)]
    Queue(queues::QueueCommand),
    /// All that this relay knows of one message
    Trace(trace::Args),
    /// What went to and came from each other relay, and what is missing. Exits 1 if something is
    Audit(audit::Args),
    /// Take no new custody; go on passing on what is held
    Drain(control::DrainArgs),
    /// Take custody again
    Undrain,
    /// The roster file, and a fork that waits for a decision
    #[command(subcommand)]
    Roster(roster::Command),
    /// The version
    Version,
    /// Print a completion script
    Completion(meta::CompletionArgs),
    /// Print a manual page, or write all of them
    Man(meta::ManArgs),
    /// Print help on a command or a topic (exit-codes)
    Help(meta::HelpArgs),
}

/// Everything but `run`.
///
/// # Errors
/// [`Failure`], for stderr.
pub(crate) async fn execute(global: &Global, command: Command) -> Result<Exit, Failure> {
    let out = Out { json: global.json };
    match command {
        Command::Run => run(global).await,
        Command::Check(args) => check::run(global, &out, &args).await,
        Command::Reload => control::reload(&client(global)?, &out).await,
        Command::Status => status::run(&client(global)?, &out).await,
        Command::Links(args) => links::run(&client(global)?, &out, args).await,
        Command::Queues(args) => queues::run(&client(global)?, &out, &args).await,
        Command::Queue(command) => queues::show(&client(global)?, &out, &command).await,
        Command::Trace(args) => trace::run(&client(global)?, &out, &args).await,
        Command::Audit(args) => audit::run(&client(global)?, &out, &args).await,
        Command::Drain(args) => control::drain(&client(global)?, &out, &args).await,
        Command::Undrain => control::undrain(&client(global)?, &out).await,
        Command::Roster(command) => roster::run(global, &out, &command).await,
        Command::Version => meta::version(&out),
        Command::Completion(args) => meta::completion(&args),
        Command::Man(args) => meta::man(&args),
        Command::Help(args) => meta::help(&args),
    }
}

async fn run(global: &Global) -> Result<Exit, Failure> {
    let config = load(global)?;
    crate::service::run(&global.config, config).await.map(|()| Exit::Done)
}

impl Global {
    pub(crate) const fn out(&self) -> Out {
        Out { json: self.json }
    }
}

fn load(global: &Global) -> Result<RelayConfig, Failure> {
    RelayConfig::load(&global.config).map_err(Failure::from)
}

/// The running relay's socket: as given, or as the configuration names it.
fn client(global: &Global) -> Result<Client, Failure> {
    match &global.socket {
        Some(socket) => Ok(Client::new(socket)),
        None => Ok(Client::new(RelayConfig::admin_socket(&global.config)?)),
    }
}

/// The grammar, for help, completion and manual pages.
pub(crate) fn grammar() -> clap::Command {
    Cli::command()
}

/// Runs the command, and says on stderr what went wrong.
pub async fn main(cli: Cli) -> Exit {
    let out = cli.global.out();
    match execute(&cli.global, cli.command).await {
        Ok(exit) => exit,
        Err(failure) => {
            if failure.exit != Exit::Done {
                out.complain(&failure);
            }
            failure.exit
        }
    }
}

#[cfg(test)]
mod tests;
