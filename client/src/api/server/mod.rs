//! The local API's server: axum on a Unix socket, the OpenAPI document made from the code.
//!
//! Whoever may open the socket (mode 0660: this user and its group) may ask anything. Bodies are bounded before they
//! are read; whatever waits, waits off the threads that serve.

mod extract;
mod lists;
mod messages;
mod socket;
mod stream;
mod system;
mod uploads;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use liaison_node::metric::StatusGauges;
use liaison_node::operator::OperatorHandle;
use liaison_protocol::NodeId;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::attachment::upload::PIECE_BYTES_MAX;
use crate::office::Office;

pub use socket::{ListenError, SocketFile, bind};

/// A body in JSON: a text of 1 MiB, every character escaped.
const JSON_BYTES_MAX: usize = 8 * 1024 * 1024;

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
}

pub(crate) type Shared = axum::extract::State<Arc<Surface>>;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "liaisond",
        description = "The local API of an agency's daemon, on a Unix socket. Errors are problem documents (RFC 9457)."
    ),
    // Only queries refer to it, which are not searched for schemas.
    components(schemas(crate::api::model::ListOrder))
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
    let service = router(surface).into_make_service_with_connect_info::<socket::Caller>();
    let served = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the local API ended");
    }
}

#[cfg(test)]
mod tests;
