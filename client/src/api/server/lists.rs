//! `/v1/inbox` and `/v1/outbox`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Handled, Json, Name, Query};
use super::messages::find;
use super::{Shared, Surface};
use crate::api::model::{Direction, ListPage, ListQuery, Problem, Retried, RetryRequest};

/// Received messages.
#[utoipa::path(
    get, path = "/v1/inbox", operation_id = "list_inbox", tag = "lists", params(ListQuery),
    responses(
        (status = 200, description = "a page of the list", body = ListPage),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn inbox(State(surface): Shared, Query(query): Query<ListQuery>) -> Handled<axum::Json<ListPage>> {
    list(&surface, Direction::In, query).await
}

/// Sent messages.
#[utoipa::path(
    get, path = "/v1/outbox", operation_id = "list_outbox", tag = "lists", params(ListQuery),
    responses(
        (status = 200, description = "a page of the list", body = ListPage),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn outbox(State(surface): Shared, Query(query): Query<ListQuery>) -> Handled<axum::Json<ListPage>> {
    list(&surface, Direction::Out, query).await
}

async fn list(surface: &Surface, way: Direction, query: ListQuery) -> Handled<axum::Json<ListPage>> {
    let office = Arc::clone(&surface.office);
    Ok(axum::Json(crate::blocking(move || office.list(way, &query)).await??))
}

/// Confirm that an application has taken a received message over.
#[utoipa::path(
    post, path = "/v1/inbox/{id}/ack", operation_id = "acknowledge_message", tag = "lists", params(("id" = String, Path)),
    responses(
        (status = 204, description = "confirmed"),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ack(State(surface): Shared, Name(id): Name<String>) -> Handled<StatusCode> {
    let (id, _) = find(&surface.office, id).await?;
    surface.office.ack(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Try now what waits: all, or what is for one agency.
#[utoipa::path(
    post, path = "/v1/outbox/retry", operation_id = "retry_outbox", tag = "lists", request_body = RetryRequest,
    responses(
        (status = 200, description = "what was set going", body = Retried),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn retry(State(surface): Shared, Json(request): Json<RetryRequest>) -> Handled<axum::Json<Retried>> {
    Ok(axum::Json(surface.office.retry_all(request.to).await?))
}
