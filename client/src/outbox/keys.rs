//! The prekeys that are sealed to today: read and checked once, not with every message.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use liaison_node::bundles;
use liaison_node::store::Store;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::prekey::{PrekeyPublic, signer_of};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, KeyId, Timestamp};

use crate::shelf::ReadError;

/// By agency: bounded by the roster.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<Known>);

#[derive(Default)]
struct Known {
    keys: BTreeMap<AgencyId, Cached>,
    /// How often something was forgotten: what was read before that may be old.
    forgotten: u64,
}

#[derive(Clone)]
struct Cached {
    chosen: Chosen,
    not_before: Timestamp,
    not_after: Timestamp,
    /// Of the bundle that names the key: who signed it, and when.
    signer: KeyId,
    issued: Timestamp,
}

/// A key to seal to.
#[derive(Clone)]
pub(super) struct Chosen {
    pub(super) key: PrekeyPublic,
    /// The latest expiry under it.
    pub(super) expires_max: Timestamp,
}

impl KeyCache {
    /// The key to seal to at `created`. `None`: none is known that is meant for that time and signed by a key that the
    /// roster gives this agency at `now`. What is remembered is asked of the roster, too.
    pub(super) fn select(
        &self,
        store: &dyn Store,
        roster: &Roster,
        agency: &AgencyId,
        created: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Chosen>, ReadError> {
        let of_window = |cached: &&Cached| {
            let counts = signer_of(agency, cached.signer, cached.issued, roster, now).is_some();
            counts && cached.not_before <= created && created < cached.not_after
        };
        let forgotten = {
            let known = self.lock();
            if let Some(cached) = known.keys.get(agency).filter(of_window) {
                return Ok(Some(cached.chosen.clone()));
            }
            known.forgotten
        };
        let Some(known) = bundles::get(store, agency, roster, now)? else { return Ok(None) };
        let Some((key, expires_max)) = known.select(created) else { return Ok(None) };
        let window = known.bundle().entry(&key).map(|entry| (entry.not_before, entry.not_after));
        let (signer, issued) = (known.signer(), known.bundle().issued);
        let chosen = Chosen { key, expires_max };
        if let Some((not_before, not_after)) = window {
            let mut known = self.lock();
            if known.forgotten == forgotten {
                let cached = Cached { chosen: chosen.clone(), not_before, not_after, signer, issued };
                known.keys.insert(agency.clone(), cached);
            }
        }
        Ok(Some(chosen))
    }

    /// A newer bundle of the agency is in the store.
    pub(super) fn forget(&self, agency: &AgencyId) {
        if planted(Mutant::OldKeySealed) {
            return;
        }
        let mut known = self.lock();
        known.keys.remove(agency);
        known.forgotten += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
