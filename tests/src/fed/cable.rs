//! A stretch of network that can be cut: UDP datagrams pass, or they do not.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread waits for a datagram before it looks whether it is wanted.
const TICK: Duration = Duration::from_millis(50);
/// The largest UDP datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;

#[derive(Debug, Default)]
struct State {
    is_cut: AtomicBool,
    is_over: AtomicBool,
}

impl State {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// A cut cable swallows what is sent: nobody is told.
    fn passes(&self) -> bool {
        !self.is_cut.load(Ordering::SeqCst)
    }
}

/// Forwards what comes to [`Cable::address`], and the answers. Whoever dials the address instead of the target's own can
/// be cut off from it. Ends when dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

impl Cable {
    /// A whole cable to `target`.
    ///
    /// # Panics
    /// The system gives no port.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let front = socket();
        let address = front.local_addr().expect("an address");
        let state = Arc::<State>::default();
        let carried = state.clone();
        let thread = Some(std::thread::spawn(move || carry(&front, target, &carried)));
        Self { address, state, thread }
    }

    /// Where to dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes any more, either way.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
    }

    /// Everything passes again.
    pub fn mend(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed where it happened.
            let _ = thread.join();
        }
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.set_read_timeout(Some(TICK)).expect("a timeout");
    socket
}

/// A socket towards the target for each address that dials; a thread for each such socket's answers.
fn carry(front: &UdpSocket, target: SocketAddr, state: &State) {
    let mut dialers: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
    std::thread::scope(|scope| {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !state.is_over() {
            let Ok((bytes, dialer)) = front.recv_from(&mut datagram) else { continue };
            let back = dialers.entry(dialer).or_insert_with(|| {
                let back = socket();
                back.connect(target).expect("an address");
                let answers = back.try_clone().expect("a socket");
                scope.spawn(move || answer(front, &answers, dialer, state));
                back
            });
            if state.passes() {
                // What is lost on the way is sent again by QUIC.
                let _ = back.send(&datagram[..bytes]);
            }
        }
    });
}

fn answer(front: &UdpSocket, answers: &UdpSocket, dialer: SocketAddr, state: &State) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    while !state.is_over() {
        // The target may not be there: then there is no answer.
        let Ok(bytes) = answers.recv(&mut datagram) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        if state.passes() {
            let _ = front.send_to(&datagram[..bytes], dialer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_carries_both_ways_until_it_is_cut_and_again_once_it_is_mended() {
        let (far, near) = (socket(), socket());
        let cable = Cable::to(far.local_addr().unwrap());
        near.connect(cable.address()).unwrap();
        let mut datagram = [0; 16];
        let mut ask = || {
            near.send(b"ask").unwrap();
            let (_, from) = far.recv_from(&mut datagram).ok()?;
            far.send_to(b"answer", from).unwrap();
            let bytes = near.recv(&mut datagram).ok()?;
            Some(datagram[..bytes].to_vec())
        };
        // Its threads may need a moment.
        assert!((0..20).any(|_| ask().as_deref() == Some(b"answer")));
        cable.cut();
        assert_eq!(ask(), None);
        cable.mend();
        assert!((0..20).any(|_| ask().as_deref() == Some(b"answer")));
    }
}
