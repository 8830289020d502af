//! `/v1/messages` and `/v1/threads`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use liaison_node::http::Caller;
use liaison_protocol::MessageId;

use super::Shared;
use super::extract::{Failed, Handled, Json, Name, bad};
use crate::api::model::{
    CustodyTrace, Direction, Message, Problem, ProblemCode, Receipts, Retried, Submission, Submitted, Thread,
};
use crate::attachment::PartReader;
use crate::office::Office;

const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Send a message: durable in the outbox when answered.
#[utoipa::path(
    post, path = "/v1/messages", operation_id = "submit_message", tag = "messages", request_body = Submission,
    params(("Idempotency-Key" = Option<String>, Header, description = "same key and content: same message")),
    responses(
        (status = 201, description = "in the outbox", body = Submitted),
        (status = 200, description = "an earlier submission with this key, or a dry run", body = Submitted),
        (status = "default", description = "refused", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn submit(
    State(surface): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Json(submission): Json<Submission>,
) -> Handled<Response> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|key| key.to_str().map(str::to_owned));
    let key = key.transpose().map_err(|_| bad("an Idempotency-Key is ASCII"))?;
    let submitted = surface.office.submit(submission, key).await?;
    if let Some(id) = submitted.id {
        tracing::info!(message = id.short(), uid = caller.uid, repeated = submitted.repeated, "submitted");
    }
    let new = submitted.id.is_some() && !submitted.repeated;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(submitted)).into_response())
}

/// One message, received or sent.
#[utoipa::path(
    get, path = "/v1/messages/{id}", operation_id = "get_message", tag = "messages", params(("id" = String, Path, description = "4 characters or more")),
    responses(
        (status = 200, description = "the message", body = Message),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn message(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<Message>> {
    with_message(&surface.office, id, Office::message).await.map(axum::Json)
}

/// Hop by hop, from verified receipts. Sent messages only.
#[utoipa::path(
    get, path = "/v1/messages/{id}/custody", operation_id = "get_custody", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "where each copy is", body = CustodyTrace),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn custody(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<CustodyTrace>> {
    let id = sent(&surface.office, id).await?;
    Ok(axum::Json(surface.office.trace(id).await?))
}

/// The signed receipts about a message.
#[utoipa::path(
    get, path = "/v1/messages/{id}/receipts", operation_id = "get_receipts", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "the signed receipts", body = Receipts),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn receipts(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<Receipts>> {
    let (id, way) = find_sent(&surface.office, id).await?;
    let office = Arc::clone(&surface.office);
    Ok(axum::Json(crate::blocking(move || office.receipts(id, way)).await??))
}

/// The evidence file: what a third party verifies offline, with the federation's root keys. Reveals this message.
#[utoipa::path(
    get, path = "/v1/messages/{id}/evidence", operation_id = "get_evidence", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "octets", content_type = "application/octet-stream"),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn evidence(State(surface): Shared, Name(id): Name<String>) -> Handled<Response> {
    let (id, way) = find_sent(&surface.office, id).await?;
    let office = Arc::clone(&surface.office);
    let evidence = crate::blocking(move || office.evidence(id, way)).await??;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], evidence).into_response())
}

/// Call back what no relay has taken.
#[utoipa::path(
    post, path = "/v1/messages/{id}/cancel", operation_id = "cancel_message", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "where each copy is", body = CustodyTrace),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn cancel(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<CustodyTrace>> {
    let id = sent(&surface.office, id).await?;
    Ok(axum::Json(surface.office.cancel(id).await?))
}

/// Offer again what waits here, and ask after what relays hold.
#[utoipa::path(
    post, path = "/v1/messages/{id}/retry", operation_id = "retry_message", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "what was set going", body = Retried),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<Retried>> {
    let id = sent(&surface.office, id).await?;
    Ok(axum::Json(surface.office.retry(id).await?))
}

/// Mark a received message read; the first time, its sender gets a read receipt.
#[utoipa::path(
    post, path = "/v1/messages/{id}/read", operation_id = "mark_read", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 204, description = "marked"),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(State(surface): Shared, Name(id): Name<String>) -> Handled<StatusCode> {
    let (id, _) = find(&surface.office, id).await?;
    surface.office.mark_read(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An attachment's octets, each chunk checked before it is sent. A stream that breaks off was not good to the end.
#[utoipa::path(
    get, path = "/v1/messages/{id}/parts/{n}", operation_id = "get_part", tag = "messages",
    params(("id" = String, Path), ("n" = u32, Path, description = "from 1")),
    responses(
        (status = 200, description = "octets", content_type = "application/octet-stream"),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn part(State(surface): Shared, Name((id, n)): Name<(String, u32)>) -> Handled<Response> {
    let part = with_message(&surface.office, id, move |office, id, way| office.part(id, way, n)).await?;
    let headers =
        [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, part.total_len().to_string())];
    let octets = futures_util::stream::try_unfold((Arc::clone(&surface.office), part), next_chunk);
    Ok((headers, Body::from_stream(octets)).into_response())
}

type Reading = (Arc<Office>, PartReader);

async fn next_chunk((office, mut part): Reading) -> Result<Option<(Bytes, Reading)>, std::io::Error> {
    let read = crate::blocking(move || {
        let chunk = part.next(&office);
        (chunk, office, part)
    });
    let (chunk, office, part) = read.await.map_err(|problem| std::io::Error::other(problem.detail))?;
    match chunk {
        Ok(chunk) => Ok(chunk.map(|octets| (Bytes::copy_from_slice(&octets), (office, part)))),
        Err(error) => {
            tracing::error!(%error, "an attachment is damaged");
            Err(std::io::Error::other(error))
        }
    }
}

/// What is held of a thread, by any of its messages.
#[utoipa::path(
    get, path = "/v1/threads/{id}", operation_id = "get_thread", tag = "messages", params(("id" = String, Path)),
    responses(
        (status = 200, description = "the messages of the thread", body = Thread),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn thread(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<Thread>> {
    with_message(&surface.office, id, |office, id, _| office.thread(id)).await.map(axum::Json)
}

/// The message that `text` begins the id of.
pub(super) async fn find(office: &Arc<Office>, text: String) -> Handled<(MessageId, Direction)> {
    let office = Arc::clone(office);
    Ok(crate::blocking(move || office.find(&text)).await??)
}

/// As [`find`]; of a message to one's own agency, the one that was sent.
async fn find_sent(office: &Arc<Office>, text: String) -> Handled<(MessageId, Direction)> {
    let office = Arc::clone(office);
    Ok(crate::blocking(move || office.find_going(&text, Direction::Out)).await??)
}

async fn sent(office: &Arc<Office>, text: String) -> Handled<MessageId> {
    match find_sent(office, text).await? {
        (id, Direction::Out) => Ok(id),
        (id, Direction::In) => {
            let detail = format!("{} was received, not sent", id.short());
            Err(Failed(Problem::new(ProblemCode::WrongDirection, detail)))
        }
    }
}

async fn with_message<T: Send + 'static>(
    office: &Arc<Office>,
    text: String,
    work: impl FnOnce(&Office, MessageId, Direction) -> Result<T, Problem> + Send + 'static,
) -> Handled<T> {
    let (id, way) = find(office, text).await?;
    let office = Arc::clone(office);
    Ok(crate::blocking(move || work(&office, id, way)).await??)
}
