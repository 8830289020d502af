//! The part of the daemon: keeps what it is told in memory, and can be told to fail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use liaison_client::api::model::*;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

pub(crate) type Shared = Arc<Mutex<World>>;

/// What the daemon knows, and what it was asked to do.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) submissions: Vec<(Submission, Option<String>)>,
    /// Each with its octets, and whether a submission has used it up.
    pub(crate) uploads: BTreeMap<String, (Upload, Vec<u8>, bool)>,
    pub(crate) messages: Vec<Message>,
    pub(crate) octets: BTreeMap<u32, Vec<u8>>,
    pub(crate) inbox: Vec<MessageSummary>,
    pub(crate) events: Vec<Event>,
    pub(crate) trace: Option<CustodyTrace>,
    pub(crate) read: Vec<String>,
    pub(crate) queries: Vec<ListQuery>,
    /// Answer the next submission, and hang up before the answer is out.
    pub(crate) lose_next_answer: bool,
    /// Refuse appends past this many octets, as a daemon that is being stopped would.
    pub(crate) stop_upload_at: Option<u64>,
    pub(crate) unmarked_is_refused: bool,
    /// Refuse for good what is more than a rehearsal.
    pub(crate) refuse_for_good: bool,
}

/// Runs until dropped.
pub(crate) struct Daemon {
    pub(crate) world: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) fn start(socket: &Path) -> Self {
        Self::resume(socket, Shared::default())
    }

    /// The same world after a restart.
    pub(crate) fn resume(socket: &Path, world: Shared) -> Self {
        let _ = std::fs::remove_file(socket);
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let (socket, state) = (socket.to_owned(), world.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    _ = axum::serve(listener, router(state)) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        started.recv().unwrap();
        Self { world, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

fn router(world: Shared) -> Router {
    Router::new()
        .route("/v1/messages", post(submit))
        .route("/v1/messages/{id}", get(message))
        .route("/v1/messages/{id}/custody", get(custody))
        .route("/v1/messages/{id}/read", post(mark_read))
        .route("/v1/messages/{id}/parts/{n}", get(part))
        .route("/v1/uploads", post(new_upload))
        .route("/v1/uploads/{id}", get(upload))
        .route("/v1/uploads/{id}", patch(append))
        .route("/v1/uploads/{id}", axum::routing::delete(delete_upload))
        .route("/v1/inbox", get(inbox))
        .route("/v1/events", get(events))
        .route("/v1/agencies", get(agencies))
        .route("/v1/status", get(status))
        .with_state(world)
}

fn problem(code: ProblemCode, detail: &str) -> Response {
    let status = StatusCode::from_u16(code.status()).unwrap();
    (status, [("content-type", "application/problem+json")], Json(Problem::new(code, detail))).into_response()
}

async fn submit(State(world): State<Shared>, headers: HeaderMap, Json(submission): Json<Submission>) -> Response {
    let mut world = world.lock().unwrap();
    let Some(tlp) = submission.tlp.or_else(|| (!world.unmarked_is_refused).then_some(Tlp::Green)) else {
        return problem(ProblemCode::TlpMissing, "no TLP given");
    };
    if world.refuse_for_good && !submission.dry_run {
        return problem(ProblemCode::Policy, "not today");
    }
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
    let earlier = world.submissions.iter().find(|(_, earlier)| key.is_some() && *earlier == key);
    if earlier.is_some_and(|(earlier, _)| *earlier != submission) {
        return problem(ProblemCode::IdempotencyConflict, "the key was used with other content");
    }
    let known = earlier.is_some();
    let submitted = Submitted {
        id: (!submission.dry_run).then(|| id('a')),
        state: MessageState::Outbox,
        repeated: known,
        fsync_ms: 2.4,
        to: submission.to.clone(),
        info: submission.info.clone(),
        precedence: submission.precedence.unwrap_or(Precedence::Routine),
        tlp,
        parts: 1 + u32::try_from(submission.attachments.len()).unwrap(),
        bytes: submission.text.len() as u64,
        expires: "2027-01-01T00:00:00Z".parse().unwrap(),
    };
    if !submission.dry_run && !known {
        if submission.attachments.iter().any(|attachment| world.uploads[&attachment.upload].2) {
            return problem(ProblemCode::UnknownUpload, "no such upload");
        }
        for attachment in &submission.attachments {
            world.uploads.get_mut(&attachment.upload).unwrap().2 = true;
        }
        world.submissions.push((submission, key));
        if std::mem::take(&mut world.lose_next_answer) {
            // A body that breaks off ends the connection.
            let broken = breaking::broken();
            return Response::builder().header("content-length", "9999").body(broken).unwrap();
        }
    }
    Json(submitted).into_response()
}

/// A body that fails before it has said anything.
mod breaking {
    use axum::body::Body;

    pub(super) fn broken() -> Body {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&'static [u8], std::io::Error>>(1);
        let _ = sender.try_send(Err(std::io::Error::other("gone")));
        Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
    }
}

async fn message(State(world): State<Shared>, UrlPath(wanted): UrlPath<String>) -> Response {
    let world = world.lock().unwrap();
    let found: Vec<_> = world.messages.iter().filter(|message| message.id.to_string().starts_with(&wanted)).collect();
    match found.as_slice() {
        [message] => Json((*message).clone()).into_response(),
        [] => problem(ProblemCode::UnknownMessage, &format!("no message {wanted}")),
        _ => problem(ProblemCode::AmbiguousId, &format!("{wanted} names {} messages", found.len())),
    }
}

async fn custody(State(world): State<Shared>, UrlPath(wanted): UrlPath<String>) -> Response {
    match world.lock().unwrap().trace.clone() {
        Some(trace) if trace.id.to_string().starts_with(&wanted) => Json(trace).into_response(),
        _ => problem(ProblemCode::UnknownMessage, "no such message"),
    }
}

async fn mark_read(State(world): State<Shared>, UrlPath(id): UrlPath<String>) -> StatusCode {
    world.lock().unwrap().read.push(id);
    StatusCode::NO_CONTENT
}

async fn part(State(world): State<Shared>, UrlPath((_, n)): UrlPath<(String, u32)>) -> Response {
    match world.lock().unwrap().octets.get(&n) {
        Some(octets) => Body::from(octets.clone()).into_response(),
        None => problem(ProblemCode::UnknownPart, "no such attachment"),
    }
}

async fn new_upload(State(world): State<Shared>, Json(request): Json<NewUpload>) -> Response {
    let mut world = world.lock().unwrap();
    let id = format!("up-{}", world.uploads.len());
    let upload = Upload { id: id.clone(), name: request.name, offset: 0, total_len: request.total_len };
    world.uploads.insert(id, (upload.clone(), Vec::new(), false));
    (StatusCode::CREATED, Json(upload)).into_response()
}

async fn upload(State(world): State<Shared>, UrlPath(id): UrlPath<String>) -> Response {
    match world.lock().unwrap().uploads.get(&id) {
        Some((upload, _, false)) => Json(upload.clone()).into_response(),
        _ => problem(ProblemCode::UnknownUpload, "no such upload"),
    }
}

async fn delete_upload(State(world): State<Shared>, UrlPath(id): UrlPath<String>) -> StatusCode {
    world.lock().unwrap().uploads.remove(&id);
    StatusCode::NO_CONTENT
}

async fn append(
    State(world): State<Shared>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
    octets: Bytes,
) -> Response {
    let mut world = world.lock().unwrap();
    let stop_at = world.stop_upload_at;
    let Some((upload, stored, false)) = world.uploads.get_mut(&id) else {
        return problem(ProblemCode::UnknownUpload, "no such upload");
    };
    if headers["upload-offset"].to_str().unwrap() != upload.offset.to_string() {
        return problem(ProblemCode::WrongOffset, "wrong offset");
    }
    if stop_at.is_some_and(|at| upload.offset >= at) {
        return problem(ProblemCode::Stopping, "the daemon is stopping");
    }
    stored.extend_from_slice(&octets);
    upload.offset = stored.len() as u64;
    Json(upload.clone()).into_response()
}

async fn inbox(State(world): State<Shared>, Query(query): Query<ListQuery>) -> Json<ListPage> {
    let mut world = world.lock().unwrap();
    world.queries.push(query.clone());
    let after = query.after.unwrap_or(0);
    let before = query.before.unwrap_or(u64::MAX);
    let mut items: Vec<_> = world.inbox.iter().filter(|item| item.seq > after && item.seq < before).cloned().collect();
    if query.order == Some(ListOrder::Newest) {
        items.reverse();
    }
    let limit = query.limit.unwrap_or(50) as usize;
    let next = items.get(limit.saturating_sub(1)).filter(|_| items.len() > limit).map(|last| last.seq);
    items.truncate(limit);
    Json(ListPage { items, next })
}

async fn events(State(world): State<Shared>, Query(query): Query<EventQuery>) -> Json<EventPage> {
    for _ in 0..query.wait.unwrap_or(0) * 50 + 1 {
        let now = world.lock().unwrap().events.last().map_or(0, |event| event.cursor);
        let after = query.after.unwrap_or(now);
        let limit = query.limit.unwrap_or(100) as usize;
        let events: Vec<_> =
            world.lock().unwrap().events.iter().filter(|event| event.cursor > after).take(limit).cloned().collect();
        if !events.is_empty() || query.wait.is_none() {
            let next = events.last().map_or(after, |event| event.cursor);
            return Json(EventPage { items: events, next });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Json(EventPage { items: Vec::new(), next: query.after.unwrap_or(0) })
}

async fn agencies() -> Json<Agencies> {
    let view = |name: &str| AgencyView {
        id: name.parse().unwrap(),
        name: format!("NCB {name}"),
        home: vec!["eu-1".parse().unwrap()],
        status: "active".into(),
        me: name == "ncb.sg",
        we_may_send: Some(Precedence::Flash),
        they_may_send: None,
        keys: Vec::new(),
        prekeys_until: None,
        lifetime_max_s: 2_592_000,
    };
    Json(Agencies { roster_version: 14, agencies: ["ncb.ee", "ncb.fr", "ncb.sg"].map(view).into() })
}

async fn status() -> Json<Status> {
    let now: Time = "2026-11-24T06:00:00Z".parse().unwrap();
    Json(Status {
        agency: "ncb.sg".parse().unwrap(),
        version: "0.1.0".into(),
        started: now,
        uptime_s: 60,
        roster: RosterStatus {
            federation: "00".repeat(16),
            version: 14,
            hash: "00".repeat(32),
            issued: now,
            expires: now,
            signatures: 2,
            threshold: 2,
            roots: 3,
        },
        links: Vec::new(),
        outbox: OutboxStatus { open: 0, waiting: 0, bytes: 0, oldest: None },
        inbox: InboxStatus { messages: 0, unread: 0, arriving: 0, unannounced_bytes: 0 },
        store: StoreStatus { used_bytes: 0, free_bytes: 1, min_free_bytes: 0 },
        clock: ClockStatus { offset_ms: None, against: None },
        prekeys_until: None,
        alarms: Vec::new(),
        cursor: 0,
    })
}

/// An id that starts with `first`.
pub(crate) fn id(first: char) -> Id {
    format!("{first}{}", "0".repeat(51)).parse().unwrap()
}

/// A received message.
pub(crate) fn received(first: char) -> Message {
    Message {
        id: id(first),
        direction: Direction::In,
        state: MessageState::Received,
        from: "ncb.ee".parse().unwrap(),
        to: vec!["ncb.sg".parse().unwrap()],
        info: vec!["ncb.fr".parse().unwrap()],
        subject: "Case 1142".into(),
        text: "Two hits.\n".into(),
        content_type: ContentType::Text,
        tlp: Tlp::Amber,
        handling: Vec::new(),
        precedence: Precedence::Priority,
        created: "2026-11-24T06:00:00Z".parse().unwrap(),
        expires: "2027-11-24T06:00:00Z".parse().unwrap(),
        received: None,
        thread: id(first),
        in_reply_to: None,
        parts: Vec::new(),
        verification: Verification {
            verified: true,
            signer: "ncb.ee".parse().unwrap(),
            key: "0123456789abcdef".into(),
            roster_version: 14,
            reason: None,
        },
        unread: true,
        acked: false,
        recipients: Vec::new(),
    }
}

/// Its line in the inbox.
pub(crate) fn line(seq: u64, first: char) -> MessageSummary {
    MessageSummary {
        seq,
        id: id(first),
        direction: Direction::In,
        state: MessageState::Received,
        from: "ncb.ee".parse().unwrap(),
        to: vec!["ncb.sg".parse().unwrap()],
        subject: format!("message {seq}"),
        tlp: Tlp::Amber,
        precedence: Precedence::Routine,
        at: "2026-11-24T06:00:00Z".parse().unwrap(),
        parts: 1,
        parts_here: 1,
        bytes: 10,
        unread: true,
        verified: true,
        thread: id(first),
    }
}

/// An event.
pub(crate) fn event(cursor: u64, kind: EventKind, about: Option<Id>) -> Event {
    Event {
        cursor,
        at: "2026-11-24T06:00:00Z".parse().unwrap(),
        kind,
        id: about,
        agency: None,
        node: None,
        precedence: None,
        tlp: None,
        detail: String::new(),
    }
}
