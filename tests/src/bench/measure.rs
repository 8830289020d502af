//! Messages a second and latency, end to end: from the submission to the commit of the recipient's inbox.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::{AgencyId, MessageId, Precedence};
use tokio::sync::{Semaphore, mpsc};

use super::line::Line;
use crate::agency::SealJob;

/// What to put on the line.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// When messages are sealed.
    pub sealing: Sealing,
    /// Messages submitted and not yet delivered, at most.
    pub in_flight: usize,
    /// Paced, or as fast as it goes.
    pub per_second: Option<u32>,
    /// For how long.
    pub run: Duration,
}

/// When messages are sealed, and whether the recipient opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Before the clock runs; the recipient only takes them.
    Before,
    /// Within the run, and opened there.
    During,
}

/// What came of it.
pub struct Measured {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    /// Of all four nodes, a message.
    cpu: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |span: Duration| span.as_secs_f64() * 1000.0;
        let (p50, p99, cpu) = (ms(self.p50), ms(self.p99), ms(self.cpu));
        write!(f, "{:>7.0} a second   p50 {p50:>7.2} ms   p99 {p99:>7.2} ms   CPU {cpu:>6.3} ms each", self.per_second)
    }
}

/// Sends one message until it arrives.
pub(super) async fn first(line: &Line, patience: Duration) -> Result<()> {
    let envelope = envelope(line)?;
    let id = envelope.id();
    line.outbox.submit(envelope, 1, Vec::new()).await?;
    tokio::time::timeout(patience, async {
        loop {
            let next = receiver(line).try_recv();
            match next {
                Ok((arrived, _)) if arrived == id => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .await
    .context("no delivery")
}

/// Runs one load.
pub async fn pipeline(line: &Line, load: Load) -> Result<Measured> {
    *line.inbox.opens.lock().unwrap_or_else(PoisonError::into_inner) = load.sealing == Sealing::During;
    let ready = if load.sealing == Sealing::Before { seal_many(line, load).await? } else { Vec::new() };
    let started: Arc<Mutex<HashMap<MessageId, Instant>>> = Arc::default();
    let room = Arc::new(Semaphore::new(load.in_flight));
    let mut latencies = Vec::new();
    let (begin, cpu_before) = (Instant::now(), line.cpu_time()?);
    let mut sent = 0usize;
    let mut ready = ready.into_iter();
    let mut seals = tokio::task::JoinSet::new();
    while begin.elapsed() < load.run {
        collect(line, &started, &room, &mut latencies);
        while seals.try_join_next().is_some() {}
        if let Some(rate) = load.per_second {
            let due = begin + Duration::from_secs(1) / rate * u32::try_from(sent)?;
            tokio::time::sleep_until(due.into()).await;
        }
        let Ok(permit) = room.clone().try_acquire_owned() else {
            tokio::time::sleep(Duration::from_micros(100)).await;
            continue;
        };
        permit.forget();
        sent += 1;
        match load.sealing {
            Sealing::Before => {
                let Some(envelope) = ready.next() else { break };
                note(&started, envelope.id());
                let outbox = line.outbox.clone();
                seals.spawn(async move { outbox.submit(envelope, 1, Vec::new()).await.is_ok() });
            }
            Sealing::During => {
                let (job, outbox, started) = (seal_job(line, &line.recipient), line.outbox.clone(), started.clone());
                let begun = Instant::now();
                seals.spawn(async move {
                    let sealed = tokio::task::spawn_blocking(move || job.seal()).await;
                    let Ok(Ok(envelope)) = sealed else { return false };
                    started.lock().unwrap_or_else(PoisonError::into_inner).insert(envelope.id(), begun);
                    outbox.submit(envelope, 1, Vec::new()).await.is_ok()
                });
            }
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while latencies.len() < sent && Instant::now() < deadline {
        collect(line, &started, &room, &mut latencies);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (took, cpu) = (begin.elapsed(), line.cpu_time()?.saturating_sub(cpu_before));
    if latencies.len() + usize::from(load.sealing == Sealing::Before) < sent {
        bail!("{} of {sent} messages did not arrive", sent - latencies.len());
    }
    latencies.sort_unstable();
    let at = |share: usize| latencies.get(latencies.len() * share / 100).copied().unwrap_or_default();
    let cpu = cpu / u32::try_from(latencies.len().max(1))?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    Ok(Measured { per_second: latencies.len() as f64 / took.as_secs_f64(), p50: at(50), p99: at(99), cpu })
}

fn note(started: &Mutex<HashMap<MessageId, Instant>>, id: MessageId) {
    started.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
}

fn collect(line: &Line, started: &Mutex<HashMap<MessageId, Instant>>, room: &Semaphore, latencies: &mut Vec<Duration>) {
    let mut receiver = receiver(line);
    while let Ok((id, at)) = receiver.try_recv() {
        if let Some(begun) = started.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            latencies.push(at.saturating_duration_since(begun));
            room.add_permits(1);
        }
    }
}

pub(super) fn receiver(line: &Line) -> std::sync::MutexGuard<'_, mpsc::UnboundedReceiver<(MessageId, Instant)>> {
    line.delivered.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough for the run at the rate that the line cannot reach.
async fn seal_many(line: &Line, load: Load) -> Result<Vec<VerifiedEnvelope>> {
    let count = match load.in_flight {
        1 => 4_000,
        _ => 20_000,
    };
    let half = |job: SealJob| move || (0..count / 2).map(|_| job.seal()).collect::<Result<Vec<_>>>();
    let (one, two) = (half(seal_job(line, &line.recipient)), half(seal_job(line, &line.recipient)));
    let (one, two) = (tokio::task::spawn_blocking(one), tokio::task::spawn_blocking(two));
    let mut sealed = one.await??;
    sealed.extend(two.await??);
    Ok(sealed)
}

pub(super) fn envelope(line: &Line) -> Result<VerifiedEnvelope> {
    seal_job(line, &line.recipient).seal()
}

/// What sealing messages to this agency takes; the recipient's keys are everybody's, as nobody else opens any.
pub(super) fn seal_job(line: &Line, to: &AgencyId) -> SealJob {
    let recipients = vec![(to.clone(), line.inbox.prekey.public())];
    SealJob::new(&line.roster, &line.sender, &line.signer, recipients, Precedence::Routine, line.text_bytes)
}
