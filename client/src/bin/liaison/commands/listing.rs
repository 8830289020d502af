//! Rows of messages, as `inbox`, `outbox` and `thread` print them.

use liaison_client::api::model::{Direction, Id, ListPage, ListQuery, MessageState, MessageSummary, Precedence, Tlp};

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, BOLD, GOOD, PLAIN, WARN, terminal_columns};
use crate::table::{Cell, Table};
use crate::text::safe_line;
use crate::when::Clock;

/// Most rows that the daemon gives at once.
pub(super) const PAGE_ROWS_MAX: u32 = 1000;

/// Columns that differ between the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Received messages: the sender.
    Inbox,
    /// Sent messages: the recipients, and how far the message is.
    Outbox,
    /// Both directions.
    Thread,
}

/// Whether the heading is still to be printed: before the first row, not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heading {
    Wanted,
    Printed,
}

/// Rows of one list, numbered as `@1`, `@2` … name them.
pub(super) struct Listing {
    kind: Kind,
    heading: Heading,
    ids: Vec<Id>,
}

impl Listing {
    pub(super) const fn new(kind: Kind) -> Self {
        Self { kind, heading: Heading::Wanted, ids: Vec::new() }
    }

    /// Remembers `items` as the next numbers, then prints them.
    pub(super) fn print(&mut self, cx: &Context, items: &[MessageSummary]) -> Result<(), Failure> {
        let first = self.ids.len() + 1;
        self.ids.extend(items.iter().map(|item| item.id));
        cx.remember_listing(&self.ids);
        if cx.out.is_json() {
            return items.iter().try_for_each(|item| cx.out.object(item));
        }
        if items.is_empty() {
            return Ok(());
        }
        let table = table(self.kind, items, first, &cx.clock());
        let columns = terminal_columns();
        let text = match std::mem::replace(&mut self.heading, Heading::Printed) {
            Heading::Wanted => table.render(columns),
            Heading::Printed => table.render_rows(columns),
        };
        cx.out.data(&text)
    }
}

/// Up to `rows` rows, newest first. A filter that matches little makes short pages: `next_page` is asked until there
/// are enough rows, or no more. `next` is where the list goes on.
pub(super) async fn collect<F>(mut query: ListQuery, rows: u32, next_page: F) -> Result<ListPage, Failure>
where
    F: AsyncFn(&ListQuery) -> Result<ListPage, Failure>,
{
    let mut all = ListPage { items: Vec::new(), next: None };
    loop {
        let left = rows.saturating_sub(u32::try_from(all.items.len()).unwrap_or(u32::MAX));
        query.limit = Some(left.clamp(1, PAGE_ROWS_MAX));
        let page = next_page(&query).await?;
        all.items.extend(page.items);
        all.next = page.next;
        match page.next {
            Some(next) if all.items.len() < rows as usize => query.before = Some(next),
            _ => return Ok(all),
        }
    }
}

/// Says that rows are left, and how to see them.
pub(super) fn footer(cx: &Context, page: &ListPage) {
    // A pipe gets no line; a person should see that the command has done its work.
    if page.items.is_empty() && page.next.is_none() && !cx.out.is_json() && terminal_columns().is_some() {
        cx.out.note("no messages");
    }
    if let Some(next) = page.next {
        cx.out.note(&format!("{} shown; see older ones with --before {next}", rows(page.items.len())));
    }
}

fn rows(count: usize) -> String {
    crate::text::count(count as u64, "message", "messages")
}

/// The table of `items`, whose first row has the number `first`.
fn table(kind: Kind, items: &[MessageSummary], first: usize, clock: &Clock) -> Table {
    let (who, state) = match kind {
        Kind::Inbox => ("FROM", 0),
        Kind::Outbox => ("TO", 1),
        Kind::Thread => ("WHO", 0),
    };
    let mut columns = vec![("#", 1, 1), ("", 1, 1), ("ID", 10, 1), ("WHEN", 6, 1), (who, 8, 1)];
    columns.extend([("STATE", 9, 1)].iter().take(state));
    columns.extend([("PREC", 4, 1), ("TLP", 5, 1), ("SUBJECT", 28, 1), ("FILES", 1, 0)]);
    let mut table = Table::new(&columns).elastic(7 + state);
    for (number, item) in (first..).zip(items) {
        let mut cells = vec![
            Cell(number.to_string(), PLAIN),
            Cell(if item.unread { "●" } else { "" }.into(), PLAIN),
            item.id.short().into(),
            clock.brief(item.at).into(),
            counterpart(kind, item).into(),
        ];
        cells.extend((kind == Kind::Outbox).then(|| state_cell(item.state)));
        let weight = if item.unread { BOLD } else { PLAIN };
        cells.extend([precedence(item.precedence), tlp(item.tlp), Cell(subject(item), weight), files(item).into()]);
        table.row(cells);
    }
    table
}

/// The other side of a message: its sender, or its first recipient and how many more there are.
fn counterpart(kind: Kind, item: &MessageSummary) -> String {
    let prefix = |word: &str| if kind == Kind::Thread { format!("{word} ") } else { String::new() };
    if item.direction == Direction::In {
        return prefix("from") + item.from.as_str();
    }
    let first = item.to.first().map(ToString::to_string).unwrap_or_default();
    match item.to.len().saturating_sub(1) {
        0 => prefix("to") + &first,
        others => format!("{}{first} +{others}", prefix("to")),
    }
}

/// How far a sent message is.
fn state_cell(state: MessageState) -> Cell {
    match state {
        MessageState::Outbox => Cell("waiting".into(), WARN),
        MessageState::Custody => "on its way".into(),
        MessageState::Delivered => Cell("delivered".into(), GOOD),
        MessageState::Read => Cell("read".into(), GOOD),
        MessageState::Undeliverable => Cell("failed".into(), BAD),
        MessageState::Cancelled => "cancelled".into(),
        MessageState::Arriving | MessageState::Received | MessageState::Unknown => "not known".into(),
    }
}

fn precedence(precedence: Precedence) -> Cell {
    match precedence {
        Precedence::Routine => "".into(),
        Precedence::Priority => "PRIO".into(),
        Precedence::Immediate => Cell("IMMED".into(), WARN),
        Precedence::Flash => Cell("FLASH".into(), BAD),
    }
}

/// The mark in its own colour (FIRST, TLP 2.0): the word says the same without it.
fn tlp(tlp: Tlp) -> Cell {
    let word = if tlp == Tlp::AmberStrict { "AMBER+S".to_owned() } else { tlp.as_str().to_uppercase() };
    Cell(word, crate::out::tlp_style(tlp))
}

fn subject(item: &MessageSummary) -> String {
    let subject = safe_line(&item.subject);
    if item.verified { subject } else { format!("NOT VERIFIED: {subject}") }
}

/// Number of attachments; `1/3` while the others are arriving. The text is no file.
fn files(item: &MessageSummary) -> String {
    let files = item.parts.saturating_sub(1);
    match item.parts_here.saturating_sub(1) {
        _ if files == 0 => String::new(),
        here if here < files => format!("{here}/{files}"),
        _ => files.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::when::tests::{at, clock};

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
            tlp: Tlp::AmberStrict,
            subject: "C2 rotating, 3 new domains".into(),
            parts: 1,
            parts_here: 1,
            ..summary()
        };
        let expected = "\
#   ID         WHEN   FROM            PREC  TLP     SUBJECT                      FILES
1 ● 4m7x0qd2ka 14:31  ncb.sg          PRIO  AMBER   Case 1142: sinkhole hits     1
2 ● 9wb31hn5tz 13:58  great.kaspersky FLASH AMBER+S C2 rotating, 3 new domains
";
        assert_eq!(plain(&table(Kind::Inbox, &[summary(), flash], 1, &clock()).render(None)), expected);
    }

    #[test]
    fn sent_messages_show_where_they_stand() {
        let to = ["ncb.ee", "ncb.fr"].map(|name| name.parse().unwrap()).into();
        let sent = MessageSummary {
            direction: Direction::Out,
            state: MessageState::Undeliverable,
            to,
            unread: false,
            ..summary()
        };
        let text = plain(&table(Kind::Outbox, std::slice::from_ref(&sent), 9, &clock()).render(None));
        assert!(text.contains("9   4m7x0qd2ka 14:31  ncb.ee +1 failed    PRIO AMBER"), "{text}");
        let text = plain(&table(Kind::Thread, &[summary(), sent], 1, &clock()).render(None));
        assert!(text.contains("1 ● 4m7x0qd2ka 14:31  from ncb.sg  PRIO AMBER"), "{text}");
        assert!(text.contains("2   4m7x0qd2ka 14:31  to ncb.ee +1 PRIO AMBER"), "{text}");
    }

    #[test]
    fn a_narrow_terminal_leaves_room_for_the_subject() {
        let long = MessageSummary { subject: "x".repeat(100), tlp: Tlp::AmberStrict, ..summary() };
        let text = plain(&table(Kind::Inbox, &[long], 1, &clock()).render(Some(80)));
        let line = text.lines().nth(1).unwrap();
        assert!(crate::text::width(line) <= 80, "{line}");
        assert!(line.matches('x').count() >= 25, "{line}");
    }

    #[test]
    fn a_subject_cannot_forge_a_line() {
        let hostile = MessageSummary { subject: "x\n● 9wb31hn5tz\u{1b}[8m".into(), verified: false, ..summary() };
        let text = plain(&table(Kind::Inbox, &[hostile], 1, &clock()).render(None));
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("NOT VERIFIED: x\u{fffd}● 9wb31hn5tz\u{fffd}[8m"), "{text}");
    }

    #[test]
    fn files_are_attachments_and_those_still_arriving_are_counted() {
        assert_eq!(files(&MessageSummary { parts: 1, parts_here: 1, ..summary() }), "");
        assert_eq!(files(&MessageSummary { parts: 2, parts_here: 2, ..summary() }), "1");
        assert_eq!(files(&MessageSummary { parts: 4, parts_here: 2, ..summary() }), "1/3");
    }

    #[tokio::test]
    async fn short_pages_are_joined_until_there_are_enough_rows() {
        let page = async |query: &ListQuery| {
            let next = query.before.unwrap_or(9).checked_sub(4);
            Ok(ListPage { items: vec![summary(); 2], next })
        };
        let page = collect(ListQuery::default(), 3, page).await.unwrap();
        assert_eq!((page.items.len(), page.next), (4, Some(1)));
    }
}
