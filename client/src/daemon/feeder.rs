//! Sending the chunks of attachments, as many at a time as may wait in the queue.

use std::sync::Arc;
use std::time::Duration;

use super::bear;
use crate::attachment::feed::Step;
use crate::office::Office;
use crate::problem::Answer;

/// Chunks of one message before a more urgent one is looked for.
const TOGETHER: usize = 64;
/// How often a full queue is looked at.
const WAIT: Duration = Duration::from_millis(10);

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    loop {
        match all(&office).await {
            Ok(()) => office.wake.feed.notified().await,
            Err(problem) => bear(&office, problem).await?,
        }
    }
}

async fn all(office: &Arc<Office>) -> Answer<()> {
    loop {
        let for_worker = Arc::clone(office);
        let Some(feed) = crate::blocking(move || for_worker.most_urgent_feed()).await?? else { return Ok(()) };
        let feed = Arc::new(feed);
        for _ in 0..TOGETHER {
            let (for_worker, feed) = (Arc::clone(office), Arc::clone(&feed));
            let alone = office.feeding.lock().await;
            match office.costly(move || for_worker.feed(&feed)).await?? {
                Step::Done(ops) => {
                    office.node.commit(ops).await?;
                    break;
                }
                Step::Send(envelope, ops) => office.node.submit(*envelope, 1, ops).await?,
                Step::Wait => {
                    drop(alone);
                    office.clock.sleep(WAIT).await;
                }
            }
        }
    }
}
