//! The analysts' command line. Talks to the agency's daemon over its local socket and holds no key itself.
//!
//! stdout is data, stderr is talk; the exit codes are `liaison help exit-codes`.

mod cli;
mod commands;
mod context;
mod demo;
mod failure;
mod files;
mod names;
mod out;
mod outgoing;
mod pager;
mod progress;
mod selector;
mod settings;
mod state;
mod suggest;
mod table;
mod text;
mod when;

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use liaison_node::exit::Exit;

// Deliberate bugs are for tests: a program that could have them does not compile.
const _: () = assert!(!liaison_protocol::mutant::COMPILED);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let (cli, json) = match cli::parse(&arguments) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let ended = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(run_interruptibly(cli));
            // A read of standard input that nobody waits for any more must not keep the program.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::new(Exit::Internal, "internal", format!("cannot start: {error}"))),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.exit != Exit::Done.code() {
                cli::complain(&failure, json);
            }
            ExitCode::from(failure.exit)
        }
    }
}

/// Ctrl-C and SIGTERM drop whatever is under way: temporary files go with it, uploads can be resumed.
async fn run_interruptibly(cli: cli::Cli) -> Result<Exit, Failure> {
    let internal = |error| Failure::new(Exit::Internal, "internal", format!("cannot catch signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(internal)?;
    tokio::select! {
        biased;
        ended = commands::run(cli) => return ended,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Err(Failure::new(Exit::Interrupted, "interrupted", "interrupted"))
}
