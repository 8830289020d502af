//! `/v1/uploads`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::Shared;
use super::extract::{Handled, Json, Name, Octets, bad};
use crate::api::model::{NewUpload, Problem, Upload};

const UPLOAD_OFFSET: &str = "upload-offset";

/// Room for one attachment.
#[utoipa::path(
    post, path = "/v1/uploads", operation_id = "create_upload", tag = "uploads", request_body = NewUpload,
    responses(
        (status = 201, description = "the upload", body = Upload),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(surface): Shared,
    Json(request): Json<NewUpload>,
) -> Handled<(StatusCode, axum::Json<Upload>)> {
    Ok((StatusCode::CREATED, axum::Json(surface.office.new_upload(request).await?)))
}

/// How far an upload is: go on from `offset`.
#[utoipa::path(
    get, path = "/v1/uploads/{id}", operation_id = "get_upload", tag = "uploads", params(("id" = String, Path)),
    responses(
        (status = 200, description = "the upload", body = Upload),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn standing(State(surface): Shared, Name(id): Name<String>) -> Handled<axum::Json<Upload>> {
    Ok(axum::Json(surface.office.upload(&id).await?))
}

/// The next octets, at most 4 MiB: durable when answered.
#[utoipa::path(
    patch, path = "/v1/uploads/{id}", operation_id = "append_upload", tag = "uploads",
    params(("id" = String, Path), ("Upload-Offset" = u64, Header, description = "must equal the upload's offset")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "the upload", body = Upload),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn append(
    State(surface): Shared,
    Name(id): Name<String>,
    headers: HeaderMap,
    Octets(octets): Octets,
) -> Handled<axum::Json<Upload>> {
    let offset = headers.get(UPLOAD_OFFSET).and_then(|offset| offset.to_str().ok()?.parse().ok());
    let offset = offset.ok_or_else(|| bad("the header Upload-Offset is missing, or no number"))?;
    Ok(axum::Json(surface.office.append(&id, offset, octets).await?))
}

/// Give an upload up: its octets are deleted. Not after a message has consumed it.
#[utoipa::path(
    delete, path = "/v1/uploads/{id}", operation_id = "delete_upload", tag = "uploads", params(("id" = String, Path)),
    responses(
        (status = 204, description = "deleted"),
        (status = "default", description = "problem", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(State(surface): Shared, Name(id): Name<String>) -> Handled<StatusCode> {
    surface.office.delete_upload(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}
