//! The one HTTP server of both programs: HTTP/1.1 for a few callers on this machine, with everything bounded.
//!
//! ```text
//!  connections   a fixed number; further ones wait in the kernel's queue
//!  header        10 s, for the first one and for the next one on a kept connection
//!  bodies        60 s each; a fixed number of bytes of all of them at a time
//!  answer        a caller that takes nothing for 30 s is hung up on
//! ```
//! Running out of file descriptors costs a caller a moment, never the node.

mod patient;
mod room;
mod socket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::patient::Patient;
use self::room::Bodies;

pub use socket::{ListenError, Listener, SocketFile, bind, check_path};

/// A header has to be there by then, the next one on a kept connection too.
const HEADER_MAX: Duration = Duration::from_secs(10);
/// hyper's own least.
const BUFFER_BYTES: usize = 16 * 1024;
/// Shortest and longest wait after a connection that was not accepted: out of descriptors, most likely.
const ACCEPT_WAIT_MIN: Duration = Duration::from_millis(50);
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(1);

/// Bounds that differ between the two programs.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at a time. No more than an eighth of the process's descriptors either way.
    pub connections_max: usize,
    /// Bytes of all request bodies at a time.
    pub bodies_bytes_max: usize,
    /// Bytes that a body without a stated length is counted as: the longest that any path takes.
    pub body_bytes_max: usize,
    /// Answers under way are finished by then, when the node stops.
    pub stop_max: Duration,
}

impl Bounds {
    fn connections(&self) -> usize {
        let descriptors = usize::try_from(crate::descriptors::limit()).unwrap_or(usize::MAX);
        self.connections_max.min(descriptors / 8).max(1)
    }
}

/// A place where callers come in.
#[derive(Debug)]
pub enum Door {
    /// Loopback, as a rule.
    Tcp(TcpListener),
    /// A socket of this machine.
    Unix(UnixListener),
}

/// The one who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Over a Unix socket: the user, as the kernel says.
    pub uid: Option<u32>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Door {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Caller)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), Caller { uid: None }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|credentials| credentials.uid());
                Ok((Box::new(stream), Caller { uid }))
            }
        }
    }
}

/// Serves `router` until `stop`, then finishes the answers under way. Handlers find the [`Caller`] among the extensions.
pub async fn serve(door: Door, router: Router, bounds: Bounds, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(bounds.connections()));
    let router = router.layer(middleware::from_fn_with_state(Arc::new(Bodies::new(&bounds)), room::bounded));
    let mut connections = JoinSet::new();
    let mut wait = ACCEPT_WAIT_MIN;
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&door, &slots) => accepted,
        };
        match accepted {
            Ok((stream, caller, slot)) => {
                wait = ACCEPT_WAIT_MIN;
                let router = router.clone().layer(Extension(caller));
                let stop = stop.clone();
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the local HTTP server was not accepted");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(ACCEPT_WAIT_MAX);
            }
        }
    }
    drop(door);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(bounds.stop_max, finish).await;
}

type Accepted = (Box<dyn Stream>, Caller, OwnedSemaphorePermit);

async fn accept(door: &Door, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, caller) = door.accept().await?;
    Ok((stream, caller, slot))
}

async fn connection(stream: Box<dyn Stream>, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX).max_buf_size(BUFFER_BYTES);
    let stream = TokioIo::new(Patient::new(stream));
    let mut connection = std::pin::pin!(builder.serve_connection(stream, TowerToHyperService::new(router)));
    // What goes wrong here is the caller's, who sees it.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests;
