//! Bad weather: a stretch of network that delays, loses, repeats, reorders, damages and throttles UDP datagrams.
//!
//! The kernel's own tool for this (netem) is not everywhere, and is not seeded. Same seed, same draws; what they hit
//! depends on when datagrams come.

mod firewall;
mod wire;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::draw::Draw;
pub use firewall::{Firewall, Rule};
pub use wire::{ENDS, ENDS_V6, Wire};

/// How long a thread waits for a datagram before it looks whether it is wanted.
const TICK: Duration = Duration::from_millis(50);
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// A slow stretch holds back this much of the time before it drops, as a router's queue would.
const QUEUE_MAX: Duration = Duration::from_secs(2);

/// What the network is like, each way. The default is a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Every datagram takes this long, and up to `jitter` more.
    pub delay: Duration,
    /// See `delay`. Jitter alone reorders, too.
    pub jitter: Duration,
    /// So many of a thousand never arrive.
    pub lost: u64,
    /// So many of a thousand arrive twice.
    pub repeated: u64,
    /// So many of a thousand arrive late, behind what was sent after them.
    pub reordered: u64,
    /// So many of a thousand arrive with a byte changed.
    pub damaged: u64,
    /// Bits a second; no bound if none.
    pub bits_per_second: Option<u64>,
}

/// What has been done to datagrams so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came in.
    pub received: u64,
    /// Thrown away at random.
    pub lost: u64,
    /// Thrown away because the queue was full.
    pub overflowed: u64,
    /// Sent twice.
    pub repeated: u64,
    /// Held back behind others.
    pub reordered: u64,
    /// Changed.
    pub damaged: u64,
}

/// A stretch of network to one address. Ends when dropped.
#[derive(Debug)]
pub struct Stretch {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    is_over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    weather: Weather,
    counts: Counts,
    draw: Draw,
    /// When each way is free again, in a stretch with a bound on its rate.
    free_at: [Instant; 2],
}

/// A datagram and when it is to be delivered. The earliest is the greatest, for a heap.
type Due = Reverse<(Instant, u64)>;

struct Datagram {
    way: Way,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Way {
    Back(SocketAddr),
    Forth(SocketAddr),
}

impl Stretch {
    /// A stretch to `target` in good weather.
    ///
    /// # Panics
    /// The system gives no port.
    #[must_use]
    pub fn to(target: SocketAddr, seed: u64) -> Self {
        let front = socket();
        let address = front.local_addr().expect("an address");
        let now = Instant::now();
        let (weather, counts, draw) = (Weather::default(), Counts::default(), Draw::new(seed));
        let state = Mutex::new(State { weather, counts, draw, free_at: [now, now] });
        let shared = Arc::new(Shared { is_over: AtomicBool::new(false), state });
        let carried = Arc::clone(&shared);
        let thread = Some(std::thread::spawn(move || carry(&front, target, &carried)));
        Self { address, shared, thread }
    }

    /// Where to dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The weather from now on.
    pub fn set(&self, weather: Weather) {
        self.shared.state().weather = weather;
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

impl State {
    /// When copies of a datagram that comes in now are to be delivered: none, one or two times.
    fn fate(&mut self, now: Instant, way: Way, bytes: &mut [u8]) -> Vec<Instant> {
        let weather = self.weather;
        self.counts.received += 1;
        if self.draw.permille(weather.lost) {
            self.counts.lost += 1;
            return Vec::new();
        }
        let free_at = &mut self.free_at[usize::from(matches!(way, Way::Back(_)))];
        let mut ready = now;
        if let Some(rate) = weather.bits_per_second {
            let begins = (*free_at).max(now);
            if begins - now > QUEUE_MAX {
                self.counts.overflowed += 1;
                return Vec::new();
            }
            ready = begins + Duration::from_micros(bytes.len() as u64 * 8 * 1_000_000 / rate.max(1));
            *free_at = ready;
        }
        ready += weather.delay + self.jitter();
        if self.draw.permille(weather.reordered) {
            self.counts.reordered += 1;
            ready += Duration::from_millis(20 + self.draw.below(40));
        }
        if self.draw.permille(weather.damaged) && !bytes.is_empty() {
            self.counts.damaged += 1;
            let at = usize::try_from(self.draw.below(bytes.len() as u64)).expect("an index");
            bytes[at] ^= 1 << self.draw.below(8);
        }
        if self.draw.permille(weather.repeated) {
            self.counts.repeated += 1;
            return vec![ready, ready + self.jitter() + Duration::from_millis(1)];
        }
        vec![ready]
    }

    fn jitter(&mut self) -> Duration {
        let micros = u64::try_from(self.weather.jitter.as_micros()).expect("a short time");
        Duration::from_micros(self.draw.below(micros + 1))
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    socket
}

/// One thread listens to dialers, one more for each dialer to the target's answers, and this one delivers.
fn carry(front: &UdpSocket, target: SocketAddr, shared: &Shared) {
    let (sender, arriving) = mpsc::channel::<Datagram>();
    let mut backs: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
    let mut queue: BinaryHeap<Due> = BinaryHeap::new();
    let mut waiting: BTreeMap<u64, Datagram> = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn({
            let sender = sender.clone();
            move || listen(front, shared, &sender, Way::Forth)
        });
        while !shared.is_over() {
            let next = queue.peek().map_or(TICK, |Reverse((due, _))| due.saturating_duration_since(Instant::now()));
            if let Ok(datagram) = arriving.recv_timeout(next.min(TICK)) {
                enqueue(shared, datagram, &mut queue, &mut waiting);
            }
            while let Some(Datagram { way, bytes }) = due(&mut queue, &mut waiting) {
                // What cannot be sent is lost: that is what this network is like.
                let _ = match way {
                    Way::Back(dialer) => front.send_to(&bytes, dialer),
                    Way::Forth(dialer) => {
                        let back = backs.entry(dialer).or_insert_with(|| {
                            let back = socket();
                            back.connect(target).expect("an address");
                            let (answers, sender) = (back.try_clone().expect("a socket"), sender.clone());
                            scope.spawn(move || listen(&answers, shared, &sender, |_| Way::Back(dialer)));
                            back
                        });
                        back.send(&bytes)
                    }
                };
            }
        }
    });
}

fn listen(socket: &UdpSocket, shared: &Shared, sender: &Sender<Datagram>, way: impl Fn(SocketAddr) -> Way) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while !shared.is_over() {
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => {
                let datagram = Datagram { way: way(from), bytes: datagram[..length].to_vec() };
                // Nobody takes it any more: it is lost, as on any network that ends.
                let _ = sender.send(datagram);
            }
            // Nothing came, or the target is not there.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn enqueue(
    shared: &Shared,
    mut datagram: Datagram,
    queue: &mut BinaryHeap<Due>,
    waiting: &mut BTreeMap<u64, Datagram>,
) {
    let copies = shared.state().fate(Instant::now(), datagram.way, &mut datagram.bytes);
    for ready in copies {
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        queue.push(Reverse((ready, number)));
        waiting.insert(number, Datagram { way: datagram.way, bytes: datagram.bytes.clone() });
    }
}

/// The next datagram whose time has come.
fn due(queue: &mut BinaryHeap<Due>, waiting: &mut BTreeMap<u64, Datagram>) -> Option<Datagram> {
    let Reverse((ready, number)) = *queue.peek()?;
    if ready > Instant::now() {
        return None;
    }
    queue.pop();
    waiting.remove(&number)
}

#[cfg(test)]
mod tests;
