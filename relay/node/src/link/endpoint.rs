//! The node's UDP socket: dialed at, dialing, and the owner of every link's task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use liaison_protocol::frame::CloseCode;
use liaison_protocol::{NodeId, Role};
use quinn::{AsyncUdpSocket, Incoming, Runtime, TokioRuntime, TransportConfig};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LinkEvent;
use super::budget::Budgets;
use super::config::{EndpointConfig, Jitter, LinkLimits, LinkTiming};
use super::dial::Dialer;
use super::door::{Door, Verdict};
use super::end::End;
use super::handle::LinkId;
use super::identity::LinkIdentity;
use super::peers::{Peers, PeersNow};
use super::registry::{Claim, Registry};
use super::room::Rooms;
use super::shake::{self, Established};
use super::task;
use super::tls::{self, TlsSetupError};
use super::transport;
use crate::metric;

/// Where a node that only dials is bound.
const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
/// Kernel buffers: a burst of a whole window must not be dropped while we are busy.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// An address whose handshake failed keeps its place at the door this much longer: it cannot make us sign at will.
const FAILED_PENALTY: Duration = Duration::from_secs(1);
/// Closing waits this much longer than the links' own drain.
const CLOSE_MARGIN: Duration = Duration::from_secs(2);

/// What one of two programs with one link key hears.
const KEPT: &[u8] = b"another program has a link with this key";

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The socket cannot be bound: the port is in use, or the address is not ours.
    #[error("cannot listen on UDP {address}: {error}")]
    Socket {
        /// What was asked for.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// TLS does not come up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
}

/// What the endpoint's tasks share.
pub(super) struct Inner {
    pub(super) quinn: quinn::Endpoint,
    pub(super) identity: LinkIdentity,
    pub(super) me: NodeId,
    pub(super) role: Role,
    pub(super) features: Vec<u16>,
    pub(super) peers: PeersNow,
    pub(super) limits: LinkLimits,
    pub(super) timing: LinkTiming,
    pub(super) jitter: Jitter,
    pub(super) dialing: Arc<TransportConfig>,
    pub(super) registry: Registry,
    pub(super) room: Rooms,
    pub(super) budgets: Budgets,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
    door: Mutex<Door>,
    last_link: AtomicU64,
}

struct Dialing {
    addresses: watch::Sender<Vec<String>>,
    stop: CancellationToken,
}

/// The node's end of all its links. Dropping it ends them at once; [`Endpoint::close`] ends them in peace.
pub struct Endpoint {
    pub(super) inner: Arc<Inner>,
    dialing: Mutex<HashMap<NodeId, Dialing>>,
}

impl Endpoint {
    /// Binds the socket and starts to listen. Must be called within a tokio runtime. What happens is told over
    /// `events`; when that channel is full, links are not read until there is room.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub fn bind<P: Peers>(config: EndpointConfig<P>, events: mpsc::Sender<LinkEvent>) -> Result<Self, BindError> {
        let address = config.listen.unwrap_or(ANY_PORT);
        let socket = TokioRuntime.wrap_udp_socket(socket(config.listen)?);
        let socket = socket.map_err(|error| BindError::Socket { address, error })?;
        Self::over(socket, None, config, events)
    }

    /// As [`Endpoint::bind`], over a socket that is bound already. Time is tokio's. `dice` seeds what QUIC leaves to
    /// chance; `None` takes it from the system.
    pub(super) fn over<P: Peers>(
        socket: Arc<dyn AsyncUdpSocket>,
        dice: Option<[u8; 32]>,
        config: EndpointConfig<P>,
        events: mpsc::Sender<LinkEvent>,
    ) -> Result<Self, BindError> {
        let tracker = TaskTracker::new();
        let stop = CancellationToken::new();
        let (peers, republish) = follow(config.roster);
        tracker.spawn(stop.clone().run_until_cancelled_owned(republish));
        let server = match config.listen {
            Some(_) => {
                let tls = tls::server_config(&config.identity, peers.clone())?;
                Some(transport::listening(tls, &config.timing))
            }
            None => None,
        };
        let mut settings = transport::endpoint(&config.identity);
        settings.rng_seed(dice);
        let address = config.listen.unwrap_or(ANY_PORT);
        let quinn = quinn::Endpoint::new_with_abstract_socket(settings, server, socket, Arc::new(TokioRuntime))
            .map_err(|error| BindError::Socket { address, error })?;
        let inner = Arc::new(Inner {
            quinn,
            identity: config.identity,
            registry: Registry::new(config.me.clone()),
            me: config.me,
            role: config.role,
            features: ascending(config.features),
            peers,
            limits: config.limits,
            timing: config.timing,
            jitter: config.jitter,
            dialing: transport::dialing(&config.timing),
            room: Rooms::new(config.limits.received_bytes_max),
            budgets: Budgets::new(Instant::now()),
            events,
            tracker,
            stop,
            door: Mutex::new(Door::new(config.limits, Instant::now())),
            last_link: AtomicU64::new(0),
        });
        inner.tracker.spawn(listen(inner.clone()));
        Ok(Self { inner, dialing: Mutex::default() })
    }

    /// Where we can be dialed.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.quinn.local_addr()
    }

    /// Keeps a link to `peer` up from now on; each address is `host:port`. For a peer that is dialed already, the
    /// addresses are replaced.
    pub fn dial(&self, peer: NodeId, addresses: Vec<String>) {
        let mut dialing = self.dialing();
        if let Some(dialing) = dialing.get(&peer) {
            dialing.addresses.send_if_modified(|old| {
                let new = *old != addresses;
                *old = addresses;
                new
            });
            return;
        }
        let (sender, receiver) = watch::channel(addresses);
        let stop = self.inner.stop.child_token();
        let dialer = Dialer::new(self.inner.clone(), peer.clone(), receiver, stop.clone());
        self.inner.tracker.spawn(dialer.run());
        dialing.insert(peer, Dialing { addresses: sender, stop });
    }

    /// Dials `peer` no more. A link that is up stays up.
    pub fn undial(&self, peer: &NodeId) {
        if let Some(dialing) = self.dialing().remove(peer) {
            dialing.stop.cancel();
        }
    }

    /// Takes no new links, closes all links with `code` (see [`super::LinkHandle::close`]), and waits until every
    /// task has ended, a few seconds at most. The channel of events must still be read meanwhile.
    pub async fn close(&self, code: CloseCode) {
        self.inner.quinn.set_server_config(None);
        self.inner.stop.cancel();
        self.inner.registry.close_all(code);
        self.inner.tracker.close();
        let patience = self.inner.timing.drain + CLOSE_MARGIN;
        if timeout(patience, self.inner.tracker.wait()).await.is_err() {
            tracing::warn!("links were cut off: their tasks did not end in time");
        }
        self.inner.quinn.close(code.code().into(), b"");
        // Until the peers know, or cannot be told.
        let _ = timeout(CLOSE_MARGIN, self.inner.quinn.wait_idle()).await;
    }

    fn dialing(&self) -> MutexGuard<'_, HashMap<NodeId, Dialing>> {
        self.dialing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.inner.stop.cancel();
        self.inner.quinn.close(CloseCode::Shutdown.code().into(), b"");
    }
}

impl Inner {
    pub(super) fn next_link(&self) -> LinkId {
        LinkId(self.last_link.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a link and starts its task. Whoever dialed learns how it ends; `None` if it may not start.
    pub(super) fn start(self: &Arc<Self>, established: Established) -> Option<oneshot::Receiver<End>> {
        let shared = established.shared.clone();
        let (before, gone) = match self.registry.claim(&shared, established.dialed, self.limits.links_max) {
            Claim::Granted { before, gone, rivals } => {
                if let Some(rivals) = rivals {
                    metric::link_rivals(&shared.peer);
                    // Only a report: if the run loop is behind, the next one will do.
                    let _ = self.events.try_send(LinkEvent::Rivals { peer: shared.peer.clone(), rivals });
                }
                (before, gone)
            }
            refused => {
                let (code, detail): (_, &[u8]) = match refused {
                    Claim::Kept => (CloseCode::DuplicateLink, KEPT),
                    Claim::TooMany => (CloseCode::Overload, b"as many links as may be"),
                    _ => (CloseCode::DuplicateLink, b"both sides dialed: the other link stays"),
                };
                shared.connection.close(code.code().into(), detail);
                return None;
            }
        };
        if self.stop.is_cancelled() {
            shared.close(End::us(CloseCode::Shutdown, "the node stops"));
        }
        let (ended, learn) = oneshot::channel();
        let inner = self.clone();
        self.tracker.spawn(async move {
            let end = task::run(inner.clone(), established, before).await;
            // The dialer may be gone; then nobody asks.
            let _ = ended.send(end);
            gone.cancel();
            inner.registry.release(&shared.peer, shared.id);
        });
        Some(learn)
    }
}

/// As every hello demands it.
fn ascending(mut features: Vec<u16>) -> Vec<u16> {
    features.sort_unstable();
    features.dedup();
    features
}

/// The roster as the links see it, and the task that keeps it so.
fn follow<P: Peers>(mut roster: watch::Receiver<Arc<P>>) -> (PeersNow, impl Future<Output = ()> + Send) {
    let first: Arc<dyn Peers> = roster.borrow_and_update().clone();
    let (sender, receiver) = watch::channel(first);
    let republish = async move {
        while roster.changed().await.is_ok() {
            let next: Arc<dyn Peers> = roster.borrow_and_update().clone();
            sender.send_replace(next);
        }
        // Nobody will change the roster any more; links go on with the last one.
        sender.closed().await;
    };
    (receiver, republish)
}

/// A UDP socket with room for bursts. Without an address to listen on: any port, of both address families if it can be.
fn socket(listen: Option<SocketAddr>) -> Result<UdpSocket, BindError> {
    let bound = match listen {
        Some(address) => UdpSocket::bind(address),
        None => UdpSocket::bind(ANY_PORT).or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))),
    };
    let socket = bound.map_err(|error| BindError::Socket { address: listen.unwrap_or(ANY_PORT), error })?;
    // The system may allow less; quinn works with whatever there is.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES);
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BYTES);
    Ok(socket)
}

/// Takes first packets until the endpoint stops.
async fn listen(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    while let Some(Some(incoming)) = stop.run_until_cancelled(inner.quinn.accept()).await {
        let address = incoming.remote_address().ip();
        let verdict = inner.door().judge(address, incoming.remote_address_validated(), Instant::now());
        match verdict {
            Verdict::Admit => {
                let admitted = Admitted { inner: inner.clone(), address };
                let stop = inner.stop.clone();
                inner.tracker.spawn(async move { stop.run_until_cancelled(receive(admitted, incoming)).await });
            }
            Verdict::Ignore => incoming.ignore(),
            Verdict::Refuse => incoming.refuse(),
            // Fails only for an address that has answered a retry, which is never asked again.
            Verdict::Retry => drop(incoming.retry()),
        }
    }
}

/// A place at the door, given back when dropped.
struct Admitted {
    inner: Arc<Inner>,
    address: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.inner.door().leave(self.address);
    }
}

/// Shakes hands with whoever dialed us.
async fn receive(admitted: Admitted, incoming: Incoming) {
    let inner = &admitted.inner;
    let remote = incoming.remote_address();
    let late = || End::us(CloseCode::Timeout, "the handshake took too long");
    let deadline = Instant::now() + inner.timing.handshake;
    let shaken = async {
        let connection = timeout_at(deadline, incoming).await.map_err(|_| late())??;
        let shaken = timeout_at(deadline, shake::accept(inner, &connection)).await;
        shaken.unwrap_or_else(|_| Err(late())).inspect_err(|end| {
            connection.close(end.code.code().into(), end.detail.as_bytes());
        })
    };
    match shaken.await {
        Ok(established) => {
            inner.door().know(&established.shared.peer, remote.ip());
            drop(inner.start(established));
        }
        Err(end) => {
            metric::handshake_failure(None, end.metric());
            tracing::info!(%remote, reason = %end, "no link");
            tokio::time::sleep(FAILED_PENALTY).await;
        }
    }
}
