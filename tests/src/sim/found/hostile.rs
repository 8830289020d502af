//! Agencies and relays that play false.

use super::super::plan::{FaultKind, Place, Plan, Shape, Trick};
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
