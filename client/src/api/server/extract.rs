//! Requests in, problem documents out.

use axum::extract::rejection::{BytesRejection, JsonRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::plain::plain;
use crate::api::model::{Problem, ProblemCode};
use crate::attachment::upload::PIECE_BYTES_MAX;

/// A problem document as an answer.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Problem);

/// What a handler gives.
pub(super) type Handled<T> = Result<T, Failed>;

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() && !self.0.retryable {
            tracing::error!(code = self.0.code, detail = self.0.detail, "a request failed");
        }
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut answer = (status, body).into_response();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        answer
    }
}

/// A body in JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        check_length(&request, super::JSON_BYTES_MAX)?;
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(JsonRejection::BytesRejection(rejection)) => Err(unread(&rejection)),
            Err(rejection) => Err(bad(plain(&rejection.body_text()))),
        }
    }
}

/// A body in octets.
pub(super) struct Octets(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Octets {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        check_length(&request, PIECE_BYTES_MAX)?;
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| unread(&rejection))
    }
}

/// A query.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let query: Result<axum::extract::Query<T>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|rejection| bad(plain(&rejection.body_text())))
    }
}

/// A name in the path.
pub(super) struct Name<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Name<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0)).map_err(|rejection| bad(plain(&rejection.body_text())))
    }
}

/// A body that says that it is too long is not read.
fn check_length(request: &Request, bytes_max: usize) -> Result<(), Failed> {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(Failed(Problem::new(ProblemCode::TooLarge, format!("the body may have {bytes_max} bytes"))));
    }
    Ok(())
}

fn unread(rejection: &BytesRejection) -> Failed {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Failed(Problem::new(ProblemCode::TooLarge, plain(&rejection.body_text())));
    }
    bad(plain(&rejection.body_text()))
}

pub(super) fn bad(detail: impl Into<String>) -> Failed {
    Failed(Problem::new(ProblemCode::BadRequest, detail))
}

pub(super) async fn not_found() -> Failed {
    std::future::ready(Failed(Problem::new(ProblemCode::NotFound, "no such path; see /v1/openapi.json"))).await
}

pub(super) async fn not_allowed() -> Failed {
    let problem = Problem::new(ProblemCode::BadRequest, "this path knows no such method; see /v1/openapi.json");
    std::future::ready(Failed(Problem { status: 405, ..problem })).await
}
