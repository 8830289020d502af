//! Doing what is on the list about sent messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::MessageId;
use liaison_protocol::mutant::{Mutant, planted};

use super::bear;
use crate::office::Office;
use crate::outbox::reseal::Submission;
use crate::outbox::work::Work;
use crate::problem::Answer;

/// Things done in one turn.
const TOGETHER: usize = 256;
/// A wake-up comes with the commit that writes a thing down, or just before: so soon it is looked for again.
const SOON: [u64; 4] = [2, 10, 50, 250];
/// Without a wake-up, the list is looked at so often.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    loop {
        match all(&office).await {
            Ok(()) => {}
            Err(problem) => bear(&office, problem).await?,
        }
        // In this order, so that the same calls give the same turns.
        tokio::select! {
            biased;
            () = office.wake.work.notified() => {
                for millis in SOON {
                    if any(&office).await? {
                        break;
                    }
                    office.clock.sleep(Duration::from_millis(millis)).await;
                }
            }
            () = office.clock.idle(TICK) => {}
        }
    }
}

async fn any(office: &Arc<Office>) -> Answer<bool> {
    let office = Arc::clone(office);
    Ok(!crate::blocking(move || office.work(1)).await??.is_empty())
}

async fn all(office: &Arc<Office>) -> Answer<()> {
    loop {
        let for_worker = Arc::clone(office);
        let list = crate::blocking(move || for_worker.work(TOGETHER)).await??;
        if list.is_empty() {
            return Ok(());
        }
        let mut light: Vec<(Vec<u8>, Work)> = Vec::new();
        for (key, work) in list {
            match work {
                Work::Announce(_) | Work::Remind { .. } | Work::Settle { .. } => light.push((key, work)),
                Work::Keyed { first, index } | Work::Reseal { first, index } => {
                    let (for_worker, waits) = (Arc::clone(office), matches!(work, Work::Keyed { .. }));
                    let seal = move || {
                        if waits { for_worker.seal_waiting(first, index) } else { for_worker.reseal(first, index) }
                    };
                    let made = office.costly(seal).await?;
                    let made = made.unwrap_or_else(|error| {
                        tracing::error!(message = %first.short(), %error, "a message cannot be sealed anew");
                        None
                    });
                    submit(office, made, key).await?;
                }
                Work::Resubmit { envelope, index, because } => {
                    let for_worker = Arc::clone(office);
                    let alone = !planted(Mutant::FeedTakesNoTurns);
                    let _alone = if alone { Some(office.feeding.lock().await) } else { None };
                    let made = crate::blocking(move || for_worker.resubmit(envelope, index, because)).await??;
                    submit(office, made, key).await?;
                }
            }
        }
        lightly(office, light).await?;
    }
}

async fn submit(office: &Office, made: Option<Submission>, key: Vec<u8>) -> Answer<()> {
    let done = Op::Delete { table: Table::Outbox, key };
    match made {
        None => office.node.commit(vec![done]).await?,
        Some(Submission { envelope, attempt, tried, mut ops }) => {
            ops.push(done);
            match envelope {
                Some(envelope) => office.node.submit_again(envelope, attempt, tried, ops).await?,
                None => office.node.commit(ops).await?,
            }
            // Chunks may have to be sent again, too.
            office.wake.feed.notify_one();
        }
    }
    Ok(())
}

/// Events and endings, in one commit.
async fn lightly(office: &Arc<Office>, light: Vec<(Vec<u8>, Work)>) -> Answer<()> {
    let mut ops = Vec::new();
    let mut tickets = Vec::new();
    let mut settle: BTreeSet<MessageId> = BTreeSet::new();
    let mut owed = false;
    for (key, work) in light {
        ops.push(Op::Delete { table: Table::Outbox, key });
        match work {
            Work::Announce(event) => {
                let ticket = office.sequence.take();
                ops.push(event.put(ticket.number()));
                tickets.push(ticket);
            }
            Work::Remind { id } => {
                let for_worker = Arc::clone(office);
                ops.extend(crate::blocking(move || for_worker.owe_again(id)).await??);
                owed = true;
            }
            Work::Settle { first } => drop(settle.insert(first)),
            Work::Keyed { .. } | Work::Reseal { .. } | Work::Resubmit { .. } => {}
        }
    }
    let for_worker = Arc::clone(office);
    let ended = crate::blocking(move || {
        settle.into_iter().map(|first| for_worker.settle(first)).collect::<Result<Vec<_>, _>>()
    });
    ops.extend(ended.await??.into_iter().flatten());
    office.node.commit(ops).await?;
    if owed {
        office.wake.receipts.notify_one();
    }
    Ok(())
}
