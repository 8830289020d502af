//! Lists of messages, received and sent.

use liaison_core::op::Table;
use liaison_protocol::{MessageId, Timestamp};

use super::{Line, Way, arriving_place, line_place, unread_place};
use crate::api::model::{
    Direction, ListOrder, ListPage, ListQuery, MessageState, MessageSummary, Problem, ProblemCode, SentFilter, Thread,
};
use crate::office::Office;
use crate::problem::Answer;
use crate::shelf::{Place, ReadError, decode, last_u64};

/// Entries of a page, unless asked otherwise.
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 1000;
/// Records read at a time.
const STEP: usize = 128;
/// Records looked at for one page: a filter that matches little ends here, with `next` to go on from.
const LOOKED_AT_MAX: usize = 20_000;
/// Messages of a thread.
const THREAD_MAX: usize = 1000;

impl Office {
    /// `GET /v1/inbox` and `GET /v1/outbox`.
    ///
    /// # Errors
    /// A problem document.
    pub fn list(&self, way: Direction, query: &ListQuery) -> Answer<ListPage> {
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::new(ProblemCode::BadRequest, format!("limit is 1 to {LIMIT_MAX}, not {limit}")));
        }
        self.check_cursor(query.after.unwrap_or(0))?;
        if let Some(before) = query.before.filter(|before| i64::try_from(*before).is_err()) {
            return Err(Problem::new(ProblemCode::BadRequest, format!("before is at most {}, not {before}", i64::MAX)));
        }
        let mut walk = Walk::new(self, way, query);
        let mut items = Vec::new();
        let mut last = None;
        let mut looked_at = 0;
        while items.len() < limit as usize {
            let Some(number) = walk.next()? else { return Ok(ListPage { items, next: None }) };
            last = Some(number);
            looked_at += 1;
            items.extend(self.matching(way, number, query)?);
            if looked_at >= LOOKED_AT_MAX {
                break;
            }
        }
        Ok(ListPage { items, next: last })
    }

    /// Whoever waits for what comes after a number that was never given would miss everything up to it: the number is
    /// from before a restore.
    pub(crate) fn check_cursor(&self, after: u64) -> Answer<()> {
        let last = self.sequence.visible();
        if after <= last {
            return Ok(());
        }
        let detail =
            format!("nothing here has number {after}, the last is {last}: was this daemon restored? begin anew");
        Err(Problem::new(ProblemCode::CursorGone, detail))
    }

    fn matching(&self, way: Direction, number: u64, query: &ListQuery) -> Answer<Option<MessageSummary>> {
        let Some(line) = self.line(way, number)? else { return Ok(None) };
        let from = query.from.as_ref().is_none_or(|agency| match way {
            Direction::In => line.from == *agency,
            Direction::Out => line.to.contains(agency),
        });
        let tlp = query.tlp.is_none_or(|tlp| tlp == line.tlp.into());
        let since = query.since.is_none_or(|since| line.at >= since.0);
        let until = query.until.is_none_or(|until| line.at <= until.0);
        if !(from && tlp && since && until) {
            return Ok(None);
        }
        let summary = self.summary(way, number, line)?;
        let wanted = query.sent.is_none_or(|sent| way == Direction::In || stands_so(sent, summary.state));
        Ok(wanted.then_some(summary))
    }

    fn line(&self, way: Direction, number: u64) -> Result<Option<Line>, ReadError> {
        self.shelf.get(&match way {
            Direction::In => line_place(number),
            Direction::Out => crate::outbox::line_place(number),
        })
    }

    fn summary(&self, way: Direction, number: u64, line: Line) -> Result<MessageSummary, ReadError> {
        let (state, parts_here, unread) = match way {
            Direction::In => {
                let arriving = self.shelf.has(&arriving_place(line.id))?;
                let here = if arriving { self.parts_here(line.id, line.parts)? } else { line.parts };
                let state = if arriving { MessageState::Arriving } else { MessageState::Received };
                (state, here, self.shelf.has(&unread_place(number))?)
            }
            Direction::Out => {
                let state = self.standing(line.id)?.map_or(MessageState::Unknown, |standing| standing.state);
                (state, line.parts, false)
            }
        };
        let name = if way == Direction::In { self.name_of(line.id)? } else { line.id };
        Ok(MessageSummary {
            seq: number,
            id: name.into(),
            direction: way,
            state,
            from: line.from,
            to: line.to,
            subject: line.subject,
            tlp: line.tlp.into(),
            precedence: line.precedence.into(),
            at: line.at.into(),
            parts: line.parts,
            parts_here,
            bytes: line.bytes,
            unread,
            verified: true,
            thread: line.thread.into(),
        })
    }

    /// `GET /v1/threads/{id}`: what is held of the thread that `id` belongs to.
    ///
    /// # Errors
    /// A problem document.
    pub fn thread(&self, id: MessageId) -> Answer<Thread> {
        let (_, thread) = self.held(id)?;
        let prefix = Place::new(Table::Inbox, b't', &[&thread.0.0]).key;
        let mut messages = Vec::new();
        for record in self.shelf.scan(Table::Inbox, &prefix).take(THREAD_MAX) {
            let (key, value) = record?;
            let number = last_u64(&key).ok_or(ReadError::Malformed { table: Table::Inbox })?;
            let (way, _): (Way, MessageId) = decode(Table::Inbox, &value)?;
            let way = match way {
                Way::In => Direction::In,
                Way::Out => Direction::Out,
            };
            if let Some(line) = self.line(way, number)? {
                messages.push(self.summary(way, number, line)?);
            }
        }
        Ok(Thread { id: thread.into(), messages })
    }

    /// How many messages are in the inbox; unread; arriving.
    pub(crate) fn inbox_counts(&self) -> Result<(u64, u64, u64), ReadError> {
        let count = |kind: u8| self.shelf.scan(Table::Inbox, &[kind]).try_fold(0, |n, record| record.map(|_| n + 1));
        Ok((count(b'h')?, count(b'u')?, count(b'p')?))
    }
}

fn stands_so(sent: SentFilter, state: MessageState) -> bool {
    match sent {
        SentFilter::Waiting => matches!(state, MessageState::Outbox | MessageState::Custody),
        SentFilter::Failed => state == MessageState::Undeliverable,
    }
}

/// Numbers of a list, in the order asked for, up to what readers may see.
struct Walk<'a> {
    office: &'a Office,
    table: Table,
    kind: u8,
    order: ListOrder,
    after: u64,
    before: u64,
    page: std::vec::IntoIter<u64>,
    ended: bool,
}

impl<'a> Walk<'a> {
    fn new(office: &'a Office, way: Direction, query: &ListQuery) -> Self {
        let unread = way == Direction::In && query.unread == Some(true);
        Self {
            office,
            table: if way == Direction::In { Table::Inbox } else { Table::Outbox },
            kind: if unread { b'u' } else { b's' },
            order: query.order.unwrap_or_default(),
            after: query.after.unwrap_or(0),
            before: query.before.unwrap_or(u64::MAX).min(office.sequence.visible().saturating_add(1)),
            page: Vec::new().into_iter(),
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<u64>, ReadError> {
        loop {
            if let Some(number) = self.page.next() {
                return Ok(Some(number));
            }
            if self.ended {
                return Ok(None);
            }
            self.load()?;
        }
    }

    fn load(&mut self) -> Result<(), ReadError> {
        let key = |number: u64| Place::new(self.table, self.kind, &[&number.to_be_bytes()]).key;
        let store = self.office.shelf.store();
        let records = match self.order {
            ListOrder::Oldest => store.scan(self.table, &[self.kind], Some(&key(self.after)), STEP)?,
            ListOrder::Newest => store.scan_back(self.table, &[self.kind], Some(&key(self.before)), STEP)?,
        };
        self.ended = records.len() < STEP;
        let numbers: Vec<u64> = records.iter().filter_map(|(key, _)| last_u64(key)).collect();
        let (after, before) = (self.after, self.before);
        match self.order {
            ListOrder::Oldest => self.after = numbers.last().copied().unwrap_or(after),
            ListOrder::Newest => self.before = numbers.last().copied().unwrap_or(before),
        }
        let wanted: Vec<u64> = numbers.into_iter().filter(|n| *n > after && *n < before).collect();
        self.ended |= wanted.is_empty();
        self.page = wanted.into_iter();
        Ok(())
    }
}

impl Office {
    pub(crate) fn older_than(&self, at: Timestamp, retain: std::time::Duration) -> bool {
        at.after(retain) < self.now()
    }
}
