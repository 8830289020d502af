//! The daemon's tasks: what is done beside answering the run loop and the API.
//!
//! ```text
//!  receipts    debts ─► sealed receipts           keeper     prekeys made, published, erased
//!  work        things to do about sent mail       feeder     chunks of attachments, on their way out
//!  arrivals    chunks ─► whole messages           caretaker  what is over goes; what is silent is asked after
//! ```
//! Each is one loop that waits for its wake-up or its hour, does everything that is to be done, and waits again. What
//! it was doing when the process ended is in the store.

mod arrivals;
mod caretaker;
mod feeder;
mod keeper;
mod work;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use liaison_node::operator::OperatorHandle;
use liaison_protocol::NodeId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::api::model::{Problem, ProblemCode};
use crate::office::Office;
use crate::problem::Answer;
use crate::receipts::make_receipts;
use crate::receipts::maker::{GATHER, Shelved};
#[cfg(test)]
pub(crate) use caretaker::Ask;

/// What full disks and the like cost before the next try.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a task ended by itself: the daemon stops.
#[derive(Debug, thiserror::Error)]
#[error("{task}: {detail}")]
pub struct TaskFailed {
    /// Which.
    pub task: &'static str,
    /// Why, in words.
    pub detail: String,
}

/// Runs the daemon's tasks until `stop` is cancelled, or one fails for good.
///
/// # Errors
/// [`TaskFailed`]; the others have been stopped.
pub async fn run_tasks(
    office: Arc<Office>,
    operator: OperatorHandle,
    home: Vec<NodeId>,
    stop: CancellationToken,
) -> Result<(), TaskFailed> {
    let mut tasks: JoinSet<Result<(), TaskFailed>> = JoinSet::new();
    let watched = |task, work| watch(task, work, stop.clone());
    tasks.spawn(watched("receipts", Box::pin(receipts(Arc::clone(&office)))));
    tasks.spawn(watched("work", Box::pin(work::run(Arc::clone(&office)))));
    tasks.spawn(watched("arrivals", Box::pin(arrivals::run(Arc::clone(&office)))));
    tasks.spawn(watched("feeder", Box::pin(feeder::run(Arc::clone(&office)))));
    tasks.spawn(watched("keeper", Box::pin(keeper::run(Arc::clone(&office), operator, home))));
    tasks.spawn(watched("caretaker", Box::pin(caretaker::run(office))));
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(TaskFailed { task: "task", detail: error.to_string() }));
        if outcome.is_ok() {
            outcome = ended;
        }
        stop.cancel();
    }
    outcome
}

type Work = std::pin::Pin<Box<dyn Future<Output = Answer<()>> + Send>>;

async fn watch(task: &'static str, work: Work, stop: CancellationToken) -> Result<(), TaskFailed> {
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = work => match ended {
            Ok(()) => Ok(()),
            Err(problem) if problem.code == ProblemCode::Stopping.as_str() => Ok(()),
            Err(problem) => Err(TaskFailed { task, detail: problem.detail }),
        },
    }
}

/// A full disk is waited for; anything else ends the task.
pub(super) async fn bear(problem: Problem) -> Answer<()> {
    if problem.code != ProblemCode::DiskFull.as_str() {
        return Err(problem);
    }
    tracing::warn!(detail = problem.detail, "waiting for room on the disk");
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

async fn receipts(office: Arc<Office>) -> Answer<()> {
    let mut shelved = Shelved::default();
    let mut again = Some(Duration::ZERO);
    loop {
        let later = async {
            match again {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = office.wake.receipts.notified() => tokio::time::sleep(GATHER).await,
            () = later => {}
        }
        again = match make_receipts(&office, &mut shelved).await {
            Ok(again) => again,
            Err(problem) => {
                bear(problem).await?;
                Some(Duration::ZERO)
            }
        };
    }
}
