//! `--wait`: until a message is where it should be.

use std::time::{Duration, Instant};

use liaison_client::api::client::{Client, ClientError};
use liaison_client::api::model::{CustodyTrace, EventPage, EventQuery, Id, MessageState};

use super::flags::WaitFor;
use crate::failure::Failure;
use liaison_node::exit::Exit;

/// Longest single question; the daemon ends it earlier when something happens.
const POLL_MAX: Duration = Duration::from_secs(30);

/// Waits until `id` is as far as `goal`, at most `timeout`.
///
/// # Errors
/// Exit 75 when the time is over, 1 when it cannot get there any more.
pub(crate) async fn until(client: &Client, id: Id, goal: WaitFor, timeout: Duration) -> Result<CustodyTrace, Failure> {
    let deadline = Instant::now() + timeout;
    // The cursor comes first: what happens after it and before the look at the message is not missed.
    let mut cursor = client.events(&EventQuery::default()).await?.next;
    loop {
        let trace = client.custody(&id.to_string()).await?;
        if reached(&trace, goal)? {
            return Ok(trace);
        }
        cursor = news_of(client, id, cursor, deadline).await?.ok_or_else(|| not_yet(&trace, goal, timeout))?;
    }
}

/// Waits for events about `id`; the new cursor, or `None` at the deadline.
async fn news_of(client: &Client, id: Id, mut cursor: u64, deadline: Instant) -> Result<Option<u64>, Failure> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        // Whole seconds on the wire; the deadline is kept here.
        let wait = left.min(POLL_MAX).as_secs().max(1);
        let query = EventQuery { after: Some(cursor), wait: u32::try_from(wait).ok(), limit: None };
        let Ok(page) = tokio::time::timeout(left, client.events(&query)).await else { return Ok(None) };
        let EventPage { items: events, next } = match page {
            // So much has happened that the cursor is gone: look again.
            Err(ClientError::Problem(problem)) if problem.code == "cursor_gone" => {
                return Ok(Some(client.events(&EventQuery::default()).await?.next));
            }
            page => page?,
        };
        cursor = next;
        if events.iter().any(|event| event.id == Some(id)) {
            return Ok(Some(cursor));
        }
    }
}

fn reached(trace: &CustodyTrace, goal: WaitFor) -> Result<bool, Failure> {
    let lost = |code, message: &str| Err(Failure::new(Exit::Finding, code, format!("{}: {message}", trace.id.short())));
    match (trace.state, goal) {
        (_, WaitFor::Stored)
        | (MessageState::Delivered | MessageState::Read, WaitFor::Delivered)
        | (MessageState::Read, WaitFor::Read) => Ok(true),
        (MessageState::Undeliverable, _) => lost("undeliverable", "cannot be delivered to every recipient"),
        (MessageState::Cancelled, _) => lost("cancelled", "was cancelled"),
        _ => Ok(false),
    }
}

fn not_yet(trace: &CustodyTrace, goal: WaitFor, timeout: Duration) -> Failure {
    let goal = if goal == WaitFor::Read { "read" } else { "delivered" };
    let id = trace.id.short();
    let message = format!("{id}: not {goal} after {}; the message is safe and goes on", crate::text::span(timeout));
    Failure::new(Exit::TryLater, "not_yet", message).hint(format!("liaison status {id}"))
}
