//! What nodes saw and did, and what was done to them. The oracle reads nothing else.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::plan::Fault;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Simulated time since the start.
    pub(super) at: Duration,
    /// Which node, by its place in the plan.
    pub(super) node: usize,
    /// How often it had been started.
    pub(super) life: u32,
    pub(super) what: What,
}

impl Note {
    /// Whether it says only how things stand.
    pub(super) const fn is_stock(&self) -> bool {
        matches!(self.what, What::Took(_))
    }
}

/// `link` is the node's own number for it; `number` is of this run, and never used again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    AcksReceived {
        link: u64,
        rank: u8,
        number: u64,
        seqs: Vec<u64>,
    },
    AcksSent {
        link: u64,
        rank: u8,
        number: u64,
        seqs: Vec<u64>,
    },
    ControlReceived {
        link: u64,
        number: u64,
    },
    ControlSent {
        link: u64,
        number: u64,
    },
    DialFailed {
        peer: usize,
        reason: String,
    },
    Down {
        link: u64,
        peer: usize,
        reason: String,
    },
    /// Something else than what the node could have sent.
    Foreign {
        link: u64,
        what: String,
    },
    /// The node has ended in peace.
    Left(Left),
    Received {
        link: u64,
        rank: u8,
        seq: u64,
        number: u64,
        bytes: usize,
        whole: bool,
    },
    Sent {
        link: u64,
        rank: u8,
        seq: u64,
        number: u64,
        bytes: usize,
    },
    Started,
    /// The node stops in peace: from now on it sends nothing new.
    Stopping,
    /// Once in a while.
    Took(Took),
    Up {
        link: u64,
        peer: usize,
    },
    // Of the run itself.
    Fault(Fault),
    /// Nothing goes wrong from now on.
    Healed,
}

/// What a node held at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Took {
    /// Bytes of received envelopes for which room was taken.
    pub(super) held_bytes: usize,
    /// Tasks of the whole process.
    pub(super) tasks: usize,
    /// Tasks that the endpoint started itself.
    pub(super) tracked: usize,
    /// Connections that QUIC knows.
    pub(super) connections: usize,
    /// Links up.
    pub(super) links: usize,
}

/// What was left when an endpoint had closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Tasks of the endpoint, after `close`.
    pub(super) tracked: usize,
    /// Of QUIC's, after `close`.
    pub(super) connections: usize,
    /// Bytes of room not given back.
    pub(super) room_bytes: usize,
    /// Tasks of the process, after the endpoint was dropped.
    pub(super) tasks: usize,
}

/// Shared by all nodes of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    notes: Vec<Note>,
    last_number: u64,
}

impl Journal {
    pub(super) fn note(&self, at: Duration, node: usize, life: u32, what: What) {
        self.0.borrow_mut().notes.push(Note { at, node, life, what });
    }

    pub(super) fn number(&self) -> u64 {
        let mut inner = self.0.borrow_mut();
        inner.last_number += 1;
        inner.last_number
    }

    pub(super) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.borrow_mut().notes)
    }
}
