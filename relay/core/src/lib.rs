//! Every decision of a node, relay or daemon: admission, custody, queues, dedupe, retry, expiry, routing.
//!
//! Pure: events and the time go in, actions come out. There is no socket, clock, randomness, file or task here, and
//! the crate's dependencies keep it so.

pub mod op;
