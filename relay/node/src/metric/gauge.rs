//! Gauges, taken from a [`NodeStatus`] whenever somebody scrapes.

use std::collections::{BTreeMap, BTreeSet};

use liaison_protocol::Timestamp;
use metrics::gauge;

use crate::status::{ClockStanding, LinkStatus, NodeStatus, Rank, RosterStanding};

/// Whether queues are told apart by agency: the labels say who writes to whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgencyLabels {
    /// One series for each agency of the roster that had mail.
    Each,
    /// One sum, with an empty label.
    Summed,
}

/// Remembers which series it has set, so that those of an emptied queue fall to zero, and those of a peer that
/// the roster removed to NaN: they alert nobody, and are not set again.
#[derive(Debug)]
pub struct StatusGauges {
    labels: AgencyLabels,
    queues: BTreeSet<(String, Rank)>,
    peers: BTreeSet<(String, &'static str)>,
}

/// Gauges of one peer.
const BY_LINK: [&str; 3] =
    ["liaison_link_up", "liaison_link_rtt_seconds", "liaison_link_last_receive_timestamp_seconds"];

#[derive(Clone, Copy, Default)]
struct Depth {
    entries: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
}

impl StatusGauges {
    /// Nothing set yet.
    #[must_use]
    pub const fn new(labels: AgencyLabels) -> Self {
        Self { labels, queues: BTreeSet::new(), peers: BTreeSet::new() }
    }

    /// Sets every gauge to what `status` says at `now`.
    pub fn set(&mut self, status: &NodeStatus, now: Timestamp) {
        let ready = status.readiness().iter().all(|condition| condition.ok);
        gauge!("liaison_ready").set(flag(ready));
        gauge!("liaison_draining").set(flag(status.draining));
        if let Some(offset) = status.clock_offset_ms {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of a clock's error")]
            gauge!("liaison_clock_offset_seconds").set(offset as f64 / 1000.0);
        }
        gauge!("liaison_clock_off").set(flag(status.clock == ClockStanding::Off));
        gauge!("liaison_roster_version").set(status.roster.version.0);
        let forked = status.roster.standing == RosterStanding::Forked;
        gauge!("liaison_roster_forked").set(flag(forked));
        gauge!("liaison_roster_frozen").set(flag(status.roster.frozen_at.is_some()));
        gauge!("liaison_roster_expiry_timestamp_seconds").set(seconds(status.roster.expires_ms));
        if let Some(end) = status.roster.own_keys_expire_ms {
            gauge!("liaison_certificate_expiry_timestamp_seconds", "kind" => "node-keys").set(seconds(end));
        }
        gauge!("liaison_store_free_bytes").set(number(status.store.free_bytes));
        gauge!("liaison_store_used_bytes").set(number(status.store.used_bytes));
        self.set_links(&status.links);
        self.set_queues(status, now);
    }

    fn set_links(&mut self, links: &[LinkStatus]) {
        let listed = |peer: &str| links.iter().any(|link| link.peer.as_str() == peer);
        self.peers.retain(|(peer, role)| {
            if !listed(peer) {
                for name in BY_LINK {
                    gauge!(name, "peer" => peer.clone(), "role" => *role).set(f64::NAN);
                }
            }
            listed(peer)
        });
        for link in links {
            let (peer, role) = (link.peer.to_string(), link.role.as_str());
            gauge!("liaison_link_up", "peer" => peer.clone(), "role" => role).set(flag(link.up));
            let rtt = link.rtt_ms.filter(|_| link.up).map_or(f64::NAN, |rtt| rtt / 1000.0);
            gauge!("liaison_link_rtt_seconds", "peer" => peer.clone(), "role" => role).set(rtt);
            let last = link.last_receive_ms.map_or(0.0, seconds);
            gauge!("liaison_link_last_receive_timestamp_seconds", "peer" => peer.clone(), "role" => role).set(last);
            self.peers.insert((peer, role));
        }
    }

    fn set_queues(&mut self, status: &NodeStatus, now: Timestamp) {
        let depths = self.depths(status);
        self.queues.extend(depths.keys().cloned());
        for key in &self.queues {
            let depth = depths.get(key).copied().unwrap_or_default();
            let (agency, rank) = (key.0.clone(), key.1.as_str());
            gauge!("liaison_queue_messages", "agency" => agency.clone(), "precedence" => rank)
                .set(number(depth.entries));
            gauge!("liaison_queue_bytes", "agency" => agency.clone(), "precedence" => rank).set(number(depth.bytes));
            let age = depth.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64());
            gauge!("liaison_queue_oldest_seconds", "agency" => agency, "precedence" => rank).set(age);
        }
    }

    fn depths(&self, status: &NodeStatus) -> BTreeMap<(String, Rank), Depth> {
        let mut depths = BTreeMap::<_, Depth>::new();
        if self.labels == AgencyLabels::Summed {
            depths.extend(Rank::ALL.map(|rank| ((String::new(), rank), Depth::default())));
        }
        for queue in &status.queues {
            let agency = match self.labels {
                AgencyLabels::Each => queue.queue.to_string(),
                AgencyLabels::Summed => String::new(),
            };
            let counts = queue.by_precedence.iter().zip(&queue.bytes_by_precedence);
            for (rank, ((entries, bytes), oldest)) in Rank::ALL.iter().zip(counts.zip(&queue.oldest_by_precedence_ms)) {
                let depth = depths.entry((agency.clone(), *rank)).or_default();
                depth.entries += entries;
                depth.bytes += bytes;
                depth.oldest = depth.oldest.into_iter().chain(*oldest).min();
            }
        }
        depths
    }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus counts in f64: exact up to 2^53")]
const fn number(value: u64) -> f64 {
    value as f64
}

fn seconds(instant: Timestamp) -> f64 {
    number(instant.as_millis()) / 1000.0
}
