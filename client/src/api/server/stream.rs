//! `/v1/events`: a long poll, or a stream that resumes where it broke off.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::sse::{Event as Line, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::extract::{Failed, Handled, Query, bad};
use super::{Shared, Surface};
use crate::api::model::{Event, EventPage, EventQuery, Problem, ProblemCode};
use crate::office::Office;
use crate::problem::Answer;

const WAIT_S_MAX: u32 = 60;
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1000;
/// A comment so often tells both sides that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What happens, from a cursor on: as JSON, or as server-sent events with `Accept: text/event-stream`.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "list_events", tag = "events",
    params(
        EventQuery,
        ("Last-Event-ID" = Option<u64>, Header, description = "stands in for `after` when a stream is resumed"),
    ),
    responses(
        (status = 200, description = "long poll", body = EventPage),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(surface): Shared,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Handled<Response> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    let wait = query.wait.unwrap_or(0);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(bad(format!("limit is 1 to {LIMIT_MAX}, not {limit}")));
    }
    if wait > WAIT_S_MAX {
        return Err(bad(format!("wait is at most {WAIT_S_MAX} s, not {wait}")));
    }
    let resumed = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.parse::<u64>().ok()));
    let resumed = match resumed {
        Some(None) => return Err(bad("Last-Event-ID is no cursor")),
        Some(Some(cursor)) => Some(cursor),
        None => None,
    };
    surface.office.check_cursor(query.after.unwrap_or(0))?;
    let waits = is_stream(&headers) || wait > 0;
    let place = if waits { Some(surface.streams.enter()?) } else { None };
    let mut reader = Reader::start(&surface, resumed.or(query.after), limit as usize).await?;
    if is_stream(&headers) {
        let stream = reader.stream(Arc::clone(&surface), place, query.limit);
        return Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response());
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(u64::from(wait));
    let items = tokio::select! {
        events = reader.wait_until(until) => events?,
        () = surface.stop.cancelled() => Vec::new(),
    };
    let next = items.last().map_or(reader.after, |event| event.cursor);
    Ok(axum::Json(EventPage { items, next }).into_response())
}

fn is_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| kind.trim().starts_with("text/event-stream"))
}

/// One reader's place in the events.
struct Reader {
    office: Arc<Office>,
    after: u64,
    limit: usize,
    moved: watch::Receiver<u64>,
}

impl Reader {
    async fn start(surface: &Surface, after: Option<u64>, limit: usize) -> Answer<Self> {
        let office = Arc::clone(&surface.office);
        // Before the first read, so that nothing slips between it and the first wait.
        let moved = office.sequence.watch();
        let for_worker = Arc::clone(&office);
        let (floor, last) =
            crate::blocking(move || Ok::<_, Problem>((for_worker.event_floor()?, for_worker.last_event()?))).await??;
        let after = after.unwrap_or(last);
        if after != 0 && after < floor {
            let detail = format!("events up to {floor} are no longer kept; what you missed is in the inbox");
            return Err(Problem::new(ProblemCode::CursorGone, detail));
        }
        office.check_cursor(after)?;
        Ok(Self { office, after, limit, moved })
    }

    async fn read(&mut self) -> Answer<Vec<Event>> {
        self.moved.mark_unchanged();
        let (office, after, limit) = (Arc::clone(&self.office), self.after, self.limit);
        Ok(crate::blocking(move || office.events(after, limit)).await??)
    }

    /// Events, as soon as there are some; none when the time is up.
    async fn wait_until(&mut self, until: tokio::time::Instant) -> Answer<Vec<Event>> {
        loop {
            let events = self.read().await?;
            if !events.is_empty() || tokio::time::timeout_at(until, self.moved.changed()).await.is_err() {
                return Ok(events);
            }
        }
    }

    /// Events for as long as somebody listens and the daemon runs; with a limit, the stream ends after so many.
    fn stream(
        self,
        surface: Arc<Surface>,
        place: Option<OwnedSemaphorePermit>,
        limit: Option<u32>,
    ) -> impl Stream<Item = Result<Line, Infallible>> {
        let left = limit.unwrap_or(u32::MAX);
        unfold(
            (self, VecDeque::new(), surface, place, left),
            |(mut reader, mut ready, surface, place, left)| async move {
                if left == 0 {
                    return None;
                }
                while ready.is_empty() {
                    let far = tokio::time::Instant::now() + KEEP_ALIVE;
                    let events = tokio::select! {
                        events = reader.wait_until(far) => events.ok()?,
                        () = surface.stop.cancelled() => return None,
                    };
                    reader.after = events.last().map_or(reader.after, |event| event.cursor);
                    ready.extend(events);
                }
                let event: Event = ready.pop_front()?;
                let line = Line::default().id(event.cursor.to_string()).event(event.kind.as_str());
                // A type of our own, without maps: it encodes.
                let line = line.json_data(&event).unwrap_or_default();
                let left = if left == u32::MAX { left } else { left - 1 };
                Some((Ok(line), (reader, ready, surface, place, left)))
            },
        )
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        failed.0
    }
}
