//! What an operator is to do something about: one list, for status, doctor, metrics and console.

use std::time::Duration;

use liaison_core::{NodeKind, QueueView};
use liaison_protocol::{NodeId, Timestamp};

use crate::Driver;
use crate::status::{RosterStanding, RosterStatus, StoreStatus};

/// An end that is nearer than this is an alarm: a new roster takes people some days.
const SOON: Duration = Duration::from_secs(14 * 86_400);

impl Driver {
    pub(crate) fn alarms(&self, roster: &RosterStatus, store: &StoreStatus) -> Vec<String> {
        let now = self.now();
        [
            roster_alarms(roster, now),
            self.own_alarms(roster, now),
            store_alarms(store),
            self.prekeys.alarms(&self.roster, now),
            self.clock_alarms(),
            self.unproven_alarms(now),
            self.freeze_alarms(),
            self.rival_alarms(),
            self.conservation_alarms(now),
            self.parked_alarms(),
        ]
        .concat()
    }

    /// This node's own place and key in the roster.
    fn own_alarms(&self, roster: &RosterStatus, now: Timestamp) -> Vec<String> {
        let version = roster.version;
        if self.roster.role(&self.me).is_none() {
            return vec![format!(
                "roster version {version} does not name {}: peers refuse its links; ask the federation's managers",
                self.me
            )];
        }
        if self.roster.sign_key(&self.me, self.signer.key_id(), now).is_none() {
            return vec![format!(
                "roster version {version} does not give this node the key that the node signs with, or no longer: \
                 peers refuse what the node signs; install the key that the roster names, or ask for a new roster"
            )];
        }
        let ends = roster.own_keys_expire_ms.filter(|ends| ends.since(now) < SOON);
        let alarm = |ends: Timestamp| format!("this node's signing key ends in {}: ask for a new one", days(ends, now));
        ends.map(alarm).into_iter().collect()
    }

    /// At the recipient's own home relays, mail waits for the recipient, and not for a route.
    fn parked_alarms(&self) -> Vec<String> {
        let is_transit = |queue: &QueueView| {
            let home = self.roster.agency(&queue.queue).map_or(&[][..], |agency| &agency.home);
            self.kind == NodeKind::Relay && !home.contains(&self.me)
        };
        let parked = self.core.queues().into_iter().filter(|queue| queue.parked > 0 && is_transit(queue));
        let alarm = |queue: QueueView| {
            let home = self.roster.agency(&queue.queue).map(|agency| names(&agency.home)).unwrap_or_default();
            format!(
                "{} messages for {} have passed every relay that leads on from here, and wait for a link to {home}",
                queue.parked, queue.queue
            )
        };
        parked.map(alarm).collect()
    }
}

fn names(nodes: &[NodeId]) -> String {
    nodes.iter().map(NodeId::as_str).collect::<Vec<_>>().join(" or ")
}

fn roster_alarms(roster: &RosterStatus, now: Timestamp) -> Vec<String> {
    let version = roster.version;
    let alarm = match roster.standing {
        RosterStanding::Current if roster.expires_ms.since(now) < SOON => {
            format!(
                "roster version {version} ends in {}: get the next one from its publishers",
                days(roster.expires_ms, now)
            )
        }
        RosterStanding::Current => return Vec::new(),
        RosterStanding::Expired => format!("roster version {version} has expired: no new custody"),
        RosterStanding::Forked => {
            format!("two rosters of version {version} are in circulation: no update until liaison-relay roster settle")
        }
        RosterStanding::Grace => format!("roster version {version} has ended; its days of grace run"),
    };
    vec![alarm]
}

fn store_alarms(store: &StoreStatus) -> Vec<String> {
    let low = (!store.writable).then(|| "the disk is below its low-water mark: no new custody".into());
    low.into_iter().collect()
}

/// `4 days`, `20 hours`.
fn days(at: Timestamp, now: Timestamp) -> String {
    let hours = at.since(now).as_secs() / 3_600;
    if hours < 48 { format!("{hours} hours") } else { format!("{} days", hours / 24) }
}
