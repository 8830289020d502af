//! Lies in control frames and acknowledgements: a node's core says what is so, and its shell something else.

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_protocol::Hash;
use liaison_protocol::frame::{
    Comparison, CustodyProof, CustodyState, HourTally, InquiryAnswer, Roll, RollAnswer, Tallies, TalliesAnswer, Tally,
};

use crate::sim::network::Frame;
use crate::sim::plan::Trick;
use crate::sim::rng::to_usize;
use crate::sim::trace::NodeNo;
use crate::sim::world::World;

impl World<'_> {
    /// A frame on its way out, as its node pleases. `None`: it keeps the frame to itself.
    pub(in crate::sim) fn falsify(&mut self, node: NodeNo, link: LinkKey, frame: Frame) -> Option<Frame> {
        if !self.nodes[node].is_hostile(self.now_ms) {
            return Some(frame);
        }
        let passed_on = matches!(
            frame,
            Frame::Bundle(_) | Frame::Inquiry(_) | Frame::Presence(_) | Frame::Reach(_) | Frame::Roster(_)
        );
        if passed_on && self.plays(node, Trick::Withhold) {
            return None;
        }
        Some(match frame {
            Frame::Acks { rank, acks, receipt: Some(_) } if self.plays(node, Trick::Unproven) => {
                let unproven = |(id, ack)| (id, liaison_protocol::frame::Ack { proof: None, ..ack });
                Frame::Acks { rank, acks: acks.into_iter().map(unproven).collect(), receipt: None }
            }
            Frame::Answer(answer) if self.plays(node, Trick::Answers) => Frame::Answer(self.false_answer(answer)),
            Frame::Comparison(frame) if self.plays(node, Trick::Books) => Frame::Comparison(self.false_books(frame)),
            Frame::Custody(proofs) if self.plays(node, Trick::Proofs) => {
                return self.false_proofs(node, link, proofs);
            }
            frame => frame,
        })
    }

    /// About the same message, by anybody, in any state.
    pub(super) fn false_answer(&mut self, answer: InquiryAnswer) -> InquiryAnswer {
        let state = match self.rng.range(0, 4) {
            0 => CustodyState::Held,
            1 => CustodyState::Delivered,
            2 => CustodyState::Released { to: self.anybody() },
            _ => CustodyState::Unknown,
        };
        let by = if self.rng.percent(50) { answer.by } else { self.anybody() };
        InquiryAnswer { by, state, ..answer }
    }

    pub(super) fn anybody(&mut self) -> liaison_protocol::NodeId {
        let node = to_usize(self.rng.range(0, self.nodes.len() as u64));
        self.nodes[node].id.clone()
    }

    /// The same hours and items; other numbers, and everything or nothing is unknown.
    fn false_books(&mut self, frame: Comparison) -> Comparison {
        let sum = Hash::of(&[&self.rng.next().to_be_bytes()]);
        let tally = Tally { count: self.rng.range(0, 1_000), sum };
        let other = |hours: Vec<HourTally>| hours.into_iter().map(|hour| HourTally { tally, ..hour }).collect();
        match frame {
            Comparison::Tallies(Tallies { hours }) => Comparison::Tallies(Tallies { hours: other(hours) }),
            Comparison::TalliesAnswer(TalliesAnswer { hours }) => {
                Comparison::TalliesAnswer(TalliesAnswer { hours: other(hours) })
            }
            Comparison::Roll(Roll { mut items }) => {
                items.truncate(1);
                Comparison::Roll(Roll { items })
            }
            Comparison::RollAnswer(_) => {
                let unknown = if self.rng.percent(50) { vec![0] } else { Vec::new() };
                Comparison::RollAnswer(RollAnswer { unknown })
            }
        }
    }

    /// Changed, of another message, or kept back.
    fn false_proofs(&mut self, node: NodeNo, link: LinkKey, proofs: Vec<CustodyProof>) -> Option<Frame> {
        if self.rng.percent(33) {
            return None;
        }
        let mut changed = proofs.clone();
        for proof in &mut changed {
            match self.rng.range(0, 4) {
                0 => proof.receipt = flipped(&proof.receipt),
                1 => proof.proof = flipped(&proof.proof),
                2 => proof.leaf = flipped(&proof.leaf),
                _ => proof.id = self.captured_id().unwrap_or(proof.id),
            }
        }
        // What is true comes as well, now and then.
        if self.rng.percent(50) && self.nodes[node].links.contains_key(&link) {
            changed.extend(proofs);
        }
        Some(Frame::Custody(changed))
    }
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}
