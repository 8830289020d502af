//! `liaison demo`: the main job, with real programs, disks, links and keys, on one machine and in seconds.

mod account;
mod arrivals;
mod federation;
mod intruder;
mod journey;
mod outage;
mod programs;
mod say;
mod search;
mod stage;
mod tamper;

use std::time::Instant;

use liaison_node::exit::Exit;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Global;
use crate::failure::Failure;
use crate::out::Out;

use federation::Federation;
use say::Say;
use stage::Stage;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison demo\n  liaison demo --keep")]
pub(crate) struct Args {
    /// Leave the federation running, and say how to use the parts
    #[arg(long)]
    keep: bool,
}

/// Ends with 0 only if everything was as promised. Whatever happens, nothing is left behind, unless it is to be kept.
pub(crate) async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let out = Out { format: global.format(), quiet: global.quiet, verbose: global.verbose };
    let programs = programs::find_or_build(&out).await?;
    // The build is not the demo.
    let started = Instant::now();
    let mut stage = Stage::new(Federation::make(programs)?, Say::new(&out));
    match play_unless_hung_up(&mut stage).await {
        Ok(()) => {}
        Err(failure) if args.keep => {
            let folder = stage.federation.folder().display().to_string();
            stage.federation.keep();
            return Err(also(failure, &format!("kept: {folder}, its programs still run")));
        }
        Err(failure) => return Err(also(failure, "every process was stopped, and the folder removed")),
    }
    let messages = stage.sent.len();
    let seconds = started.elapsed().as_secs_f64();
    stage.say.step(
        5,
        "end",
        json!({ "messages": messages, "seconds": seconds }),
        &format!("\nall {messages} messages accounted for by id; receipts verified.  took {seconds:.1} s"),
    )?;
    if args.keep {
        explain(&stage)?;
        stage.federation.keep();
        return Ok(Exit::Done);
    }
    stage.say.text("next:  cargo test --workspace     docs: README.md, \"Five-minute tour\"")?;
    stage.federation.end().await?;
    Ok(Exit::Done)
}

/// What to do, and then what was cleaned up.
fn also(mut failure: Failure, what: &str) -> Failure {
    failure.hint = Some(failure.hint.map_or_else(|| what.to_owned(), |hint| format!("{hint}; {what}")));
    failure
}

/// A terminal that is closed in the middle leaves nothing behind either.
async fn play_unless_hung_up(stage: &mut Stage) -> Result<(), Failure> {
    let internal = |error| Failure::new(Exit::Internal, "internal", format!("cannot catch signals: {error}"));
    let mut hang_up = signal(SignalKind::hangup()).map_err(internal)?;
    tokio::select! {
        biased;
        ended = play(stage) => ended,
        _ = hang_up.recv() => Err(Failure::new(Exit::Interrupted, "interrupted", "interrupted")),
    }
}

async fn play(stage: &mut Stage) -> Result<(), Failure> {
    stage.set_up().await?;
    journey::play(stage).await?;
    outage::play(stage).await?;
    tamper::play(stage).await?;
    account::settle(stage).await?;
    stage.federation.check_alive()
}

/// `--keep`: how to go on.
fn explain(stage: &Stage) -> Result<(), Failure> {
    let (say, federation) = (&stage.say, &stage.federation);
    let liaison = federation.programs.liaison.display();
    let relay = federation.programs.relay.display();
    say.text(&format!("\nkept, and running: {}", federation.folder().display()))?;
    for agency in &federation.summary.agencies {
        let socket = federation.socket(agency.id.as_str());
        say.text(&format!("  {}   {liaison} --socket {} inbox", agency.id, socket.display()))?;
    }
    for node in &federation.summary.relays {
        let config = federation.node_folder(node.id.as_str()).join("relay.toml");
        say.text(&format!("  {}     {relay} --config {} status", node.id, config.display()))?;
        say.text(&format!("           page http://{}/   metrics http://{}/metrics", node.admin, node.admin))?;
    }
    let ids: Vec<String> = federation.running().iter().map(|(_, id)| id.to_string()).collect();
    let folder = federation.folder().display().to_string();
    say.step(
        5,
        "kept",
        json!({ "folder": folder, "processes": ids }),
        &format!("  stop it:   kill {}; rm -r {folder}", ids.join(" ")),
    )
}
