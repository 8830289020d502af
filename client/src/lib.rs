//! An agency's side of Liaison: its outbox, its inbox, its keys, and the local API that programs ask.
//!
//! `liaisond` is this library with a configuration; `liaison` is its [`api::client`]. The library keeps no link and
//! writes no queue: that is `liaison-node`'s, which it meets in [`liaison_node::local`]. It shows nothing to people and
//! decides nothing about custody.
//!
//! ```text
//!  programs ══ Unix socket ══ api::server ─► Office ─ submit, commit ─► NodeHandle ─► run loop ══ links ══ relays
//!                                │  ▲                                                    │
//!                              events └── receive, committed, progress (LocalAgency) ◄───┘
//!                                     daemon's tasks: receipts, work, arrivals, feeder, prekeys, eraser, caretaker
//! ```
//!
//! ```no_run
//! use liaison_client::api::client::Client;
//! use liaison_client::api::model::{EventQuery, ListQuery};
//!
//! # async fn example() -> Result<(), liaison_client::api::client::ClientError> {
//! let daemon = Client::new("/run/liaison/liaisond.sock");
//! for line in daemon.inbox(&ListQuery { unread: Some(true), ..ListQuery::default() }).await?.items {
//!     let message = daemon.message(&line.id.to_string()).await?;
//!     println!("{}: {}", message.from, message.subject);
//!     daemon.ack(&line.id.to_string()).await?;
//! }
//! daemon.events(&EventQuery { wait: Some(30), ..EventQuery::default() }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: nothing is answered before it is durable; a message is in the inbox once, whatever comes twice; content
//! is on disk only encrypted; a prekey's private half is erased on its day; a receipt is signed after the commit that
//! it speaks of, and what is owed and what is paid change in one commit; what readers of the event stream have seen,
//! nothing slips in before.

mod agency;
pub mod api;
pub mod at_rest;
pub mod attachment;
pub mod clock;
mod condition;
#[cfg(test)]
mod condition_tests;
pub mod daemon;
mod events;
mod evidence;
mod inbox;
mod kept;
mod links;
pub mod office;
mod once;
mod outbox;
pub mod prekeys;
mod problem;
pub mod random;
mod receipts;
pub mod records;
pub mod sequence;
pub mod shelf;
#[cfg(test)]
mod store_faults;
#[cfg(test)]
mod testing;
mod trace;
mod witness;

use api::model::{Problem, ProblemCode};

/// Runs what may wait for the disk on a thread that may. Outside a runtime there is no such thread, and nobody who would
/// be held up: it is run at once.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Ok(work());
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Problem::new(ProblemCode::Internal, "a worker stopped"))
}
