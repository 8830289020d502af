//! The local API's server: axum on a Unix socket, the OpenAPI document made from the code.
//!
//! Whoever may open the socket (mode 0660: this user and its group) may ask anything. Bodies are bounded before they
//! are read; whatever waits, waits off the threads that serve.

mod extract;
mod lists;
mod messages;
mod plain;
mod stream;
mod system;
mod uploads;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use liaison_node::http::{Bounds, Door, Listener};
use liaison_node::metric::StatusGauges;
use liaison_node::operator::OperatorHandle;
use liaison_protocol::NodeId;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::model::{Problem, ProblemCode};
use crate::attachment::upload::PIECE_BYTES_MAX;
use crate::office::Office;
use crate::problem::Answer;

/// A body in JSON: a text of 1 MiB, every character escaped.
const JSON_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Event streams and long polls at a time: half of the connections.
const STREAMS_MAX: usize = 64;
const BOUNDS: Bounds = Bounds {
    connections_max: 2 * STREAMS_MAX,
    bodies_bytes_max: 64 << 20,
    body_bytes_max: JSON_BYTES_MAX,
    stop_max: Duration::from_secs(10),
};
/// The socket's mode: this user and its group.
pub const SOCKET_MODE: u32 = 0o660;
/// The socket, in errors.
pub const LISTENER: Listener = Listener { program: "daemon", key: "[api] socket" };

/// What the API is made of.
pub struct Surface {
    /// The agency's daemon.
    pub office: Arc<Office>,
    /// The run loop, for status.
    pub operator: OperatorHandle,
    /// Home relays, the preferred one first.
    pub home: Vec<NodeId>,
    /// Renders `/metrics`; none where the process has no recorder.
    pub metrics: Option<PrometheusHandle>,
    /// What `/metrics` takes from the node's status.
    pub gauges: Mutex<StatusGauges>,
    /// Cancelled when the daemon stops: streams end then.
    pub stop: CancellationToken,
    /// Event streams and long polls that may begin.
    pub streams: Streams,
}

/// Places for event streams and long polls. Each waits for long, so that they must not take every connection.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

impl Streams {
    /// A place, if one is free.
    fn enter(&self) -> Answer<OwnedSemaphorePermit> {
        let detail = format!("{STREAMS_MAX} event streams and long polls are open; close one, or try again later");
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| Problem::new(ProblemCode::Busy, detail))
    }
}

pub(crate) type Shared = axum::extract::State<Arc<Surface>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "liaisond",
        description = "The local API of an agency's daemon, on a Unix socket. Errors are problem documents (RFC 9457)."
    ),
    // Only queries refer to it, which are not searched for schemas.
    components(schemas(crate::api::model::ListOrder, crate::api::model::SentFilter))
)]
struct Api;

fn open_api() -> (Router<Arc<Surface>>, Document) {
    let json = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(messages::submit))
        .routes(routes!(messages::message))
        .routes(routes!(messages::custody))
        .routes(routes!(messages::receipts))
        .routes(routes!(messages::evidence))
        .routes(routes!(messages::cancel))
        .routes(routes!(messages::retry))
        .routes(routes!(messages::read))
        .routes(routes!(messages::part))
        .routes(routes!(messages::thread))
        .routes(routes!(uploads::create))
        .routes(routes!(uploads::standing))
        .routes(routes!(uploads::delete))
        .routes(routes!(lists::inbox))
        .routes(routes!(lists::outbox))
        .routes(routes!(lists::ack))
        .routes(routes!(lists::retry))
        .routes(routes!(stream::events))
        .routes(routes!(system::agencies))
        .routes(routes!(system::status))
        .routes(routes!(system::doctor))
        .routes(routes!(system::openapi))
        .routes(routes!(system::healthz))
        .routes(routes!(system::readyz))
        .routes(routes!(system::metrics))
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX));
    let octets = OpenApiRouter::new().routes(routes!(uploads::append)).layer(DefaultBodyLimit::max(PIECE_BYTES_MAX));
    json.merge(octets).split_for_parts()
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Document {
    open_api().1
}

/// All paths.
pub fn router(surface: Arc<Surface>) -> Router {
    open_api().0.fallback(extract::not_found).method_not_allowed_fallback(extract::not_allowed).with_state(surface)
}

/// Serves until `stop` of the surface is cancelled and every answer under way has been given.
pub async fn serve(listener: UnixListener, surface: Arc<Surface>) {
    let stop = surface.stop.clone();
    liaison_node::http::serve(Door::Unix(listener), router(surface), BOUNDS, stop).await;
}

#[cfg(test)]
mod tests;
