//! Calendar prekeys: made ahead, published, and erased on schedule (security.md, "Calendar prekeys").
//!
//! ```text
//!  calendar ── which ──► Keyring::plan ──► slots (fsync) ──► records + bundle (one commit) ──► published
//!                                    └──► slots erased (fsync) ──► records deleted
//! ```
//!
//! Invariants: a private half is durable before its public half leaves; it rests only under its slot's key together
//! with the identity key file; a slot is erased before its record goes, so that no record outlives its erasure.

pub mod calendar;
pub(crate) mod record;
pub mod slots;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use liaison_core::op::Op;
use liaison_node::bundles;
use liaison_protocol::codec::Fixed;
use liaison_protocol::frame::Bundle;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, SignBundleError, sign_bundle};
use liaison_protocol::sign::Signer;
use liaison_protocol::{AgencyId, FederationId, PrekeyId, Timestamp};

use self::calendar::Window;
use self::record::{BundleRecord, KeyRecord};
use self::slots::{SlotError, SlotFile};
use crate::shelf::{ReadError, Shelf};

/// Why prekeys are not made, read or erased.
#[derive(Debug, thiserror::Error)]
pub enum PrekeyError {
    /// A record.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The signing key, or a rule of bundles.
    #[error("the prekey bundle cannot be signed: {0}")]
    Sign(#[from] SignBundleError),
    /// The slot file.
    #[error(transparent)]
    Slots(#[from] SlotError),
}

/// The private prekeys, in memory and at rest.
pub struct Keyring {
    shelf: Arc<Shelf>,
    agency: AgencyId,
    federation: FederationId,
    secrets: RwLock<HashMap<PrekeyId, Arc<PrekeySecret>>>,
    state: Mutex<State>,
}

struct State {
    slots: SlotFile,
    held: Vec<KeyRecord>,
    bundle: Option<BundleRecord>,
}

/// What is to be committed to top up the keys. Nothing of it holds before [`Keyring::confirm`].
#[must_use = "commit the operations, then confirm"]
pub struct TopUp {
    /// One commit.
    pub ops: Vec<Op>,
    made: Vec<(KeyRecord, PrekeySecret)>,
    bundle: BundleRecord,
}

impl Keyring {
    /// Reads the keys that are held. Those whose slot is gone are lost, and forgotten.
    ///
    /// # Errors
    /// [`PrekeyError`].
    pub(crate) fn open(
        shelf: Arc<Shelf>,
        mut slots: SlotFile,
        agency: AgencyId,
        federation: FederationId,
    ) -> Result<Self, PrekeyError> {
        let mut secrets = HashMap::new();
        let mut held = Vec::new();
        for record in KeyRecord::all(&shelf)? {
            let key = slots.key(record.window.0).map(|slot| shelf.at_rest().salted(slot));
            if let Some(secret) = key.and_then(|key| record.open(&key)) {
                secrets.insert(secret.prekey_id(), Arc::new(secret));
                held.push(record);
            }
        }
        let stray: Vec<u64> = slots.starts().filter(|start| !held.iter().any(|key| key.window.0 == *start)).collect();
        if !stray.is_empty() {
            slots.erase(&stray)?;
        }
        let bundle = BundleRecord::read(&shelf)?;
        let state = Mutex::new(State { slots, held, bundle });
        Ok(Self { shelf, agency, federation, secrets: RwLock::new(secrets), state })
    }

    /// The private half of a prekey, while it is kept.
    #[must_use]
    pub fn secret(&self, id: PrekeyId) -> Option<Arc<PrekeySecret>> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Whether keys that are published have been lost: the sign of a restore from a backup, which holds no slots.
    #[must_use]
    pub fn is_restored(&self, now: Timestamp) -> bool {
        let state = self.lock();
        let published = state.bundle.as_ref().is_some_and(|bundle| bundle.until > now);
        published && !state.holds(Window::holding(now))
    }

    /// End of the last window that is published.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.lock().bundle.as_ref().map(|bundle| bundle.until)
    }

    /// Makes the keys that the calendar wants and this agency does not hold, and a bundle that names all of them.
    /// `None`: everything that is to be published is.
    ///
    /// # Errors
    /// [`PrekeyError`].
    pub fn plan(
        &self,
        lifetime_max: Duration,
        signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<Option<TopUp>, PrekeyError> {
        let mut state = self.lock();
        let missing: Vec<Window> = Window::published(now).filter(|window| !state.holds(*window)).collect();
        let lifetime_s = u32::try_from(lifetime_max.as_secs()).unwrap_or(u32::MAX);
        let stands = |bundle: &BundleRecord| bundle.lifetime_s == lifetime_s && bundle.is_signed_by(signer.key_id());
        if missing.is_empty() && state.bundle.as_ref().is_some_and(stands) {
            return Ok(None);
        }
        // Keys that are published and lost: senders must not go on with them, so the whole history starts anew.
        let lost = state.bundle.as_ref().is_none_or(|bundle| missing.iter().any(|w| w.not_before() < bundle.until));
        let starts: Vec<u64> = missing.iter().map(|window| window.0).collect();
        state.slots.fill(&starts, &mut self.shelf.random())?;
        let made = missing.iter().filter_map(|window| self.make(&state, *window, lifetime_max)).collect::<Vec<_>>();

        let position = state.next_position(lost, now);
        let (frame, until) = self.bundle(&state, &made, position, lifetime_s, signer, now)?;
        let bundle = BundleRecord { epoch: position.0, seq: position.1, until, lifetime_s, frame };
        let mut ops: Vec<Op> = made.iter().map(|(record, _)| record.put()).collect();
        ops.push(bundle.put());
        ops.push(bundles::put(&self.agency, &bundle.frame));
        Ok(Some(TopUp { ops, made, bundle }))
    }

    /// The operations of `top_up` are durable: its keys open mail from now on.
    pub fn confirm(&self, top_up: TopUp) {
        let mut state = self.lock();
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        for (record, secret) in top_up.made {
            state.held.retain(|held| held.window != record.window);
            state.held.push(record);
            secrets.insert(secret.prekey_id(), Arc::new(secret));
        }
        state.bundle = Some(top_up.bundle);
    }

    /// Erases what is spent: on return no copy opens any more. The operations only tidy up.
    ///
    /// # Errors
    /// [`PrekeyError`].
    pub fn erase_spent(
        &self,
        drained: Option<Timestamp>,
        witnessed: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Op>, PrekeyError> {
        let mut state = self.lock();
        let is_spent = |key: &KeyRecord| key.window.is_spent(key.lifetime(), drained, witnessed, now);
        let spent: Vec<Window> = state.held.iter().filter(|key| is_spent(key)).map(|key| key.window).collect();
        if spent.is_empty() || planted(Mutant::SpentPrekeyKept) {
            return Ok(Vec::new());
        }
        let starts: Vec<u64> = spent.iter().map(|window| window.0).collect();
        state.slots.erase(&starts)?;
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let (gone, kept) = std::mem::take(&mut state.held).into_iter().partition(|key| spent.contains(&key.window));
        state.held = kept;
        let gone: Vec<KeyRecord> = gone;
        for key in &gone {
            secrets.remove(&key.id);
        }
        Ok(gone.into_iter().map(|key| key.place().delete()).collect())
    }

    fn make(&self, state: &State, window: Window, lifetime: Duration) -> Option<(KeyRecord, PrekeySecret)> {
        let key = self.shelf.at_rest().salted(state.slots.key(window.0)?);
        let mut random = self.shelf.random();
        let secret = PrekeySecret::generate(&mut random);
        Some((KeyRecord::seal(window, lifetime, &secret, &key, &mut random), secret))
    }

    fn bundle(
        &self,
        state: &State,
        made: &[(KeyRecord, PrekeySecret)],
        (epoch, seq): (u32, u64),
        max_ttl_s: u32,
        signer: &dyn Signer,
        now: Timestamp,
    ) -> Result<(Bundle, Timestamp), PrekeyError> {
        let windows: Vec<Window> = Window::published(now).collect();
        let held = state.held.iter().filter_map(|key| Some((key.window, self.secret(key.id)?)));
        let held: HashMap<Window, Arc<PrekeySecret>> = held.collect();
        let fresh: HashMap<Window, &PrekeySecret> = made.iter().map(|(key, secret)| (key.window, secret)).collect();
        let secret = |window: &Window| fresh.get(window).copied().or_else(|| held.get(window).map(Arc::as_ref));
        let public = windows.iter().filter_map(|window| Some((window, secret(window)?.public()))).collect::<Vec<_>>();
        let entry = |(window, key): &(&Window, liaison_protocol::prekey::PrekeyPublic)| PrekeyEntry {
            id: key.id(),
            not_before: window.not_before(),
            not_after: window.not_after(),
            once: false,
        };
        let bundle = PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.federation,
            agency: self.agency.clone(),
            epoch,
            seq,
            issued: now,
            max_ttl_s,
            keys: public.iter().map(entry).collect(),
        };
        let keys = public.iter().map(|(_, key)| Fixed(Box::new(*key.as_bytes()))).collect();
        let until = bundle.keys.iter().map(|key| key.not_after).max().unwrap_or(now);
        let signed = sign_bundle(&bundle, signer)?;
        Ok((Bundle { bundle: signed.encode().into(), keys }, until))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn holds(&self, window: Window) -> bool {
        self.held.iter().any(|key| key.window == window)
    }

    /// [PREKEY-5] A new epoch is the time in seconds: higher than any before it, also where the old one was lost with the disk.
    fn next_position(&self, lost: bool, now: Timestamp) -> (u32, u64) {
        match &self.bundle {
            Some(bundle) if !lost => (bundle.epoch, bundle.seq.saturating_add(1)),
            before => {
                let clock = u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX);
                let floor = before.as_ref().map_or(0, |bundle| bundle.epoch.saturating_add(1));
                (clock.max(floor), 1)
            }
        }
    }
}

#[cfg(test)]
mod tests;
