//! Reading what was released to a peer: the dedupe memory may be long.

use std::time::Duration;

use liaison_core::LinkKey;
use liaison_core::conserve::ReleasedItem;
use liaison_core::op::{DedupeKey, Remembered};
use liaison_protocol::frame::ROLL_ITEMS_MAX;
use liaison_protocol::{Hour, NodeId, Timestamp};

use crate::store_error::StoreError;
use crate::view::Reads;

/// Rows of the dedupe memory that one page looks at.
const ROWS_MAX: usize = 100_000;
/// Rows read at a time.
const ROWS: usize = 2_000;
/// A peer whose clock is ahead may have forgotten an entry that expires within this time.
const CLOCKS: Duration = Duration::from_secs(3_600);

/// A read of the dedupe memory, for a worker.
#[derive(Debug)]
pub(crate) struct ReleasedRead {
    pub(crate) link: LinkKey,
    pub(crate) peer: NodeId,
    pub(crate) hours: Vec<Hour>,
    pub(crate) after: Option<DedupeKey>,
}

impl ReleasedRead {
    pub(crate) fn run(self, store: &dyn Reads, now: Timestamp) -> ReleasedRows {
        ReleasedRows { link: self.link, page: page(store, &self.peer, &self.hours, self.after, now) }
    }
}

/// The entries that such a read has found.
#[derive(Debug)]
pub(crate) struct ReleasedRows {
    pub(crate) link: LinkKey,
    pub(crate) page: Result<Page, StoreError>,
}

#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<ReleasedItem>,
    pub(crate) next: Option<DedupeKey>,
}

/// Entries released to `peer` in these hours, until there are as many as a roll holds.
fn page(
    store: &dyn Reads,
    peer: &NodeId,
    hours: &[Hour],
    after: Option<DedupeKey>,
    now: Timestamp,
) -> Result<Page, StoreError> {
    let mut items = Vec::new();
    let mut next = after;
    for _ in 0..ROWS_MAX / ROWS {
        let rows = store.remembered_after(next.as_ref(), ROWS)?;
        let ended = rows.len() < ROWS;
        for (key, record) in rows {
            next = Some(key);
            if is_released_to(&record, peer, hours, now) {
                items.push(ReleasedItem { key, attempt: record.attempt, hour: record.hour, from: record.from });
            }
            if items.len() == ROLL_ITEMS_MAX {
                return Ok(Page { items, next });
            }
        }
        if ended {
            return Ok(Page { items, next: None });
        }
    }
    Ok(Page { items, next })
}

fn is_released_to(record: &Remembered, peer: &NodeId, hours: &[Hour], now: Timestamp) -> bool {
    record.to.as_ref() == Some(peer) && hours.contains(&record.hour) && record.until > now.after(CLOCKS)
}
