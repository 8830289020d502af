//! Fixtures of unit tests: agencies of a throw-away federation, each with its own store, office and run loop, and no
//! links. What one has queued, a test carries to the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use certs_dev::{Kdf, Options, make};
use liaison_core::op::{Entry, Op, Position, RANKS};
use liaison_core::{Config, NodeKind};
use liaison_node::bundles;
use liaison_node::link::LinkIdentity;
use liaison_node::local::{LocalAgency, NodeHandle, OwnEvent, Received};
use liaison_node::operator::{self, OperatorHandle};
use liaison_node::run::{NodeOptions, Runner};
use liaison_node::store::{DiskStore, Lease, Store, StoreConfig};
use liaison_protocol::codec::Fixed;
use liaison_protocol::envelope::verify_bytes;
use liaison_protocol::frame::Bundle;
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::prekey::{BundlePosition, PrekeyBundle, PrekeyEntry, PrekeySecret, sign_bundle};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{Roster, TrustAnchor};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{AgencyId, MessageId, NodeId, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::model::{Direction, ListQuery, Message, MessageState, MessageSummary, Submission, Submitted};
use crate::at_rest::AtRest;
use crate::attachment::unannounced::UnannouncedLimits;
use crate::clock::{Clock, SystemClock};
use crate::daemon::run_tasks;
use crate::office::{Delays, Office, OfficeParts, Policy};
use crate::prekeys::slots::SlotFile;
use crate::random::SystemEntropy;

/// The system's clock, and a span that a test adds to it.
#[derive(Default)]
pub(crate) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(Duration::from_millis(self.0.load(Ordering::SeqCst)))
    }
}

impl TestClock {
    /// Takes back what was advanced.
    pub(crate) fn go_back(&self, span: Duration) {
        self.0.fetch_sub(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// A federation on disk.
pub(crate) struct Federation {
    folder: tempfile::TempDir,
    made: certs_dev::Federation,
    /// Its agencies' policy.
    pub(crate) min_free_bytes: u64,
    pub(crate) retain_read: Duration,
    pub(crate) unannounced: UnannouncedLimits,
}

impl Federation {
    pub(crate) fn new() -> Self {
        Self::with_homes(1)
    }

    /// Each agency has so many home relays.
    pub(crate) fn with_homes(relays_per_region: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("federation"));
        (options.agencies, options.kdf, options.relays_per_region) = (3, Kdf::Fast, relays_per_region);
        let made = make(&options).unwrap();
        let retain_read = Duration::from_secs(90 * 86_400);
        Self { folder, made, min_free_bytes: 0, retain_read, unannounced: UnannouncedLimits::DEFAULT }
    }

    pub(crate) fn roster(&self) -> Roster {
        self.made.roster().unwrap()
    }

    /// The next roster, changed.
    pub(crate) fn roster_with(
        &self,
        change: impl FnOnce(&mut liaison_protocol::roster::RosterDocument),
    ) -> Arc<Roster> {
        Arc::new(self.made.publish(change).unwrap())
    }

    /// The daemon of `agency`, with whatever it kept from an earlier run.
    pub(crate) async fn start(&self, agency: &str) -> Desk {
        Desk::start(self, agency.parse().unwrap(), Tasks::Run).await
    }

    /// The same over a store that a test brings. In words, why it does not start.
    pub(crate) async fn start_over(&self, agency: &str, store: Arc<dyn Store>) -> Result<Desk, String> {
        Desk::open(self, agency.parse().unwrap(), Tasks::Run, store).await
    }

    /// The same without its tasks.
    pub(crate) async fn start_idle_over(&self, agency: &str, store: Arc<dyn Store>) -> Result<Desk, String> {
        Desk::open(self, agency.parse().unwrap(), Tasks::Leave, store).await
    }

    /// The store of `agency`, once nobody else has it open.
    pub(crate) async fn open_store(&self, agency: &str) -> DiskStore {
        open_free(&StoreConfig { free_bytes_min: 0, ..StoreConfig::new(self.store_folder(agency)) }).await
    }

    /// The same without its tasks: what is to be done, stays to be done.
    pub(crate) async fn start_idle(&self, agency: &str) -> Desk {
        Desk::start(self, agency.parse().unwrap(), Tasks::Leave).await
    }

    /// The folder of everything that its agencies keep.
    pub(crate) fn image(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn slot_file(&self, agency: &str) -> PathBuf {
        self.folder.path().join(format!("{agency}.slots"))
    }

    /// The signing key of `agency`, as its daemon, or a thief, has it.
    pub(crate) fn signing_key(&self, agency: &AgencyId) -> SigningKey {
        secrets(self, agency).0
    }

    /// A bundle of `agency` with one key, for today, and that key.
    pub(crate) fn bundle(
        &self,
        agency: &AgencyId,
        signer: &SigningKey,
        position: BundlePosition,
        issued: Timestamp,
    ) -> (Bundle, PrekeySecret) {
        let secret = PrekeySecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let window = crate::prekeys::calendar::Window::holding(issued);
        let (not_before, not_after) = (window.not_before(), window.not_after());
        let bundle = PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.roster().federation(),
            agency: agency.clone(),
            epoch: position.epoch,
            seq: position.seq,
            issued,
            max_ttl_s: 7 * 86_400,
            keys: vec![PrekeyEntry { id: secret.id(), not_before, not_after, once: false }],
        };
        let keys = vec![Fixed(Box::new(*secret.public().as_bytes()))];
        (Bundle { bundle: sign_bundle(&bundle, signer).unwrap().encode().into(), keys }, secret)
    }

    fn lease(&self, agency: &str) -> Lease {
        Lease::open(&StoreConfig::new(self.store_folder(agency)).lease_file()).unwrap()
    }

    fn file(&self, agency: &AgencyId, name: &str) -> Vec<u8> {
        std::fs::read(self.made.agency_folder(agency).join(name)).unwrap()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tasks {
    Leave,
    Run,
}

/// One agency's daemon, without links.
pub(crate) struct Desk {
    pub(crate) office: Arc<Office>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) operator: OperatorHandle,
    pub(crate) roster: watch::Sender<Arc<Roster>>,
    stop_tasks: CancellationToken,
    stop_node: CancellationToken,
    running: Vec<JoinHandle<Result<(), String>>>,
}

fn policy(federation: &Federation) -> Policy {
    Policy {
        default_tlp: None,
        min_free_bytes: federation.min_free_bytes,
        retain_read: federation.retain_read,
        inquire_every: Duration::from_secs(3600),
        unannounced: federation.unannounced,
        another_way: Delays::default(),
    }
}

impl Desk {
    async fn start(federation: &Federation, agency: AgencyId, tasks: Tasks) -> Self {
        let store = Arc::new(federation.open_store(agency.as_str()).await);
        Self::open(federation, agency, tasks, store).await.unwrap()
    }

    async fn open(
        federation: &Federation,
        agency: AgencyId,
        tasks: Tasks,
        store: Arc<dyn Store>,
    ) -> Result<Self, String> {
        let (signing, at_rest) = secrets(federation, &agency);
        let roster = Arc::new(federation.roster());
        let (roster_sender, roster) = watch::channel(roster);
        let (node, requests) = NodeHandle::new(Arc::clone(&store));
        let (operator, operator_requests) = operator::channel();
        let clock = Arc::new(TestClock::default());
        let (signer, lease) = (Arc::new(signing), federation.lease(agency.as_str()));
        let office = Office::open(OfficeParts {
            agency: agency.clone(),
            verifying_key: signer.verifying_key(),
            signer: Arc::clone(&signer) as _,
            at_rest,
            slots: SlotFile::open(&federation.slot_file(agency.as_str())).unwrap(),
            lease: lease.clone(),
            node,
            anchor: TrustAnchor::from_json(&std::fs::read(federation.made.roots_path()).unwrap()).unwrap(),
            roster,
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SystemEntropy),
            policy: policy(federation),
        });
        let office = Arc::new(office.map_err(|error| error.to_string())?);
        let pem = |name| federation.file(&agency, name);
        let link = LinkIdentity::from_pem(&pem("link.cert.pem"), &pem("link.key.pem"));
        let options = NodeOptions {
            core: Config {
                me: NodeId::from(&agency),
                kind: NodeKind::Daemon,
                home: Vec::new(),
                costs: std::collections::BTreeMap::new(),
                agency_bytes_max: u64::MAX,
                flash_reserve_percent: 0,
                agency_rate: None,
                seed: 1,
            },
            listen: None,
            identity: link.unwrap(),
            signer,
            addresses: std::collections::BTreeMap::new(),
            low_water_bytes: 0,
            lease,
        };
        let (stop_tasks, stop_node) = (CancellationToken::new(), CancellationToken::new());
        let local = Arc::clone(&office) as Arc<dyn LocalAgency>;
        let runner = Runner::start(options, store, roster_sender.clone(), Some(local), requests, operator_requests);
        let runner = runner.map_err(|error| error.to_string())?;
        let stop = stop_node.clone();
        let mut running = vec![spawn(async move { runner.run(stop).await.map_err(|error| error.to_string()) })];
        if tasks == Tasks::Run {
            let ran = run_tasks(Arc::clone(&office), operator.clone(), Vec::new(), stop_tasks.clone());
            running.push(spawn(async move { ran.await.map_err(|error| error.to_string()) }));
        }
        let desk = Self { office, clock, operator, roster: roster_sender, stop_tasks, stop_node, running };
        if tasks == Tasks::Run {
            until(|| desk.office.keyring.until().is_some() || desk.is_ending()).await;
        }
        Ok(desk)
    }

    /// Whether its run loop or its tasks have ended, as the program then does.
    pub(crate) fn is_ending(&self) -> bool {
        self.running.iter().any(JoinHandle::is_finished)
    }

    /// Ends it; the store can then be opened again.
    pub(crate) async fn stop(self) {
        let store = Arc::downgrade(self.office.node.store());
        assert_eq!(self.end().await, Ok(()));
        until(|| store.strong_count() == 0).await;
    }

    /// Ends it, loses its private prekeys, as a restore from a backup does, and starts it: it makes new ones.
    pub(crate) async fn restart_without_keys(self, federation: &Federation) -> Self {
        let (me, lost) = (self.me(), self.bundle());
        self.stop().await;
        std::fs::remove_file(federation.slot_file(me.as_str())).unwrap();
        let desk = federation.start(me.as_str()).await;
        until(|| desk.bundle() != lost).await;
        desk
    }

    /// Ends it, and says in words why it had ended before.
    pub(crate) async fn end(self) -> Result<(), String> {
        self.stop_tasks.cancel();
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.stop_node.cancel();
        let mut outcome = Ok(());
        for running in self.running {
            outcome = outcome.and(running.await.unwrap());
        }
        outcome
    }

    pub(crate) fn me(&self) -> AgencyId {
        self.office.me.clone()
    }

    pub(crate) async fn commit(&self, ops: Vec<Op>) {
        self.office.node.commit(ops).await.unwrap();
    }

    /// Gives this daemon the prekey bundle of another.
    pub(crate) async fn learn_keys_of(&self, other: &Self) {
        self.learn_bundle(other.me(), &other.bundle()).await;
    }

    /// Gives this daemon a bundle that its run loop has admitted.
    pub(crate) async fn learn_bundle(&self, agency: AgencyId, frame: &Bundle) {
        self.commit(vec![bundles::put(&agency, frame)]).await;
        self.tell(OwnEvent::Bundle { agency }).await;
    }

    /// A roster takes effect, as when its file is read anew.
    pub(crate) async fn follow(&self, roster: &Roster) {
        self.operator.reload_roster(roster.signed().clone()).await.unwrap();
        until(|| self.office.roster().version() == roster.version()).await;
    }

    /// Its own prekey bundle, as it publishes it.
    pub(crate) fn bundle(&self) -> Bundle {
        self.known(&self.me()).unwrap().frame().clone()
    }

    /// What it knows of an agency's prekeys, and counts.
    pub(crate) fn known(&self, agency: &AgencyId) -> Option<bundles::KnownBundle> {
        let office = &self.office;
        bundles::get(&**office.node.store(), agency, &office.roster(), office.now()).unwrap()
    }

    pub(crate) async fn tell(&self, event: OwnEvent) {
        let ops = self.office.progress(event, self.office.now());
        self.commit(ops).await;
    }

    pub(crate) async fn send(&self, to: &[&Self], subject: &str) -> MessageId {
        self.submit(submission(to, subject)).await.id.unwrap().0
    }

    pub(crate) async fn submit(&self, submission: Submission) -> Submitted {
        self.office.submit(submission, None).await.unwrap()
    }

    /// What is queued for `to`, in drain order.
    pub(crate) fn queued(&self, to: &AgencyId) -> Vec<(Position, Entry)> {
        let store = self.office.node.store();
        let of_rank = |rank| {
            let head = store.head(to, rank, 0, 10_000).unwrap();
            head.into_iter().map(move |(seq, entry)| (Position { queue: to.clone(), rank, seq }, entry))
        };
        (0..RANKS).flat_map(of_rank).collect()
    }

    /// Carries all that is queued for `to` over, as its relays would; gives what was refused.
    pub(crate) async fn deliver(&self, to: &Self) -> Vec<(MessageId, RefusalReason)> {
        self.carry(to, self.queued(&to.me())).await
    }

    /// Only the first of it.
    pub(crate) async fn deliver_one(&self, to: &Self) {
        assert_eq!(self.carry(to, self.queued(&to.me()).into_iter().take(1).collect()).await, []);
    }

    /// The last of it first.
    pub(crate) async fn deliver_last_first(&self, to: &Self) {
        assert_eq!(self.carry(to, self.queued(&to.me()).into_iter().rev().collect()).await, []);
    }

    /// What is queued for `to` leaves, and is never seen again.
    pub(crate) async fn lose(&self, to: &Self) {
        for (position, entry) in self.queued(&to.me()) {
            self.commit(vec![Op::Dequeue { position, id: entry.id, expires: entry.expires }]).await;
        }
    }

    async fn carry(&self, to: &Self, entries: Vec<(Position, Entry)>) -> Vec<(MessageId, RefusalReason)> {
        let mut refused = Vec::new();
        for (position, entry) in entries {
            let bytes = self.office.node.store().envelope(&entry.id).unwrap().unwrap();
            let roster = self.office.roster();
            let envelope = verify_bytes(bytes, &roster.federation(), &*roster).unwrap();
            match to.office.receive(&envelope, entry.index, to.office.now()) {
                Received::Deliver { ops, .. } => {
                    to.commit(ops).await;
                    to.office.committed(entry.id);
                }
                Received::Refuse { reason, .. } => {
                    to.office.dropped(entry.id);
                    refused.push((entry.id, reason));
                }
                other => panic!("{other:?}"),
            }
            let gone = Op::Dequeue { position, id: entry.id, expires: entry.expires };
            self.commit(vec![gone]).await;
        }
        refused
    }

    /// Carries both ways, receipts and chunks among it, until `done`; at most twenty seconds.
    #[track_caller]
    pub(crate) fn exchange(&self, with: &Self, done: impl Fn() -> bool) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            for _ in 0..2000 {
                assert_eq!(self.deliver(with).await, []);
                assert_eq!(with.deliver(self).await, []);
                if done() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            panic!("it does not come true: {place}");
        }
    }

    pub(crate) fn is(&self, id: MessageId, state: MessageState) -> bool {
        self.sent(id).state == state
    }

    pub(crate) fn has(&self, id: MessageId, state: MessageState) -> bool {
        self.office.message(id, Direction::In).is_ok_and(|message| message.state == state)
    }

    pub(crate) fn inbox(&self) -> Vec<MessageSummary> {
        self.office.list(Direction::In, &ListQuery::default()).unwrap().items
    }

    pub(crate) fn subjects(&self) -> Vec<String> {
        self.inbox().into_iter().map(|line| line.subject).collect()
    }

    pub(crate) fn sent(&self, id: MessageId) -> Message {
        self.office.message(id, Direction::Out).unwrap()
    }

    pub(crate) fn received(&self, id: MessageId) -> Message {
        self.office.message(id, Direction::In).unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the desk awaits it when it stops")]
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

pub(crate) fn submission(to: &[&Desk], subject: &str) -> Submission {
    Submission {
        to: to.iter().map(|desk| desk.me()).collect(),
        info: Vec::new(),
        subject: subject.into(),
        text: format!("text of {subject}"),
        tlp: Some(crate::api::model::Tlp::Green),
        handling: Vec::new(),
        precedence: None,
        expires_in_s: None,
        content_type: None,
        in_reply_to: None,
        attachments: Vec::new(),
        dry_run: false,
    }
}

/// Waits at most ten seconds for `holds`.
#[track_caller]
pub(crate) fn until(holds: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come true: {place}");
    }
}

fn secrets(federation: &Federation, agency: &AgencyId) -> (SigningKey, AtRest) {
    let passphrase = federation.file(agency, "passphrase");
    let passphrase = passphrase.strip_suffix(b"\n").unwrap_or(&passphrase);
    let keys = open_keys(passphrase, &federation.file(agency, "identity.key")).unwrap();
    let seed = |role| keys.iter().find(|key| key.role == role).unwrap().secret.seed().unwrap();
    (SigningKey::from_seed(&seed(KeyRole::Signing)), AtRest::new(&seed(KeyRole::AtRest)))
}

/// Whether a file holds these bytes anywhere.
pub(crate) fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        std::fs::read(path).unwrap().windows(bytes.len()).any(|window| window == bytes)
    })
}

impl Federation {
    pub(crate) fn store_folder(&self, agency: &str) -> PathBuf {
        self.folder.path().join(format!("{agency}.store"))
    }
}

/// A desk that was stopped a moment ago may still have a worker that holds its store.
async fn open_free(config: &StoreConfig) -> DiskStore {
    for _ in 0..200 {
        match DiskStore::open(config) {
            Err(liaison_node::store::OpenError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the store is still locked after 20 s")
}
