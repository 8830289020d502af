//! `liaison-relay queues` and `queue show`.

use clap::ValueEnum;
use liaison_node::clock;
use liaison_node::config::Span;
use liaison_node::exit::Exit;
use liaison_node::status::{QueueEntry, QueueState, QueueStatus, Rank};
use liaison_protocol::{AgencyId, Precedence, Timestamp};

use super::fail_on::FailOn;
use super::out::{BAD, GOOD, WARN};
use super::table::{Cell, Side, Table};
use super::words::{age, bytes, count, moment, safe, span, until};
use super::{Failure, Out};
use crate::admin::client::Client;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay queues --sort age\n  liaison-relay queues --older-than 1h\n  \
                         liaison-relay queues --fail-on 'oldest_flash>60s'")]
pub(crate) struct Args {
    /// Only this agency's
    #[arg(long)]
    agency: Option<AgencyId>,
    /// Only queues that hold this precedence
    #[arg(long)]
    precedence: Option<Precedence>,
    /// Only queues whose oldest entry is older
    #[arg(long, value_name = "SPAN")]
    older_than: Option<Span>,
    /// Largest first
    #[arg(long, value_enum, default_value_t = Sort::Name)]
    sort: Sort,
    /// Exit 1 if this holds for any queue: depth, oldest, depth_flash, oldest_flash … then > and a number or span
    #[arg(long, value_name = "CONDITION")]
    fail_on: Option<FailOn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Oldest first
    Age,
    /// Deepest first
    Depth,
    /// By agency
    Name,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum QueueCommand {
    /// The head of an agency's queue: header data only, content is sealed
    Show {
        /// Whose
        agency: AgencyId,
        /// At most so many, 1 to 1000
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
    },
}

pub(super) async fn run(client: &Client, out: &Out, args: &Args) -> Result<Exit, Failure> {
    let mut queues: Vec<QueueStatus> = client.get("/v1/queues").await?;
    let now = clock::now();
    queues.retain(|queue| wanted(queue, args, now));
    match args.sort {
        Sort::Age => queues.sort_by_key(|queue| queue.oldest_ms.unwrap_or(Timestamp::MAX)),
        Sort::Depth => queues.sort_by_key(|queue| std::cmp::Reverse(queue.entries)),
        Sort::Name => {}
    }
    if out.json {
        out.objects(&queues)?;
    } else {
        out.data(&render(&queues, now))?;
        out.note(&summary(&queues, now));
    }
    let failed = args.fail_on.as_ref().is_some_and(|condition| queues.iter().any(|queue| condition.holds(queue, now)));
    Ok(if failed { Exit::Finding } else { Exit::Done })
}

fn wanted(queue: &QueueStatus, args: &Args, now: Timestamp) -> bool {
    let holds =
        |precedence: Precedence| queue.by_precedence.get(usize::from(precedence.rank())).is_some_and(|n| *n > 0);
    let older = |span: Span| queue.oldest_ms.is_some_and(|oldest| now.since(oldest) > span.0);
    args.agency.as_ref().is_none_or(|agency| queue.queue == *agency)
        && args.precedence.is_none_or(holds)
        && args.older_than.is_none_or(older)
}

pub(super) fn render(queues: &[QueueStatus], now: Timestamp) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("AGENCY", Left),
        ("VIA", Left),
        ("DEPTH", Right),
        ("BYTES", Right),
        ("OLDEST", Right),
        ("FLASH", Right),
        ("IMMED", Right),
        ("PRIO", Right),
        ("ROUT", Right),
        ("BULK", Right),
        ("STATE", Left),
        ("LAST ERROR", Left),
        ("NEXT TRY", Left),
    ]);
    for queue in queues {
        let style = match queue.state {
            QueueState::Backoff => WARN,
            QueueState::Flowing => GOOD,
            QueueState::Offline => BAD,
        };
        let first = [
            queue.queue.as_str().into(),
            queue.via.as_ref().map_or("-", |via| via.as_str()).into(),
            count(queue.entries).into(),
            bytes(queue.bytes).into(),
            age(queue.oldest_ms, now).into(),
        ];
        let ranks = queue.by_precedence.iter().map(|entries| Cell::from(count(*entries)));
        let last = [
            Cell(queue.state.as_str().into(), style),
            queue.last_error.as_deref().map_or_else(|| "-".into(), safe).into(),
            next_try(queue, now).into(),
        ];
        table.row(first.into_iter().chain(ranks).chain(last));
    }
    table.render()
}

fn next_try(queue: &QueueStatus, now: Timestamp) -> String {
    match (queue.next_try_ms, queue.state) {
        (Some(at), _) => until(at, now),
        (None, QueueState::Offline) => "on return".into(),
        (None, _) => "-".into(),
    }
}

fn summary(queues: &[QueueStatus], now: Timestamp) -> String {
    let flash = queues.iter().filter_map(|queue| queue.oldest_by_precedence_ms.first().copied().flatten()).min();
    let flash = flash.map(|flash| format!("; oldest flash {}", span(now.since(flash)))).unwrap_or_default();
    match queues.len() {
        0 => "no queue holds anything like that".into(),
        1 => format!("1 queue not empty{flash}"),
        n => format!("{n} queues not empty{flash}"),
    }
}

pub(super) async fn show(client: &Client, out: &Out, command: &QueueCommand) -> Result<Exit, Failure> {
    let QueueCommand::Show { agency, limit } = command;
    let entries: Vec<QueueEntry> = client.get(&format!("/v1/queues/{agency}?limit={limit}")).await?;
    if out.json {
        out.objects(&entries)?;
    } else {
        out.data(&render_entries(&entries, clock::now()))?;
    }
    Ok(Exit::Done)
}

pub(super) fn render_entries(entries: &[QueueEntry], now: Timestamp) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("ID", Left),
        ("FOR", Left),
        ("LANE", Left),
        ("SENDER", Left),
        ("FROM", Left),
        ("ACCEPTED", Left),
        ("EXPIRES", Right),
        ("BYTES", Right),
        ("TRY", Right),
        ("PATH", Left),
    ]);
    for entry in entries {
        let path: Vec<_> = entry.path.iter().map(|relay| relay.as_str()).collect();
        table.row([
            entry.id.short().into(),
            entry.queue.as_str().into(),
            Cell(entry.rank.as_str().into(), if entry.rank == Rank::Flash { WARN } else { super::out::PLAIN }),
            entry.sender.as_str().into(),
            entry.from.as_str().into(),
            moment(entry.accepted_ms).into(),
            until(entry.expires_ms, now).into(),
            bytes(entry.bytes.into()).into(),
            entry.attempt.to_string().into(),
            if path.is_empty() { "-".into() } else { path.join(" ").into() },
        ]);
    }
    table.render()
}
