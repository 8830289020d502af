//! Keeping a link up that we dial.
//!
//! While the peer has a link that answers, the dialer sleeps. Else it probes: every address every second, for ever,
//! attempts overlapping. QUIC's own repetition of a handshake slows down with every packet, and one attempt could
//! sleep through the minute in which the path comes back; a new attempt every second cannot.
//!
//! When the peer's addresses change, and its link leads to one that is no longer among them, the dialer probes the new
//! ones beside that link. The first good hello replaces it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::frame::CloseCode;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{NodeId, Role};
use quinn::Connection;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::LinkEvent;
use super::end::End;
use super::endpoint::Inner;
use super::handle::LinkId;
use super::resolve::Resolver;
use super::schedule::Schedule;
use super::shake::{self, Established};
use super::tls::{SERVER_NAME, client_config};
use crate::metric;

/// A link that held this long shows that the peer takes us: what it refused before counts no more.
const HELD: Duration = Duration::from_secs(30);

/// The task that keeps one peer linked.
pub(super) struct Dialer {
    inner: Arc<Inner>,
    peer: NodeId,
    addresses: watch::Receiver<Vec<String>>,
    stop: CancellationToken,
    resolvers: Vec<Arc<Resolver>>,
    schedule: Schedule,
    /// The link to an address that the peer has left: another one is to replace it.
    left: Option<LinkId>,
    /// Counts attempts.
    attempts: usize,
    /// The last reason that was reported: silence is reported once, not every second.
    reported: Option<&'static str>,
}

/// A link of ours, until it ends.
struct Running {
    link: LinkId,
    address: String,
    ended: oneshot::Receiver<End>,
    since: Instant,
    index: usize,
}

/// Held by the one attempt that says hello: two good hellos at a time would be two links.
type Turn = OwnedMutexGuard<()>;

/// What came of an attempt.
struct Tried {
    index: usize,
    /// Nothing, if the peer was linked otherwise before we said hello.
    outcome: Result<Option<Established>, End>,
    /// Kept until the outcome is dealt with.
    turn: Option<Turn>,
}

impl Dialer {
    pub(super) fn new(
        inner: Arc<Inner>,
        peer: NodeId,
        addresses: watch::Receiver<Vec<String>>,
        stop: CancellationToken,
    ) -> Self {
        let schedule = Schedule::new(0, inner.timing, Instant::now());
        let mut dialer = Self {
            inner,
            peer,
            addresses,
            stop,
            resolvers: Vec::new(),
            schedule,
            left: None,
            attempts: 0,
            reported: None,
        };
        dialer.read_addresses();
        dialer
    }

    /// Runs until the peer is to be dialed no more.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.keep_linked()).await;
    }

    async fn keep_linked(&mut self) {
        let inner = self.inner.clone();
        let mut running: Option<Running> = None;
        let mut linked_otherwise = false;
        loop {
            let peer = self.peer.clone();
            tokio::select! {
                biased;
                () = inner.registry.until(&peer, None, false) => self.left = None,
                left = self.until_left(running.as_ref()) => self.left = Some(left),
            }
            if self.left.is_some() {
                tracing::info!(%peer, "the peer's addresses have changed: dialing the new ones");
            } else if let Some(running) = running.take() {
                self.learn(running);
            } else if linked_otherwise && !planted(Mutant::OldRefusalsDelay) {
                // Whoever dials us takes us, whatever it refused before.
                self.schedule.hurry(0, Instant::now());
            }
            let raced = self.race().await;
            linked_otherwise = raced.is_none();
            if let Some((index, established, _turn)) = raced {
                self.reported = None;
                let link = established.shared.id;
                let address = self.resolvers.get(index).map_or("", |resolver| resolver.text()).to_owned();
                let ended = inner.start(established);
                running = ended.map(|ended| Running { link, address, ended, since: Instant::now(), index });
            }
        }
    }

    /// Waits until the peer has other addresses than that of the link that we dialed.
    async fn until_left(&mut self, running: Option<&Running>) -> LinkId {
        loop {
            if self.addresses.changed().await.is_err() {
                // Nobody gives it other addresses any more: it is about to end.
                return std::future::pending().await;
            }
            self.read_addresses();
            if let Some(running) = running
                && !self.resolvers.iter().any(|resolver| resolver.text() == running.address)
            {
                return running.link;
            }
        }
    }

    /// A link dropped, or is doubted: dial at once, unless the peer threw us out of a link that never held.
    fn learn(&mut self, mut running: Running) {
        let now = Instant::now();
        let held = running.since.elapsed() >= HELD;
        if held {
            self.schedule.forgive();
        }
        self.schedule.hurry(running.index, now);
        // Who is thrown out for a newer link, and has none, has a rival: another program with this node's link key.
        if running.ended.try_recv().is_ok_and(|end| end.is_refusal() || end.is_rivalry()) && !held {
            self.schedule.refused(running.index, now, (self.inner.jitter)());
        }
    }

    /// Probes until one attempt ends in a good hello, or the peer has a link otherwise.
    async fn race(&mut self) -> Option<(usize, Established, Option<Turn>)> {
        let mut attempts = JoinSet::<Tried>::new();
        let turn = Arc::new(Mutex::new(()));
        let mut peers = self.inner.peers.clone();
        let inner = self.inner.clone();
        let (peer, left) = (self.peer.clone(), self.left);
        let mut linked_otherwise = pin!(async {
            inner.registry.until(&peer, left, true).await;
            // Who has said hello may be up at the other end, and both ends must drop the same one of two links ([LINK-6]):
            // that is decided when both are known. Dropped half-way here, and the other one half-way there, none is left.
            if !planted(Mutant::CrossingAbandoned) {
                drop(turn.lock().await);
            }
        });
        loop {
            let due = self.schedule.next();
            tokio::select! {
                biased;
                Some(done) = attempts.join_next() => match done {
                    Ok(Tried { index, outcome: Ok(Some(established)), turn }) => return Some((index, established, turn)),
                    Ok(Tried { outcome: Ok(None), .. }) => {}
                    Ok(Tried { index, outcome: Err(end), .. }) => self.failed(index, &end),
                    Err(error) => tracing::error!(peer = %self.peer, %error, "an attempt to dial failed"),
                },
                () = &mut linked_otherwise => return None,
                Ok(()) = self.addresses.changed() => self.read_addresses(),
                // Whom we did not know may be known now.
                Ok(()) = peers.changed() => self.schedule.hurry(0, Instant::now()),
                index = until_due(due) => {
                    self.schedule.started(index, Instant::now(), (self.inner.jitter)());
                    if let Some(attempt) = self.attempt(index, turn.clone()) {
                        attempts.spawn(attempt.run());
                    }
                }
            }
        }
    }

    fn attempt(&mut self, index: usize, turn: Arc<Mutex<()>>) -> Option<Attempt> {
        let resolver = self.resolvers.get(index)?.clone();
        self.attempts = self.attempts.wrapping_add(1);
        let (inner, peer) = (self.inner.clone(), self.peer.clone());
        Some(Attempt { inner, peer, resolver, left: self.left, index, number: self.attempts, turn })
    }

    fn read_addresses(&mut self) {
        self.resolvers = self.addresses.borrow_and_update().iter().map(|address| Resolver::new(address)).collect();
        self.schedule = Schedule::new(self.resolvers.len(), self.inner.timing, Instant::now());
    }

    fn failed(&mut self, index: usize, end: &End) {
        // Both dialed: the other link stays. Or a rival's link is kept, and asking every second would only cost both sides.
        if end.label == CloseCode::DuplicateLink.as_str() {
            if end.is_rivalry() {
                self.schedule.refused(index, Instant::now(), (self.inner.jitter)());
            }
            return;
        }
        // Only relays are dialed.
        metric::handshake_failure(Some(Role::Relay), end.metric());
        if end.is_refusal() {
            self.schedule.refused(index, Instant::now(), (self.inner.jitter)());
        }
        if !end.is_refusal() && self.reported == Some(end.label) {
            return;
        }
        self.reported = Some(end.label);
        let address = self.resolvers.get(index).map_or("", |resolver| resolver.text());
        tracing::info!(peer = %self.peer, address, reason = %end, "no link");
        // Only a report: if the run loop is behind, the next one will do.
        let failed = LinkEvent::DialFailed { peer: self.peer.clone(), reason: format!("{address}: {end}") };
        let _ = self.inner.events.try_send(failed);
    }
}

async fn until_due(due: Option<(usize, Instant)>) -> usize {
    match due {
        Some((index, at)) => {
            sleep_until(at).await;
            index
        }
        None => std::future::pending().await,
    }
}

/// One try, from the address to the peer's hello.
struct Attempt {
    inner: Arc<Inner>,
    peer: NodeId,
    resolver: Arc<Resolver>,
    left: Option<LinkId>,
    index: usize,
    number: usize,
    turn: Arc<Mutex<()>>,
}

impl Attempt {
    async fn run(self) -> Tried {
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(end) => return Tried { index: self.index, outcome: Err(end), turn: None },
        };
        let turn = self.turn.clone().lock_owned().await;
        let outcome = self.greet(&connection).await;
        Tried { index: self.index, outcome, turn: Some(turn) }
    }

    async fn connect(&self) -> Result<Connection, End> {
        let inner = &self.inner;
        let connect = async {
            let address = self.resolver.resolve(self.number, &inner.tracker, &inner.stop).await;
            let address = address.ok_or_else(|| End::network("unresolved", "the name has no address"))?;
            let tls = client_config(&inner.identity, inner.peers.clone(), self.peer.clone())
                .map_err(|error| End::network("local", error.to_string()))?;
            let mut config = quinn::ClientConfig::new(Arc::new(tls));
            config.transport_config(inner.dialing.clone());
            inner.door().know(&self.peer, address.ip());
            let connecting = inner.quinn.connect_with(config, address, SERVER_NAME);
            let connecting = connecting.map_err(|error| End::network("local", error.to_string()))?;
            Ok::<_, End>(connecting.await?)
        };
        timeout(inner.timing.attempt, connect).await.map_err(|_| End::network("timeout", "no answer"))?
    }

    /// Says hello, unless the peer has been linked otherwise meanwhile.
    async fn greet(&self, connection: &Connection) -> Result<Option<Established>, End> {
        let close = |code: CloseCode, detail: &str| connection.close(code.code().into(), detail.as_bytes());
        if self.inner.registry.is_linked(&self.peer, self.left) {
            close(CloseCode::DuplicateLink, "linked meanwhile");
            return Ok(None);
        }
        let shaken = timeout(self.inner.timing.attempt, shake::dial(&self.inner, connection, &self.peer)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(End::network("timeout", "no hello")));
        shaken.map(Some).inspect_err(|end| close(end.code, &end.detail))
    }
}
