//! The shell of comparisons with other relays: reading the dedupe memory, alarms, and what an operator sees.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_core::conserve::{Finding, Record};
use liaison_core::ledger::Way;
use liaison_core::op::{DedupeKey, Op, Table};
use liaison_core::{Event, LinkKey};
use liaison_protocol::frame::Comparison;
use liaison_protocol::{Hour, NodeId, Timestamp, limits};

use crate::audit::{AuditHour, AuditReport, AuditState, MissingEntry};
use crate::output::Metric;
use crate::store_error::StoreError;
use crate::work::released::{Page, ReleasedRead, ReleasedRows};
use crate::work::{Kind, Work};
use crate::{Driver, Output};

/// A finding is an alarm for so long.
const ALARM_FOR: Duration = Duration::from_secs(86_400);
/// Findings older than this are forgotten at the next start: nothing of them can be on its way any more.
const KEEP: Duration = Duration::from_secs(limits::LIFETIME_MAX.as_secs() + 2 * 86_400);

/// Findings of the last month.
pub(crate) struct Conservation {
    findings: BTreeMap<(NodeId, Hour), Finding>,
}

impl Conservation {
    /// From the records of the store's ledger; and what of them to forget.
    pub(crate) fn restore(records: &[Record], now: Timestamp) -> (Self, Vec<Op>) {
        let (mut findings, mut old) = (BTreeMap::new(), Vec::new());
        for (key, value) in records {
            let Some((peer, hour, finding)) = Finding::parse(key, value) else { continue };
            if now.since(finding.found) > KEEP {
                old.push(Op::Delete { table: Table::Ledger, key: key.clone() });
            } else {
                findings.insert((peer, hour), finding);
            }
        }
        (Self { findings }, old)
    }
}

impl Driver {
    /// A frame of a comparison enters the core with what the store knows of its items.
    pub(crate) fn handle_comparison(&mut self, link: LinkKey, frame: Comparison) {
        let known = match &frame {
            Comparison::Roll(roll) => {
                let known = |id, index| Ok(self.store.remembered(&DedupeKey { id, index })?.is_some());
                roll.items.iter().map(|item| known(item.id, item.index)).collect::<Result<Vec<bool>, StoreError>>()
            }
            _ => Ok(Vec::new()),
        };
        match known {
            Ok(known) => self.apply(Event::Compared { link, frame, known }),
            Err(error) => self.fail(error),
        }
    }

    /// On a worker: the memory may be long.
    pub(crate) fn load_released(&mut self, link: LinkKey, peer: NodeId, hours: Vec<Hour>, after: Option<DedupeKey>) {
        self.say(Output::Work(Work(Kind::Released(ReleasedRead { link, peer, hours, after }))));
    }

    pub(crate) fn handle_released(&mut self, ReleasedRows { link, page }: ReleasedRows) {
        match page {
            Ok(Page { items, next }) => self.apply(Event::ReleasedPage { link, items, next }),
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn compared(&mut self, peer: NodeId, hour: Hour, finding: Option<Finding>) {
        let missing = finding.as_ref().map_or(0, |finding| finding.missing);
        self.measure(Metric::HourCompared { peer: peer.clone(), missing });
        let Some(finding) = finding else { return };
        let first: Vec<String> = finding.named.iter().take(5).map(|(id, _, _)| id.short()).collect();
        tracing::error!(
            %peer,
            hour = %hour.start(),
            released = finding.released.count,
            missing = finding.missing,
            first = first.join(", "),
            "a peer has lost messages that were released to the peer; their senders send them again"
        );
        self.conservation.findings.insert((peer, hour), finding);
    }

    pub(crate) fn conservation_alarms(&self, now: Timestamp) -> Vec<String> {
        let mut by_peer: BTreeMap<&NodeId, u64> = BTreeMap::new();
        let fresh = self.conservation.findings.iter().filter(|(_, finding)| now.since(finding.found) < ALARM_FOR);
        for ((peer, _), finding) in fresh {
            *by_peer.entry(peer).or_default() += finding.missing;
        }
        let alarm = |(peer, missing)| {
            format!(
                "{peer} does not know {missing} entries that were released to {peer}: liaison-relay audit names them"
            )
        };
        by_peer.into_iter().map(alarm).collect()
    }

    /// Entries released to and accepted from each relay, hour by hour, since `since`.
    pub(crate) fn audit(&self, since: Timestamp) -> Result<AuditReport, StoreError> {
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
