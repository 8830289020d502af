//! The shell of comparisons with other relays: reading the dedupe memory, alarms, and what an operator sees.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use liaison_core::conserve::{Finding, Record, ReleasedItem};
use liaison_core::ledger::Way;
use liaison_core::op::{DedupeKey, Op, Remembered, Table};
use liaison_core::{Event, LinkKey};
use liaison_protocol::frame::{Comparison, ROLL_ITEMS_MAX};
use liaison_protocol::{Hour, NodeId, Timestamp, limits};
use tokio::task::{JoinError, JoinSet};

use super::{RunError, Turn};
use crate::audit::{AuditHour, AuditReport, AuditState, MissingEntry};
use crate::store::{Store, StoreError};
use crate::{clock, metric};

/// A finding is an alarm for so long.
const ALARM_FOR: Duration = Duration::from_secs(86_400);
/// Findings older than this are forgotten at the next start: nothing of them can be on its way any more.
const KEEP: Duration = Duration::from_secs(limits::LIFETIME_MAX.as_secs() + 2 * 86_400);
/// Rows of the dedupe memory that one page looks at.
const ROWS_MAX: usize = 100_000;
/// Rows read at a time.
const ROWS: usize = 2_000;
/// What expires within this may be forgotten by a peer whose clock is ahead.
const CLOCKS: Duration = Duration::from_secs(3_600);

/// Findings of the last month, and the read that is under way.
pub(super) struct Conservation {
    findings: BTreeMap<(NodeId, Hour), Finding>,
    reads: JoinSet<(LinkKey, Result<Page, StoreError>)>,
}

struct Page {
    items: Vec<ReleasedItem>,
    next: Option<DedupeKey>,
}

impl Conservation {
    /// From the records of the store's ledger; and what of them to forget.
    pub(super) fn restore(records: &[Record], now: Timestamp) -> (Self, Vec<Op>) {
        let (mut findings, mut old) = (BTreeMap::new(), Vec::new());
        for (key, value) in records {
            let Some((peer, hour, finding)) = Finding::parse(key, value) else { continue };
            if now.since(finding.found) > KEEP {
                old.push(Op::Delete { table: Table::Ledger, key: key.clone() });
            } else {
                findings.insert((peer, hour), finding);
            }
        }
        (Self { findings, reads: JoinSet::new() }, old)
    }

    /// Waits for the read under way; for ever, if there is none.
    pub(super) async fn read(&mut self) -> Result<ReadDone, JoinError> {
        match self.reads.join_next().await {
            Some(done) => done.map(ReadDone),
            None => std::future::pending().await,
        }
    }
}

/// A read that has ended.
pub(super) struct ReadDone((LinkKey, Result<Page, StoreError>));

impl Turn {
    /// A frame of a comparison enters the core with what the store knows of its items.
    pub(super) fn handle_comparison(&mut self, link: LinkKey, frame: Comparison) {
        let known = match &frame {
            Comparison::Roll(roll) => {
                let known = |id, index| Ok(self.store.remembered(&DedupeKey { id, index })?.is_some());
                roll.items.iter().map(|item| known(item.id, item.index)).collect::<Result<Vec<bool>, StoreError>>()
            }
            _ => Ok(Vec::new()),
        };
        match known {
            Ok(known) => self.handle(Event::Compared { link, frame, known }),
            Err(error) => self.fail(error),
        }
    }

    /// On a thread of its own: the memory may be long.
    pub(super) fn load_released(&mut self, link: LinkKey, peer: NodeId, hours: Vec<Hour>, after: Option<DedupeKey>) {
        let (store, now) = (Arc::clone(&self.store), clock::now());
        self.conservation.reads.spawn_blocking(move || (link, page(&*store, &peer, &hours, after, now)));
    }

    pub(super) fn handle_released(&mut self, done: Result<ReadDone, JoinError>) {
        match done {
            Ok(ReadDone((link, Ok(Page { items, next })))) => self.handle(Event::ReleasedPage { link, items, next }),
            Ok(ReadDone((_, Err(error)))) => self.fail(error),
            Err(_) => self.fail(RunError::Thread("a worker".into())),
        }
    }

    pub(super) fn compared(&mut self, peer: NodeId, hour: Hour, finding: Option<Finding>) {
        metric::hour_compared(&peer, finding.as_ref().map_or(0, |finding| finding.missing));
        let Some(finding) = finding else { return };
        let first: Vec<String> = finding.named.iter().take(5).map(|(id, _, _)| id.short()).collect();
        tracing::error!(
            %peer,
            hour = %hour.start(),
            released = finding.released.count,
            missing = finding.missing,
            first = first.join(", "),
            "a peer does not know what was released to it; the senders send it again"
        );
        self.conservation.findings.insert((peer, hour), finding);
    }

    pub(super) fn conservation_alarms(&self, now: Timestamp) -> Vec<String> {
        let mut by_peer: BTreeMap<&NodeId, u64> = BTreeMap::new();
        let fresh = self.conservation.findings.iter().filter(|(_, finding)| now.since(finding.found) < ALARM_FOR);
        for ((peer, _), finding) in fresh {
            *by_peer.entry(peer).or_default() += finding.missing;
        }
        let alarm = |(peer, missing)| {
            format!("{peer} does not know {missing} entries that were released to it: liaison-relay audit names them")
        };
        by_peer.into_iter().map(alarm).collect()
    }

    /// What went to and came from each relay, hour by hour, since `since`.
    pub(super) fn audit(&self, since: Timestamp) -> Result<AuditReport, StoreError> {
        let since = Hour::of(since);
        let mut hours: BTreeMap<(NodeId, Hour), AuditHour> = BTreeMap::new();
        for (peer, way, hour, tally) in self.core.tallies().filter(|(_, _, hour, _)| *hour >= since) {
            let row = hours.entry((peer.clone(), hour)).or_insert_with(|| AuditHour::new(peer.clone(), hour));
            match way {
                Way::Accepted => row.accepted = tally.count,
                Way::Released => {
                    (row.released, row.released_sum) = (tally.count, tally.sum);
                    row.state = if self.core.is_compared(peer, hour) { AuditState::Agreed } else { AuditState::Open };
                }
            }
        }
        for ((peer, hour), finding) in self.conservation.findings.iter().filter(|((_, hour), _)| *hour >= since) {
            let row = hours.entry((peer.clone(), *hour)).or_insert_with(|| AuditHour::new(peer.clone(), *hour));
            (row.state, row.found_ms, row.missing) = (AuditState::Missing, Some(finding.found), finding.missing);
            row.named = finding.named.iter().map(|named| self.missing_entry(*named)).collect::<Result<_, _>>()?;
        }
        Ok(AuditReport { comparing: self.core.is_comparing(), hours: hours.into_values().collect() })
    }

    fn missing_entry(
        &self,
        (id, index, attempt): (liaison_protocol::MessageId, u16, u8),
    ) -> Result<MissingEntry, StoreError> {
        let seen = self.store.remembered(&DedupeKey { id, index })?;
        let again = seen.map(|seen| seen.attempt).filter(|latest| *latest > attempt);
        Ok(MissingEntry { id, index, attempt, sent_again: again })
    }
}

/// Entries released to `peer` in these hours, until there are as many as a roll holds.
fn page(
    store: &dyn Store,
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
