//! Connections that cost a relay something and do nothing: idle links, and the slow ones of three kinds.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use liaison_protocol::frame::FrameType;
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::fed::Federation;
use crate::raw::{Dialer, Raw};

/// Where the idle ones, the slow ones, and those that do not hear the relay come from: each has its own share of the
/// handshakes that one address may have under way.
const IDLE_FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SLOW_FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
const DEAF_FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);
/// Idle ones dial so many at a time.
const DIALING: usize = 16;
/// A handshake of the deaf is given up, and begun anew.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// From byte to byte of a slow frame.
const TRICKLE: Duration = Duration::from_millis(500);
/// From one connection's end to the next one.
const AGAIN: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Idle links that are up.
    pub(super) idle: usize,
    /// Idle links that were lost on the way.
    pub(super) lost: usize,
    /// Slow connections that were begun, one after the other.
    pub(super) slow: usize,
    /// Of those, how many the relay has ended.
    pub(super) ended: usize,
}

#[derive(Default)]
struct Counts {
    idle: AtomicUsize,
    lost: AtomicUsize,
    slow: AtomicUsize,
    ended: AtomicUsize,
}

/// See the module.
pub(super) struct Crowd {
    counts: Arc<Counts>,
    members: JoinSet<()>,
}

/// What every member needs.
#[derive(Clone)]
struct Site {
    fed: Arc<Federation>,
    relay: String,
    dialer: Arc<Dialer>,
    counts: Arc<Counts>,
}

impl Crowd {
    /// Every agency in `idle` has a link to `relay` now, and every one in `slow` is slow.
    pub(super) async fn gather(fed: &Arc<Federation>, relay: &str, idle: &[String], slow: &[String]) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let site = |from| -> Result<Site> {
            let dialer = Arc::new(Dialer::new(fed.files(), relay, from)?);
            Ok(Site { fed: fed.clone(), relay: relay.into(), dialer, counts: counts.clone() })
        };
        let (quiet, slower) = (site(IDLE_FROM)?, site(SLOW_FROM)?);
        let (mut members, dialing) = (JoinSet::new(), Arc::new(Semaphore::new(DIALING)));
        for agency in idle {
            members.spawn(quiet.clone().stay(agency.clone(), dialing.clone()));
        }
        for (number, agency) in slow.iter().cloned().enumerate() {
            let site = slower.clone();
            match number % 3 {
                0 => members.spawn(site.hear_nothing(agency)),
                1 => members.spawn(site.say_nothing(agency)),
                _ => members.spawn(site.trickle(agency)),
            };
        }
        let deadline = Instant::now() + PATIENCE;
        while counts.idle.load(Ordering::SeqCst) < idle.len() {
            let up = counts.idle.load(Ordering::SeqCst);
            ensure!(Instant::now() < deadline, "{up} of {} idle links are up after {PATIENCE:?}", idle.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { counts, members })
    }

    /// Ends all of them; what became of them until now.
    pub(super) async fn disperse(mut self) -> Seen {
        let of = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        let Counts { idle, lost, slow, ended } = &*self.counts;
        let seen = Seen { idle: of(idle), lost: of(lost), slow: of(slow), ended: of(ended) };
        self.members.shutdown().await;
        seen
    }
}

impl Site {
    async fn connect(&self, agency: &str) -> Result<Raw> {
        self.dialer.dial(self.fed.files(), agency).await
    }

    async fn greeted(&self, agency: &str) -> Result<Raw> {
        let mut peer = self.connect(agency).await?;
        peer.greet().await?;
        Ok(peer)
    }

    /// An idle link, dialed anew when it is lost.
    async fn stay(self, agency: String, dialing: Arc<Semaphore>) {
        loop {
            let turn = dialing.acquire().await;
            let greeted = self.greeted(&agency).await;
            drop(turn);
            if let Ok(peer) = greeted {
                self.counts.idle.fetch_add(1, Ordering::SeqCst);
                peer.closed().await;
                self.counts.idle.fetch_sub(1, Ordering::SeqCst);
                self.counts.lost.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Authenticated, and without a hello.
    async fn say_nothing(self, agency: String) {
        loop {
            self.counts.slow.fetch_add(1, Ordering::SeqCst);
            if let Ok(peer) = self.connect(&agency).await {
                peer.closed().await;
                self.counts.ended.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A link that begins a transfer and goes on a byte at a time.
    async fn trickle(self, agency: String) {
        loop {
            self.counts.slow.fetch_add(1, Ordering::SeqCst);
            if let Ok(peer) = self.greeted(&agency).await {
                let begun = [&[FrameType::Transfer.code()][..], &5_000u32.to_be_bytes()].concat();
                let drip = async {
                    let mut lane = peer.lane(3, &begun).await?;
                    while lane.write_all(&[0]).await.is_ok() {
                        tokio::time::sleep(TRICKLE).await;
                    }
                    anyhow::Ok(())
                };
                // It ends when the relay closes the link.
                let _ = tokio::join!(drip, peer.closed());
                self.counts.ended.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A handshake that the relay cannot get on with: its answers do not arrive.
    async fn hear_nothing(self, agency: String) {
        loop {
            self.counts.slow.fetch_add(1, Ordering::SeqCst);
            // The relay ends it by itself after as long; nobody here can see that.
            let _ = timeout(HANDSHAKE, self.half_a_handshake(&agency)).await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn half_a_handshake(&self, agency: &str) -> Result<()> {
        let one_way = UdpSocket::bind((DEAF_FROM, 0)).await?;
        let relay = self.fed.quic_address(&self.relay);
        let dialer = self.dialer.by_way_of(one_way.local_addr()?, DEAF_FROM)?;
        let dial = async { dialer.dial(self.fed.files(), agency).await.map(|_| ()) };
        tokio::select! {
            dialed = dial => dialed,
            carried = carry_forth(&one_way, relay) => carried,
        }
    }
}

/// What the dialer sends arrives, what the relay sends does not.
async fn carry_forth(socket: &UdpSocket, relay: SocketAddr) -> Result<()> {
    let mut datagram = vec![0; 65_535];
    loop {
        let (bytes, from) = socket.recv_from(&mut datagram).await?;
        if from != relay {
            socket.send_to(&datagram[..bytes], relay).await?;
        }
    }
}
