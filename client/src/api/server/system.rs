//! The daemon itself: status, doctor, agencies, health, metrics, and the document of this API.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::extract::Handled;
use crate::api::model::{Agencies, Doctor, Problem, Status};

/// Condition of the daemon.
#[utoipa::path(
    get, path = "/v1/status", operation_id = "get_status", tag = "system",
    responses(
        (status = 200, description = "the condition of the daemon", body = Status),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(State(surface): Shared) -> Handled<axum::Json<Status>> {
    let node = surface.operator.status().await.map_err(Problem::from)?;
    Ok(axum::Json(crate::blocking(move || surface.office.status(&node, &surface.home)).await??))
}

/// Every check and its result.
#[utoipa::path(
    get, path = "/v1/doctor", operation_id = "get_doctor", tag = "system",
    responses(
        (status = 200, description = "the findings", body = Doctor),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn doctor(State(surface): Shared) -> Handled<axum::Json<Doctor>> {
    let node = surface.operator.status().await.map_err(Problem::from)?;
    let findings = crate::blocking(move || surface.office.doctor(&node, &surface.home)).await??;
    Ok(axum::Json(Doctor { findings }))
}

/// The agencies of the roster.
#[utoipa::path(
    get, path = "/v1/agencies", operation_id = "list_agencies", tag = "system",
    responses(
        (status = 200, description = "the agencies", body = Agencies),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn agencies(State(surface): Shared) -> Handled<axum::Json<Agencies>> {
    let office = Arc::clone(&surface.office);
    Ok(axum::Json(crate::blocking(move || office.agencies()).await??))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", operation_id = "get_openapi", tag = "system", responses((status = 200, description = "OpenAPI 3.1")))]
pub(super) async fn openapi() -> Response {
    std::future::ready(axum::Json(super::document()).into_response()).await
}

/// Process and store are alive.
#[utoipa::path(
    get, path = "/healthz", operation_id = "get_healthz", tag = "system",
    responses((status = 200, description = "alive"), (status = 503, description = "not"))
)]
pub(super) async fn healthz(State(surface): Shared) -> Response {
    match surface.operator.status().await {
        Ok(_) => (StatusCode::OK, "ok\n").into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

/// New messages are taken. A relay that is down does not make the daemon unready: mail waits.
#[utoipa::path(
    get, path = "/readyz", operation_id = "get_readyz", tag = "system",
    responses((status = 200, description = "ready"), (status = 503, description = "not"))
)]
pub(super) async fn readyz(State(surface): Shared) -> Response {
    let Ok(node) = surface.operator.status().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    };
    let unready = surface.office.unready(&node);
    if unready.is_empty() {
        return (StatusCode::OK, "ready\n").into_response();
    }
    let lines: String = unready.into_iter().map(|reason| reason + "\n").collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// Prometheus' text format.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "system", responses((status = 200, description = "metrics")))]
pub(super) async fn metrics(State(surface): Shared) -> Handled<Response> {
    let node = surface.operator.status().await.map_err(Problem::from)?;
    let rendered = crate::blocking(move || {
        surface.office.set_gauges(&node, &surface.home)?;
        surface.gauges.lock().unwrap_or_else(PoisonError::into_inner).set(&node, surface.office.now());
        Ok::<_, Problem>(surface.metrics.as_ref().map(|metrics| metrics.render()).unwrap_or_default())
    });
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], rendered.await??).into_response())
}
