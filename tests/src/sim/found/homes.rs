//! Two home relays in a region, one of them of no use.

use liaison_protocol::Precedence;

use super::super::plan::{Fault, FaultKind, Mail, Place, Plan, Shape};
use super::{fault, plan};

const HOUR_MS: u64 = 3_600_000;

/// One region with two relays, which are home to both agencies; agency 0 writes flash to agency 1 after a second.
fn two_homes(faults: Vec<Fault>) -> Plan {
    let plan = plan(faults);
    let mail = Mail { to: vec![1], precedence: Precedence::Flash, lifetime_s: 86_400, ..plan.mail[0].clone() };
    Plan { office: true, shape: Shape { second: 1, agencies: 2, ..plan.shape }, mail: vec![mail], ..plan }
}

/// The first relay takes a message while it has no link to the recipient, and then stops for good.
#[must_use]
pub fn taken_by_a_home_that_is_gone_then() -> Plan {
    let first = Place::Relay(0);
    two_homes(vec![
        fault(2, HOUR_MS, FaultKind::Cut(first, Place::Agency(1))),
        fault(2, HOUR_MS, FaultKind::Cut(first, Place::Relay(1))),
        fault(5_000, 1, FaultKind::Gone(first)),
    ])
}

/// The recipient has no link to the first relay, which its sender writes to.
#[must_use]
pub fn at_the_home_that_its_recipient_is_not_linked_to() -> Plan {
    two_homes(vec![fault(2, 20 * HOUR_MS, FaultKind::Cut(Place::Relay(0), Place::Agency(1)))])
}

/// The first relay refuses whatever comes: it drains, its disk is low, or its clock is slow.
#[must_use]
pub fn refused_by_the_first_home(kind: fn(Place) -> FaultKind) -> Plan {
    two_homes(vec![fault(2, 20 * HOUR_MS, kind(Place::Relay(0)))])
}
