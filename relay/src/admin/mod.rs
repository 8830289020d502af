//! How operators and their tools reach a running relay.
//!
//! ```text
//!  liaison-relay status ──► Unix socket (0600): /v1/…  ─┐
//!  curl, Prometheus ──► loopback: /healthz /readyz      ├─► OperatorHandle ──► run loop
//!                                 /metrics             ─┘
//! ```
//!
//! The socket's mode is its access control; what changes something exists only there. The TCP listener only reads,
//! and beyond loopback it wants a token for what names agencies.

pub mod api;
pub mod client;
mod probe;
mod problem;
mod token;

use std::sync::Arc;
use std::time::Duration;

use liaison_node::http::{Bounds, Door, Listener};
use liaison_node::operator::{OperatorError, OperatorHandle};
use liaison_protocol::roster::Roster;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use problem::Problem;
pub use token::{Token, TokenError};

use crate::reload::Reloader;
use crate::telemetry::Exporter;

/// The admin socket, in errors.
pub const LISTENER: Listener = Listener { program: "relay", key: "[listen] admin_socket" };

/// Each admin listener has these for itself. Nothing that it takes is longer than axum's 2 MiB.
const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    bodies_bytes_max: 16 << 20,
    body_bytes_max: 2 << 20,
    stop_max: Duration::from_secs(2),
};

/// Serves `router` until `stop`, then finishes the answers under way.
pub async fn serve(door: Door, router: axum::Router, stop: CancellationToken) {
    liaison_node::http::serve(door, router, BOUNDS, stop).await;
}

/// What the admin listeners serve from.
#[derive(Debug)]
pub struct Surface {
    /// Asks the run loop.
    pub operator: OperatorHandle,
    /// What /metrics shows.
    pub exporter: Exporter,
    /// What a reload does.
    pub reloader: Reloader,
    /// The roster in force.
    pub roster: watch::Receiver<Arc<Roster>>,
}

impl Surface {
    /// Everything, for the Unix socket.
    pub fn socket_router(self: &Arc<Self>) -> axum::Router {
        api::router(Arc::clone(self)).merge(probe::router(Arc::clone(self), None))
    }

    /// Health, readiness and metrics, for the TCP listener.
    pub fn tcp_router(self: &Arc<Self>, token: Option<Token>) -> axum::Router {
        probe::router(Arc::clone(self), Some(probe::Guard::new(token)))
    }
}

/// The run loop's answer, if it comes in time.
async fn answer<T>(asked: impl Future<Output = Result<T, OperatorError>>) -> Result<T, Problem> {
    match tokio::time::timeout(crate::reload::ANSWER_MAX, asked).await {
        Ok(answer) => answer.map_err(Problem::from),
        Err(_) => Err(Problem::busy()),
    }
}
