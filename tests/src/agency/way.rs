//! One way of the mail: from an agency to another, with every id that was accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use liaison_protocol::{MessageId, Precedence};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval};

use super::Agency;
use crate::check::Check;

/// Submissions at a time: a commit takes them together.
const SENDERS: usize = 32;
/// Mail that has not moved for so long never will.
const STANDSTILL: Duration = Duration::from_secs(120);
/// From look to look whether something has arrived.
const LOOK: Duration = Duration::from_millis(1);

/// See the module.
pub struct Way<'a> {
    from: &'a Agency,
    to: &'a Agency,
    text_bytes: usize,
    accepted: Mutex<BTreeSet<MessageId>>,
    arrived: Mutex<BTreeSet<MessageId>>,
}

impl<'a> Way<'a> {
    /// For messages with this much text.
    #[must_use]
    pub fn new(from: &'a Agency, to: &'a Agency, text_bytes: usize) -> Self {
        Self { from, to, text_bytes, accepted: Mutex::default(), arrived: Mutex::default() }
    }

    /// Sends so many as fast as it goes, with a bound on what is accepted and has not arrived; waits until as many have
    /// arrived, and counts them in `delivered`.
    ///
    /// # Errors
    /// One is not accepted, or nothing moves any more.
    pub async fn send(&self, messages: usize, under_way_max: usize, delivered: &AtomicUsize) -> Result<()> {
        let (begun, room) = (AtomicUsize::new(0), Semaphore::new(under_way_max));
        let senders = (0..SENDERS).map(|_| self.submit_some(messages, &begun, &room));
        let senders = async { futures_util::future::try_join_all(senders).await.map(|_| ()) };
        tokio::try_join!(senders, self.collect(messages, delivered, &room))?;
        Ok(())
    }

    async fn submit_some(&self, messages: usize, begun: &AtomicUsize, room: &Semaphore) -> Result<()> {
        while begun.fetch_add(1, Ordering::Relaxed) < messages {
            room.acquire().await?.forget();
            self.submit(Precedence::Routine).await?;
        }
        Ok(())
    }

    /// Its id, and when its submission began.
    async fn submit(&self, precedence: Precedence) -> Result<(MessageId, Instant)> {
        let seals = self.from.seal_job(self.to, precedence, self.text_bytes);
        let envelope = tokio::task::spawn_blocking(move || seals.seal()).await??;
        let (id, began) = (envelope.id(), Instant::now());
        self.from.handle().submit(envelope, 1, Vec::new()).await?;
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Ok((id, began))
    }

    async fn collect(&self, messages: usize, delivered: &AtomicUsize, room: &Semaphore) -> Result<()> {
        let (mut arrived, mut moved) = (0, Instant::now());
        while arrived < messages {
            let new = self.new_arrivals().len();
            if new > 0 {
                arrived += new;
                delivered.fetch_add(new, Ordering::SeqCst);
                room.add_permits(new);
                moved = Instant::now();
            } else if moved.elapsed() > STANDSTILL {
                bail!("{} of {messages} to {} have not arrived", messages - arrived, self.to.name());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// What has come since the last call. A copy that met its first one in the same commit is told of again.
    fn new_arrivals(&self) -> Vec<(MessageId, Instant)> {
        let mut known = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        self.to.arrivals().into_iter().filter(|(id, _)| known.insert(*id)).collect()
    }

    /// Sends flash at a steady pace, whatever becomes of the messages before: from submission to the recipient's disk,
    /// for each message, the shortest first.
    ///
    /// # Errors
    /// One is not accepted, or does not arrive.
    pub async fn flash(&self, per_second: u32, run: Duration) -> Result<Vec<Duration>> {
        let mut pace = interval(Duration::from_secs(1) / per_second);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut open, mut spans) = (BTreeMap::new(), Vec::new());
        let (begin, mut moved) = (Instant::now(), Instant::now());
        while begin.elapsed() < run || !open.is_empty() {
            tokio::select! {
                _ = pace.tick(), if begin.elapsed() < run => {
                    let (id, began) = self.submit(Precedence::Flash).await?;
                    open.insert(id, began);
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            for (id, at) in self.new_arrivals() {
                if let Some(began) = open.remove(&id) {
                    spans.push(at.saturating_duration_since(began));
                    moved = Instant::now();
                }
            }
            if moved.elapsed() > STANDSTILL {
                bail!("{} of flash to {} have not arrived", open.len(), self.to.name());
            }
        }
        spans.sort_unstable();
        Ok(spans)
    }

    /// Whether everything that was accepted is in the recipient's durable inbox, once, and nothing beside it but `others`.
    ///
    /// # Errors
    /// The recipient's store's.
    pub fn check(&self, others: &[MessageId]) -> Result<Check> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut check = once(&accepted, self.to, others)?;
        let ended = self.from.lost();
        check.what = format!("{} to {}", self.from.name(), self.to.name());
        check.holds &= ended.is_empty();
        if let Some(first) = ended.first() {
            check.detail.push_str(&format!(", {} refused or expired: {first}", ended.len()));
        }
        Ok(check)
    }
}

/// Whether what was `accepted` for an agency is in its durable inbox, once, and nothing beside it but `others`.
///
/// # Errors
/// The agency's store's.
pub fn once(accepted: &BTreeSet<MessageId>, to: &Agency, others: &[MessageId]) -> Result<Check> {
    let mut inbox = to.inbox()?;
    let missing = accepted.iter().filter(|id| !inbox.contains_key(id)).count();
    let repeated = inbox.values().filter(|copies| **copies > 1).count();
    inbox.retain(|id, _| !others.contains(id));
    let foreign = inbox.keys().filter(|id| !accepted.contains(id)).count();
    let detail = format!("{} accepted: {missing} missing, {repeated} twice, {foreign} never sent", accepted.len());
    Ok(Check { what: format!("to {}", to.name()), holds: missing + repeated + foreign == 0, detail })
}
