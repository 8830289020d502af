//! Names of links, and the kinds of their ends.

/// One live link, as the host numbers it. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey(pub u64);

/// The program at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// An agency's daemon: holds an outbox and an inbox, forwards nothing for others.
    Daemon,
    /// A relay: holds queues for agencies.
    Relay,
}
