//! Every decision of a node, relay or daemon: admission, custody, queues, dedupe, retry, expiry, routing.
//!
//! Pure: events and the time go in, actions come out. There is no socket, clock, randomness, file or task here, and
//! the crate's dependencies keep it so. The same [`Node`] runs in both programs and under test.
//!
//! ```text
//!  Event + now ─► Node::handle ─► Vec<Action>
//! ```

pub mod action;
pub mod admit;
mod batch;
pub mod budget;
pub mod bundle_fetch;
pub mod clock;
pub mod conserve;
pub mod durable;
pub mod event;
pub mod forget;
mod holds;
pub mod inquiry;
mod lane;
pub mod ledger;
pub mod link;
mod node;
pub mod op;
pub mod proofs;
mod queue;
pub mod quota;
pub mod retry;
pub mod roster_claims;
pub mod roster_state;
pub mod route;
#[cfg(test)]
mod testing;

pub use action::Action;
pub use event::{Event, Ticket};
pub use link::{LinkKey, NodeKind};
pub use node::{CHAIN_INDEX, Config, Node, QueueView, Restored, RestoredQueue};
