//! What happened, in order: the record behind `GET /v1/events`.
//!
//! An event is committed together with what it tells of. Its number is its cursor, and the number of the inbox or
//! outbox entry that it announces.

use liaison_core::op::{Op, Table};
use liaison_protocol::inner::Tlp;
use liaison_protocol::{AgencyId, MessageId, NodeId, Precedence, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api::model::{Event, EventKind};
use crate::office::Office;
use crate::shelf::{Place, ReadError, Shelf, last_u64};

const KIND: u8 = b'n';

/// An event without its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventRecord {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
    pub(crate) id: Option<MessageId>,
    pub(crate) agency: Option<AgencyId>,
    pub(crate) node: Option<NodeId>,
    pub(crate) precedence: Option<Precedence>,
    pub(crate) tlp: Option<Tlp>,
    pub(crate) detail: String,
}

/// The kinds that this daemon writes. The order is the stored form: new ones go to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Stored,
    Custody,
    Delivered,
    Read,
    Undeliverable,
    Cancelled,
    Resealed,
    Received,
    Complete,
    LinkUp,
    LinkDown,
    RosterChanged,
    Resubmitted,
    PrekeysForeign,
    PrekeysRestarted,
}

impl From<What> for EventKind {
    fn from(what: What) -> Self {
        match what {
            What::Stored => Self::Stored,
            What::Custody => Self::Custody,
            What::Delivered => Self::Delivered,
            What::Read => Self::Read,
            What::Undeliverable => Self::Undeliverable,
            What::Cancelled => Self::Cancelled,
            What::Resealed => Self::Resealed,
            What::Received => Self::Received,
            What::Complete => Self::Complete,
            What::LinkUp => Self::LinkUp,
            What::LinkDown => Self::LinkDown,
            What::RosterChanged => Self::RosterChanged,
            What::Resubmitted => Self::Resubmitted,
            What::PrekeysForeign => Self::PrekeysForeign,
            What::PrekeysRestarted => Self::PrekeysRestarted,
        }
    }
}

impl EventRecord {
    pub(crate) const fn new(what: What, at: Timestamp) -> Self {
        Self { at, what, id: None, agency: None, node: None, precedence: None, tlp: None, detail: String::new() }
    }

    pub(crate) fn about(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }

    pub(crate) fn with_agency(mut self, agency: &AgencyId) -> Self {
        self.agency = Some(agency.clone());
        self
    }

    pub(crate) fn with_node(mut self, node: &NodeId) -> Self {
        self.node = Some(node.clone());
        self
    }

    pub(crate) const fn marked(mut self, precedence: Precedence, tlp: Tlp) -> Self {
        self.precedence = Some(precedence);
        self.tlp = Some(tlp);
        self
    }

    pub(crate) fn because(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Writes it as number `number`.
    pub(crate) fn put(&self, number: u64) -> Op {
        Shelf::put_clear(place(number), self)
    }

    fn view(self, cursor: u64) -> Event {
        Event {
            cursor,
            at: self.at.into(),
            kind: self.what.into(),
            id: self.id.map(Into::into),
            agency: self.agency,
            node: self.node,
            precedence: self.precedence.map(Into::into),
            tlp: self.tlp.map(Into::into),
            detail: self.detail,
        }
    }
}

fn place(number: u64) -> Place {
    Place::new(Table::Events, KIND, &[&number.to_be_bytes()])
}

impl Office {
    /// Events after `after`, oldest first, at most `limit`, up to what readers may see.
    pub(crate) fn events(&self, after: u64, limit: usize) -> Result<Vec<Event>, ReadError> {
        let visible = self.sequence.visible();
        let records = self.shelf.store().scan(Table::Events, &[KIND], Some(&place(after).key), limit)?;
        let mut events = Vec::with_capacity(records.len());
        for (key, value) in records {
            let Some(number) = last_u64(&key).filter(|number| *number <= visible) else { break };
            let record: EventRecord = crate::shelf::decode(Table::Events, &value)?;
            events.push(record.view(number));
        }
        Ok(events)
    }

    /// The last event that readers may see; zero if there is none.
    pub(crate) fn last_event(&self) -> Result<u64, ReadError> {
        let before = place(self.sequence.visible().saturating_add(1)).key;
        let last = self.shelf.store().scan_back(Table::Events, &[KIND], Some(&before), 1)?;
        Ok(last.first().and_then(|(key, _)| last_u64(key)).unwrap_or(0))
    }

    /// Cursors below this are refused: what came after them is not kept any more.
    pub(crate) fn event_floor(&self) -> Result<u64, ReadError> {
        Ok(self.shelf.get_clear(&floor_place())?.unwrap_or(0))
    }

    /// Removes events from before `until`, at most `limit` of them.
    pub(crate) fn forget_events(&self, until: Timestamp, limit: usize) -> Result<Vec<Op>, ReadError> {
        let mut ops = Vec::new();
        let mut floor = None;
        for (key, value) in self.shelf.store().scan(Table::Events, &[KIND], None, limit)? {
            let record: EventRecord = crate::shelf::decode(Table::Events, &value)?;
            if record.at >= until {
                break;
            }
            floor = last_u64(&key);
            ops.push(Op::Delete { table: Table::Events, key });
        }
        ops.extend(floor.map(|floor| Shelf::put_clear(floor_place(), &floor)));
        Ok(ops)
    }
}

fn floor_place() -> Place {
    Place::new(Table::Meta, b'f', &[])
}
