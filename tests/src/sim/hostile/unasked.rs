//! Frames that nobody asked for, one of every type in turn, and envelopes of others under a name of one's own.

use std::time::Duration;

use liaison_core::LinkKey;
use liaison_protocol::envelope::{Envelope, Header, message_id, signed_message};
use liaison_protocol::frame::{
    Ack, Comparison, CustodyState, HourTally, Inquiry, InquiryAnswer, Presence, ReachEntry, Roll, RollAnswer, RollItem,
    Tallies, TalliesAnswer, Tally, Transfer,
};
use liaison_protocol::limits::{ATTEMPTS_MAX, INQUIRY_HOPS_MAX};
use liaison_protocol::sign::Signer;
use liaison_protocol::{Hash, Hour, MessageId};

use crate::sim::fixture::START;
use crate::sim::network::Frame;
use crate::sim::plan::{Offer, Trick};
use crate::sim::rng::to_usize;
use crate::sim::trace::{NodeNo, Step};
use crate::sim::world::World;

/// Kinds of frames in [`World::babble`].
const KINDS: u64 = 10;
/// False rosters that take no more root keys than a thief of one has.
const ROSTERS: [Offer; 4] = [Offer::Forged, Offer::Older, Offer::Short, Offer::Twice];

impl World<'_> {
    /// A trick that waits for no occasion.
    pub(in crate::sim) fn mischief(&mut self, node: NodeNo, trick: Trick) {
        if !self.nodes[node].is_up() {
            return;
        }
        match trick {
            Trick::Babble => self.babble(node),
            Trick::Copy => self.copy(node),
            Trick::Spoof => self.spoof(node),
            _ => {}
        }
    }

    /// An envelope that has been seen on the way, if any has.
    fn captured_at_random(&mut self) -> Option<(u8, Vec<u16>, bytes::Bytes)> {
        let all = self.captured.len() as u64;
        let at = to_usize(self.rng.range(0, all));
        self.captured.get(at).cloned()
    }

    pub(super) fn captured_id(&mut self) -> Option<MessageId> {
        let (_, _, bytes) = self.captured_at_random()?;
        Envelope::decode_shared(bytes).ok().map(|envelope| envelope.id())
    }

    /// Three frames to each peer.
    fn babble(&mut self, node: NodeNo) {
        let links: Vec<(LinkKey, NodeNo)> = self.nodes[node].links.iter().map(|(link, peer)| (*link, *peer)).collect();
        for (link, peer) in links {
            for _ in 0..3 {
                let kind = self.rng.range(0, KINDS);
                if let Some(frame) = self.unasked(node, (link, peer), kind) {
                    self.transmit(node, link, frame);
                }
            }
        }
    }

    fn unasked(&mut self, node: NodeNo, (link, peer): (LinkKey, NodeNo), kind: u64) -> Option<Frame> {
        // Of a message that is under way, or of none that ever was.
        let id = self.captured_id().filter(|_| self.rng.percent(80)).unwrap_or(MessageId(Hash::ZERO));
        let index = u16::try_from(self.rng.range(0, 3)).expect("a small number");
        let rank = u8::try_from(self.rng.range(0, 5)).expect("a small number");
        Some(match kind {
            0 => {
                let ack = Ack { seq: self.rng.next(), taken: vec![0], duplicate: vec![], refused: vec![], proof: None };
                Frame::Acks { rank, acks: vec![(id, ack)], receipt: None }
            }
            1 => {
                let answer = InquiryAnswer { id, index, by: self.anybody(), state: CustodyState::Unknown };
                Frame::Answer(self.false_answer(answer))
            }
            2 => self.any_bundle(node).map(Frame::Bundle)?,
            3 => Frame::Comparison(self.comparison_unasked(id, index)),
            4 => Frame::Inquiry(Inquiry { id, index, hops: INQUIRY_HOPS_MAX }),
            5 => {
                let others = (0..self.plan.shape.relays()).filter(|other| *other != node && *other != peer);
                let entry = |other: usize| ReachEntry { relay: self.nodes[other].id.clone(), cost: 0, hops: 1 };
                let mut relays: Vec<ReachEntry> = others.map(entry).collect();
                relays.sort_by(|a, b| a.relay.cmp(&b.relay));
                Frame::Reach(relays)
            }
            6 => {
                let trusted = self.nodes[peer].roster().clone();
                let now = START.after(Duration::from_millis(self.now_ms));
                let offer = *self.rng.pick(&ROSTERS);
                Frame::Roster(self.federation.falsify(offer, &trusted, now).into())
            }
            7 => {
                // Everybody is linked here, or nobody is.
                let relays = self.plan.shape.relays();
                let all: Vec<_> = (relays..self.nodes.len()).map(|other| self.federation.agency(other)).collect();
                let (left, linked) = if self.rng.percent(50) { (all, Vec::new()) } else { (Vec::new(), all) };
                Frame::Presence(Presence { left, linked })
            }
            8 => Frame::Transfer { rank, transfer: self.garbage(node, (link, rank)) },
            _ => {
                let (rank, branch, envelope) = self.captured_at_random()?;
                let (seq, accepted) = (self.false_seq(node, link, rank), self.clock(node));
                let path = vec![self.anybody()];
                let transfer = Transfer { seq, attempt: ATTEMPTS_MAX, branch, path, accepted, envelope };
                Frame::Transfer { rank, transfer }
            }
        })
    }

    fn comparison_unasked(&mut self, id: MessageId, index: u16) -> Comparison {
        let tally = Tally::of(&id, index, 1);
        let hours = vec![HourTally { hour: Hour::of(START.after(Duration::from_millis(self.now_ms))), tally }];
        match self.rng.range(0, 4) {
            0 => Comparison::Tallies(Tallies { hours }),
            1 => Comparison::TalliesAnswer(TalliesAnswer { hours }),
            2 => Comparison::Roll(Roll { items: vec![RollItem { id, index }] }),
            _ => Comparison::RollAnswer(RollAnswer { unknown: vec![0] }),
        }
    }

    /// Octets that are no envelope.
    fn garbage(&mut self, node: NodeNo, (link, rank): (LinkKey, u8)) -> Transfer {
        let (seq, accepted) = (self.false_seq(node, link, rank), self.clock(node));
        let envelope = self.rng.next().to_be_bytes().to_vec().into();
        Transfer { seq, attempt: 1, branch: vec![0], path: Vec::new(), accepted, envelope }
    }

    /// Signs what others have sealed as if it were its own.
    fn copy(&mut self, node: NodeNo) {
        let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
        let Some((rank, branch, captured)) = self.captured_at_random() else { return };
        let Ok(envelope) = Envelope::decode_shared(captured) else { return };
        let Ok(header) = Header::decode(&envelope.header) else { return };
        let signer = self.federation.signer(node);
        let (of, mut nonce) = (envelope.id(), header.nonce);
        nonce[0] ^= 1;
        let header = Header { sender: self.nodes[node].id.clone(), sender_key: signer.key_id(), nonce, ..header };
        let header = header.encode();
        let id = message_id(&header);
        let signature = signer.sign(&signed_message(&id)).expect("keys in memory sign");
        let copy: bytes::Bytes = Envelope { header: header.into(), signature, ..envelope }.encode().into();
        self.note(Step::Copied { node, id, of });
        for link in links {
            let (seq, accepted) = (self.false_seq(node, link, rank), self.clock(node));
            let (branch, envelope) = (branch.clone(), copy.clone());
            let transfer = Transfer { seq, attempt: 1, branch, path: Vec::new(), accepted, envelope };
            self.transmit(node, link, Frame::Transfer { rank, transfer });
        }
    }
}
