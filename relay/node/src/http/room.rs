//! Room for request bodies: so many bytes of all of them at a time, each for so long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream::{Stream, unfold};
use hyper::body::Body as _;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::Bounds;

/// A body has to be there by then.
const BODY_MAX: Duration = Duration::from_secs(60);
/// A request waits so long for others' bodies to go.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Room is counted in these, so that it fits the semaphore's numbers.
const UNIT_BYTES: usize = 1024;

/// See the module.
pub(super) struct Bodies {
    units: Semaphore,
    unstated: u32,
}

impl Bodies {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self { units: Semaphore::new(bounds.bodies_bytes_max / UNIT_BYTES), unstated: units(bounds.body_bytes_max) }
    }

    /// Units that this request's body takes. One that is longer than any path takes is refused before it is read.
    fn needed(&self, body: &Body) -> u32 {
        let stated = body.size_hint().exact().map(|bytes| units(usize::try_from(bytes).unwrap_or(usize::MAX)));
        stated.unwrap_or(self.unstated).min(self.unstated)
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

/// Lets a request pass once there is room for its body. The room is held until it is answered.
pub(super) async fn bounded(State(bodies): State<Arc<Bodies>>, request: Request, next: Next) -> Response {
    let needed = bodies.needed(request.body());
    if needed == 0 {
        return next.run(request).await;
    }
    let Ok(Ok(_room)) = timeout(WAIT_MAX, bodies.units.acquire_many(needed)).await else { return busy() };
    next.run(request.map(|body| Body::from_stream(in_time(body)))).await
}

/// The body, with an error in it where it ends too late.
fn in_time(body: Body) -> impl Stream<Item = io::Result<Bytes>> {
    let until = Instant::now() + BODY_MAX;
    unfold(Some(body.into_data_stream()), move |state| async move {
        let mut stream = state?;
        match timeout_at(until, stream.next()).await {
            Ok(piece) => piece.map(|piece| (piece.map_err(io::Error::other), Some(stream))),
            Err(_) => {
                let late = format!("the body was not here within {} s", BODY_MAX.as_secs());
                Some((Err(io::Error::other(late)), None))
            }
        }
    })
}

/// A problem document as both programs make them.
fn busy() -> Response {
    let body = concat!(
        r#"{"type":"urn:liaison:problem:busy","title":"too much at once","status":503,"code":"busy","exit":75,"#,
        r#""detail":"the bodies of other requests take all the room; try again","retryable":true}"#
    );
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    (StatusCode::SERVICE_UNAVAILABLE, [kind], body).into_response()
}
