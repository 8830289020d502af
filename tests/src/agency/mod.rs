//! An agency's node within this process: the daemon's run loop, store and links, and in the daemon's place an inbox that
//! counts.
//!
//! It sends more than a daemon's local API takes, and knows to the microsecond when a message is in the inbox.

mod seal;
mod way;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certs_dev::Federation;
use liaison_core::op::{Op, Table};
use liaison_core::{Config, NodeKind};
use liaison_node::link::LinkIdentity;
use liaison_node::local::{LocalAgency, NodeHandle, OwnEvent, Received};
use liaison_node::operator;
use liaison_node::run::{NodeOptions, RunError, Runner};
use liaison_node::store::{DiskStore, Lease, Store, StoreConfig};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::prekey::{PrekeyPublic, PrekeySecret};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, MessageId, Precedence, SigningKey, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::keys;
pub use seal::SealJob;
pub use way::{Way, once};

/// Everything of an agency's node, before it runs.
pub(crate) struct Parts {
    pub(crate) handle: NodeHandle,
    pub(crate) runner: Runner,
    pub(crate) signer: Arc<SigningKey>,
}

/// The node of `agency`, with its store in `store` and `local` in the daemon's place.
pub(crate) fn parts(
    files: &Federation,
    roster: &Arc<Roster>,
    agency: &AgencyId,
    store: &Path,
    local: Option<Arc<dyn LocalAgency>>,
) -> Result<Parts> {
    let signer = Arc::new(keys::signing_key(files, agency.as_str()));
    let (certificate, key) = keys::link_pems(files, agency.as_str());
    let identity = LinkIdentity::from_pem(&certificate, &key)?;
    let store_path = store.to_owned();
    let store: Arc<dyn Store> = Arc::new(DiskStore::open(&StoreConfig::new(&store_path))?);
    let options = NodeOptions {
        core: Config {
            me: agency.into(),
            kind: NodeKind::Daemon,
            home: Vec::new(),
            costs: BTreeMap::new(),
            agency_bytes_max: u64::MAX,
            flash_reserve_percent: 0,
            agency_rate: None,
            seed: 1,
        },
        listen: None,
        identity,
        signer: signer.clone(),
        addresses: BTreeMap::new(),
        low_water_bytes: 0,
        lease: Lease::open(&StoreConfig::new(store_path).lease_file())?,
    };
    let (handle, requests) = NodeHandle::new(store.clone());
    let (_, operator) = operator::channel();
    let runner = Runner::start(options, store, watch::Sender::new(roster.clone()), local, requests, operator)?;
    Ok(Parts { handle, runner, signer })
}

/// See the module.
pub struct Agency {
    name: AgencyId,
    roster: Arc<Roster>,
    handle: NodeHandle,
    signer: Arc<SigningKey>,
    inbox: Arc<Inbox>,
    arrivals: Mutex<mpsc::UnboundedReceiver<(MessageId, Instant)>>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

/// Takes everything unopened. Each taking is a record of its own, so that what is taken twice is there twice.
struct Inbox {
    prekey: PrekeySecret,
    taken: AtomicU64,
    arrived: mpsc::UnboundedSender<(MessageId, Instant)>,
    lost: Mutex<Vec<String>>,
}

impl LocalAgency for Inbox {
    fn receive(&self, envelope: &VerifiedEnvelope, _index: u16, _now: Timestamp) -> Received {
        let taking = self.taken.fetch_add(1, Ordering::Relaxed);
        let key = [&envelope.id().0.0[..], &taking.to_be_bytes()].concat();
        Received::Deliver { ops: vec![Op::Put { table: Table::Inbox, key, value: bytes::Bytes::new() }], chain: None }
    }

    fn committed(&self, id: MessageId) {
        // Nobody may wait any more.
        let _ = self.arrived.send((id, Instant::now()));
    }

    fn dropped(&self, _id: MessageId) {}

    fn progress(&self, event: OwnEvent, _now: Timestamp) -> Vec<Op> {
        if matches!(event, OwnEvent::Expired { .. } | OwnEvent::Refused { .. }) {
            self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{event:?}"));
        }
        Vec::new()
    }
}

impl Agency {
    /// Starts the node of `name`; its store is a folder of its own beside its keys.
    ///
    /// # Errors
    /// It is not in the roster, or its store cannot be opened.
    pub fn start(files: &Federation, name: &str) -> Result<Self> {
        let name: AgencyId = name.parse()?;
        let roster = Arc::new(files.roster()?);
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let prekey = PrekeySecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let inbox = Arc::new(Inbox { prekey, taken: AtomicU64::new(0), arrived, lost: Mutex::default() });
        let store = files.agency_folder(&name).join("own-store");
        let Parts { handle, runner, signer } = parts(files, &roster, &name, &store, Some(inbox.clone()))?;
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "its handle is kept until it stops")]
        let running = tokio::spawn(runner.run(stop.clone()));
        Ok(Self { name, roster, handle, signer, inbox, arrivals: Mutex::new(arrivals), stop, running })
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &AgencyId {
        &self.name
    }

    /// What others seal to.
    #[must_use]
    pub fn prekey(&self) -> PrekeyPublic {
        self.inbox.prekey.public()
    }

    /// What sealing messages to `to` takes.
    #[must_use]
    pub fn seal_job(&self, to: &Self, precedence: Precedence, text_bytes: usize) -> SealJob {
        let recipients = vec![(to.name.clone(), to.prekey())];
        SealJob::new(&self.roster, &self.name, &self.signer, recipients, precedence, text_bytes)
    }

    /// Its run loop: submissions, and reads of its store.
    #[must_use]
    pub const fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// What has come into the inbox since the last call, and when its commit was done.
    pub fn arrivals(&self) -> Vec<(MessageId, Instant)> {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| arrivals.try_recv().ok()).collect()
    }

    /// Its own messages that were refused for good or have expired.
    #[must_use]
    pub fn lost(&self) -> Vec<String> {
        self.inbox.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often each message is in the durable inbox.
    ///
    /// # Errors
    /// The store's.
    pub fn inbox(&self) -> Result<BTreeMap<MessageId, usize>> {
        const PAGE: usize = 10_000;
        let (mut copies, mut after) = (BTreeMap::new(), None::<Vec<u8>>);
        loop {
            let page = self.handle.store().scan(Table::Inbox, &[], after.as_deref(), PAGE)?;
            for (key, _) in &page {
                let id = key.first_chunk().context("a key that begins with an id")?;
                *copies.entry(MessageId(liaison_protocol::Hash(*id))).or_insert(0) += 1;
            }
            after = match page.last() {
                Some((key, _)) if page.len() == PAGE => Some(key.clone()),
                _ => return Ok(copies),
            };
        }
    }

    /// Until a message has come all the way to `to`; its id.
    ///
    /// # Errors
    /// None comes within `patience`.
    pub async fn await_way(&self, to: &Self, patience: Duration) -> Result<MessageId> {
        let envelope = self.seal_job(to, Precedence::Flash, 1).seal()?;
        let id = envelope.id();
        self.handle.submit(envelope, 1, Vec::new()).await?;
        let deadline = Instant::now() + patience;
        while !to.arrivals().iter().any(|(arrived, _)| *arrived == id) {
            anyhow::ensure!(Instant::now() < deadline, "no way from {} to {}", self.name, to.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(id)
    }

    /// Ends it in peace.
    ///
    /// # Errors
    /// Its run loop had failed.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.running.await??)
    }
}
