//! Agencies and relays that play false.

use super::super::plan::{Change, FaultKind, Mail, Place, Plan, Shape, Trick};
use super::{fault, plan};

/// A message with an attachment waits at the relay of its sender, while a third agency, whose relay is the recipient's,
/// has its chunks already, and signs them as its own.
#[must_use]
pub fn chunks_signed_by_an_accomplice() -> Plan {
    let mut plan = plan(vec![
        fault(1_030, 60_000, FaultKind::Cut(Place::Relay(0), Place::Relay(1))),
        fault(2_000, 50_000, FaultKind::Trick(Place::Agency(3), Trick::Copy, 100)),
    ]);
    plan.office = true;
    plan.shape = Shape { regions: 2, agencies: 4, ..plan.shape };
    plan.mail[0].to = vec![1];
    plan.mail[0].attached = vec![300_000];
    plan
}

/// A thief of agency 1's signing key publishes prekeys before the first message, while agency 1 is away, and the roster
/// replaces the key before the second one.
#[must_use]
pub fn prekeys_of_a_thief() -> Plan {
    let mut plan = plan(vec![
        fault(1_900, 25_000, FaultKind::Cut(Place::Relay(0), Place::Agency(1))),
        fault(2_000, 1_000, FaultKind::Stolen(Place::Agency(1))),
        fault(20_000, 1_000, FaultKind::Roster(Change::Rekeyed(1))),
    ]);
    plan.office = true;
    let mail = |at_ms| Mail { at_ms, to: vec![1], ..plan.mail[0].clone() };
    plan.mail = vec![mail(2_500), mail(40_000)];
    plan
}

/// An old copy of the sender's store, and then of the recipient's, is put back between two messages.
#[must_use]
pub fn stores_that_are_put_back() -> Plan {
    let mut plan = plan(vec![
        fault(500, 20_000, FaultKind::Restored(Place::Agency(0))),
        fault(600, 25_000, FaultKind::Restored(Place::Agency(1))),
    ]);
    plan.office = true;
    let mail = |at_ms, from, to| Mail { at_ms, from, to: vec![to], ..plan.mail[0].clone() };
    plan.mail = vec![mail(1_000, 0, 1), mail(2_000, 1, 0), mail(60_000, 0, 1), mail(61_000, 1, 0)];
    plan
}
