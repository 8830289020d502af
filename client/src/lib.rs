//! An agency's side of Liaison: what its daemon keeps and does, and how programs ask it.

mod agency;
pub mod api;
pub mod at_rest;
pub mod attachment;
pub mod clock;
mod condition;
pub mod daemon;
mod events;
mod evidence;
mod inbox;
mod kept;
pub mod office;
mod once;
mod outbox;
pub mod prekeys;
mod problem;
mod random;
mod receipts;
pub mod sequence;
pub mod shelf;
#[cfg(test)]
mod testing;
mod trace;

use api::model::{Problem, ProblemCode};

/// Runs what may wait for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(ProblemCode::Internal, "a worker ended by itself"))
}
