//! What costs too much for a turn, and changes nothing: a worker does it beside the turns.

pub(crate) mod bundles;
pub(crate) mod released;
pub(crate) mod roster;

use liaison_protocol::Timestamp;

use self::bundles::{BundleChecked, BundleChecks};
use self::released::{ReleasedRead, ReleasedRows};
use self::roster::{RosterCheck, RosterChecked};
use crate::view::Reads;

/// Work for a worker.
#[derive(Debug)]
pub struct Work(pub(crate) Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    Bundles(BundleChecks),
    Released(ReleasedRead),
    Roster(Box<RosterCheck>),
}

/// The result of work. Only [`Work::run`] makes one.
#[derive(Debug)]
pub struct WorkDone(pub(crate) Done);

#[derive(Debug)]
pub(crate) enum Done {
    Bundles(Vec<BundleChecked>),
    Released(ReleasedRows),
    Roster(Box<RosterChecked>),
}

impl Work {
    /// Does it. May take a second, and wait for the disk.
    #[must_use]
    pub fn run(self, store: &dyn Reads, now: Timestamp) -> WorkDone {
        WorkDone(match self.0 {
            Kind::Bundles(checks) => Done::Bundles(checks.run(store, now)),
            Kind::Released(read) => Done::Released(read.run(store, now)),
            Kind::Roster(check) => Done::Roster(Box::new(check.run())),
        })
    }
}
