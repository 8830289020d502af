//! What all parts of the daemon share: whose it is, its keys, its records, its way to the run loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use liaison_core::op::Table;
use liaison_node::local::NodeHandle;
use liaison_node::store::{Lease, Numbers};
use liaison_protocol::envelope::SenderKeys;
use liaison_protocol::inner::Tlp;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::receipt::ReceiptChain;
use liaison_protocol::roster::{Roster, TrustAnchor};
use liaison_protocol::sign::{Signer, VerifyingKey};
use liaison_protocol::{AgencyId, KeyId, MessageId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, Semaphore, watch};
use zeroize::Zeroizing;

use crate::api::model::{Problem, ProblemCode};
use crate::at_rest::AtRest;
use crate::attachment::arrive::Arrivals;
use crate::attachment::unannounced::{Unannounced, UnannouncedLimits};
use crate::attachment::upload::UploadDesk;
use crate::clock::Clock;
use crate::events::{EventRecord, What};
use crate::links::Links;
use crate::once::Turns;
use crate::outbox::agenda::Agenda;
use crate::outbox::keys::KeyCache;
pub use crate::outbox::ways::Delays;
use crate::outbox::work::Work;
use crate::prekeys::slots::SlotFile;
use crate::prekeys::{Keyring, PrekeyError};
use crate::problem::Answer;
use crate::random::{Entropy, Random};
use crate::receipts::fresh::Fresh;
use crate::receipts::reminders::Reminders;
use crate::sequence::Sequence;
use crate::shelf::{Place, ReadError, Shelf, last_u64};
use crate::witness::Witness;

/// What an [`Office`] is opened with.
pub struct OfficeParts {
    /// Whose daemon this is.
    pub agency: AgencyId,
    /// Signs envelopes, receipts and bundles.
    pub signer: Arc<dyn Signer>,
    /// The public half of the key that `signer` signs with.
    pub verifying_key: VerifyingKey,
    /// Encrypts records.
    pub at_rest: AtRest,
    /// The prekeys' slots; beside the store, never in its backups.
    pub slots: SlotFile,
    /// Numbers that are set aside; beside the store, never in its backups.
    pub lease: Lease,
    /// The run loop.
    pub node: NodeHandle,
    /// Where trust begins.
    pub anchor: TrustAnchor,
    /// The roster in force.
    pub roster: watch::Receiver<Arc<Roster>>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What the agency has decided.
    pub policy: Policy,
}

/// What the agency has decided about its daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The mark of a submission that names none; without it, such submissions are refused.
    pub default_tlp: Option<Tlp>,
    /// Nothing new is taken while less is free on the store's disk.
    pub min_free_bytes: u64,
    /// Read and handed-over messages, finished sent ones and events are kept so long.
    pub retain_read: std::time::Duration,
    /// Messages without a delivery receipt are asked after so often.
    pub inquire_every: std::time::Duration,
    /// What may wait here of attachments that no message announces.
    pub unannounced: UnannouncedLimits,
    /// Messages without a delivery receipt are sent by another way after so long.
    pub another_way: Delays,
}

/// Why an office cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The prekeys.
    #[error(transparent)]
    Prekeys(#[from] PrekeyError),
    /// The records.
    #[error(transparent)]
    Records(#[from] ReadError),
}

/// The agency's daemon, but for its tasks and its API.
pub struct Office {
    pub(crate) me: AgencyId,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) node: NodeHandle,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) verifying_key: VerifyingKey,
    pub(crate) anchor: TrustAnchor,
    pub(crate) roster: watch::Receiver<Arc<Roster>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
    pub(crate) keyring: Keyring,
    pub(crate) lease: Lease,
    /// Where this agency's receipts stand.
    pub(crate) receipts: Mutex<ReceiptChain>,
    /// Numbers inbox entries, outbox entries and events alike.
    pub(crate) sequence: Sequence,
    pub(crate) wake: Wake,
    pub(crate) chains: Chains,
    pub(crate) turns: Turns,
    pub(crate) keys: KeyCache,
    pub(crate) uploads: UploadDesk,
    pub(crate) arrivals: Arrivals,
    pub(crate) unannounced: Unannounced,
    /// Giving chunks to messages, and removing chunks: each looks at what the other commits. Held until that is durable.
    pub(crate) matching: tokio::sync::Mutex<()>,
    /// Marking a message read, and making its delivery receipt: each looks at what the other commits. Whoever marks
    /// holds it shared, whoever makes receipts alone.
    pub(crate) reading: tokio::sync::RwLock<()>,
    /// Sending chunks, and saying which are to be sent again: whoever looks at what is to be fed holds it until what
    /// follows is committed.
    pub(crate) feeding: tokio::sync::Mutex<()>,
    /// Messages received here that were asked after.
    pub(crate) reminders: Mutex<Reminders>,
    /// When open messages are looked at next.
    pub(crate) agenda: Mutex<Agenda>,
    /// How often links come and go.
    pub(crate) links: Mutex<Links>,
    /// Home relays that are linked.
    pub(crate) linked: Mutex<BTreeSet<NodeId>>,
    /// Seeds jitter.
    pub(crate) jitter: u64,
    /// Receipts that came of late.
    pub(crate) fresh: Mutex<Fresh>,
    /// As many as there are cores: sealing and hashing.
    workers: Arc<Semaphore>,
    /// Free bytes of the store's disk, as last looked up.
    free_bytes: AtomicU64,
    /// When the last envelope came, in milliseconds.
    last_taken_ms: AtomicU64,
    /// What time it is at least, by others' word.
    witness: Mutex<Witness>,
    pub(crate) started: Timestamp,
}

/// Wakes the daemon's tasks. A wake-up that comes while the task is busy is not lost.
#[derive(Default)]
pub(crate) struct Wake {
    /// Receipts are due.
    pub(crate) receipts: Notify,
    /// Something is on the list of what is to be done.
    pub(crate) work: Notify,
    /// A chunk, or a message with attachments, has arrived.
    pub(crate) arrivals: Notify,
    /// A message with attachments is to be sent.
    pub(crate) feed: Notify,
    /// A relay is linked again: open messages are asked after.
    pub(crate) ask: Notify,
    /// Somebody else has published prekeys of this agency.
    pub(crate) prekeys: Notify,
    /// A message is to be looked at before all others.
    pub(crate) look: Notify,
}

impl Office {
    /// Opens the agency's records in the node's store. Reads them: for a thread that may block.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub fn open(parts: OfficeParts) -> Result<Self, OfficeError> {
        let shelf = Arc::new(Shelf::new(Arc::clone(parts.node.store()), parts.at_rest, Random::new(parts.entropy)));
        let federation = parts.roster.borrow().federation();
        let keyring = Keyring::open(Arc::clone(&shelf), parts.slots, parts.agency.clone(), federation)?;
        let last = last_number(&shelf)?;
        let last = if planted(Mutant::NumbersStartAnew) { 0 } else { parts.lease.used(Numbers::Events, last) };
        let sequence = Sequence::after(last, parts.lease.clone());
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let started = parts.clock.now();
        let jitter = u64::from_be_bytes(shelf.random().bytes());
        let witnessed = shelf.get_clear(&witness_place())?.unwrap_or(Timestamp::ZERO);
        let witness = Witness::new((&parts.agency).into(), witnessed);
        let unannounced = Unannounced::open(parts.policy.unannounced, &shelf)?;
        let office = Self {
            me: parts.agency,
            shelf,
            node: parts.node,
            signer: parts.signer,
            verifying_key: parts.verifying_key,
            anchor: parts.anchor,
            roster: parts.roster,
            clock: parts.clock,
            policy: parts.policy,
            keyring,
            lease: parts.lease,
            receipts: Mutex::default(),
            sequence,
            wake: Wake::default(),
            chains: Chains::default(),
            turns: Turns::default(),
            keys: KeyCache::default(),
            uploads: UploadDesk::default(),
            arrivals: Arrivals::default(),
            unannounced,
            matching: tokio::sync::Mutex::default(),
            reading: tokio::sync::RwLock::default(),
            feeding: tokio::sync::Mutex::default(),
            reminders: Mutex::default(),
            agenda: Mutex::default(),
            links: Mutex::default(),
            linked: Mutex::default(),
            jitter,
            fresh: Mutex::default(),
            workers: Arc::new(Semaphore::new(cores)),
            free_bytes: AtomicU64::new(u64::MAX),
            last_taken_ms: AtomicU64::new(started.as_millis()),
            witness: Mutex::new(witness),
            started,
        };
        if let Some(restored) = office.keyring.restored(started) {
            let text = format!("{}: mail sealed to lost keys is sealed anew by its senders", restored.in_words());
            tracing::warn!("{text}");
            let event = EventRecord::new(What::PrekeysRestarted, started).because(text);
            let ops =
                [office.keyring.note_restored(restored, started), Work::Announce(event).put(&office.shelf, started)];
            // The run loop does not run yet.
            drop(office.node.store().commit(&ops).map_err(ReadError::from)?);
        }
        office.resume_receipts()?;
        Ok(office)
    }

    /// The roster in force.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.borrow())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn note_taken(&self, now: Timestamp) {
        self.last_taken_ms.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// When the last envelope came; the start, if none has.
    pub(crate) fn last_taken(&self) -> Timestamp {
        Timestamp::from_millis(self.last_taken_ms.load(Ordering::Relaxed))
    }

    /// `by` has signed that it is at least so late.
    pub(crate) fn note_witness(&self, by: &NodeId, at: Timestamp, now: Timestamp) {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).note(by, at, now);
    }

    /// What time it is at least, by the word of two others.
    pub(crate) fn witnessed(&self) -> Timestamp {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner).time()
    }

    /// Looks at an open message then, at the latest.
    pub(crate) fn look(&self, first: MessageId, at: Timestamp) {
        if self.agenda.lock().unwrap_or_else(PoisonError::into_inner).look(first, at) {
            self.wake.look.notify_one();
        }
    }

    /// Runs costly work on one of as many workers as there are cores.
    pub(crate) async fn costly<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let permit = Arc::clone(&self.workers).acquire_owned().await;
        crate::blocking(move || {
            let _permit = permit;
            work()
        })
        .await
    }

    /// Looks the disk up. Costs a system call.
    pub(crate) fn look_at_disk(&self) -> Result<(), ReadError> {
        self.free_bytes.store(self.shelf.store().usage()?.free_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Free bytes of the store's disk, as last looked up; a great many before the first look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Whether anything new may be taken.
    pub(crate) fn check_room(&self) -> Answer<()> {
        self.check_room_for(0)
    }

    /// Whether `bytes` may be taken.
    pub(crate) fn check_room_for(&self, bytes: u64) -> Answer<()> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        if free.saturating_sub(bytes) >= self.policy.min_free_bytes {
            return Ok(());
        }
        let detail = format!(
            "{} free on the store's disk, [store] min_free is {}",
            size(free),
            size(self.policy.min_free_bytes)
        );
        Err(Problem::new(ProblemCode::DiskFull, detail))
    }
}

/// Bytes in words.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (1 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// The highest number in use: of events, and of lists (an event may be gone before its message).
fn last_number(shelf: &Shelf) -> Result<u64, ReadError> {
    let mut last = 0;
    for (table, kind) in [(Table::Events, b'n'), (Table::Inbox, b's'), (Table::Outbox, b's')] {
        let records = shelf.store().scan_back(table, &[kind], None, 1)?;
        let number = records.first().and_then(|(key, _)| last_u64(key));
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

/// The latest time that others have stated, as of a minute ago.
pub(crate) fn witness_place() -> Place {
    Place::new(Table::Meta, b'w', &[])
}

/// 32 secret bytes in a record.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret32(pub(crate) Zeroizing<[u8; 32]>);

impl Secret32 {
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }
}

impl Serialize for Secret32 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret32 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 32]>::deserialize(deserializer).map(|bytes| Self(Zeroizing::new(bytes)))
    }
}

/// The key that verified an envelope when it was taken: a roster of later years may no longer know it.
pub(crate) struct Pinned(pub(crate) VerifyingKey);

impl SenderKeys for Pinned {
    fn verifying_key(&self, _: &NodeId, key: KeyId, _: Timestamp) -> Option<VerifyingKey> {
        (self.0.key_id() == key).then_some(self.0)
    }
}

/// Chains of superseding messages with an envelope whose commit is open: of two, the second waits.
#[derive(Default)]
pub(crate) struct Chains(Mutex<BTreeMap<MessageId, MessageId>>);

impl Chains {
    /// Whether `envelope` may go on: it is the only open one of `chain`, or was let through before.
    pub(crate) fn enter(&self, chain: MessageId, envelope: MessageId) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *open.entry(chain).or_insert(envelope) == envelope
    }

    pub(crate) fn leave(&self, envelope: MessageId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, open| *open != envelope);
    }
}
