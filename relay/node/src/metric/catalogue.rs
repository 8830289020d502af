//! Every metric: name, kind, unit and text.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// One metric name.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Starts with `liaison_`; counters end in `_total`, and a unit stands before that.
    pub name: &'static str,
    /// What it is.
    pub kind: FamilyKind,
    /// Shown to whoever reads `/metrics`.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug)]
pub enum FamilyKind {
    /// Only rises, from zero at the start.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size, in these buckets (upper bounds, rising).
    Histogram(&'static [f64]),
}

/// Counters with the label `precedence`.
pub(super) const BY_PRECEDENCE: &[&str] = &[
    "liaison_custody_accepted_total",
    "liaison_custody_released_total",
    "liaison_duplicates_total",
    "liaison_expired_total",
    "liaison_nondelivery_notices_total",
];

/// Counters with the label `peer`.
pub(super) const BY_PEER: &[&str] = &[
    "liaison_conservation_compared_total",
    "liaison_conservation_missing_total",
    "liaison_link_over_budget_total",
    "liaison_link_received_bytes_total",
    "liaison_link_rivals_total",
    "liaison_link_sent_bytes_total",
    "liaison_link_transitions_total",
    "liaison_unproven_acknowledgements_total",
];

/// A commit on a good disk takes a millisecond, on a bad one a second.
const COMMIT_SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Envelopes in one commit.
const COMMIT_MESSAGES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];
/// From a hop at once to 30 days in a queue.
const HOLD_SECONDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0,
    86_400.0, 604_800.0,
];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Gauge, help }
}

const fn histogram(name: &'static str, buckets: &'static [f64], help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Histogram(buckets), help }
}

/// What a relay exports.
pub const RELAY: &[Family] = &[
    gauge("liaison_build_info", "Always 1; the labels say what runs."),
    gauge(
        "liaison_ready",
        "1 while the node takes new custody: store writable, roster valid, clock sane, not draining.",
    ),
    gauge("liaison_draining", "1 while an operator has the node take no new custody."),
    gauge("liaison_clock_offset_seconds", "This clock minus the peers'; absent until a peer has been compared with."),
    gauge("liaison_clock_off", "1 while most peers' clocks are more than five minutes away: no new custody."),
    gauge("liaison_roster_version", "Version of the roster that the node follows."),
    gauge(
        "liaison_roster_forked",
        "1 while two rosters of one version are in circulation and no operator has decided.",
    ),
    gauge("liaison_roster_frozen", "1 if a newer roster was announced a day ago and never came."),
    gauge("liaison_roster_expiry_timestamp_seconds", "When that roster ends, in Unix time."),
    gauge("liaison_certificate_expiry_timestamp_seconds", "When this node's own keys end, in Unix time, by kind."),
    gauge("liaison_link_up", "1 while the link to the peer is up."),
    gauge("liaison_link_rtt_seconds", "Round trip to the peer, while the link is up."),
    gauge("liaison_link_last_receive_timestamp_seconds", "When the last frame came from the peer, in Unix time."),
    counter("liaison_link_transitions_total", "Times that the link to the peer went up or down."),
    counter(
        "liaison_link_handshake_failures_total",
        "Handshakes that led to no link, by the peer's role and the reason.",
    ),
    counter(
        "liaison_link_over_budget_total",
        "Control frames that came when the peer had used up its budget for them; the log names the type. An honest peer has none.",
    ),
    counter(
        "liaison_link_rivals_total",
        "Times that two programs with the peer's link key have thrown each other out. Any is an alarm.",
    ),
    counter("liaison_link_received_bytes_total", "Bytes of UDP datagrams received from the peer."),
    counter("liaison_link_sent_bytes_total", "Bytes of UDP datagrams sent to the peer."),
    counter("liaison_custody_accepted_total", "Custody accepted, durable, by precedence; one for each recipient."),
    counter("liaison_custody_released_total", "Custody released to a next holder, by precedence."),
    counter("liaison_refused_total", "Custody refused, by reason; one for each recipient. Nothing of it was stored."),
    counter("liaison_duplicates_total", "Transfers for recipients that were held, or had been, by precedence."),
    counter("liaison_expired_total", "Custody that ended by expiry, by precedence."),
    counter("liaison_nondelivery_notices_total", "Non-delivery notices accepted for their senders, by precedence."),
    counter("liaison_conservation_compared_total", "Hours of which the releases were compared with the peer's books."),
    counter(
        "liaison_conservation_missing_total",
        "Entries released to the peer that it does not know. Any is an alarm; their senders send them again.",
    ),
    counter(
        "liaison_prekey_equivocations_total",
        "Agencies found to have signed two prekey bundles of one number. Any is an alarm; the proof is kept.",
    ),
    counter(
        "liaison_unproven_acknowledgements_total",
        "Transfers that the peer acknowledged without a custody receipt that holds: they are kept. Any is an alarm.",
    ),
    gauge("liaison_queue_messages", "Entries in custody, by recipient agency and precedence."),
    gauge("liaison_queue_bytes", "Bytes in custody, by recipient agency and precedence."),
    gauge("liaison_queue_oldest_seconds", "Age of the oldest entry, by recipient agency and precedence; 0 if none."),
    histogram(
        "liaison_custody_hold_seconds",
        HOLD_SECONDS,
        "How long custody was held until its release, by precedence.",
    ),
    histogram("liaison_store_commit_seconds", COMMIT_SECONDS, "Duration of one durable commit, by engine."),
    histogram("liaison_store_commit_messages", COMMIT_MESSAGES, "Envelopes taken by one commit, by engine."),
    gauge("liaison_store_free_bytes", "Bytes free on the store's file system."),
    gauge("liaison_store_used_bytes", "Bytes of the store's files."),
    counter("liaison_store_full_total", "Commits that found the disk full: nothing was written, and nothing is lost."),
    counter("liaison_store_errors_total", "Failures of the store, by operation. Any is an alarm."),
    counter("liaison_admin_actions_total", "What operators did, by action and result."),
    counter("liaison_config_reload_total", "Reloads, by result."),
    gauge("liaison_config_last_reload_success", "1 if the last reload took effect, or none was tried."),
];

/// Gives the installed recorder the text and unit of every family.
pub fn describe(families: &[Family]) {
    for family in families {
        let unit = unit(family.name);
        match (family.kind, unit) {
            (FamilyKind::Counter, Some(unit)) => describe_counter!(family.name, unit, family.help),
            (FamilyKind::Counter, None) => describe_counter!(family.name, family.help),
            (FamilyKind::Gauge, Some(unit)) => describe_gauge!(family.name, unit, family.help),
            (FamilyKind::Gauge, None) => describe_gauge!(family.name, family.help),
            (FamilyKind::Histogram(_), Some(unit)) => describe_histogram!(family.name, unit, family.help),
            (FamilyKind::Histogram(_), None) => describe_histogram!(family.name, family.help),
        }
    }
}

fn unit(name: &str) -> Option<Unit> {
    let base = name.strip_suffix("_total").unwrap_or(name);
    if base.ends_with("_seconds") {
        return Some(Unit::Seconds);
    }
    base.ends_with("_bytes").then_some(Unit::Bytes)
}
