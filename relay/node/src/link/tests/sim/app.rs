//! What runs on a simulated host: an endpoint, and in the run loop's place somebody who talks all the time.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use liaison_protocol::MessageId;
use liaison_protocol::frame::{Ack, Acks, ControlFrame, Inquiry, LANES};
use liaison_protocol::limits::LANE_FRAME_BYTES_MAX;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use super::journal::{Journal, Left, Took, What};
use super::net::SimSocket;
use super::plan::{Draw, Traffic};
use super::*;

/// How often a node looks at its orders and at its links.
const LOOK: Duration = Duration::from_millis(25);
/// Transfers without acknowledgement on a lane.
const UNACKNOWLEDGED_MAX: u64 = 32;
/// What one link says in a second, about.
const BYTES_A_SECOND: u64 = 150_000;
/// How long QUIC may remember connections that are closed: three of its probe timeouts.
const QUIC_ENDS: Duration = Duration::from_secs(4);
/// Bytes of an envelope that say which one they are of, and where they stand in it.
const PIECE: usize = 256;

/// What the run tells a node to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    CloseLinks,
    Sleep(Duration),
    Stop,
}

/// What a node is started with.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) node: usize,
    pub(super) life: u32,
    pub(super) names: Rc<Vec<&'static str>>,
    /// Whom to dial.
    pub(super) dials: Vec<usize>,
    pub(super) traffic: Traffic,
    pub(super) received_bytes_max: usize,
    pub(super) events_max: usize,
    pub(super) roster: watch::Receiver<Arc<TestPeers>>,
    pub(super) orders: Rc<RefCell<VecDeque<Order>>>,
    pub(super) journal: Journal,
    pub(super) draw: Draw,
}

/// One life of a node.
pub(super) struct App {
    part: Part,
    endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    links: BTreeMap<LinkId, Talk>,
    owed: VecDeque<Owed>,
    held_bytes: usize,
}

/// What is said on one link.
struct Talk {
    handle: LinkHandle,
    sent: [u64; LANES as usize],
    unacknowledged: [u64; LANES as usize],
    next: Instant,
    next_beat: Instant,
}

/// A transfer that is being stored.
struct Owed {
    due: Instant,
    link: LinkId,
    rank: u8,
    seq: u64,
    bytes: usize,
    _room: Room,
}

/// Nobody else sends this: every field follows from the number.
fn numbered(seq: u64, number: u64, bytes: usize) -> Transfer {
    let mut envelope = Vec::with_capacity(bytes + PIECE);
    let mut piece = [number as u8; PIECE];
    piece[..8].copy_from_slice(&number.to_be_bytes());
    while envelope.len() < bytes {
        piece[8..16].copy_from_slice(&envelope.len().to_be_bytes());
        envelope.extend_from_slice(&piece);
    }
    envelope.truncate(bytes);
    Transfer {
        seq,
        attempt: (1 + number % 16) as u8,
        branch: vec![(number % 1000) as u16],
        path: vec![id(["ap-1", "eu-1"][(number % 2) as usize])],
        accepted: Timestamp::from_millis(number),
        envelope: envelope.into(),
    }
}

impl App {
    pub(super) fn start(mut part: Part, socket: Arc<SimSocket>) -> Self {
        let name = part.names[part.node];
        let mut jitter = part.draw.fork();
        let jitter = Mutex::new(move || jitter.unit());
        let config = EndpointConfig {
            listen: (!name.contains('.')).then(|| ([0, 0, 0, 0], PORT).into()),
            limits: LinkLimits { received_bytes_max: part.received_bytes_max, ..LinkLimits::default() },
            jitter: Arc::new(move || (jitter.lock().unwrap())()),
            ..EndpointConfig::new(CAST.identity(name), id(name), role(name), part.roster.clone())
        };
        let mut dice = [0; 32];
        dice[..8].copy_from_slice(&part.draw.next().to_be_bytes());
        let (sender, events) = mpsc::channel(part.events_max);
        let endpoint = Endpoint::over(socket, Some(dice), config, sender).expect("an endpoint");
        for peer in &part.dials {
            let name = part.names[*peer];
            endpoint.dial(id(name), vec![SocketAddr::new(turmoil::lookup(name), PORT).to_string()]);
        }
        let app = Self { part, endpoint, events, links: BTreeMap::new(), owed: VecDeque::new(), held_bytes: 0 };
        app.note(What::Started);
        app
    }

    fn note(&self, what: What) {
        self.part.journal.note(turmoil::sim_elapsed().unwrap_or_default(), self.part.node, self.part.life, what);
    }

    fn place(&self, peer: &NodeId) -> usize {
        self.part.names.iter().position(|name| *name == peer.as_str()).expect("a node of this run")
    }

    pub(super) async fn run(mut self) {
        let mut look = Instant::now() + LOOK;
        loop {
            let order = self.part.orders.borrow_mut().pop_front();
            match order {
                Some(Order::CloseLinks) => self.links.values().for_each(|talk| talk.handle.close(CloseCode::Draining)),
                Some(Order::Sleep(span)) => sleep(span).await,
                Some(Order::Stop) => return self.leave().await,
                None => {}
            }
            let due = self.owed.front().map_or(look, |owed| owed.due.min(look));
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.handle(event),
                () = sleep_until(due) => {}
            }
            self.acknowledge();
            if look <= Instant::now() {
                look = Instant::now() + LOOK;
                self.talk();
                self.take_stock();
            }
        }
    }

    fn handle(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { link, peer, handle, .. } => {
                self.note(What::Up { link: link.get(), peer: self.place(&peer) });
                let now = Instant::now();
                let mut talk = Talk { handle, sent: [0; 5], unacknowledged: [0; 5], next: now, next_beat: now };
                self.beat(&mut talk);
                self.say(&mut talk);
                self.links.insert(link, talk);
            }
            LinkEvent::Down { link, peer, reason } => {
                self.note(What::Down { link: link.get(), peer: self.place(&peer), reason });
                self.links.remove(&link);
            }
            LinkEvent::Transfer { link, rank, transfer, room } => {
                let (seq, bytes) = (transfer.seq, transfer.envelope.len());
                let number = transfer.envelope.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                let whole = transfer == numbered(seq, number, bytes);
                self.note(What::Received { link: link.get(), rank, seq, number, bytes, whole });
                let due = Instant::now() + self.part.traffic.store;
                self.owed.push_back(Owed { due, link, rank, seq, bytes, _room: room });
                self.held_bytes += bytes;
            }
            LinkEvent::Acks { link, rank, acks } => self.handle_acks(link, rank, &acks),
            LinkEvent::Control { link, frame } => self.note(match frame {
                ControlFrame::Inquiry(inquiry) => {
                    let number = inquiry.id.0.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
                    What::ControlReceived { link: link.get(), number }
                }
                other => What::Foreign { link: link.get(), what: format!("{other:?}") },
            }),
            LinkEvent::Rivals { .. } => {}
            LinkEvent::DialFailed { peer, reason } => {
                self.note(What::DialFailed { peer: self.place(&peer), reason });
            }
        }
    }

    fn handle_acks(&mut self, link: LinkId, rank: u8, acks: &Acks) {
        let number = acks.receipt.as_ref().and_then(|receipt| Some(u64::from_be_bytes(*receipt.first_chunk()?)));
        let seqs: Vec<_> = acks.acks.iter().map(|ack| ack.seq).collect();
        if let Some(talk) = self.links.get_mut(&link) {
            let left = &mut talk.unacknowledged[usize::from(rank)];
            *left = left.saturating_sub(seqs.len() as u64);
        }
        self.note(What::AcksReceived { link: link.get(), rank, number: number.unwrap_or_default(), seqs });
    }

    /// Acknowledges what is stored by now, together what came together.
    fn acknowledge(&mut self) {
        let mut done = BTreeMap::<(LinkId, u8), Vec<u64>>::new();
        while self.owed.front().is_some_and(|owed| owed.due <= Instant::now()) {
            let Some(owed) = self.owed.pop_front() else { break };
            self.held_bytes -= owed.bytes;
            done.entry((owed.link, owed.rank)).or_default().push(owed.seq);
        }
        for ((link, rank), seqs) in done {
            let Some(talk) = self.links.get(&link) else { continue };
            let number = self.part.journal.number();
            let ack = |seq: &u64| Ack { seq: *seq, taken: vec![0], duplicate: vec![], refused: vec![], proof: None };
            let acks = seqs.iter().map(ack).collect();
            let receipt = Some(number.to_be_bytes().to_vec().into());
            if talk.handle.acks(rank, Acks { acks, receipt }).is_ok() {
                self.note(What::AcksSent { link: link.get(), rank, number, seqs });
            }
        }
    }

    fn talk(&mut self) {
        let mut links = std::mem::take(&mut self.links);
        for talk in links.values_mut() {
            if talk.next_beat <= Instant::now() {
                self.beat(talk);
            }
            if talk.next <= Instant::now() {
                self.say(talk);
            }
        }
        self.links = links;
    }

    /// A control frame, however much else waits.
    fn beat(&self, talk: &mut Talk) {
        let number = self.part.journal.number();
        let mut id = MessageId(Hash::ZERO);
        id.0.0[..8].copy_from_slice(&number.to_be_bytes());
        if talk.handle.control(&ControlFrame::Inquiry(Inquiry { id, index: 0, hops: 0 })).is_ok() {
            self.note(What::ControlSent { link: talk.handle.id().get(), number });
        }
        talk.next_beat = Instant::now() + BEAT;
    }

    /// A burst of transfers.
    fn say(&mut self, talk: &mut Talk) {
        let link = talk.handle.id().get();
        let (mut said, Traffic { burst_max, envelope_bytes_max, .. }) = (0, self.part.traffic);
        for _ in 0..1 + self.part.draw.below(burst_max) {
            let draw = &mut self.part.draw;
            let (rank, size) = (draw.below(LANES.into()), 16 + (draw.below(envelope_bytes_max) >> draw.below(6)));
            let bytes = size as usize;
            let lane = rank as usize;
            if talk.unacknowledged[lane] >= UNACKNOWLEDGED_MAX {
                continue;
            }
            let (seq, number) = (talk.sent[lane] + 1, self.part.journal.number());
            if talk.handle.transfer(rank as u8, numbered(seq, number, bytes)).is_ok() {
                talk.sent[lane] = seq;
                talk.unacknowledged[lane] += 1;
                said += size;
                self.note(What::Sent { link, rank: rank as u8, seq, number, bytes });
            }
        }
        let pause = Duration::from_millis(1000 * said / BYTES_A_SECOND).min(Duration::from_secs(1));
        talk.next = Instant::now() + self.part.draw.millis(50, 250).max(pause);
    }

    fn take_stock(&self) {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let inner = &self.endpoint.inner;
        let (tracked, connections) = (inner.tracker.len(), inner.quinn.open_connections());
        let links = self.links.len();
        self.note(What::Took(Took { held_bytes: self.held_bytes, tasks, tracked, connections, links }));
    }

    /// Closes in peace, and looks what is left.
    async fn leave(mut self) {
        self.note(What::Stopping);
        let code = self.part.draw.pick(&[CloseCode::Draining, CloseCode::Shutdown]);
        // The events' end must be read while the endpoint closes.
        let (sender, instead) = mpsc::channel(1);
        drop(sender);
        let mut events = std::mem::replace(&mut self.events, instead);
        let endpoint = Rc::new(self.endpoint.inner.clone());
        let closing = async { self.endpoint.close(code).await };
        let mut left_over = Vec::new();
        {
            let mut closing = std::pin::pin!(closing);
            loop {
                tokio::select! {
                    biased;
                    () = &mut closing => break,
                    Some(event) = events.recv() => left_over.push(event),
                }
            }
        }
        while let Ok(event) = events.try_recv() {
            left_over.push(event);
        }
        left_over.into_iter().for_each(|event| self.handle(event));
        drop(std::mem::take(&mut self.owed));
        self.links.clear();
        let room_bytes = self.room_bytes_missing().await;
        let (tracked, connections) = (endpoint.tracker.len(), endpoint.quinn.open_connections());
        let (part, at) = (self.part.clone(), turmoil::sim_elapsed().unwrap_or_default());
        drop((self, endpoint, events));
        let tasks = || Handle::current().metrics().num_alive_tasks();
        // QUIC's own tasks end when peers had time to hear of it.
        let end = Instant::now() + QUIC_ENDS;
        while tasks() > 0 && Instant::now() < end {
            sleep(LOOK).await;
        }
        let tasks = tasks();
        part.journal.note(at, part.node, part.life, What::Left(Left { tracked, connections, room_bytes, tasks }));
    }

    /// Takes all the room there is.
    async fn room_bytes_missing(&self) -> usize {
        let all = self.part.received_bytes_max.max(LANE_FRAME_BYTES_MAX);
        let (mut taken, mut rooms) = (0, Vec::new());
        while taken < all {
            let next = (all - taken).min(LANE_FRAME_BYTES_MAX);
            let Ok(room) =
                timeout(Duration::from_millis(1), self.endpoint.inner.room.lane(Role::Relay).take(next)).await
            else {
                break;
            };
            rooms.push(room);
            taken += next;
        }
        all - taken
    }
}
