//! Checking prekey bundles that came from peers: a signature and 35 keys each.

use std::sync::Arc;

use liaison_core::LinkKey;
use liaison_protocol::frame::Bundle;
use liaison_protocol::prekey::{SignedBundle, recall_bundle};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Timestamp};

use crate::bundles::{self, AdmitError, KnownBundle};
use crate::view::Reads;

/// A peer's bundle.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) link: LinkKey,
    pub(crate) agency: AgencyId,
    /// Nobody else is asked for it meanwhile.
    pub(crate) asked: bool,
    pub(crate) frame: Bundle,
}

/// Bundles for a worker to check.
#[derive(Debug)]
pub(crate) struct BundleChecks {
    pub(crate) batch: Vec<Arrived>,
    pub(crate) roster: Arc<Roster>,
}

impl BundleChecks {
    pub(crate) fn run(self, store: &dyn Reads, now: Timestamp) -> Vec<BundleChecked> {
        let Self { batch, roster } = self;
        let check = |arrived: Arrived| {
            let outcome = check(&arrived.frame, store, &roster, now);
            BundleChecked { arrived, outcome }
        };
        batch.into_iter().map(check).collect()
    }
}

/// The same, after its check on a worker.
#[derive(Debug)]
pub(crate) struct BundleChecked {
    pub(crate) arrived: Arrived,
    pub(crate) outcome: Result<KnownBundle, AdmitError>,
}

fn check(frame: &Bundle, store: &dyn Reads, roster: &Roster, now: Timestamp) -> Result<KnownBundle, AdmitError> {
    let signed = SignedBundle::decode(&frame.bundle)?;
    let claimed = recall_bundle(signed, &roster.federation(), roster, now)?;
    // What cannot be read from the store is compared with nothing, and then fails where it is written.
    let known = bundles::get(store, &claimed.bundle().agency, roster, now).ok().flatten();
    bundles::admit(frame, known.as_ref(), roster, now)
}
