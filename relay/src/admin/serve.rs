//! HTTP/1.1 for a few callers: every connection, header and wait is bounded.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections at a time; one more waits in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// A header has to be there by then, the next one on a kept connection too.
const HEADER_MAX: Duration = Duration::from_secs(10);
/// Answers under way are finished by then, when the relay stops.
const STOP_MAX: Duration = Duration::from_secs(2);
/// hyper's own least.
const BUFFER_BYTES: usize = 16 * 1024;

/// Where callers come in.
#[derive(Debug)]
pub enum Door {
    /// Loopback, as a rule.
    Tcp(TcpListener),
    /// The admin socket.
    Unix(UnixListener),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Over the Unix socket: the user.
    pub(super) uid: Option<u32>,
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

/// Serves `router` until `stop`, then finishes the answers under way.
pub async fn serve(door: Door, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&door, &slots) => accepted,
        };
        match accepted {
            Ok((stream, caller, slot)) => {
                let router = router.clone().layer(Extension(caller));
                let stop = stop.clone();
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: waiting is all that helps.
                tracing::warn!(%error, "an admin connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(door);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(STOP_MAX, finish).await;
}

type Accepted = (Box<dyn Stream>, Caller, tokio::sync::OwnedSemaphorePermit);

async fn accept(door: &Door, slots: &Arc<Semaphore>) -> io::Result<Accepted> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, caller) = door.accept().await?;
    Ok((stream, caller, slot))
}

async fn connection(stream: Box<dyn Stream>, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_MAX).max_buf_size(BUFFER_BYTES);
    let mut connection =
        std::pin::pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    // What goes wrong here is the caller's, who sees it.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
