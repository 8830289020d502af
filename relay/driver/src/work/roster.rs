//! Judging a roster: a long one takes a second, and its signatures are costly.

use std::collections::VecDeque;

use bytes::Bytes;
use liaison_core::roster_state::{Decision, Jump, RosterState};
use liaison_protocol::{Hash, NodeId};

/// A roster for a worker to judge.
#[derive(Debug)]
pub(crate) struct RosterCheck {
    pub(crate) peer: NodeId,
    pub(crate) bytes: Bytes,
    pub(crate) state: RosterState,
    pub(crate) refused: VecDeque<Hash>,
}

impl RosterCheck {
    pub(crate) fn run(self) -> RosterChecked {
        let Self { peer, bytes, state, refused } = self;
        let hash = Hash::of(&[&bytes]);
        let decision = (!refused.contains(&hash)).then(|| state.judge(&bytes, Jump::Limit));
        RosterChecked { peer, hash, decision, against: state.trusted().hash(), bytes }
    }
}

/// The result of a roster's check.
#[derive(Debug)]
pub(crate) struct RosterChecked {
    pub(crate) peer: NodeId,
    pub(crate) bytes: Bytes,
    pub(crate) hash: Hash,
    /// `None`: the same bytes were refused before.
    pub(crate) decision: Option<Decision>,
    /// The roster that was followed meanwhile.
    pub(crate) against: Hash,
}
