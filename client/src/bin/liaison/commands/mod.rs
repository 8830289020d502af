//! A file per command.

pub(crate) mod agencies;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod compose;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod forward;
pub(crate) mod help;
pub(crate) mod home;
pub(crate) mod inbox;
mod listing;
pub(crate) mod man;
pub(crate) mod outbox;
pub(crate) mod profile;
pub(crate) mod read;
pub(crate) mod receipts;
pub(crate) mod reply;
pub(crate) mod retry;
pub(crate) mod save;
pub(crate) mod send;
pub(crate) mod status;
pub(crate) mod thread;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod watch;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::failure::Failure;
use liaison_node::exit::Exit;

/// Runs what was asked for. Commands that need neither daemon nor configuration work without them.
pub(crate) async fn run(cli: Cli) -> Result<Exit, Failure> {
    let Some(command) = cli.command else { return home::run(&Context::load(&cli.global)?).await };
    let command = match command {
        Command::Completion(args) => return completion::run(&args),
        Command::Config(args) => return config::run(&args, &cli.global),
        Command::Demo(args) => return crate::demo::run(&args, &cli.global).await,
        Command::Help(args) => return help::run(&args),
        Command::Man(args) => return man::run(&args),
        Command::Profile(args) => return profile::run(&args, &cli.global),
        command => command,
    };
    let cx = Context::load(&cli.global)?;
    match command {
        Command::Send(args) => send::run(&cx, args).await,
        Command::Compose(args) => compose::run(&cx, args).await,
        Command::Reply(args) => reply::run(&cx, args).await,
        Command::Forward(args) => forward::run(&cx, args).await,
        Command::Inbox(args) => inbox::run(&cx, args).await,
        Command::Outbox(args) => outbox::run(&cx, args).await,
        Command::Read(args) => read::run(&cx, &args).await,
        Command::Save(args) => save::run(&cx, &args).await,
        Command::Thread(args) => thread::run(&cx, &args).await,
        Command::Status(args) => status::run(&cx, &args).await,
        Command::Receipts(args) => receipts::run(&cx, &args).await,
        Command::Retry(args) => retry::run(&cx, &args).await,
        Command::Cancel(args) => cancel::run(&cx, &args).await,
        Command::Watch(args) => watch::run(&cx, &args).await,
        Command::Agencies(args) => agencies::run(&cx, &args).await,
        Command::Agency(args) => agencies::show(&cx, &args).await,
        Command::Doctor => doctor::run(&cx).await,
        Command::Verify(args) => verify::run(&cx, &args).await,
        Command::Version => version::run(&cx).await,
        // Done above: they need no context.
        Command::Completion(_)
        | Command::Config(_)
        | Command::Demo(_)
        | Command::Help(_)
        | Command::Man(_)
        | Command::Profile(_) => Ok(Exit::Done),
    }
}
