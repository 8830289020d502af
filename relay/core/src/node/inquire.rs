//! Answering where a message is, and asking the next holder.

use liaison_protocol::frame::{CustodyState, Inquiry, InquiryAnswer};
use liaison_protocol::{NodeId, Timestamp};

use super::Node;
use crate::action::{Action, Taken};
use crate::inquiry::{Knows, Passing, Unanswered, knows};
use crate::link::{LinkKey, NodeKind};
use crate::op::{DedupeKey, Remembered};

impl Node {
    // [INQ-1] [INQ-2]
    pub(super) fn handle_inquired(
        &mut self,
        link: LinkKey,
        inquiry: Inquiry,
        seen: Option<&Remembered>,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let Some((asker, kind)) = self.peers.get(&link).cloned() else { return };
        let key = DedupeKey { id: inquiry.id, index: inquiry.index };
        // What is not yet durable is neither held nor unknown.
        if !self.inquiries.admit(link, now) || self.is_pending(&key) {
            return;
        }
        match knows(self.config.kind, seen, &asker, kind) {
            Knows::Delivered => {
                actions.push(Action::AskedAfter { id: key.id });
                self.say(link, key, CustodyState::Delivered, actions);
            }
            Knows::Held => {
                self.attest(link, key, seen.and_then(|seen| seen.from.clone()));
                self.say(link, key, CustodyState::Held, actions);
            }
            Knows::Nothing => {}
            Knows::Released(next) => self.ask_next((link, kind), inquiry, next, now, actions),
            Knows::Unknown => self.say(link, key, CustodyState::Unknown, actions),
        }
    }

    fn ask_next(
        &mut self,
        (asker, kind): (LinkKey, NodeKind),
        inquiry: Inquiry,
        next: NodeId,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        let key = DedupeKey { id: inquiry.id, index: inquiry.index };
        // A relay that asks what it took over has forgotten it. An agency that does wrote to itself, and owes the receipt.
        let to = self.routes.link_to(&next).filter(|to| *to != asker || kind == NodeKind::Daemon);
        match (self.inquiries.pass(key, asker, (&next, to), inquiry.hops, now), to) {
            (Passing::Pass, Some(link)) => {
                let hops = inquiry.hops.saturating_sub(1);
                actions.push(Action::Ask { link, inquiry: Inquiry { hops, ..inquiry } });
            }
            (Passing::Joined, _) => {}
            _ => self.say(asker, key, CustodyState::Released { to: next }, actions),
        }
    }

    fn say(&self, link: LinkKey, key: DedupeKey, state: CustodyState, actions: &mut Vec<Action>) {
        let answer = InquiryAnswer { id: key.id, index: key.index, by: self.config.me.clone(), state };
        actions.push(Action::Tell { link, answer });
    }

    /// A receipt anew for what is held: one that was made before may have been lost on its way back.
    fn attest(&mut self, link: LinkKey, key: DedupeKey, from: Option<NodeId>) {
        let Some(from) = from.filter(|_| self.config.kind == NodeKind::Relay) else { return };
        let taken = Taken { id: key.id, from, indices: vec![key.index] };
        self.open.custody.push(taken.clone());
        self.open.attests.push((link, self.open.custody.len() - 1, taken));
    }

    /// What a next holder answered, or one behind it, goes to whoever asked.
    pub(super) fn handle_inquiry_answer(&mut self, link: LinkKey, answer: &InquiryAnswer, actions: &mut Vec<Action>) {
        let key = DedupeKey { id: answer.id, index: answer.index };
        for asker in self.inquiries.answered(key, link) {
            actions.push(Action::Tell { link: asker, answer: answer.clone() });
        }
    }

    /// Nobody answered: this node says what it knows by itself.
    pub(super) fn end_inquiries(&self, unanswered: Vec<Unanswered>, actions: &mut Vec<Action>) {
        for (key, next, askers) in unanswered {
            for asker in askers {
                self.say(asker, key, CustodyState::Released { to: next.clone() }, actions);
            }
        }
    }
}
