//! Whether custody may be accepted: the rules that need the roster, the clock and what is held already.

use std::time::Duration;

use liaison_protocol::envelope::{Header, Kind};
use liaison_protocol::frame::PATH_MAX;
use liaison_protocol::limits::{CLOCK_AHEAD_MAX, HOPS_MAX};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{Role, Roster};
use liaison_protocol::{AgencyId, NodeId, Precedence, Timestamp};

use crate::link::NodeKind;
use crate::op::{Held, RANK_BULK, Remembered};
use crate::quota::{Limits, Room};

/// When to try again with a relay whose clock is off.
const WRONG_CLOCK_MS: u32 = 30_000;
/// The longest that an envelope from the future waits before it is offered again: clocks are set right meanwhile.
const CLOCK_RETRY_MAX: Duration = Duration::from_secs(60);
/// Bytes of a notice's body: a signed statement of at most 1,024 bytes, names and padding.
const NOTICE_BODY_BYTES_MAX: u32 = 4096;
/// The notices of one relay take at most this part of a recipient's queue: 640 MiB of 10 GiB.
const NOTICES_PART: u64 = 16;
/// In a queue so small that this part would hold no notice at all, they take at most this much: two of them.
const NOTICES_BYTES_MIN: u64 = 16 * 1024;
/// When to try again with a relay that an envelope has passed: a new roster reaches the next relay within moments.
const LOOP_RETRY_MS: u32 = 250;

/// Why custody is refused. Nothing was stored: the previous holder still holds the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub reason: RefusalReason,
    /// For people; names what the reason does not.
    pub detail: String,
    /// Milliseconds after which to try again; 0 is final.
    pub retry_after_ms: u32,
}

impl Refusal {
    pub(crate) fn last(reason: RefusalReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), retry_after_ms: 0 }
    }

    pub(crate) fn later(reason: RefusalReason, detail: impl Into<String>, retry_after_ms: u32) -> Self {
        Self { reason, detail: detail.into(), retry_after_ms: retry_after_ms.max(1) }
    }
}

/// Which queue rank an envelope takes: its precedence's, or the bulk lane's for a chunk.
#[must_use]
pub fn rank_of(header: &Header) -> u8 {
    match header.kind {
        Kind::Chunk => RANK_BULK,
        Kind::Sealed => header.precedence.rank(),
    }
}

/// Rules for the envelope as a whole ([CUST-6]).
///
/// # Errors
/// The first rule broken: suite, clock, expiry, sender.
pub fn check_envelope(header: &Header, peer: &NodeId, roster: &Roster, now: Timestamp) -> Result<(), Refusal> {
    check_suite(header.suite, roster.min_suite())?;
    if header.created > now.after(CLOCK_AHEAD_MAX) && !planted(Mutant::FutureTaken) {
        return Err(ahead(header, now));
    }
    if header.expires <= now && !planted(Mutant::ExpiredTaken) {
        return Err(Refusal::last(RefusalReason::Expired, "it has expired"));
    }
    check_sender(header, peer, roster)
}

/// Only for now: it may be this node's clock that is wrong, and time passes at either. The holder keeps the envelope, and
/// may hand it to another node meanwhile ([CUST-6]).
fn ahead(header: &Header, now: Timestamp) -> Refusal {
    let ahead = header.created.since(now);
    let detail = format!("created {} s ahead of this node's clock", ahead.as_secs());
    if planted(Mutant::ClockRefusesForGood) {
        return Refusal::last(RefusalReason::Clock, detail);
    }
    let wait = ahead.saturating_sub(CLOCK_AHEAD_MAX).min(CLOCK_RETRY_MAX);
    Refusal::later(RefusalReason::Clock, detail, u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
}

/// A relay whose own clock is off takes nothing: it would refuse honest mail, or let it expire too early.
// [CUST-24]
pub(crate) fn wrong_clock(me: &NodeId, ahead_ms: i64) -> Refusal {
    let seconds = ahead_ms.unsigned_abs() / 1_000;
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let detail = format!("the clock of {me} is {seconds} s {way} its peers'; it takes nothing until that is set");
    Refusal::later(RefusalReason::Clock, detail, WRONG_CLOCK_MS)
}

/// A federation that has left a suite behind is not talked back into it ([ROSTER-13]).
fn check_suite(suite: u16, min: u16) -> Result<(), Refusal> {
    if suite >= min {
        return Ok(());
    }
    let detail = format!("suite {suite} is no longer used here, {min} is the lowest");
    Err(Refusal::last(RefusalReason::UnsupportedSuite, detail))
}

/// An agency hands over its own envelopes only; relays hand over anybody's, and notices of their own ([CUST-7]).
fn check_sender(header: &Header, peer: &NodeId, roster: &Roster) -> Result<(), Refusal> {
    let unknown = |detail: String| Err(Refusal::last(RefusalReason::UnknownSender, detail));
    if roster.role(&header.sender).is_none() {
        return unknown(format!("{} is not in roster version {}", header.sender, roster.version()));
    }
    if roster.role(peer) == Some(Role::Agency) && *peer != header.sender && !planted(Mutant::SpoofTaken) {
        return unknown(format!("{peer} handed over an envelope of {}", header.sender));
    }
    Ok(())
}

/// Whether one more relay may take an envelope for an agency that has passed `path`: four may, and then only home
/// relays of the recipient, so that an envelope which came the long way round still arrives. A home relay may be in the
/// path already; eight places in it end what two home relays could otherwise go on with.
// [CUST-8]
#[must_use]
pub fn may_hop(path: &[NodeId], to: &NodeId, home: &[NodeId]) -> bool {
    planted(Mutant::HopsUnbounded) || path.len() < HOPS_MAX || (path.len() < PATH_MAX && home.contains(to))
}

/// Whether an envelope may come back to a relay that it has passed: to a home relay of the recipient only. Another home
/// relay hands it back only where the recipient is linked now, so that two of them do not play ball with it.
// [CUST-8]
fn may_return(path: &[NodeId], me: &NodeId, home: &[NodeId], linked: bool) -> bool {
    home.contains(me) && (linked || path.last().is_none_or(|peer| !home.contains(peer)))
}

/// The relay that a recipient's copy has come to.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// This relay.
    pub me: &'a NodeId,
    /// The roster in force here.
    pub roster: &'a Roster,
    /// Whether the recipient is linked here.
    pub linked: bool,
}

/// Rules for one recipient, at a relay: it exists, the envelope has not gone round in a circle or passed too many relays
/// on its way to it, and the sender may write to it so urgently. `path` ends with the relay that hands it over.
///
/// # Errors
/// `unknown-recipient`, `loop`, `no-agreement`.
pub fn check_recipient(
    header: &Header,
    recipient: &AgencyId,
    path: &[NodeId],
    Here { me, roster, linked }: Here<'_>,
) -> Result<(), Refusal> {
    let Some(agency) = roster.agency(recipient) else {
        let detail = format!("{recipient} is not in roster version {}", roster.version());
        return Err(Refusal::last(RefusalReason::UnknownRecipient, detail));
    };
    if path.contains(me) && !may_return(path, me, &agency.home, linked) && !planted(Mutant::LoopTaken) {
        // Rosters or links may have changed on the way: its holder keeps it, and looks for another way.
        return Err(Refusal::later(RefusalReason::Loop, format!("it has passed {me} before"), LOOP_RETRY_MS));
    }
    if !may_hop(path, me, &agency.home) {
        return Err(Refusal::last(RefusalReason::Loop, format!("it has passed {} relays already", path.len())));
    }
    if roster.role(&header.sender) == Some(Role::Relay) {
        return check_notice(header);
    }
    if planted(Mutant::AgreementIgnored) {
        return Ok(());
    }
    let sender = header.sender.to_agency();
    let Some(agreement) = roster.agreement(&sender, recipient) else {
        return Err(Refusal::last(
            RefusalReason::NoAgreement,
            format!("no agreement lets {sender} write to {recipient}"),
        ));
    };
    if header.precedence > agreement.max_precedence && !planted(Mutant::PrecedenceIgnored) {
        let detail =
            format!("{sender} may write to {recipient} up to {}, not {}", agreement.max_precedence, header.precedence);
        return Err(Refusal::last(RefusalReason::NoAgreement, detail));
    }
    Ok(())
}

/// What the dedupe memory says of one more copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not seen, or a later attempt of something that has left: take it.
    New,
    /// Held here now: acknowledged, and covered by a receipt again.
    StillHeld,
    /// Was here, and has left: acknowledged, and dropped.
    Passed,
}

/// The dedupe rule (design section 4): by id alone while it is held, by id and attempt once it has left. A recipient's
/// own inbox goes by the id alone for ever. Between relays, what has left is taken anew: with two copies of a message
/// on their way, whoever took it over may have let go of it for the very copy that comes now (docs/decisions/0009).
// [CUST-4]
#[must_use]
pub fn classify(seen: Option<&Remembered>, attempt: u8, kind: NodeKind, from: NodeKind) -> Seen {
    match seen {
        None => Seen::New,
        Some(Remembered { held: Held::Yes, .. }) if planted(Mutant::HeldTakenTwice) => Seen::New,
        Some(Remembered { held: Held::Yes, .. }) => Seen::StillHeld,
        Some(_) if kind == NodeKind::Daemon && !planted(Mutant::InboxTakesAttempts) => Seen::Passed,
        Some(_) if kind == NodeKind::Relay && planted(Mutant::AttemptAlwaysNew) => Seen::New,
        Some(_) if planted(Mutant::AttemptIgnored) => Seen::Passed,
        Some(Remembered { to: Some(_), .. }) if from == NodeKind::Relay && !planted(Mutant::PassedBetweenRelays) => {
            Seen::New
        }
        Some(remembered) if attempt > remembered.attempt => Seen::New,
        Some(_) => Seen::Passed,
    }
}

/// Rules for what a relay signs itself: a notice, for one recipient, and small. Relays need no agreement for it, so that
/// nothing else may come by this way.
// [CUST-22]
fn check_notice(header: &Header) -> Result<(), Refusal> {
    let is_small = header.recipients.len() == 1 && header.body_len <= NOTICE_BODY_BYTES_MAX;
    if header.kind == Kind::Sealed && is_small {
        return Ok(());
    }
    let detail = format!("{} is a relay, which sends notices only", header.sender);
    Err(Refusal::last(RefusalReason::NoAgreement, detail))
}

/// How much room `sender` finds in a recipient's queue of `queue_bytes`. A relay's notices never use the reserve of
/// flash, and take a small part of the rest.
// [CUST-21] [CUST-22]
#[must_use]
pub fn limits_of(
    sender: &NodeId,
    recipient: &AgencyId,
    queue_bytes: u64,
    reserve_percent: u8,
    roster: &Roster,
) -> Limits {
    let reserve_bytes = queue_bytes / 100 * u64::from(reserve_percent.min(100));
    match roster.role(sender) {
        Some(Role::Relay) => Limits {
            queue_bytes: queue_bytes - reserve_bytes,
            reserve_bytes: 0,
            sender_bytes: Some((queue_bytes / NOTICES_PART).max(NOTICES_BYTES_MIN)),
        },
        _ => Limits {
            queue_bytes,
            reserve_bytes,
            sender_bytes: roster.agreement(&sender.to_agency(), recipient).and_then(|agreement| agreement.quota),
        },
    }
}

/// The room that entries of a rank take.
#[must_use]
pub fn room_of(rank: u8) -> Room {
    if rank == Precedence::Flash.rank() { Room::WithReserve } else { Room::Common }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(attempt: u8, held: Held) -> Option<Remembered> {
        Some(Remembered::mark(attempt, held, Timestamp::MAX))
    }

    // [CUST-4]
    #[test]
    fn a_copy_is_taken_once_per_attempt_and_only_after_the_last_one_left() {
        let of =
            |seen: Option<Remembered>, attempt| classify(seen.as_ref(), attempt, NodeKind::Relay, NodeKind::Daemon);
        assert_eq!(of(None, 1), Seen::New);
        assert_eq!(of(seen(1, Held::Yes), 2), Seen::StillHeld);
        assert_eq!(of(seen(1, Held::Released), 1), Seen::Passed);
        assert_eq!(of(seen(1, Held::Released), 2), Seen::New);
        assert_eq!(of(seen(3, Held::Released), 2), Seen::Passed);
    }

    // [CUST-4]
    #[test]
    fn what_another_relay_brings_back_is_taken_unless_it_ended_here() {
        let passed_on = seen(1, Held::Released).map(|seen| Remembered { to: "eu-1".parse().ok(), ..seen });
        let of = |seen: Option<&Remembered>| classify(seen, 1, NodeKind::Relay, NodeKind::Relay);
        assert_eq!(of(passed_on.as_ref()), Seen::New);
        assert_eq!(of(seen(1, Held::Yes).as_ref()), Seen::StillHeld);
        assert_eq!(of(seen(1, Held::Released).as_ref()), Seen::Passed, "its sender has been told");
    }

    // [CUST-4]
    #[test]
    fn an_inbox_takes_an_id_once_whatever_the_attempt() {
        assert_eq!(classify(seen(1, Held::Released).as_ref(), 9, NodeKind::Daemon, NodeKind::Relay), Seen::Passed);
    }

    // [ROSTER-13]
    #[test]
    fn a_suite_below_the_rosters_lowest_is_refused_though_known() {
        assert_eq!(check_suite(1, 1), Ok(()));
        assert_eq!(check_suite(1, 2).unwrap_err().reason, RefusalReason::UnsupportedSuite);
    }
}
