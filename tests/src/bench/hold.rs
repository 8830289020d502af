//! What holding mail costs: memory of a relay with much of it queued, and the time from a relay's return to delivery.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;

use super::line::Line;
use super::measure::{receiver, seal_job};

/// Submissions under way at a time.
const TOGETHER: usize = 256;
/// The longest wait for what has been submitted.
const PATIENCE: Duration = Duration::from_secs(600);

/// Memory of both relays before and after `messages` wait at the second one for an agency that is away.
pub async fn queued(line: &Line, messages: usize) -> Result<String> {
    let mib = |bytes: Vec<u64>| bytes.first().copied().unwrap_or(0) / (1024 * 1024);
    let idle = mib(line.resident()?);
    let mut under_way = JoinSet::new();
    for _ in 0..messages {
        if under_way.len() >= TOGETHER {
            under_way.join_next().await.context("one under way")???;
        }
        let (job, outbox) = (seal_job(line, &line.absent), line.outbox.clone());
        under_way.spawn(async move {
            let envelope = tokio::task::spawn_blocking(move || job.seal()).await??;
            anyhow::Ok(outbox.submit(envelope, 1, Vec::new()).await?)
        });
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    let deadline = Instant::now() + PATIENCE;
    while line.outbox.store().queues()?.iter().map(|queue| queue.entries).sum::<u64>() > 0 {
        ensure!(Instant::now() < deadline, "the outbox is not empty after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let held = mib(line.resident()?);
    Ok(format!("a relay, resident: {idle} MiB idle, {held} MiB with {messages} messages queued for an absent agency"))
}

/// Kills the recipient's relay, sends into the outage, starts it again: how long after its start is the first message
/// delivered, how long the last.
pub async fn outage(line: &mut Line, dark: Duration, messages: usize) -> Result<String> {
    line.kill_last_relay()?;
    let mut open = BTreeSet::new();
    for _ in 0..messages {
        let envelope = super::measure::envelope(line)?;
        open.insert(envelope.id());
        line.outbox.submit(envelope, 1, Vec::new()).await?;
    }
    tokio::time::sleep(dark).await;
    let began = Instant::now();
    line.start_last_relay()?;
    let mut first = None;
    while !open.is_empty() {
        ensure!(began.elapsed() < PATIENCE, "{} messages have not arrived after {PATIENCE:?}", open.len());
        if let Ok((id, at)) = receiver(line).try_recv() {
            if open.remove(&id) {
                first.get_or_insert_with(|| at.saturating_duration_since(began));
            }
            continue;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (first, last) = (first.unwrap_or_default(), began.elapsed());
    Ok(format!(
        "after {dark:?} without it, from the start of the relay's process: first of {messages} messages delivered after {first:.2?}, the last after {last:.2?}"
    ))
}
