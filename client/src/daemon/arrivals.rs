//! Giving chunks to messages, and completing messages.

use std::sync::Arc;

use super::bear;
use crate::office::Office;
use crate::problem::Answer;

/// Chunks matched in one commit.
const TOGETHER: usize = 256;

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    let for_worker = Arc::clone(&office);
    for id in crate::blocking(move || for_worker.arriving()).await?? {
        office.arrivals.restore(id);
    }
    loop {
        match all(&office).await {
            Ok(()) => office.wake.arrivals.notified().await,
            Err(problem) => {
                bear(&office, problem).await?;
                // What was taken from memory is found again in the store.
                let for_worker = Arc::clone(&office);
                for id in crate::blocking(move || for_worker.arriving()).await?? {
                    office.arrivals.restore(id);
                }
            }
        }
    }
}

async fn all(office: &Arc<Office>) -> Answer<()> {
    loop {
        let arrivals = office.arrivals.next(TOGETHER);
        if arrivals.is_empty() {
            return Ok(());
        }
        let for_worker = Arc::clone(office);
        let alone = office.matching.lock().await;
        let (ops, touched) = crate::blocking(move || for_worker.match_arrivals(&arrivals)).await??;
        office.node.commit(ops).await?;
        drop(alone);
        for id in touched {
            let for_worker = Arc::clone(office);
            let Some(completed) = office.costly(move || for_worker.complete(id)).await?? else { continue };
            office.node.commit(completed.ops).await?;
            office.wake.receipts.notify_one();
        }
    }
}
