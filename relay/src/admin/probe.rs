//! `/healthz`, `/readyz` and `/metrics`.
//!
//! Healthy: the process and its store are alive; if not, restart it. Ready: it takes new custody; if not, find out why.
//! A peer that is down makes it neither.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use liaison_node::clock;
use liaison_node::exit::Exit;
use liaison_node::status::{Condition, NodeStatus};
use serde::Serialize;

use super::{Problem, Surface, Token, answer};

/// Who may read what names agencies, on the TCP listener.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    token: Option<Arc<Token>>,
}

impl Guard {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self { token: token.map(Arc::new) }
    }

    fn refuse(&self, headers: &HeaderMap) -> Option<Problem> {
        match &self.token {
            Some(token) if token.is_shown(headers) => None,
            Some(_) => {
                let detail = "this needs the admin token: Authorization: Bearer TOKEN";
                Some(Problem::new(StatusCode::UNAUTHORIZED, "token_required", Exit::Refused, detail))
            }
            // A web page that has its own name point to 127.0.0.1 must not read this through the operator's browser.
            None if is_local_host(headers) => None,
            None => {
                let detail = "ask for this by IP address or as localhost";
                Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", Exit::Refused, detail))
            }
        }
    }
}

fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}

pub(super) fn router(surface: Arc<Surface>, guard: Option<Guard>) -> Router {
    let mut metrics = Router::new().route("/metrics", get(metrics));
    if let Some(guard) = guard {
        metrics = metrics.layer(middleware::from_fn(move |request: Request, next: Next| {
            let refused = guard.refuse(request.headers());
            async move {
                match refused {
                    Some(problem) => problem.into_response(),
                    None => next.run(request).await,
                }
            }
        }));
    }
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).merge(metrics).with_state(surface)
}

/// The answer to `?verbose`.
#[derive(Serialize)]
struct Verbose {
    ok: bool,
    checks: Vec<Condition>,
}

async fn healthz(State(surface): State<Arc<Surface>>, uri: Uri) -> Response {
    let checks = match answer(surface.operator.status()).await {
        Ok(_) => vec![condition("run-loop", true, "answers, and so does its store")],
        Err(problem) => vec![condition("run-loop", false, &problem.detail)],
    };
    respond(checks, &uri)
}

async fn readyz(State(surface): State<Arc<Surface>>, uri: Uri) -> Response {
    let checks = match answer(surface.operator.status()).await {
        Ok(status) => NodeStatus::readiness(&status),
        Err(problem) => vec![condition("run-loop", false, &problem.detail)],
    };
    respond(checks, &uri)
}

fn condition(name: &str, ok: bool, text: &str) -> Condition {
    Condition { name: name.into(), ok, text: text.into() }
}

/// 200 or 503. In words: `ok`, or what is not; names only, since this may be read without a token.
fn respond(checks: Vec<Condition>, uri: &Uri) -> Response {
    let ok = checks.iter().all(|check| check.ok);
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose = uri.query().is_some_and(|query| query.split('&').any(|part| matches!(part, "verbose" | "verbose=1")));
    if verbose {
        return (status, axum::Json(Verbose { ok, checks })).into_response();
    }
    let failing: Vec<_> = checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect();
    let text = if ok { "ok\n".into() } else { format!("not ok: {}\n", failing.join(", ")) };
    (status, text).into_response()
}

async fn metrics(State(surface): State<Arc<Surface>>) -> Result<Response, Problem> {
    let status = answer(surface.operator.status()).await?;
    let text = surface.exporter.render(&status, clock::now());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
