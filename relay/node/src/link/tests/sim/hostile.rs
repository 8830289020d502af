//! Peers that break rules, with the protocol's own deadlines: in simulated time, 15 s cost nothing.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use liaison_protocol::frame::{Ack, Acks, Frame, LANES, LaneOpen};
use tokio::time::{Instant, sleep};

use super::super::raw::{Offer, RawPeer, hello};
use super::net::SimSocket;
use super::plan::{Draw, Weather};
use super::*;
use quinn::{RecvStream, SendStream};

/// Seeds for each misdeed: latency and loss.
const SEEDS_EACH: u64 = 4;
/// Room for received envelopes.
const ROOM: usize = 3 << 20;
/// Bytes of an envelope.
const ENVELOPE: usize = 100_000;
/// What a datagram that is lost costs, twice.
const REPEATED: Duration = Duration::from_millis(1500);

/// What a peer does after its hello; it never returns.
type Misdeed = for<'a> fn(&'a mut RawPeer) -> LocalBoxFuture<'a, ()>;

/// What the relay saw.
type Seen = Rc<RefCell<Vec<(Duration, String)>>>;

/// How the relay's run loop behaves.
#[derive(Clone, Copy, PartialEq)]
enum Loop {
    /// It reads, and acknowledges.
    Busy,
    /// It reads, and keeps what it has read before this.
    Hoards(Duration),
    /// It reads nothing before this.
    Until(Duration),
}

/// A relay and a raw peer, ncb.ee, with a wire that a seed decides.
struct Stage<'a> {
    sim: turmoil::Sim<'a>,
    draw: Draw,
    weather: Arc<Mutex<Weather>>,
    roster: watch::Sender<Arc<TestPeers>>,
    seen: Seen,
}

impl Stage<'_> {
    fn new(seed: u64, kind: Loop) -> Self {
        let mut draw = Draw::new(seed);
        let latency = Duration::from_millis(draw.pick(&[5, 30, 100]));
        let lost = if kind == Loop::Busy { draw.pick(&[0.0, 0.0, 0.02]) } else { 0.0 };
        let mut sim = turmoil::Builder::new()
            .rng_seed(draw.next())
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(300))
            .max_message_latency(latency)
            .udp_capacity(4096)
            .build();
        let weather = Arc::new(Mutex::new(Weather { lost, ..Weather::FAIR }));
        let roster = watch::Sender::new(Arc::new(world::peers(&["eu-1", "ncb.ee"], 1)));
        let seen = Seen::default();
        let (relay_weather, relay_draw, relay_roster) = (weather.clone(), draw.fork(), roster.subscribe());
        let relay_seen = seen.clone();
        sim.host("eu-1", move || {
            let (weather, mut draw) = (relay_weather.clone(), relay_draw.clone());
            let (roster, seen) = (relay_roster.clone(), relay_seen.clone());
            async move {
                let socket = SimSocket::bind(PORT, weather, draw.fork()).await;
                relay(socket, roster, seen, kind).await;
                Ok(())
            }
        });
        Self { sim, draw, weather, roster, seen }
    }

    /// Runs the peer, and gives what it returns.
    fn peer<T: 'static, F>(mut self, offer: Offer, act: impl FnOnce(RawPeer) -> F + 'static) -> (T, Seen)
    where
        F: Future<Output = T> + 'static,
    {
        let result = Rc::new(RefCell::new(None));
        let (weather, draw, done) = (self.weather.clone(), self.draw.fork(), result.clone());
        self.sim.client("ncb.ee", async move {
            let socket = SimSocket::bind(0, weather, draw).await;
            let runtime = Arc::new(quinn::TokioRuntime);
            let socket = quinn::Endpoint::new_with_abstract_socket(Default::default(), None, socket, runtime)?;
            let address = SocketAddr::new(turmoil::lookup("eu-1"), PORT);
            let peer = RawPeer::connect_by(socket, address, &offer).await;
            let outcome = act(peer).await;
            *done.borrow_mut() = Some(outcome);
            Ok(())
        });
        self.sim.run().unwrap();
        drop(self.roster);
        let outcome = result.borrow_mut().take().unwrap();
        (outcome, self.seen)
    }
}

/// The relay: the real endpoint, and somebody in the run loop's place.
async fn relay(socket: Arc<SimSocket>, roster: watch::Receiver<Arc<TestPeers>>, seen: Seen, kind: Loop) {
    let listen = Some(([0, 0, 0, 0], PORT).into());
    let new = EndpointConfig::new(CAST.identity("eu-1"), id("eu-1"), Role::Relay, roster);
    let limits = LinkLimits { received_bytes_max: ROOM, ..LinkLimits::default() };
    let config = EndpointConfig { listen, limits, jitter: Arc::new(|| 0.5), ..new };
    let (sender, mut events) = mpsc::channel(1);
    let _endpoint = Endpoint::over(socket, Some([7; 32]), config, sender).unwrap();
    let mut handle: Option<LinkHandle> = None;
    let mut hoard = Vec::new();
    loop {
        let next = timeout(Duration::from_secs(1), events.recv()).await;
        if let Loop::Hoards(until) = kind
            && turmoil::sim_elapsed() >= Some(until)
        {
            hoard.clear();
        }
        let Ok(event) = next else { continue };
        let Some(event) = event else { return };
        let now = turmoil::sim_elapsed().unwrap_or_default();
        match event {
            LinkEvent::Up { handle: new, .. } => {
                handle = Some(new);
                seen.borrow_mut().push((now, "up".into()));
                if let Loop::Until(span) = kind {
                    sleep(span).await;
                }
            }
            LinkEvent::Down { reason, .. } => seen.borrow_mut().push((now, reason)),
            LinkEvent::Transfer { rank, transfer, room, .. } => {
                if matches!(kind, Loop::Hoards(until) if now < until) {
                    hoard.push(room);
                }
                seen.borrow_mut().push((now, format!("{rank} {}", transfer.seq)));
                let ack = Ack { seq: transfer.seq, taken: vec![0], duplicate: vec![], refused: vec![], proof: None };
                // As large as acknowledgements get: a peer that does not read them soon has no window left.
                let acks = Acks { acks: vec![ack], receipt: Some(vec![0; 4000].into()) };
                let _ = handle.as_ref().unwrap().acks(rank, acks);
            }
            _ => {}
        }
    }
}

fn good() -> Offer {
    Offer::of(&CAST.certificates[&id("ncb.ee")])
}

/// Keeps streams open for ever.
async fn keep<T>(_: T) {
    pending().await
}

/// Opens a lane, says this on it, and keeps both halves.
async fn lane(peer: &RawPeer, rank: u8, bytes: &[u8]) -> (SendStream, RecvStream) {
    let (mut send, recv) = peer.connection.open_bi().await.unwrap();
    send.write_all(&Frame::LaneOpen(LaneOpen { rank }).encode().unwrap()).await.unwrap();
    send.write_all(bytes).await.unwrap();
    (send, recv)
}

fn transfers(seqs: &[u64]) -> Vec<u8> {
    seqs.iter().flat_map(|seq| Frame::Transfer(transfer(*seq, 10)).encode().unwrap()).collect()
}

/// With which code, and how long after the misdeed began, each is closed. A deadline ends at most a second late, and
/// what is lost under way is sent again.
const MISDEEDS: [(&str, CloseCode, u64, Misdeed); 11] = [
    ("resets a lane", CloseCode::ProtocolViolation, 0, |peer| {
        async {
            let (mut send, recv) = lane(peer, 0, &[33]).await;
            send.reset(7u8.into()).unwrap();
            (send, recv)
        }
        .then(keep)
        .boxed_local()
    }),
    ("does not want acknowledgements", CloseCode::ProtocolViolation, 0, |peer| {
        async {
            let (send, mut recv) = lane(peer, 0, &transfers(&[1])).await;
            recv.stop(7u8.into()).unwrap();
            (send, recv)
        }
        .then(keep)
        .boxed_local()
    }),
    ("opens a lane twice", CloseCode::ProtocolViolation, 0, |peer| {
        async { (lane(peer, 1, &[]).await, lane(peer, 1, &[]).await) }.then(keep).boxed_local()
    }),
    ("leaves a transfer out", CloseCode::ProtocolViolation, 0, |peer| {
        async { lane(peer, 2, &transfers(&[1, 3])).await }.then(keep).boxed_local()
    }),
    ("ends a stream within a frame", CloseCode::ProtocolViolation, 0, |peer| {
        async {
            let (mut send, recv) = lane(peer, 2, &[33, 0, 0, 1]).await;
            send.finish().unwrap();
            (send, recv)
        }
        .then(keep)
        .boxed_local()
    }),
    ("sends a frame of a type that is not", CloseCode::ProtocolViolation, 0, |peer| {
        async { lane(peer, 2, &[99, 0, 0, 0, 1]).await }.then(keep).boxed_local()
    }),
    ("announces four gigabytes", CloseCode::FrameTooLarge, 0, |peer| {
        async { lane(peer, 2, &[33, 255, 255, 255, 255]).await }.then(keep).boxed_local()
    }),
    ("stops within a frame", CloseCode::Timeout, 15, |peer| {
        async { lane(peer, 3, &[33, 0, 0, 1]).await }.then(keep).boxed_local()
    }),
    ("opens a stream and never uses it", CloseCode::Timeout, 15, |peer| {
        async {
            let unused = peer.connection.open_bi().await.unwrap();
            (lane(peer, 3, &[]).await, unused)
        }
        .then(keep)
        .boxed_local()
    }),
    ("sends a byte now and then", CloseCode::Timeout, 15, |peer| {
        async {
            let (mut send, _recv) = lane(peer, 4, &[33, 0, 1, 0, 0]).await;
            loop {
                sleep(Duration::from_secs(1)).await;
                let _ = send.write_all(&[0]).await;
            }
        }
        .boxed_local()
    }),
    ("reads no acknowledgements", CloseCode::Timeout, 15, |peer| {
        async { lane(peer, 0, &transfers(&(1..=600).collect::<Vec<_>>())).await }.then(keep).boxed_local()
    }),
];

/// How the relay ends it, and when.
async fn ended_by(mut peer: RawPeer, misdeed: Misdeed) -> (CloseCode, Duration) {
    peer.say(&Frame::Hello(hello("ncb.ee"))).await;
    let began = Instant::now();
    let connection = peer.connection.clone();
    let code = tokio::select! {
        biased;
        closed = connection.closed() => close_code(&closed),
        () = misdeed(&mut peer) => unreachable!("a misdeed goes on for ever"),
    };
    (code, began.elapsed())
}

fn close_code(error: &quinn::ConnectionError) -> CloseCode {
    let quinn::ConnectionError::ApplicationClosed(close) = error else { panic!("closed without a code: {error}") };
    CloseCode::from_code(close.error_code.into_inner()).expect("a known code")
}

// [LINK-5] [FRAME-1] [LANE-1]
#[test]
fn every_misdeed_ends_the_link_with_its_code_and_in_its_time() {
    for (name, code, after, misdeed) in MISDEEDS {
        for seed in 0..SEEDS_EACH {
            let ((ended, took), seen) = Stage::new(seed, Loop::Busy).peer(good(), move |peer| ended_by(peer, misdeed));
            assert_eq!(ended, code, "a peer that {name}, seed {seed}");
            let after = Duration::from_secs(after);
            assert!(
                (after..after + Duration::from_secs(1) + REPEATED).contains(&took),
                "{name}, seed {seed}: {took:?}"
            );
            let seen = seen.borrow();
            let told = seen.iter().filter(|(_, what)| what.starts_with(code.as_str())).count();
            assert_eq!(told, 1, "the run loop hears of a peer that {name}, seed {seed}: {seen:?}");
        }
    }
}

// [LINK-5]
#[test]
fn a_peer_that_never_says_hello_is_closed_after_ten_seconds() {
    for seed in 0..SEEDS_EACH {
        let ((code, took), seen) = Stage::new(seed, Loop::Busy).peer(good(), |peer| async move {
            let began = Instant::now();
            let code = close_code(&peer.connection.closed().await);
            drop(peer);
            (code, began.elapsed())
        });
        assert_eq!(code, CloseCode::Timeout);
        assert!((8500..10_500).contains(&took.as_millis()), "seed {seed}: {took:?}");
        assert!(seen.borrow().is_empty(), "the run loop hears nothing of it");
    }
}

#[test]
fn a_peer_can_open_its_lanes_and_no_other_stream() {
    for seed in 0..SEEDS_EACH {
        let (opened, _) = Stage::new(seed, Loop::Busy).peer(good(), |mut peer| async move {
            peer.say(&Frame::Hello(hello("ncb.ee"))).await;
            let mut lanes = Vec::new();
            let opens = async {
                loop {
                    lanes.push(peer.connection.open_bi().await.unwrap());
                }
            };
            let patience = Duration::from_secs(5);
            let bidirectional: Result<(), _> = timeout(patience, opens).await;
            let unidirectional = timeout(patience, peer.connection.open_uni()).await;
            let datagram = peer.connection.send_datagram(vec![0].into());
            (bidirectional.is_ok(), unidirectional.is_ok(), datagram.is_ok(), lanes.len())
        });
        assert_eq!(opened, (false, false, false, usize::from(LANES)), "seed {seed}");
    }
}

#[test]
fn envelopes_are_read_only_while_there_is_room_for_them() {
    for seed in 0..SEEDS_EACH {
        let until = Duration::from_secs(30);
        let (_, seen) = Stage::new(seed, Loop::Hoards(until)).peer(good(), flood);
        let seen = seen.borrow();
        let (early, late): (Vec<_>, Vec<_>) =
            seen.iter().filter(|(_, what)| what.contains(' ')).partition(|(at, _)| *at < until);
        let taken = early.len() * ENVELOPE;
        assert!((ROOM / 2..=ROOM).contains(&taken), "seed {seed}: {taken} bytes");
        // As many as the rest of the run has time for, which is about as many again.
        assert!(late.len() > early.len() / 2, "seed {seed}: {} and {} envelopes", early.len(), late.len());
    }
}

/// What an agency that sends transfers can make a relay hold whose run loop takes nothing: for each lane its window, an
/// envelope that waits, and what was read with it; an event.
const HELD_BYTES_MAX: usize = LANES as usize * (512 * 1024 + ENVELOPE + 64 * 1024) + 2 * ENVELOPE;

#[test]
fn a_flood_is_held_within_the_lanes_windows_and_all_of_it_arrives_once_it_is_read() {
    for seed in 0..SEEDS_EACH {
        let stage = Stage::new(seed, Loop::Until(Duration::from_secs(40)));
        let ((before, after), seen) = stage.peer(good(), flood);
        assert!((1 << 20..HELD_BYTES_MAX).contains(&before), "seed {seed}: {before} bytes were taken");
        assert!(after > before + 20 * ENVELOPE, "seed {seed}: {before}, then {after} bytes");
        let seen = seen.borrow();
        assert!(seen.iter().all(|(_, what)| !what.starts_with("timeout")), "the peer is blamed: {seen:?}");
        for rank in 0..LANES {
            let of_rank = |what: &str| {
                Some(what.split_once(' ')?.1.parse::<u64>().unwrap()).filter(|_| what.starts_with(&rank.to_string()))
            };
            let seqs: Vec<_> = seen.iter().filter_map(|(_, what)| of_rank(what)).collect();
            assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "seed {seed}, rank {rank}: {seqs:?}");
        }
    }
}

/// Writes to all lanes as fast as it can; how much QUIC took in 30 s, and in 60 s.
async fn flood(mut peer: RawPeer) -> (usize, usize) {
    peer.say(&Frame::Hello(hello("ncb.ee"))).await;
    let written = Rc::new(Cell::new(0));
    let fill = async |rank: u8| {
        let (mut send, mut recv) = lane(&peer, rank, &[]).await;
        let reads = async { while recv.read_chunk(1 << 16, true).await.unwrap().is_some() {} };
        let writes = async {
            for seq in 1.. {
                let frame = Frame::Transfer(transfer(seq, ENVELOPE)).encode().unwrap();
                let mut rest = frame.as_slice();
                while !rest.is_empty() {
                    let taken = send.write(rest).await.unwrap();
                    written.set(written.get() + taken);
                    rest = &rest[taken..];
                }
            }
        };
        tokio::join!(reads, writes);
    };
    let count = async {
        sleep(Duration::from_secs(30)).await;
        let before = written.get();
        sleep(Duration::from_secs(30)).await;
        (before, written.get())
    };
    let lanes = async { tokio::join!(fill(0), fill(1), fill(2), fill(3), fill(4)) };
    tokio::select! {
        counted = count => counted,
        _ = lanes => unreachable!("it writes for ever"),
    }
}

// [LINK-5]
#[test]
fn an_idle_peer_that_vanishes_is_noticed_after_fifteen_seconds() {
    for seed in 0..SEEDS_EACH {
        let (cut, seen) = Stage::new(seed, Loop::Busy).peer(good(), |mut peer| async move {
            peer.say(&Frame::Hello(hello("ncb.ee"))).await;
            sleep(Duration::from_secs(3)).await;
            turmoil::partition("eu-1", "ncb.ee");
            let cut = turmoil::sim_elapsed().unwrap();
            sleep(Duration::from_secs(25)).await;
            cut
        });
        let seen = seen.borrow();
        let (at, reason) = seen.last().unwrap();
        assert!(reason.starts_with("timeout"), "{seen:?}");
        let noticed = (*at - cut).as_millis();
        assert!((14_000..16_300).contains(&noticed), "seed {seed}: {noticed} ms");
    }
}
