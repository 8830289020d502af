//! Two copies of one message among relays that may each hand to any other (docs/decisions/0009).
//!
//! ```text
//!            outbox             it may submit to several, before it has heard anything
//!           ▲│    │▲
//!           │▼    ▼│
//!        relay ◄──► relay       the recipient is away: whoever lets go has handed over
//!            ▲▼    ▼▲
//!             relay
//! ```
//!
//! A relay has one transfer of the message in flight at a time. A crash loses what is staged and breaks the links; a
//! link breaks at any time, and what was in flight over it goes on by any other. Paths and hops are left out, so that
//! relays hand to each other more than the product lets them. The recipient never comes: a copy must always be left.

use stateright::{Model, Property};

const RELAYS: usize = 3;
/// In `owed`, who waits for an answer, beside the relays.
const OUTBOX: usize = RELAYS;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// What was passed on is a duplicate, also when another relay brings it.
    PassedIsDuplicate,
    /// A copy of what is just being released is taken for the held one.
    LeavingIsHeld,
    /// A transfer that was in flight when another relay's copy was taken still releases.
    MergedReleases,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::PassedIsDuplicate, Self::LeavingIsHeld, Self::MergedReleases];
}

/// How much is explored.
#[derive(Clone, Copy, Debug)]
pub struct Meeting {
    /// The mistake, if any.
    pub bug: Option<Bug>,
    /// Submissions of the same message.
    pub submissions_max: u8,
    /// Crashes, of any relays.
    pub crashes_max: u8,
    /// Links that break.
    pub breaks_max: u8,
}

/// What a relay knows of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Record {
    /// It was never here.
    #[default]
    Unknown,
    /// It is here.
    Held,
    /// Another relay has taken it over.
    Released,
}

/// A transfer that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flight {
    to: usize,
    /// Another relay's copy was taken for this one meanwhile.
    is_merged: bool,
}

/// One relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Relay {
    disk: Record,
    /// The disk and what is staged.
    view: Record,
    flight: Option<Flight>,
    /// Whom to acknowledge after the sync.
    owed: [bool; RELAYS + 1],
}

/// What is on its way between two relays, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Frame {
    /// Nothing.
    #[default]
    None,
    /// The message.
    Transfer,
    /// The answer to it: the peer holds it now.
    Taken,
    /// The answer to it: not now.
    Refused,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    relays: [Relay; RELAYS],
    /// `transfers[a][b]`: from `a` to `b`.
    transfers: [[bool; RELAYS]; RELAYS],
    /// `answers[a][b]`: from `b` back to `a`, taken or refused.
    answers: [[Frame; RELAYS]; RELAYS],
    submissions: u8,
    /// The outbox has been told that a relay has it.
    is_accepted: bool,
    crashes: u8,
    breaks: u8,
}

/// One thing that happens. Relays by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The outbox hands it to a relay, which has it at once, in its view.
    Submit(usize),
    /// A holder sends to another relay.
    Send(usize, usize),
    /// A transfer from the first reaches the second.
    TransferArrives(usize, usize),
    /// The second's answer reaches the first.
    AnswerArrives(usize, usize),
    /// What is staged becomes durable; then what is owed is acknowledged.
    Sync(usize),
    /// A relay stops and starts.
    Crash(usize),
    /// The link between two relays breaks, with all that is on it.
    Break(usize, usize),
}

impl State {
    fn break_link(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.transfers[from][to] = false;
            self.answers[from][to] = Frame::None;
            // What was to be said of the old link is not said on the next one.
            self.relays[to].owed[from] = false;
            let flight = &mut self.relays[from].flight;
            *flight = flight.filter(|flight| flight.to != to);
        }
    }

    fn holders(&self) -> usize {
        self.relays.iter().filter(|relay| relay.disk == Record::Held).count()
    }
}

impl Meeting {
    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn receive(&self, state: &mut State, from: usize, node: usize) {
        let relay = &mut state.relays[node];
        match relay.view {
            Record::Released if relay.disk == Record::Held && from != OUTBOX && !self.is(Bug::LeavingIsHeld) => {
                state.answers[from][node] = Frame::Refused;
                return;
            }
            // Only in a commit that is not durable: what it says is what the disk says.
            Record::Released if relay.disk == Record::Held => {}
            Record::Released if from == OUTBOX || self.is(Bug::PassedIsDuplicate) => {}
            Record::Unknown | Record::Released => relay.view = Record::Held,
            Record::Held => {
                if let Some(flight) = relay.flight.as_mut().filter(|_| from != OUTBOX) {
                    flight.is_merged = true;
                }
            }
        }
        relay.owed[from] = true;
    }

    fn sync(state: &mut State, node: usize) {
        let relay = &mut state.relays[node];
        relay.disk = relay.view;
        let owed = std::mem::take(&mut relay.owed);
        state.is_accepted |= owed[OUTBOX];
        for from in (0..RELAYS).filter(|from| owed[*from]) {
            state.answers[from][node] = Frame::Taken;
        }
    }

    fn answer(&self, state: &mut State, from: usize, to: usize) {
        let taken = std::mem::take(&mut state.answers[from][to]) == Frame::Taken;
        let relay = &mut state.relays[from];
        let Some(flight) = relay.flight.take_if(|flight| flight.to == to) else { return };
        if taken && (!flight.is_merged || self.is(Bug::MergedReleases)) {
            relay.view = Record::Released;
        }
    }
}

/// Every pair of different relays.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..RELAYS * RELAYS).map(|pair| (pair / RELAYS, pair % RELAYS)).filter(|(a, b)| a != b)
}

impl Model for Meeting {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (a, b) in pairs() {
            let relay = &state.relays[a];
            if relay.disk == Record::Held && relay.view == Record::Held && relay.flight.is_none() {
                steps.push(Step::Send(a, b));
            }
            if state.transfers[a][b] {
                steps.push(Step::TransferArrives(a, b));
            }
            if state.answers[a][b] != Frame::None {
                steps.push(Step::AnswerArrives(a, b));
            }
            if a < b && state.breaks < self.breaks_max {
                steps.push(Step::Break(a, b));
            }
        }
        for (node, relay) in state.relays.iter().enumerate() {
            if relay.disk != relay.view || relay.owed.contains(&true) {
                steps.push(Step::Sync(node));
            }
            if state.crashes < self.crashes_max {
                steps.push(Step::Crash(node));
            }
            if state.submissions < self.submissions_max {
                steps.push(Step::Submit(node));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Submit(node) => {
                state.submissions += 1;
                self.receive(&mut state, OUTBOX, node);
            }
            Step::Send(from, to) => {
                state.relays[from].flight = Some(Flight { to, is_merged: false });
                state.transfers[from][to] = true;
            }
            Step::TransferArrives(from, to) => {
                state.transfers[from][to] = false;
                self.receive(&mut state, from, to);
            }
            Step::AnswerArrives(from, to) => self.answer(&mut state, from, to),
            Step::Sync(node) => Self::sync(&mut state, node),
            Step::Crash(node) => {
                state.crashes += 1;
                let disk = state.relays[node].disk;
                state.relays[node] = Relay { disk, view: disk, ..Relay::default() };
                for other in (0..RELAYS).filter(|other| *other != node) {
                    state.break_link(node, other);
                }
            }
            Step::Break(a, b) => {
                state.breaks += 1;
                state.break_link(a, b);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what was accepted is held by a relay, on its disk", |_, state: &State| {
                !state.is_accepted || state.holders() > 0
            }),
            Property::sometimes("two relays hold a copy each", |_, state: &State| state.holders() > 1),
            Property::sometimes("of two copies one is left, and two relays have let go", |_, state: &State| {
                let gone = state.relays.iter().filter(|relay| relay.disk == Record::Released).count();
                state.submissions > 1 && state.holders() == 1 && gone == RELAYS - 1
            }),
            Property::sometimes("a copy is refused that comes while it is leaving", |_, state: &State| {
                state.answers.as_flattened().contains(&Frame::Refused)
            }),
        ]
    }
}
