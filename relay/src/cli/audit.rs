//! `liaison-relay audit`: what went to and came from each other relay, and what of it is missing.

use std::time::{Duration, Instant};

use liaison_node::audit::{AuditHour, AuditReport, AuditState, MissingEntry};
use liaison_node::clock;
use liaison_node::config::Span;
use liaison_node::exit::Exit;

use super::out::{BAD, paint};
use super::table::{Side, Table};
use super::words::{count, moment};
use super::{Failure, Out};
use crate::admin::client::Client;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay audit\n  liaison-relay audit --since 7d --compare")]
pub(crate) struct Args {
    /// Hours from so long ago on
    #[arg(long, value_name = "SPAN", default_value = "1d")]
    since: Span,
    /// Compare with every linked relay now, and wait for the results
    #[arg(long)]
    compare: bool,
    /// Wait at most so long for that, then exit 75
    #[arg(long, value_name = "SPAN", default_value = "1m", requires = "compare")]
    timeout: Span,
}

/// How often a waiting audit looks.
const LOOK: Duration = Duration::from_millis(200);

pub(super) async fn run(client: &Client, out: &Out, args: &Args) -> Result<Exit, Failure> {
    let query = format!("since_ms={}", clock::now().before(args.since.0).as_millis());
    let report = if args.compare {
        compared(client, &query, args.timeout.0).await?
    } else {
        client.get(&format!("/v1/audit?{query}")).await?
    };
    if out.json {
        out.objects(&report.hours)?;
    } else {
        out.data(&render(&report))?;
    }
    let missing = report.hours.iter().any(|hour| hour.state == AuditState::Missing);
    Ok(if missing { Exit::Finding } else { Exit::Done })
}

async fn compared(client: &Client, query: &str, patience: Duration) -> Result<AuditReport, Failure> {
    let started = Instant::now();
    let mut report: AuditReport = client.post(&format!("/v1/audit/compare?{query}")).await?;
    while report.comparing {
        if started.elapsed() >= patience {
            let text = "a peer has not answered yet; what was compared before: liaison-relay audit";
            return Err(Failure::new(Exit::TryLater, "still_comparing", text));
        }
        tokio::time::sleep(LOOK).await;
        report = client.get(&format!("/v1/audit?{query}")).await?;
    }
    Ok(report)
}

pub(super) fn render(report: &AuditReport) -> String {
    let mut table = Table::new(&[
        ("PEER", Side::Left),
        ("HOUR", Side::Left),
        ("RELEASED", Side::Right),
        ("ACCEPTED", Side::Right),
        ("STATE", Side::Left),
    ]);
    for hour in &report.hours {
        let state = match hour.state {
            AuditState::Missing => paint(BAD, &format!("{} missing there", count(hour.missing))),
            state => state.as_str().into(),
        };
        let (released, accepted) = (count(hour.released), count(hour.accepted));
        table.row([
            hour.peer.to_string().into(),
            moment(hour.hour_ms).into(),
            released.into(),
            accepted.into(),
            state.into(),
        ]);
    }
    let named: String = report.hours.iter().map(missing).collect();
    let comparing = if report.comparing { "a comparison is under way\n" } else { "" };
    format!("{}{named}{comparing}", table.render())
}

fn missing(hour: &AuditHour) -> String {
    let Some(found) = hour.found_ms else { return String::new() };
    let head = format!("\nnot known to {}, found {}:\n", hour.peer, moment(found));
    let rest = hour.missing.saturating_sub(hour.named.len() as u64);
    let rest = if rest > 0 { format!("  and {} more\n", count(rest)) } else { String::new() };
    head + &hour.named.iter().map(line).collect::<String>() + &rest
}

fn line(entry: &MissingEntry) -> String {
    let since = match entry.sent_again {
        Some(attempt) => format!("sent again by its sender, attempt {attempt}"),
        None => "not seen here since: delivered before the loss, or to be sent again".into(),
    };
    format!("  {}  recipient {}  attempt {}  {since}\n", entry.id, entry.index, entry.attempt)
}
