//! `liaison-relay reload`, `drain` and `undrain`.

use std::time::{Duration, Instant};

use liaison_node::config::Span;
use liaison_node::exit::Exit;
use liaison_node::operator::DrainStatus;

use super::words::count;
use super::{Failure, Out};
use crate::admin::client::Client;
use crate::reload::ReloadReport;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay drain --wait --timeout 10m")]
pub(crate) struct DrainArgs {
    /// Return once nothing is held any more
    #[arg(long)]
    wait: bool,
    /// Wait at most so long, then exit 75; the relay stays draining
    #[arg(long, value_name = "SPAN", default_value = "5m", requires = "wait")]
    timeout: Span,
}

/// How often a waiting drain looks.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn drain(client: &Client, out: &Out, args: &DrainArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    loop {
        // Asking again changes nothing, and says how far it is.
        let status: DrainStatus = client.post("/v1/drain").await?;
        let done = status.entries == 0 && status.in_flight == 0;
        if done || !args.wait {
            report(out, &status)?;
            return Ok(Exit::Done);
        }
        if started.elapsed() >= args.timeout.0 {
            report(out, &status)?;
            let text = format!("{} messages are still held; the relay stays draining", count(status.entries));
            return Err(Failure::new(Exit::TryLater, "still_draining", text)
                .hint("see: liaison-relay queues; take custody again with: liaison-relay undrain"));
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn undrain(client: &Client, out: &Out) -> Result<Exit, Failure> {
    let status: DrainStatus = client.post("/v1/undrain").await?;
    report(out, &status)?;
    Ok(Exit::Done)
}

fn report(out: &Out, status: &DrainStatus) -> Result<(), Failure> {
    if out.json {
        return out.object(status);
    }
    let state = if status.draining { "draining: no new custody" } else { "taking custody" };
    out.data(&format!("{state}; {} messages held, {} in flight\n", count(status.entries), count(status.in_flight)))
}

pub(super) async fn reload(client: &Client, out: &Out) -> Result<Exit, Failure> {
    let report: ReloadReport = client.post("/v1/reload").await?;
    if out.json {
        out.object(&report)?;
        return Ok(Exit::Done);
    }
    let mut text = match report.roster.from == report.roster.to {
        true => format!("roster         version {}, as before\n", report.roster.to),
        false => format!("roster         version {} now, {} before\n", report.roster.to, report.roster.from),
    };
    let closed: Vec<_> = report.roster.closed.iter().map(|peer| peer.as_str()).collect();
    for (word, items) in [
        ("links closed", closed),
        ("applied", report.applied.iter().map(String::as_str).collect()),
        ("needs restart", report.needs_restart.iter().map(String::as_str).collect()),
    ] {
        if !items.is_empty() {
            text.push_str(&format!("{word:<13}  {}\n", items.join(", ")));
        }
    }
    out.data(&text)?;
    Ok(Exit::Done)
}
