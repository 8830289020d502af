//! Calendar prekeys: made ahead, published, and erased on schedule (security.md, "Calendar prekeys").
//!
//! ```text
//!  calendar ── which ──► Keyring::plan ──► slots (fsync) ──► records + bundle (one commit) ──► slots (fsync) ──► published
//!                                    └──► slots erased (fsync) ──► records deleted
//! ```
//!
//! Invariants: a private half is durable before its public half leaves; it rests only under its slot's key together
//! with the identity key file; a slot is erased before its record goes, so that no record outlives its erasure.

pub(crate) mod alarm;
pub mod calendar;
pub(crate) mod record;
pub mod slots;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use liaison_core::op::Op;
use liaison_node::bundles;
use liaison_node::local::ForeignBundle;
use liaison_protocol::codec::Fixed;
use liaison_protocol::frame::Bundle;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::prekey::{
    BundlePosition, PrekeyBundle, PrekeyEntry, PrekeySecret, SignBundleError, Succession, sign_bundle,
};
use liaison_protocol::sign::Signer;
use liaison_protocol::{AgencyId, FederationId, PrekeyId, Timestamp};

use self::alarm::{Alarms, Restored};
use self::calendar::Window;
use self::record::{BundleRecord, KeyRecord};
use self::slots::{Progress, SlotError, SlotFile};
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
    alarms: Alarms,
    /// Store and slots are not of one time.
    torn: Option<Restored>,
    /// The highest bundle of this agency that was met before this life had looked after its own: one of a life before.
    before: Option<BundlePosition>,
    /// Whether this life has looked after its bundle: what is foreign from now on, somebody else has made.
    settled: bool,
}

/// What is to be committed to top up the keys. Nothing of it holds before [`Keyring::confirm`].
#[must_use = "commit the operations, then confirm"]
pub struct TopUp {
    /// One commit.
    pub ops: Vec<Op>,
    made: Vec<(KeyRecord, PrekeySecret)>,
    bundle: BundleRecord,
    alarms: Alarms,
}

/// A foreign bundle is noted, once this is committed.
pub(crate) struct Noted {
    pub(crate) alarms: Alarms,
    /// Whether it was not known before.
    pub(crate) news: bool,
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
        let alarms = Alarms::read(&shelf)?;
        let torn = torn(slots.progress(), bundle.as_ref().map(BundleRecord::position));
        // A life that is to publish anew meets what was published before, and that is no alarm.
        let settled = bundle.is_some() && torn.is_none();
        let state = Mutex::new(State { slots, held, bundle, alarms, torn, before: None, settled });
        Ok(Self { shelf, agency, federation, secrets: RwLock::new(secrets), state })
    }

    /// The private half of a prekey, while it is kept.
    #[must_use]
    pub fn secret(&self, id: PrekeyId) -> Option<Arc<PrekeySecret>> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Whether store and slots are of different times, or keys that are published have been lost: the signs of a restore
    /// from a backup, which holds no slots.
    #[must_use]
    pub(crate) fn restored(&self, now: Timestamp) -> Option<Restored> {
        let state = self.lock();
        let published = state.bundle.as_ref().is_some_and(|bundle| bundle.until > now);
        let gone = published && !state.holds(Window::holding(now));
        state.torn.or_else(|| gone.then_some(Restored::SlotsGone))
    }

    /// Writes down what was found at the start.
    pub(crate) fn note_restored(&self, restored: Restored, now: Timestamp) -> Op {
        let mut state = self.lock();
        state.alarms.restored = Some((now, restored));
        state.settled = false;
        state.alarms.put()
    }

    /// What is wrong, if anything.
    pub(crate) fn alarms(&self) -> Alarms {
        self.lock().alarms
    }

    /// [PREKEY-9] A bundle of this agency that the store does not know. `None`: it is this life's own after all, below it,
    /// or of a life before, which this life publishes above anyway.
    pub(crate) fn meet_foreign(&self, met: &ForeignBundle, now: Timestamp) -> Option<Noted> {
        let mut state = self.lock();
        let own = state.bundle.as_ref();
        let is_own = |own: &BundleRecord| own.position() == met.position && own.hash() == Some(met.hash);
        if own.is_some_and(|own| own.position() > met.position || is_own(own)) {
            return None;
        }
        if !state.settled {
            state.before = state.before.max(Some(met.position));
            return None;
        }
        let news = state.alarms.meet(met, now);
        Some(Noted { alarms: state.alarms, news })
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
        witnessed: Timestamp,
        now: Timestamp,
    ) -> Result<Option<TopUp>, PrekeyError> {
        let mut state = self.lock();
        let missing: Vec<Window> = Window::published(now).filter(|window| !state.holds(*window)).collect();
        let lifetime_s = u32::try_from(lifetime_max.as_secs()).unwrap_or(u32::MAX);
        // One that a clock published which had jumped names other days, though the keys of these are held.
        let end = Window::published(now).last().map(Window::not_after);
        let stands = |bundle: &BundleRecord| {
            bundle.lifetime_s == lifetime_s && Some(bundle.until) == end && bundle.is_signed_by(signer.key_id())
        };
        let own = state.bundle.as_ref().map(BundleRecord::position);
        let answer = state.alarms.is_answer_due(own, now) || state.before.is_some_and(|before| own <= Some(before));
        let anew = answer || state.torn.is_some();
        if missing.is_empty() && state.bundle.as_ref().is_some_and(stands) && !anew {
            return Ok(None);
        }
        // Keys that are published and lost: senders must not go on with them, so the whole history starts anew.
        let lost = state.bundle.as_ref().is_none_or(|bundle| missing.iter().any(|window| bundle.names(*window)));
        let succession = if lost || anew { Succession::NewEpoch } else { Succession::Continue };
        let Some(position) = BundlePosition::next(state.highest(), succession, now) else {
            tracing::warn!(
                "prekeys are published in some minutes: another daemon's have the highest number possible now"
            );
            return Ok(None);
        };
        let starts: Vec<u64> = missing.iter().map(|window| window.0).collect();
        let evicted = self.evict(&mut state, missing.len(), witnessed, now)?;
        state.slots.plan(position)?;
        state.slots.fill(&starts, &mut self.shelf.random())?;
        let made = missing.iter().filter_map(|window| self.make(&state, *window, lifetime_max)).collect::<Vec<_>>();

        let (frame, until) = self.bundle(&state, &made, position, lifetime_s, signer, now)?;
        let BundlePosition { epoch, seq } = position;
        let bundle = BundleRecord { epoch, seq, until, lifetime_s, frame };
        let mut alarms = state.alarms;
        alarms.answer(position, now);
        let mut ops = evicted;
        ops.extend(made.iter().map(|(record, _)| record.put()));
        ops.push(bundle.put());
        ops.push(bundles::put(&self.agency, &bundle.frame));
        ops.extend((alarms != state.alarms).then(|| alarms.put()));
        Ok(Some(TopUp { ops, made, bundle, alarms }))
    }

    /// The operations of `top_up` are durable: its keys open mail from now on. On return others may hear of its bundle.
    ///
    /// # Errors
    /// [`PrekeyError`].
    pub fn confirm(&self, top_up: TopUp) -> Result<(), PrekeyError> {
        let mut state = self.lock();
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        for (record, secret) in top_up.made {
            state.held.retain(|held| held.window != record.window);
            state.held.push(record);
            secrets.insert(secret.prekey_id(), Arc::new(secret));
        }
        drop(secrets);
        if let (Some(now), Some(then)) = (&mut state.alarms.foreign, top_up.alarms.foreign) {
            // What was met meanwhile stays.
            (now.answered, now.answers) = (then.answered, then.answers);
        }
        let position = top_up.bundle.position();
        state.slots.publish(position)?;
        state.bundle = Some(top_up.bundle);
        // What was met meanwhile, and is not below it, is published above next.
        state.before = state.before.filter(|before| *before >= position);
        (state.torn, state.settled) = (None, true);
        Ok(())
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
        self.erase(&mut state, &spent)
    }

    /// Makes room for `wanted` new keys, where a clock that jumped has filled the slots.
    fn evict(
        &self,
        state: &mut State,
        wanted: usize,
        witnessed: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Op>, PrekeyError> {
        let short = wanted.saturating_sub(state.slots.free());
        if short == 0 || planted(Mutant::SlotsRunOut) {
            return Ok(Vec::new());
        }
        let held: Vec<Window> = state.held.iter().map(|key| key.window).collect();
        let evicted = calendar::evicted(&held, short, witnessed, now);
        tracing::warn!(keys = evicted.len(), "the clock has jumped: old prekeys are erased to make room for new ones");
        self.erase(state, &evicted)
    }

    /// Erases the keys of these windows: on return no copy opens any more.
    fn erase(&self, state: &mut State, windows: &[Window]) -> Result<Vec<Op>, PrekeyError> {
        let starts: Vec<u64> = windows.iter().map(|window| window.0).collect();
        state.slots.erase(&starts)?;
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let (gone, kept): (Vec<KeyRecord>, Vec<KeyRecord>) =
            std::mem::take(&mut state.held).into_iter().partition(|key| windows.contains(&key.window));
        state.held = kept;
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
        BundlePosition { epoch, seq }: BundlePosition,
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

    /// The highest bundle of this agency that is known of, whoever made it.
    fn highest(&self) -> Option<BundlePosition> {
        let slots = self.slots.progress();
        let own = self.bundle.as_ref().map(BundleRecord::position);
        let foreign = self.alarms.foreign.map(|foreign| foreign.position);
        [own, foreign, self.before, slots.planned, slots.published].into_iter().max().flatten()
    }
}

/// Attack 36: whether the store's bundle, and the slot file's word of it, are of different times.
fn torn(slots: Progress, own: Option<BundlePosition>) -> Option<Restored> {
    if slots.published.is_some() && own < slots.published {
        Some(Restored::StoreBehind)
    } else if slots.planned.is_some() && own > slots.planned {
        Some(Restored::SlotsBehind)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
