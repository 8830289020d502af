//! One message from an outbox over relays to an inbox (design: "Links and custody").
//!
//! ```text
//!  outbox ── transfer ──► relay ── transfer ──► relay ── transfer ──► inbox
//!         ◄──── ack ────        ◄──── ack ────        ◄──── ack ────
//! ```
//!
//! Every node has a disk and what it knows beyond it: what is staged and not synced is lost in a crash, and so is
//! every frame on a link of the node that crashed. A relay's disk can be destroyed. Frames are lost, transfers are
//! repeated at any time, the outbox submits again with a higher attempt at any time. The outbox's disk survives, as
//! the promise says, and it keeps the message until the delivery receipt.

use stateright::{Model, Property};

/// The inbox is the last node; node 0 is the outbox.
const NODES: usize = 4;
const INBOX: usize = NODES - 1;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A duplicate is acknowledged although the first copy is not synced.
    AckDuplicateOfUnsynced,
    /// A transfer is acknowledged before its sync.
    AckBeforeSync,
    /// The outbox submits again without raising the attempt.
    AttemptIgnored,
    /// A relay that has released a message takes any later attempt for a duplicate.
    DedupeByIdAlone,
    /// A holder deletes when it has sent.
    DeleteBeforeAck,
    /// The inbox's message and dedupe id are two commits.
    InboxInTwoCommits,
    /// The inbox keeps its dedupe ids in memory.
    VolatileDedupe,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckDuplicateOfUnsynced,
        Self::AckBeforeSync,
        Self::AttemptIgnored,
        Self::DedupeByIdAlone,
        Self::DeleteBeforeAck,
        Self::InboxInTwoCommits,
        Self::VolatileDedupe,
    ];
}

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct Custody {
    /// The mistake, if any.
    pub bug: Option<Bug>,
    /// Submissions by the outbox.
    pub attempts_max: u8,
    /// Crashes, of any nodes.
    pub crashes_max: u8,
    /// Disks destroyed, of any relays.
    pub disks_max: u8,
    /// Frames on their way at one time, on all links together.
    pub frames_max: u32,
}

/// What a node knows of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// It is here, taken with this attempt; 0 if it is not.
    held: u8,
    /// The highest attempt that was here and has left; 0 if none.
    released: u8,
    /// The inbox: handed to the application so often.
    delivered: u8,
    /// The inbox: its id is remembered.
    remembered: bool,
}

/// One node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    disk: Record,
    /// The disk and what is staged.
    view: Record,
    /// Attempts to acknowledge after the sync: a bit each.
    owed: u8,
}

/// A frame between a node and the next: a bit for each attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    transfers: u8,
    acks: u8,
}

/// Everything, with what only an observer knows at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: [Node; NODES],
    /// `links[n]` is between `n` and `n + 1`.
    links: [Link; NODES - 1],
    attempt: u8,
    /// The present attempt is in the first relay's custody, as far as the outbox knows.
    is_acknowledged: bool,
    has_receipt: bool,
    crashes: u8,
    disks: u8,
    /// A disk was destroyed since the present attempt was submitted.
    was_disk_lost: bool,
    /// An acknowledgement went out that no disk supported.
    was_ack_early: bool,
    /// A copy was removed that the next node had never had on disk.
    was_delete_early: bool,
}

/// One thing that happens. Nodes and links by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The next node's answer comes in.
    AckArrives(usize, u8),
    /// A node stops and starts: what was not synced is gone, and so are the frames of its links.
    Crash(usize),
    /// A relay's disk is replaced by an empty one.
    DestroyDisk(usize),
    /// A frame is lost.
    LoseAck(usize, u8),
    /// A frame is lost.
    LoseTransfer(usize, u8),
    /// The outbox learns that the message was delivered.
    ReceiptArrives,
    /// The outbox submits again.
    Resubmit,
    /// A holder sends to the next node, for the first time or again.
    Send(usize),
    /// What is staged becomes durable; then what is owed is acknowledged.
    Sync(usize),
    /// A transfer comes in.
    TransferArrives(usize, u8),
}

const fn bit(attempt: u8) -> u8 {
    1 << attempt
}

fn attempts(bits: u8) -> impl Iterator<Item = u8> {
    (1..8).filter(move |attempt| bits & bit(*attempt) != 0)
}

impl State {
    /// What the node has to pass on: the attempt that goes with it, or 0.
    const fn holds(&self, node: usize) -> u8 {
        match node {
            0 if self.has_receipt => 0,
            0 => self.attempt,
            INBOX => 0,
            _ => self.nodes[node].view.held,
        }
    }

    fn acknowledge(&mut self, node: usize, attempt: u8) {
        let disk = self.nodes[node].disk;
        let is_known = disk.held > 0 || disk.released > 0 || disk.delivered > 0;
        self.was_ack_early |= !is_known;
        self.links[node - 1].acks |= bit(attempt);
    }

    fn release(&mut self, node: usize, attempt: u8) {
        if node == 0 {
            self.is_acknowledged |= attempt == self.attempt;
            return;
        }
        let view = &mut self.nodes[node].view;
        if view.held > 0 {
            (view.released, view.held) = (view.held, 0);
        }
    }

    /// Frames of a node's links go with the links.
    const fn break_links(&mut self, node: usize) {
        if node > 0 {
            self.links[node - 1] = Link { transfers: 0, acks: 0 };
        }
        if node < INBOX {
            self.links[node] = Link { transfers: 0, acks: 0 };
        }
    }
}

impl Custody {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn receive(&self, state: &mut State, node: usize, attempt: u8) {
        let Node { disk, view, .. } = state.nodes[node];
        let released = if self.is(Bug::DedupeByIdAlone) && view.released > 0 { u8::MAX } else { view.released };
        let is_duplicate = if node == INBOX { view.remembered } else { view.held > 0 || released >= attempt };
        if !is_duplicate {
            let view = &mut state.nodes[node].view;
            if node == INBOX {
                view.delivered += 1;
                view.remembered = true;
            } else {
                view.held = attempt;
            }
        }
        let is_durable = if node == INBOX { disk.remembered } else { disk.held > 0 || disk.released >= attempt };
        let hasty = self.is(Bug::AckBeforeSync) || (is_duplicate && self.is(Bug::AckDuplicateOfUnsynced));
        // A duplicate waits for its first copy's sync, as the first copy does.
        if (is_duplicate && is_durable) || hasty {
            state.acknowledge(node, attempt);
        } else {
            state.nodes[node].owed |= bit(attempt);
        }
    }

    fn sync(&self, state: &mut State, node: usize) {
        let Node { disk, mut view, owed } = state.nodes[node];
        let next_has_had_it = node == 0 || node == INBOX || {
            let next = state.nodes[node + 1].disk;
            next.held > 0 || next.released > 0 || next.delivered > 0
        };
        let is_removed = node != INBOX && disk.held > 0 && view.held == 0;
        // A destroyed disk is no evidence of what it had; the observer then asks no more.
        state.was_delete_early |= is_removed && !next_has_had_it && state.disks == 0;
        if self.is(Bug::InboxInTwoCommits) && node == INBOX && view.delivered > disk.delivered {
            // The message first; the id with the next commit.
            view.remembered = disk.remembered;
            state.nodes[node].disk = view;
            return;
        }
        state.nodes[node] = Node { disk: view, view, owed: 0 };
        for attempt in attempts(owed) {
            state.acknowledge(node, attempt);
        }
    }

    fn crash(&self, state: &mut State, node: usize) {
        let Node { mut disk, .. } = state.nodes[node];
        if self.is(Bug::VolatileDedupe) {
            disk.remembered = false;
        }
        state.nodes[node] = Node { disk, view: disk, owed: 0 };
        state.break_links(node);
    }
}

impl Model for Custody {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            nodes: [Node::default(); NODES],
            links: [Link::default(); NODES - 1],
            attempt: 1,
            is_acknowledged: false,
            has_receipt: false,
            crashes: 0,
            disks: 0,
            was_disk_lost: false,
            was_ack_early: false,
            was_delete_early: false,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let frames = state.links.iter().map(|link| link.transfers.count_ones() + link.acks.count_ones());
        let has_room = frames.sum::<u32>() < self.frames_max;
        for (link, Link { transfers, acks }) in state.links.iter().enumerate() {
            for attempt in attempts(*transfers) {
                steps.extend([Step::TransferArrives(link, attempt), Step::LoseTransfer(link, attempt)]);
            }
            for attempt in attempts(*acks) {
                steps.extend([Step::AckArrives(link, attempt), Step::LoseAck(link, attempt)]);
            }
            let held = state.holds(link);
            let is_waiting = held > 0 && !(link == 0 && state.is_acknowledged);
            if is_waiting && has_room && transfers & bit(held) == 0 {
                steps.push(Step::Send(link));
            }
        }
        for node in 1..NODES {
            let Node { disk, view, owed } = state.nodes[node];
            if disk != view || owed != 0 {
                steps.push(Step::Sync(node));
            }
            if state.crashes < self.crashes_max {
                steps.push(Step::Crash(node));
            }
            if node != INBOX && state.disks < self.disks_max {
                steps.push(Step::DestroyDisk(node));
            }
        }
        if !state.has_receipt && state.attempt < self.attempts_max {
            steps.push(Step::Resubmit);
        }
        if !state.has_receipt && state.nodes[INBOX].disk.delivered > 0 {
            steps.push(Step::ReceiptArrives);
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::AckArrives(link, attempt) => {
                state.links[link].acks &= !bit(attempt);
                if state.holds(link) == attempt {
                    state.release(link, attempt);
                }
            }
            Step::Crash(node) => {
                state.crashes += 1;
                self.crash(&mut state, node);
            }
            Step::DestroyDisk(node) => {
                state.disks += 1;
                state.was_disk_lost = true;
                state.nodes[node] = Node::default();
                state.break_links(node);
            }
            Step::LoseAck(link, attempt) => state.links[link].acks &= !bit(attempt),
            Step::LoseTransfer(link, attempt) => state.links[link].transfers &= !bit(attempt),
            Step::ReceiptArrives => state.has_receipt = true,
            Step::Resubmit => {
                if !self.is(Bug::AttemptIgnored) {
                    state.attempt += 1;
                }
                (state.is_acknowledged, state.was_disk_lost) = (false, false);
            }
            Step::Send(node) => {
                let attempt = state.holds(node);
                state.links[node].transfers |= bit(attempt);
                if self.is(Bug::DeleteBeforeAck) {
                    state.release(node, attempt);
                }
            }
            Step::Sync(node) => self.sync(&mut state, node),
            Step::TransferArrives(link, attempt) => {
                state.links[link].transfers &= !bit(attempt);
                self.receive(&mut state, link + 1, attempt);
            }
        }
        // Without the raised attempt resubmission would go on for ever.
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "what was acknowledged is on a disk, unless a disk was destroyed since",
                |_, state: &State| {
                    let relays = &state.nodes[1..INBOX];
                    let is_held = relays.iter().any(|relay| relay.disk.held > 0);
                    let is_safe = is_held || state.nodes[INBOX].disk.delivered > 0;
                    !state.is_acknowledged || state.was_disk_lost || is_safe
                },
            ),
            Property::always("delivered at most once", |_, state: &State| state.nodes[INBOX].disk.delivered <= 1),
            Property::always("acknowledged after the sync", |_, state: &State| !state.was_ack_early),
            Property::always("deleted after the next node has it", |_, state: &State| !state.was_delete_early),
            Property::always("a receipt tells the truth", |_, state: &State| {
                !state.has_receipt || state.nodes[INBOX].disk.delivered == 1
            }),
            Property::sometimes("delivered", |_, state: &State| state.nodes[INBOX].disk.delivered == 1),
            Property::sometimes("delivered by a resubmission, though a disk was destroyed", |_, state: &State| {
                state.disks > 0 && state.attempt > 1 && state.has_receipt
            }),
        ]
    }
}
