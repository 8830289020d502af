//! `/v1` on the Unix socket: what the operator's commands ask.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use liaison_node::audit::AuditReport;
use liaison_node::config::did_you_mean;
use liaison_node::exit::Exit;
use liaison_node::http::Caller;
use liaison_node::metric::{self, ActionResult};
use liaison_node::operator::DrainStatus;
use liaison_node::status::{ForkReport, LinkStatus, NodeStatus, QueueEntry, QueueStatus, Trace, hash_from_hex};
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Problem, Surface, answer};
use crate::reload::ReloadReport;

/// No request carries more than a query.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Entries of a queue in one answer.
const QUEUE_LIMIT_MAX: usize = 1_000;
const QUEUE_LIMIT_DEFAULT: usize = 50;

pub(super) fn router(surface: Arc<Surface>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/links", get(links))
        .route("/v1/links/retry", post(retry_links))
        .route("/v1/queues", get(queues))
        .route("/v1/queues/{agency}", get(queue))
        .route("/v1/trace/{prefix}", get(trace))
        .route("/v1/audit", get(audit_report))
        .route("/v1/audit/compare", post(compare))
        .route("/v1/roster", get(roster))
        .route("/v1/roster/fork", get(fork))
        .route("/v1/roster/settle", post(settle))
        .route("/v1/reload", post(reload))
        .route("/v1/drain", post(drain))
        .route("/v1/undrain", post(undrain))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", Exit::Unavailable, "no such resource"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(surface)
}

type Answer<T> = Result<Json<T>, Problem>;

async fn status(State(surface): State<Arc<Surface>>) -> Answer<NodeStatus> {
    Ok(Json(*answer(surface.operator.status()).await?))
}

async fn links(State(surface): State<Arc<Surface>>) -> Answer<Vec<LinkStatus>> {
    Ok(Json(answer(surface.operator.status()).await?.links))
}

async fn queues(State(surface): State<Arc<Surface>>) -> Answer<Vec<QueueStatus>> {
    Ok(Json(answer(surface.operator.status()).await?.queues))
}

#[derive(Deserialize)]
struct Limit {
    limit: Option<usize>,
}

async fn queue(
    State(surface): State<Arc<Surface>>,
    Path(agency): Path<String>,
    Query(Limit { limit }): Query<Limit>,
) -> Answer<Vec<QueueEntry>> {
    let id: AgencyId = agency.parse().map_err(|error| Problem::bad_request(format!("{error}")))?;
    let limit = limit.unwrap_or(QUEUE_LIMIT_DEFAULT).clamp(1, QUEUE_LIMIT_MAX);
    let found = answer(surface.operator.queue(id, limit)).await;
    match found {
        Err(problem) if problem.code == "unknown_agency" => Err(problem.hint(near_agency(&surface, &agency))),
        found => found.map(Json),
    }
}

/// The agency of the roster whose name is nearest.
fn near_agency(surface: &Surface, agency: &str) -> Option<String> {
    let roster = surface.roster.borrow().clone();
    let near = did_you_mean(agency, roster.agencies().map(|agency| agency.id.as_str()));
    near.map(|near| format!("did you mean '{near}'?"))
}

async fn trace(State(surface): State<Arc<Surface>>, Path(prefix): Path<String>) -> Answer<Trace> {
    answer(surface.operator.trace(&prefix)).await.map(Json)
}

/// The answer to `POST /v1/links/retry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Who is being dialed.
    pub peers: Vec<NodeId>,
}

#[derive(Deserialize)]
struct Peer {
    peer: Option<String>,
}

async fn retry_links(
    State(surface): State<Arc<Surface>>,
    Extension(caller): Extension<Caller>,
    Query(Peer { peer }): Query<Peer>,
) -> Answer<Retried> {
    let parsed = peer.map(|peer| peer.parse::<NodeId>()).transpose();
    let peer = parsed.map_err(|error| Problem::bad_request(error.to_string()))?;
    let retried = answer(surface.operator.retry_links(peer)).await;
    audit("retry-links", caller, retried.as_ref().err());
    Ok(Json(Retried { peers: retried? }))
}

/// The answer to `GET /v1/roster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// The signed roster that the relay follows, as its file would have it.
    pub signed: String,
}

async fn roster(State(surface): State<Arc<Surface>>) -> Json<InForce> {
    let signed = surface.roster.borrow().signed().clone();
    Json(InForce { signed: String::from_utf8_lossy(&signed).into_owned() })
}

async fn fork(State(surface): State<Arc<Surface>>) -> Answer<Option<ForkReport>> {
    answer(surface.operator.roster_fork()).await.map(Json)
}

#[derive(Deserialize)]
struct Follow {
    follow: String,
}

/// The answer to `POST /v1/roster/settle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Of which a decision was made.
    pub version: RosterVersion,
}

async fn settle(
    State(surface): State<Arc<Surface>>,
    Extension(caller): Extension<Caller>,
    Query(Follow { follow }): Query<Follow>,
) -> Answer<Settled> {
    let hash = hash_from_hex(&follow).ok_or_else(|| Problem::bad_request("a hash has 64 hexadecimal digits"))?;
    let settled = answer(surface.operator.settle_fork(hash)).await;
    audit("settle-roster", caller, settled.as_ref().err());
    Ok(Json(Settled { version: settled? }))
}

#[derive(Deserialize)]
struct Since {
    since_ms: Option<u64>,
}

async fn audit_report(
    State(surface): State<Arc<Surface>>,
    Query(Since { since_ms }): Query<Since>,
) -> Answer<AuditReport> {
    let since = Timestamp::from_millis(since_ms.unwrap_or(0));
    answer(surface.operator.audit(since, false)).await.map(Json)
}

async fn compare(
    State(surface): State<Arc<Surface>>,
    Extension(caller): Extension<Caller>,
    Query(Since { since_ms }): Query<Since>,
) -> Answer<AuditReport> {
    let since = Timestamp::from_millis(since_ms.unwrap_or(0));
    let compared = answer(surface.operator.audit(since, true)).await;
    audit("audit", caller, compared.as_ref().err());
    compared.map(Json)
}

async fn drain(State(surface): State<Arc<Surface>>, Extension(caller): Extension<Caller>) -> Answer<DrainStatus> {
    let drained = answer(surface.operator.drain()).await;
    audit("drain", caller, drained.as_ref().err());
    drained.map(Json)
}

async fn undrain(State(surface): State<Arc<Surface>>, Extension(caller): Extension<Caller>) -> Answer<DrainStatus> {
    let undrained = answer(surface.operator.undrain()).await;
    audit("undrain", caller, undrained.as_ref().err());
    undrained.map(Json)
}

async fn reload(State(surface): State<Arc<Surface>>, Extension(caller): Extension<Caller>) -> Answer<ReloadReport> {
    let reloaded = surface.reloader.reload(&surface.operator).await.map_err(Problem::from);
    audit("reload", caller, reloaded.as_ref().err());
    reloaded.map(Json)
}

/// Says in the log, and counts, who had what done.
fn audit(action: &'static str, caller: Caller, problem: Option<&Problem>) {
    let uid = caller.uid;
    match problem {
        None => {
            tracing::info!(action, uid, "operator's action done");
            metric::admin_action(action, ActionResult::Ok);
        }
        Some(problem) => {
            tracing::warn!(action, uid, reason = problem.detail, "operator's action not done");
            let refused = problem.status < 500;
            metric::admin_action(action, if refused { ActionResult::Refused } else { ActionResult::Failed });
        }
    }
}

impl From<crate::reload::ReloadError> for Problem {
    fn from(error: crate::reload::ReloadError) -> Self {
        use crate::reload::ReloadError;
        match error {
            ReloadError::Config(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "config_invalid", Exit::Config, error.to_string())
            }
            ReloadError::Files(problems) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "check_failed", Exit::Config, problems.join("\n"))
            }
            ReloadError::Node(error) => Self::from(error),
            ReloadError::Unanswered => Self::busy(),
        }
    }
}
