//! What a node counts. Names and texts are in [`catalogue`]; callers use these functions, never the names.
//!
//! Labels are bounded: precedences, reasons, and names from the roster; never a message, a sender-recipient pair or
//! free text. Counters are born at zero ([`born`], [`born_peers`]), so that the first event is seen as an increase.

mod catalogue;
mod gauge;

use std::time::Duration;

use liaison_core::action::Measure;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::role::Role;
use liaison_protocol::{NodeId, Precedence};
use metrics::{counter, histogram};

pub use catalogue::{Family, FamilyKind, RELAY, describe};
pub use gauge::{AgencyLabels, StatusGauges};

/// What a link's end or a failed handshake is counted under.
pub const HANDSHAKE_FAILURES: &[&str] =
    &["certificate", "federation", "identity", "roster", "timeout", "version", "other"];
/// The role of a peer that proved none.
const UNPROVEN: &str = "unproven";
/// Store operations that can fail.
pub const STORE_OPERATIONS: &[&str] = &["commit", "read"];
/// What operators do.
pub const ADMIN_ACTIONS: &[&str] = &["audit", "drain", "undrain", "reload", "retry-links", "settle-roster"];
/// How it ends.
const RESULTS: &[&str] = &["ok", "refused", "failed"];

/// Creates every counter whose labels are known without a roster, at zero.
pub fn born() {
    for precedence in Precedence::DRAIN_ORDER {
        let precedence = precedence.as_str();
        for name in catalogue::BY_PRECEDENCE {
            counter!(*name, "precedence" => precedence).absolute(0);
        }
    }
    for reason in RefusalReason::ALL {
        counter!("liaison_refused_total", "reason" => reason.as_str()).absolute(0);
    }
    for role in [Role::Agency.as_str(), Role::Relay.as_str(), UNPROVEN] {
        for reason in HANDSHAKE_FAILURES {
            counter!("liaison_link_handshake_failures_total", "peer_role" => role, "reason" => *reason).absolute(0);
        }
    }
    counter!("liaison_prekey_equivocations_total").absolute(0);
    counter!("liaison_store_full_total").absolute(0);
    for operation in STORE_OPERATIONS {
        counter!("liaison_store_errors_total", "op" => *operation).absolute(0);
    }
    for result in RESULTS {
        counter!("liaison_config_reload_total", "result" => *result).absolute(0);
        for action in ADMIN_ACTIONS {
            counter!("liaison_admin_actions_total", "action" => *action, "result" => *result).absolute(0);
        }
    }
}

/// Creates the counters of these peers, at zero: those that are dialed, and whoever the roster lets in.
pub fn born_peers<'a>(peers: impl IntoIterator<Item = &'a NodeId>) {
    for peer in peers {
        for name in catalogue::BY_PEER {
            counter!(*name, "peer" => peer.to_string()).absolute(0);
        }
    }
}

/// Counts what the core measures.
pub fn measure(measure: &Measure) {
    match measure {
        Measure::Accepted(precedence) => custody_accepted(*precedence, 1),
        Measure::Duplicate(precedence) => duplicate(*precedence),
        Measure::Expired(precedence) => expired(*precedence),
        Measure::Notice(precedence) => notice(*precedence),
        Measure::Refused(reason) => refused(*reason),
        Measure::Released { precedence, held_ms } => custody_released(*precedence, Duration::from_millis(*held_ms)),
    }
}

/// Custody accepted for `n` recipients, durable.
pub fn custody_accepted(precedence: Precedence, n: u64) {
    counter!("liaison_custody_accepted_total", "precedence" => precedence.as_str()).increment(n);
}

/// Custody of one recipient's entry released to a next holder, after `held`.
pub fn custody_released(precedence: Precedence, held: Duration) {
    counter!("liaison_custody_released_total", "precedence" => precedence.as_str()).increment(1);
    histogram!("liaison_custody_hold_seconds", "precedence" => precedence.as_str()).record(held);
}

/// Custody refused for one recipient.
pub fn refused(reason: RefusalReason) {
    counter!("liaison_refused_total", "reason" => reason.as_str()).increment(1);
}

/// A transfer for a recipient that is, or was, held.
pub fn duplicate(precedence: Precedence) {
    counter!("liaison_duplicates_total", "precedence" => precedence.as_str()).increment(1);
}

/// Custody that ended by expiry.
pub fn expired(precedence: Precedence) {
    counter!("liaison_expired_total", "precedence" => precedence.as_str()).increment(1);
}

/// A non-delivery notice accepted for its sender.
pub fn notice(precedence: Precedence) {
    counter!("liaison_nondelivery_notices_total", "precedence" => precedence.as_str()).increment(1);
}

/// An hour's releases were compared with what the peer accepted: so many entries are missing there.
pub fn hour_compared(peer: &NodeId, missing: u64) {
    counter!("liaison_conservation_compared_total", "peer" => peer.to_string()).increment(1);
    counter!("liaison_conservation_missing_total", "peer" => peer.to_string()).increment(missing);
}

/// A commit found the disk full, and wrote nothing.
pub fn disk_full() {
    counter!("liaison_store_full_total").increment(1);
}

/// An agency has signed two prekey bundles of one number.
pub fn prekey_equivocation() {
    counter!("liaison_prekey_equivocations_total").increment(1);
}

/// A relay acknowledged a transfer without a custody receipt that holds.
pub fn unproven(peer: &NodeId) {
    counter!("liaison_unproven_acknowledgements_total", "peer" => peer.to_string()).increment(1);
}

/// A link went up or down.
pub fn link_transition(peer: &NodeId) {
    counter!("liaison_link_transitions_total", "peer" => peer.to_string()).increment(1);
}

/// A handshake that led to no link; no role where the peer proved none. `reason` is one of [`HANDSHAKE_FAILURES`];
/// anything else counts as `other`.
pub fn handshake_failure(role: Option<Role>, reason: &str) {
    let role = role.map_or(UNPROVEN, Role::as_str);
    let reason = HANDSHAKE_FAILURES.iter().copied().find(|known| *known == reason).unwrap_or("other");
    counter!("liaison_link_handshake_failures_total", "peer_role" => role, "reason" => reason).increment(1);
}

/// A control frame came when the peer had used up its budget for the type: its stream was not read for a while.
pub fn over_budget(peer: &NodeId) {
    counter!("liaison_link_over_budget_total", "peer" => peer.to_string()).increment(1);
}

/// Two programs with the peer's link key have thrown each other out.
pub fn link_rivals(peer: &NodeId) {
    counter!("liaison_link_rivals_total", "peer" => peer.to_string()).increment(1);
}

/// Bytes of frames from a peer.
pub fn link_received(peer: &NodeId, bytes: u64) {
    counter!("liaison_link_received_bytes_total", "peer" => peer.to_string()).increment(bytes);
}

/// Bytes of frames to a peer.
pub fn link_sent(peer: &NodeId, bytes: u64) {
    counter!("liaison_link_sent_bytes_total", "peer" => peer.to_string()).increment(bytes);
}

/// One durable commit of the embedded engine, with the envelopes that it took.
pub fn commit(took: Duration, messages: u64) {
    histogram!("liaison_store_commit_seconds", "engine" => "embedded").record(took);
    #[expect(clippy::cast_precision_loss, reason = "a batch holds far fewer than 2^52 envelopes")]
    histogram!("liaison_store_commit_messages", "engine" => "embedded").record(messages as f64);
}

/// The store failed. `operation` is one of [`STORE_OPERATIONS`]; anything else counts as `read`.
pub fn store_error(operation: &str) {
    let operation = STORE_OPERATIONS.iter().copied().find(|known| *known == operation).unwrap_or("read");
    counter!("liaison_store_errors_total", "op" => operation).increment(1);
}

/// How an operator's action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It could not be carried out.
    Failed,
    /// Done.
    Ok,
    /// The node would not.
    Refused,
}

impl ActionResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Ok => "ok",
            Self::Refused => "refused",
        }
    }
}

/// An operator did something. `action` is one of [`ADMIN_ACTIONS`].
pub fn admin_action(action: &'static str, result: ActionResult) {
    counter!("liaison_admin_actions_total", "action" => action, "result" => result.as_str()).increment(1);
}

/// A reload, by signal or command.
pub fn config_reload(result: ActionResult) {
    counter!("liaison_config_reload_total", "result" => result.as_str()).increment(1);
    metrics::gauge!("liaison_config_last_reload_success").set(f64::from(u8::from(result == ActionResult::Ok)));
}

#[cfg(test)]
mod tests;
