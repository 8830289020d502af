//! Nodes that play false. Their cores are real; their shells are not to be trusted.
//!
//! A transfer passes [`World::transmit_played`] on its way out, every other frame [`World::falsify`], and some tricks ask
//! for nothing to begin with ([`World::mischief`]).

mod control;
mod unasked;

use bytes::Bytes;
use liaison_core::LinkKey;
use liaison_protocol::envelope::Envelope;
use liaison_protocol::frame::Transfer;
use liaison_protocol::limits::ATTEMPTS_MAX;
use liaison_protocol::receipt::RefusalFacts;
use liaison_protocol::refusal::RefusalReason;

use crate::sim::network::Frame;
use crate::sim::plan::Trick;
use crate::sim::rng::to_usize;
use crate::sim::trace::NodeNo;
use crate::sim::world::World;

/// Numbers of transfers that the node's core knows nothing of begin here.
const FALSE_SEQ: u64 = 1 << 40;

impl World<'_> {
    /// Whether this node plays this trick this time.
    pub(in crate::sim) fn plays(&mut self, node: NodeNo, trick: Trick) -> bool {
        let percent = self.nodes[node].trick(trick, self.now_ms);
        percent > 0 && self.rng.percent(percent)
    }

    /// A transfer on its way out, changed as the node pleases.
    pub(in crate::sim) fn transmit_played(&mut self, node: NodeNo, link: LinkKey, rank: u8, mut transfer: Transfer) {
        if !self.nodes[node].is_hostile(self.now_ms) {
            return self.transmit(node, link, Frame::Transfer { rank, transfer });
        }
        if self.plays(node, Trick::Attempts) {
            transfer.attempt = to_attempt(self.rng.range(1, u64::from(ATTEMPTS_MAX) + 1));
        }
        if self.plays(node, Trick::Branch) {
            transfer.branch.push(900);
        }
        if self.plays(node, Trick::Forge) {
            let mut bytes = transfer.envelope.to_vec();
            let at = to_usize(self.rng.range(0, bytes.len() as u64));
            bytes[at] ^= 1;
            transfer.envelope = bytes.into();
        }
        if self.plays(node, Trick::Strip) {
            transfer.envelope = without_a_wrap(transfer.envelope);
        }
        let rank_sent = if self.plays(node, Trick::Lane) { (rank + 1) % 4 } else { rank };
        self.replay(node, link);
        if self.plays(node, Trick::Unkey) {
            self.deny_key(node, rank, &transfer);
        }
        if self.plays(node, Trick::Loop) {
            self.send_round(node, rank, &transfer);
        }
        let state = &mut self.nodes[node];
        state.hoard.push_back((rank, transfer.clone()));
        state.hoard.truncate(32);
        if rank_sent != rank {
            transfer.seq = self.false_seq(node, link, rank_sent);
        }
        self.transmit(node, link, Frame::Transfer { rank: rank_sent, transfer });
    }

    fn replay(&mut self, node: NodeNo, link: LinkKey) {
        if self.nodes[node].hoard.is_empty() || !self.plays(node, Trick::Replay) {
            return;
        }
        let index = to_usize(self.rng.range(0, self.nodes[node].hoard.len() as u64));
        let (rank, mut transfer) = self.nodes[node].hoard[index].clone();
        transfer.seq = self.false_seq(node, link, rank);
        self.transmit(node, link, Frame::Transfer { rank, transfer });
    }

    /// A notice of an end that was not made, to a sender that this relay is home to.
    fn deny_key(&mut self, node: NodeNo, rank: u8, transfer: &Transfer) {
        let Ok(envelope) = self.verify(node, transfer.envelope.clone()) else { return };
        let header = envelope.header();
        let Some(sender) = self.federation.number(&header.sender) else { return };
        let to_sender = |(link, peer): (&LinkKey, &NodeNo)| (*peer == sender).then_some(*link);
        let Some(link) = self.nodes[node].links.iter().find_map(to_sender) else { return };
        let Some(index) = transfer.branch.first() else { return };
        let Some(recipient) = header.recipients.get(usize::from(*index)) else { return };
        let facts = RefusalFacts {
            id: envelope.id(),
            recipient: recipient.id.clone(),
            reason: RefusalReason::KeyUnavailable,
            detail: String::new(),
            retry_after_ms: 0,
        };
        let Some(notice) = self.notice(node, sender, rank, facts) else { return };
        let (seq, accepted) = (self.false_seq(node, link, rank), self.clock(node));
        let envelope = notice.encoded().clone();
        let transfer = Transfer { seq, attempt: 1, branch: vec![0], path: Vec::new(), accepted, envelope };
        self.transmit(node, link, Frame::Transfer { rank, transfer });
    }

    /// Back to a relay that it says it has passed, or on behind a path that is too long.
    fn send_round(&mut self, node: NodeNo, rank: u8, transfer: &Transfer) {
        let links: Vec<(LinkKey, NodeNo)> = self.nodes[node].links.iter().map(|(link, peer)| (*link, *peer)).collect();
        for (link, peer) in links {
            if !self.federation.is_relay(peer) {
                continue;
            }
            let mut again = transfer.clone();
            again.attempt = ATTEMPTS_MAX;
            again.seq = self.false_seq(node, link, rank);
            if self.rng.percent(50) {
                again.path.push(self.nodes[peer].id.clone());
            } else {
                again.path = (0..5).map(|number| format!("elsewhere-{number}").parse().expect("a name")).collect();
            }
            self.transmit(node, link, Frame::Transfer { rank, transfer: again });
        }
    }

    /// An agency hands over somebody else's envelope.
    fn spoof(&mut self, node: NodeNo) {
        let links: Vec<LinkKey> = self.nodes[node].links.keys().copied().collect();
        for link in links {
            if self.captured.is_empty() {
                return;
            }
            let index = to_usize(self.rng.range(0, self.captured.len() as u64));
            let (rank, branch, envelope) = self.captured[index].clone();
            let (seq, accepted) = (self.false_seq(node, link, rank), self.clock(node));
            let transfer = Transfer { seq, attempt: ATTEMPTS_MAX, branch, path: Vec::new(), accepted, envelope };
            self.transmit(node, link, Frame::Transfer { rank, transfer });
        }
    }

    fn false_seq(&mut self, node: NodeNo, link: LinkKey, rank: u8) -> u64 {
        let seq = FALSE_SEQ + self.rng.next() % FALSE_SEQ;
        self.nodes[node].faults.false_seqs.insert((link, rank, seq));
        seq
    }
}

fn without_a_wrap(encoded: Bytes) -> Bytes {
    // It may have been forged before.
    let Ok(mut envelope) = Envelope::decode_shared(encoded.clone()) else { return encoded };
    envelope.wraps.pop();
    envelope.encode().into()
}

fn to_attempt(number: u64) -> u8 {
    u8::try_from(number).expect("at most sixteen")
}
