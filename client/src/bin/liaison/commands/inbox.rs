//! `liaison inbox`.

use std::time::Duration;

use liaison_client::api::client::ClientError;
use liaison_client::api::model::{EventKind, EventQuery, Id, ListOrder, ListQuery, MessageSummary, Tlp};

use crate::cli::word;
use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, BOLD, PLAIN, WARN, terminal_columns};
use crate::outgoing::submit::agency;
use crate::table::{Cell, Table};
use crate::text::safe_line;
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison inbox --unread\n  liaison inbox --from ncb.sg --since 2d --json=id,subject"
)]
pub(crate) struct Args {
    /// Only unread messages
    #[arg(long)]
    unread: bool,
    /// Only from this agency
    #[arg(long, value_name = "AGENCY")]
    from: Option<String>,
    /// Only not older: a span (2d), a date or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only with this mark
    #[arg(long, value_parser = word(Tlp::ALL), ignore_case = true)]
    tlp: Option<Tlp>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Go on with new messages as they come, oldest first
    #[arg(long)]
    follow: bool,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<MessageSummary>()?;
    let mut query = query(cx, &args).await?;
    // Asked before the list: what arrives in between is an event.
    let cursor = if args.follow { cx.client.events(&EventQuery::default()).await?.cursor } else { 0 };
    let mut items = cx.client.inbox(&query).await?.items;
    if args.follow {
        items.reverse();
    }
    let mut ids: Vec<Id> = items.iter().map(|item| item.id).collect();
    let heading = print(cx, &items, Heading::Wanted)?;
    cx.remember_listing(ids.clone());
    if !args.follow {
        return Ok(Exit::Done);
    }
    query.order = None;
    query.after = Some(items.iter().map(|item| item.seq).max().unwrap_or(newest_seq(cx).await?));
    query.since = None;
    follow(cx, query, cursor, &mut ids, heading).await
}

async fn query(cx: &Context, args: &Args) -> Result<ListQuery, Failure> {
    let from = match &args.from {
        Some(name) => Some(agency(name, &cx.agencies().await?)?),
        None => None,
    };
    let since = args.since.as_deref().map(|text| cx.clock().parse_since(text)).transpose().map_err(Failure::usage)?;
    Ok(ListQuery {
        limit: Some(args.limit),
        unread: args.unread.then_some(true),
        from,
        tlp: args.tlp,
        since,
        order: Some(ListOrder::Newest),
        ..ListQuery::default()
    })
}

/// Where the inbox stands, whatever the filters leave of it.
async fn newest_seq(cx: &Context) -> Result<u64, Failure> {
    let query = ListQuery { limit: Some(1), order: Some(ListOrder::Newest), ..ListQuery::default() };
    Ok(cx.client.inbox(&query).await?.items.first().map_or(0, |item| item.seq))
}

/// Prints what comes, until interrupted; outlives a restart of the daemon.
async fn follow(
    cx: &Context,
    mut query: ListQuery,
    mut cursor: u64,
    ids: &mut Vec<Id>,
    mut heading: Heading,
) -> Result<Exit, Failure> {
    loop {
        let events = cx.client.events(&EventQuery { after: Some(cursor), wait: Some(30), limit: None }).await;
        match events {
            Ok(page) => {
                cursor = page.cursor;
                if !page.events.iter().any(|event| event.kind == EventKind::Received) {
                    continue;
                }
            }
            Err(ClientError::Problem(problem)) if problem.code == "cursor_gone" => {
                cursor = cx.client.events(&EventQuery::default()).await?.cursor;
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
        heading = print(cx, &page.items, heading)?;
        ids.extend(page.items.iter().map(|item| item.id));
        cx.remember_listing(ids.clone());
    }
}

/// Whether the heading still has to be printed: before the first row, not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    Wanted,
    Printed,
}

fn print(cx: &Context, items: &[MessageSummary], heading: Heading) -> Result<Heading, Failure> {
    if cx.out.is_json() {
        items.iter().try_for_each(|item| cx.out.object(item))?;
        return Ok(heading);
    }
    if items.is_empty() {
        return Ok(heading);
    }
    let table = table(items, &cx.clock());
    let columns = terminal_columns();
    let text = if heading == Heading::Wanted { table.render(columns) } else { table.render_rows(columns) };
    cx.out.data(&text)?;
    Ok(Heading::Printed)
}

/// As in the manual: a mark for unread, id, when, from, precedence, TLP, subject, parts.
fn table(items: &[MessageSummary], clock: &Clock) -> Table {
    let mut table = Table::new(&[
        ("", 1, 1),
        ("ID", 10, 2),
        ("WHEN", 6, 2),
        ("FROM", 15, 2),
        ("PREC", 5, 1),
        ("TLP", 6, 2),
        ("SUBJECT", 28, 2),
        ("PARTS", 5, 0),
    ])
    .elastic(6);
    for item in items {
        let weight = if item.unread { BOLD } else { PLAIN };
        table.row([
            Cell(if item.unread { "●" } else { "" }.into(), PLAIN),
            item.id.short().into(),
            clock.brief(item.at).into(),
            item.from.as_str().into(),
            precedence(item),
            tlp(item.tlp),
            Cell(subject(item), weight),
            parts(item).into(),
        ]);
    }
    table
}

pub(super) fn precedence(item: &MessageSummary) -> Cell {
    use liaison_client::api::model::Precedence;
    match item.precedence {
        Precedence::Routine => "ROUT".into(),
        Precedence::Priority => "PRIO".into(),
        Precedence::Immediate => Cell("IMMED".into(), WARN),
        Precedence::Flash => Cell("FLASH".into(), BAD),
    }
}

pub(super) fn tlp(tlp: Tlp) -> Cell {
    let word = tlp.as_str().to_uppercase();
    Cell(word, if tlp == Tlp::Red { BAD } else { PLAIN })
}

pub(super) fn subject(item: &MessageSummary) -> String {
    let subject = safe_line(&item.subject);
    if item.verified { subject } else { format!("NOT VERIFIED: {subject}") }
}

/// `3`, or `1 of 3` while the others are arriving.
pub(super) fn parts(item: &MessageSummary) -> String {
    if item.parts_here < item.parts { format!("{} of {}", item.parts_here, item.parts) } else { item.parts.to_string() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::when::tests::{at, clock};
    use liaison_client::api::model::{Direction, MessageState, Precedence};

    pub(crate) fn summary() -> MessageSummary {
        let id = "4m7x0qd2ka000000000000000000000000000000000000000000".parse().unwrap();
        MessageSummary {
            seq: 7,
            id,
            direction: Direction::In,
            state: MessageState::Received,
            from: "ncb.sg".parse().unwrap(),
            to: vec!["ncb.ee".parse().unwrap()],
            subject: "Case 1142: sinkhole hits".into(),
            tlp: Tlp::Amber,
            precedence: Precedence::Priority,
            at: at("2026-11-24T06:31:00Z"),
            parts: 2,
            parts_here: 2,
            bytes: 1_258_292,
            unread: true,
            verified: true,
            thread: id,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_list_is_as_in_the_manual() {
        let flash = MessageSummary {
            id: "9wb31hn5tz000000000000000000000000000000000000000000".parse().unwrap(),
            from: "great.kaspersky".parse().unwrap(),
            at: at("2026-11-24T05:58:00Z"),
            precedence: Precedence::Flash,
            tlp: Tlp::Red,
            subject: "C2 rotating, 3 new domains".into(),
            parts: 1,
            parts_here: 1,
            ..summary()
        };
        let expected = "  ID          WHEN    FROM             PREC  TLP     SUBJECT                       PARTS
● 4m7x0qd2ka  14:31   ncb.sg           PRIO  AMBER   Case 1142: sinkhole hits      2
● 9wb31hn5tz  13:58   great.kaspersky  FLASH RED     C2 rotating, 3 new domains    1
";
        assert_eq!(plain(&table(&[summary(), flash], &clock()).render(None)), expected);
    }

    #[test]
    fn a_subject_cannot_forge_a_line() {
        let hostile = MessageSummary { subject: "x\n● 9wb31hn5tz\u{1b}[8m".into(), verified: false, ..summary() };
        let text = plain(&table(&[hostile], &clock()).render(None));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("NOT VERIFIED: x\u{fffd}● 9wb31hn5tz\u{fffd}[8m"), "{text}");
    }

    #[test]
    fn parts_that_are_still_arriving_are_counted() {
        assert_eq!(parts(&MessageSummary { parts: 3, parts_here: 1, ..summary() }), "1 of 3");
    }

    #[test]
    fn an_empty_inbox_is_no_line_at_all() {
        assert_eq!(table(&[], &clock()).render(None), "");
    }
}
