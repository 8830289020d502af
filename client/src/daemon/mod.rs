//! The daemon's tasks: what is done beside answering the run loop and the API.
//!
//! ```text
//!  receipts    debts ─► sealed receipts           prekeys    made, published
//!  work        things to do about sent mail       eraser     spent prekeys go
//!  arrivals    chunks ─► whole messages           caretaker  what is over goes; what is silent is asked after
//!  feeder      chunks of attachments, on their way out
//!  watchman    the log says what begins to fail, and what is well again
//! ```
//! Each is one loop that waits for its wake-up or its hour, does everything that is to be done, and waits again. What
//! it was doing when the process ended is in the store.

mod arrivals;
mod caretaker;
mod eraser;
mod feeder;
mod prekeys;
mod watchman;
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
pub(crate) use caretaker::{Ask, Attended};

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
    let watchman = watchman::run(Arc::clone(&office), operator.clone(), home.clone());
    let watchman = Task { name: "watchman", work: Box::pin(watchman) };
    let eraser = Task { name: "eraser", work: Box::pin(eraser::run(Arc::clone(&office), operator, home)) };
    for Task { name, work } in mail_tasks(&office).into_iter().chain([eraser, watchman]) {
        tasks.spawn(watch(name, work, stop.clone()));
    }
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

/// One of the daemon's tasks: a loop that ends only when the run loop has ended, or with what is wrong.
pub struct Task {
    /// Names it in the log.
    pub name: &'static str,
    /// The loop.
    pub work: Work,
}

/// A task's loop.
pub type Work = std::pin::Pin<Box<dyn Future<Output = Answer<()>> + Send>>;

/// The tasks that see to mail and its keys: all but the eraser and the watchman, which also need to know the links.
#[must_use]
pub fn mail_tasks(office: &Arc<Office>) -> [Task; 6] {
    let office = || Arc::clone(office);
    [
        Task { name: "receipts", work: Box::pin(receipts(office())) },
        Task { name: "work", work: Box::pin(work::run(office())) },
        Task { name: "arrivals", work: Box::pin(arrivals::run(office())) },
        Task { name: "feeder", work: Box::pin(feeder::run(office())) },
        Task { name: "caretaker", work: Box::pin(caretaker::run(office())) },
        Task { name: "prekeys", work: Box::pin(prekeys::run(office())) },
    ]
}

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
pub(super) async fn bear(office: &Office, problem: Problem) -> Answer<()> {
    if problem.code != ProblemCode::DiskFull.as_str() {
        return Err(problem);
    }
    tracing::warn!(detail = problem.detail, "waiting for room on the disk");
    office.clock.sleep(PAUSE).await;
    Ok(())
}

async fn receipts(office: Arc<Office>) -> Answer<()> {
    let mut shelved = Shelved::default();
    let mut again = Some(Duration::ZERO);
    loop {
        let later = async {
            match again {
                Some(after) => office.clock.idle(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = office.wake.receipts.notified() => office.clock.sleep(GATHER).await,
            () = later => {}
        }
        again = match make_receipts(&office, &mut shelved).await {
            Ok(again) => again,
            Err(problem) => {
                bear(&office, problem).await?;
                Some(Duration::ZERO)
            }
        };
    }
}
