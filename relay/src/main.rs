//! The relay's program: reads its arguments, and does what they say.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use liaison_node::exit::Exit;
use liaison_node::secrecy;
use liaison_relay::cli::{self, Cli, Failure, Out};

// Deliberate bugs are for tests: a program that could have them does not compile.
const _: () = assert!(!liaison_protocol::mutant::COMPILED);

fn main() -> ExitCode {
    // Before any key is read. What the system refuses is said when there is a log.
    drop(secrecy::protect());
    let arguments: Vec<_> = std::env::args_os().collect();
    // Errors are JSON too, where JSON was asked for.
    let json = arguments.iter().any(|argument| argument == "--json");
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return complain(&error, json),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Out { json }.complain(&Failure::new(Exit::Internal, "internal", format!("cannot start: {error}")));
            return Exit::Internal.into();
        }
    };
    runtime.block_on(cli::main(cli)).into()
}

fn complain(error: &clap::Error, json: bool) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A reader that is gone (`--help | head`) is no failure.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if json {
        let text = error.render().to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).lines().next().unwrap_or_default();
        Out { json }.complain(&Failure::new(Exit::Usage, "usage", message));
    } else {
        let _ = error.print();
    }
    Exit::Usage.into()
}
