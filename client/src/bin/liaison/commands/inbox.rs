//! `liaison inbox`.

use std::time::Duration;

use liaison_client::api::client::ClientError;
use liaison_client::api::model::{EventKind, EventQuery, ListOrder, ListQuery, MessageSummary, Tlp};

use super::listing::{self, Kind, Listing};
use crate::cli::tlp_word;
use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::submit::agency;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison inbox --unread\n  liaison inbox --from ncb.sg --since 2d --json=id,subject\n  \
                         liaison inbox --since 2026-11-01 --until 2026-11-30 --limit 1000"
)]
pub(crate) struct Args {
    /// Only unread messages
    #[arg(long)]
    unread: bool,
    /// Only from this agency
    #[arg(long, value_name = "AGENCY")]
    from: Option<String>,
    #[command(flatten)]
    range: Range,
    /// Go on with new messages as they come, oldest first
    #[arg(long, conflicts_with_all = ["before", "until"])]
    follow: bool,
}

/// The part of a list to print.
#[derive(clap::Args, Debug)]
pub(super) struct Range {
    /// Only with this mark
    #[arg(long, value_parser = tlp_word(), ignore_case = true)]
    tlp: Option<Tlp>,
    /// Only not older: a span back from now (2d), a date or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only not newer: a span back from now (2d), a date (to its end) or a time
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Go on where an earlier listing ended: the number in its last line
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

impl Range {
    /// The daemon's query, newest first.
    pub(super) fn query(&self, cx: &Context) -> Result<ListQuery, Failure> {
        let (since, until) = (self.since.as_deref(), self.until.as_deref());
        Ok(ListQuery {
            tlp: self.tlp,
            since: since.map(|text| cx.clock().parse_since(text)).transpose().map_err(Failure::usage)?,
            until: until.map(|text| cx.clock().parse_until(text)).transpose().map_err(Failure::usage)?,
            before: self.before,
            order: Some(ListOrder::Newest),
            ..ListQuery::default()
        })
    }
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<MessageSummary>()?;
    let mut query = query(cx, &args).await?;
    // Asked before the list: what arrives in between is an event.
    let cursor = if args.follow { cx.client.events(&EventQuery::default()).await?.next } else { 0 };
    let get = async |query: &ListQuery| Ok(cx.client.inbox(query).await?);
    let mut page = listing::collect(query.clone(), args.range.limit, get).await?;
    if args.follow {
        page.items.reverse();
    }
    let mut rows = Listing::new(Kind::Inbox);
    rows.print(cx, &page.items)?;
    listing::footer(cx, &page);
    if !args.follow {
        return Ok(Exit::Done);
    }
    query.order = None;
    query.after = Some(page.items.iter().map(|item| item.seq).max().unwrap_or(newest_seq(cx).await?));
    query.since = None;
    follow(cx, query, cursor, rows).await
}

async fn query(cx: &Context, args: &Args) -> Result<ListQuery, Failure> {
    let from = match &args.from {
        Some(name) => Some(agency(name, &cx.agencies().await?)?),
        None => None,
    };
    Ok(ListQuery { unread: args.unread.then_some(true), from, ..args.range.query(cx)? })
}

/// The inbox's newest number, whatever the filters leave of the list.
async fn newest_seq(cx: &Context) -> Result<u64, Failure> {
    let query = ListQuery { limit: Some(1), order: Some(ListOrder::Newest), ..ListQuery::default() };
    Ok(cx.client.inbox(&query).await?.items.first().map_or(0, |item| item.seq))
}

/// Prints what comes, until interrupted; outlives a restart of the daemon.
async fn follow(cx: &Context, mut query: ListQuery, mut cursor: u64, mut rows: Listing) -> Result<Exit, Failure> {
    loop {
        let events = cx.client.events(&EventQuery { after: Some(cursor), wait: Some(30), limit: None }).await;
        match events {
            Ok(page) => {
                cursor = page.next;
                if !page.items.iter().any(|event| event.kind == EventKind::Received) {
                    continue;
                }
            }
            Err(ClientError::Problem(problem)) if problem.code == "cursor_gone" => {
                cursor = cx.client.events(&EventQuery::default()).await?.next;
            }
            Err(error) if error.retryable() => {
                cx.out.detail(&error.to_string());
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let page = cx.client.inbox(&query).await?;
        query.after = page.items.iter().map(|item| item.seq).max().or(query.after);
        rows.print(cx, &page.items)?;
    }
}
