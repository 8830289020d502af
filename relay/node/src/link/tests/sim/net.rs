//! A simulated host's UDP socket, as quinn wants one, under weather that a seed decides.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use turmoil::net::UdpSocket;

use super::plan::{Draw, Weather};

type Readable = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// One socket. Delay and order are turmoil's; loss, repetition, damage and the largest datagram are decided here.
pub(super) struct SimSocket {
    socket: Arc<UdpSocket>,
    weather: Arc<Mutex<Weather>>,
    draw: Mutex<Draw>,
    /// Holds turmoil's lock while it waits, and is dropped before anything is read.
    readable: Mutex<Option<Readable>>,
}

impl SimSocket {
    /// Binds a port of the host that asks; 0 for any.
    pub(super) async fn bind(port: u16, weather: Arc<Mutex<Weather>>, draw: Draw) -> Arc<Self> {
        let socket = Arc::new(UdpSocket::bind(("0.0.0.0", port)).await.expect("a free port"));
        Arc::new(Self { socket, weather, draw: Mutex::new(draw), readable: Mutex::default() })
    }

    fn send(&self, contents: &[u8], to: SocketAddr) {
        // Nobody is told that a datagram goes nowhere.
        let _ = self.socket.try_send_to(contents, to);
    }
}

impl AsyncUdpSocket for SimSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let weather = *self.weather.lock().unwrap();
        let mut draw = self.draw.lock().unwrap();
        if transmit.contents.len() > weather.datagram_bytes_max || draw.chance(weather.lost) {
            return Ok(());
        }
        let mut contents = transmit.contents.to_vec();
        if draw.chance(weather.damaged) {
            let bit = draw.below(contents.len() as u64 * 8) as usize;
            contents[bit / 8] ^= 1 << (bit % 8);
        }
        self.send(&contents, transmit.destination);
        if draw.chance(weather.repeated) {
            self.send(&contents, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut readable = self.readable.lock().unwrap();
        loop {
            if let Some(waiting) = readable.as_mut() {
                ready!(waiting.as_mut().poll(context))?;
                *readable = None;
            }
            match self.socket.try_recv_from(&mut buffers[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = self.socket.clone();
                    *readable = Some(Box::pin(async move { socket.readable().await }));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSocket").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
