//! The agency's daemon: reads its configuration, serves its API, keeps its links, until it is told to stop.

mod check;
mod config;
mod failure;
mod keys;
mod log;
mod serve;
mod start;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use liaison_node::descriptors;
use liaison_node::exit::Exit;
use liaison_node::secrecy;

use config::DaemonConfig;
use failure::Failure;

// Deliberate bugs are for tests: a program that could have them does not compile.
const _: () = assert!(!liaison_protocol::mutant::COMPILED);

/// The daemon of an agency: its keys, its outbox, its inbox, and the local API that `liaison` talks to.
#[derive(Parser)]
#[command(
    version,
    before_help = "Examples:\n  liaisond --config /etc/liaison/liaisond.toml check\n  liaisond --config /etc/liaison/liaisond.toml"
)]
struct Arguments {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "LIAISOND_CONFIG", default_value = "/etc/liaison/liaisond.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Say whether this daemon would start, and exit
    Check,
    /// Serve until SIGTERM (the default)
    Run,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            for line in failure.message.lines() {
                eprintln!("liaisond: {line}");
            }
            failure.exit.into()
        }
    }
}

fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    // Before any key is read.
    let exposed = secrecy::protect();
    let file: &Path = &arguments.config;
    let config = DaemonConfig::load(file)?;
    if matches!(arguments.command, Some(Command::Check)) {
        return Ok(check::report(&check::check(file, &config)));
    }
    log::init(&config.telemetry);
    exposed.iter().for_each(|exposed| tracing::warn!("{exposed}"));
    match descriptors::raise() {
        Ok(limit) if limit < descriptors::WANTED => {
            tracing::warn!(limit, "few file descriptors; raise LimitNOFILE of the service");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of file descriptors is not raised"),
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Internal, format!("cannot start: {error}")))?;
    runtime.block_on(serve::serve(config)).map(|()| Exit::Done)
}
