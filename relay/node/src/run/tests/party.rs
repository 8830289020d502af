//! The two agencies, as far as their relay sees them: links, and what each knows whatever relay comes and goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::envelope::Envelope;
use liaison_protocol::frame::{Ack, Acks, Refused, Transfer};
use liaison_protocol::receipt::{ChainFinding, SignedReceipt, audit};
use liaison_protocol::{MessageId, NodeId, RefusalReason, Role};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, interval, sleep};

use super::fed::Fed;
use super::{PATIENCE, Relay};
use crate::clock;
use crate::link::{Endpoint, EndpointConfig, LinkEvent, LinkHandle};
use crate::run::RunError;
use crate::store::Store;

/// The rank of routine mail.
const RANK: u8 = 3;
/// How often what a relay refused for now is offered again, and looked whether all is done.
const BEAT: Duration = Duration::from_millis(10);

/// An agency's end of its link.
struct Party {
    _endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    link: Option<Link>,
}

/// What is under way on a link that is up. A busy machine may make a second one.
struct Link {
    handle: LinkHandle,
    last_seq: u64,
    offered: BTreeMap<u64, MessageId>,
    /// What came: a relay says a thing once.
    came: BTreeSet<MessageId>,
}

impl Party {
    fn dial(fed: &Fed, name: &NodeId, relay: &str) -> Self {
        let (sender, events) = mpsc::channel(256);
        let (_, roster) = watch::channel(Arc::clone(&fed.roster));
        let config = EndpointConfig::new(fed.link_identity(name), name.clone(), Role::Agency, roster);
        let endpoint = Endpoint::bind(config, sender).unwrap();
        endpoint.dial(fed.relay.clone(), vec![relay.to_owned()]);
        Self { _endpoint: endpoint, events, link: None }
    }

    async fn next(&mut self) -> LinkEvent {
        let event = self.events.recv().await.expect("an endpoint that lives");
        match &event {
            LinkEvent::Up { handle, .. } => {
                let (handle, offered, came) = (handle.clone(), BTreeMap::new(), BTreeSet::new());
                self.link = Some(Link { handle, last_seq: 0, offered, came });
            }
            LinkEvent::Down { .. } => self.link = None,
            _ => {}
        }
        event
    }

    /// Unless it is under way on this link.
    fn offer(&mut self, letter: &Envelope) {
        let Some(link) = &mut self.link else { return };
        if link.offered.values().any(|offered| *offered == letter.id()) {
            return;
        }
        let seq = link.last_seq + 1;
        let (branch, path, envelope) = (vec![0], Vec::new(), letter.encode().into());
        let transfer = Transfer { seq, attempt: 1, branch, path, accepted: clock::now(), envelope };
        if link.handle.transfer(RANK, transfer).is_ok() {
            link.last_seq = seq;
            link.offered.insert(seq, letter.id());
        }
    }

    fn acknowledge(&self, ack: Ack) {
        let acks = Acks { acks: vec![ack], receipt: None };
        // A link that has gone down meanwhile carries no acknowledgement.
        let _ = self.link.as_ref().map(|link| link.handle.acks(RANK, acks));
    }

    fn came(&mut self, transfer: &Transfer) -> MessageId {
        let id = Envelope::decode_shared(transfer.envelope.clone()).unwrap().id();
        let link = self.link.as_mut().expect("what comes, comes over a link");
        assert!(link.came.insert(id), "{id} came twice over one link");
        id
    }
}

/// A letter that the recipient takes, one that it refuses for good, and what each side knows of them.
pub(super) struct Mail {
    letters: [Envelope; 2],
    refused: MessageId,
    acknowledged: BTreeSet<MessageId>,
    /// What the recipient has answered for good.
    settled: BTreeSet<MessageId>,
    notices: BTreeSet<MessageId>,
    /// What relays have signed that they hold.
    receipts: Vec<SignedReceipt>,
}

impl Mail {
    pub(super) fn new(fed: &Fed) -> Self {
        let letters = [fed.letter("wanted"), fed.letter("refused")];
        let refused = letters[1].id();
        let (acknowledged, settled, notices, receipts) = Default::default();
        Self { letters, refused, acknowledged, settled, notices, receipts }
    }

    /// The relay takes the letters, and stops.
    pub(super) async fn run_without_recipient(&mut self, fed: &Fed, mut relay: Relay) -> Result<(), RunError> {
        let mut sender = Party::dial(fed, &fed.sender, &relay.address);
        let mut beat = interval(BEAT);
        loop {
            tokio::select! {
                ended = &mut relay.ended => return ended.unwrap(),
                event = sender.next() => self.at_sender(&mut sender, event),
                _ = beat.tick() => self.offer(&mut sender),
            }
            if self.acknowledged.len() == self.letters.len() {
                relay.stop.cancel();
            }
        }
    }

    /// Sends what is not acknowledged through `relay` until `enough` has been done, or the relay has ended.
    pub(super) async fn run(
        &mut self,
        fed: &Fed,
        mut relay: Relay,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<(), RunError> {
        let mut sender = Party::dial(fed, &fed.sender, &relay.address);
        let mut recipient = Party::dial(fed, &fed.recipient, &relay.address);
        let (mut beat, deadline) = (interval(BEAT), Instant::now() + PATIENCE);
        let ended = loop {
            tokio::select! {
                ended = &mut relay.ended => break ended.unwrap(),
                event = sender.next() => self.at_sender(&mut sender, event),
                event = recipient.next() => self.at_recipient(&mut recipient, event),
                _ = beat.tick() => {
                    assert!(Instant::now() < deadline, "not done: {}", self.account());
                    self.offer(&mut sender);
                    if enough(self) {
                        relay.stop.cancel();
                    }
                }
            }
        };
        // What the relay had said before it ended.
        let patience = Instant::now() + Duration::from_secs(2);
        while sender.link.is_some() || recipient.link.is_some() {
            tokio::select! {
                event = sender.next() => self.at_sender(&mut sender, event),
                event = recipient.next() => self.at_recipient(&mut recipient, event),
                () = sleep(patience.saturating_duration_since(Instant::now())) => break,
            }
        }
        ended
    }

    fn offer(&self, sender: &mut Party) {
        let left = self.letters.iter().filter(|letter| !self.acknowledged.contains(&letter.id()));
        left.for_each(|letter| sender.offer(letter));
    }

    fn at_sender(&mut self, sender: &mut Party, event: LinkEvent) {
        match event {
            LinkEvent::Acks { acks, .. } => {
                self.receipts.extend(acks.receipt.map(|receipt| SignedReceipt::decode(&receipt).unwrap()));
                acks.acks.into_iter().for_each(|ack| {
                    let link = sender.link.as_mut().expect("what comes, comes over a link");
                    let id = link.offered.remove(&ack.seq).expect("an acknowledgement of what was sent, once");
                    assert!(ack.refused.iter().all(|refused| refused.retry_after_ms > 0), "refused for good: {ack:?}");
                    if ack.refused.is_empty() {
                        self.acknowledged.insert(id);
                    }
                });
            }
            LinkEvent::Transfer { transfer, .. } => {
                let is_new = self.notices.insert(sender.came(&transfer));
                sender.acknowledge(if is_new { taken(&transfer) } else { duplicate(&transfer) });
            }
            _ => {}
        }
    }

    fn at_recipient(&mut self, recipient: &mut Party, event: LinkEvent) {
        let LinkEvent::Transfer { transfer, .. } = event else { return };
        let id = recipient.came(&transfer);
        let is_new = self.settled.insert(id);
        recipient.acknowledge(match (id == self.refused, is_new) {
            (true, _) => refused(&transfer),
            (false, true) => taken(&transfer),
            (false, false) => duplicate(&transfer),
        });
    }

    /// What relays have signed that they hold, so far.
    pub(super) fn receipts(&self) -> &[SignedReceipt] {
        &self.receipts
    }

    /// Whether the relay and the recipient have answered for good.
    pub(super) fn is_answered(&self) -> bool {
        self.acknowledged.len() == 2 && self.settled.len() == 2
    }

    /// Whether nothing is left to do, also for the relay.
    pub(super) fn is_done(&self, store: &dyn Store) -> bool {
        self.is_answered() && !self.notices.is_empty() && store.queues().unwrap().is_empty()
    }

    fn account(&self) -> String {
        let Self { acknowledged, settled, notices, .. } = self;
        format!("acknowledged {acknowledged:?}, settled {settled:?}, notices {notices:?}")
    }

    /// What a relay has acknowledged is in its store, once, until the recipient or a notice has it.
    pub(super) fn check_store(&self, fed: &Fed, store: &dyn Store) {
        let of_sender = fed.sender.to_agency();
        let notices: usize = (0..=RANK).map(|rank| store.head(&of_sender, rank, 0, 10).unwrap().len()).sum();
        assert!(notices <= 1, "{notices} notices");
        for letter in &self.letters {
            let id = letter.id();
            let held = store.positions_of(&id).unwrap().len();
            assert!(held <= 1, "{id} is held {held} times");
            let told = id == self.refused && notices + self.notices.len() > 0;
            let arrived = id != self.refused && self.settled.contains(&id);
            if self.acknowledged.contains(&id) && !told && !arrived {
                assert_eq!(held, 1, "{id} was acknowledged and is not there: {}", self.account());
                assert_eq!(store.envelope(&id).unwrap().as_deref(), Some(letter.encode().as_slice()));
            }
        }
    }

    /// Everything has ended, and its sender knows how; nothing was told twice.
    pub(super) fn check_end(&self) {
        let letters: BTreeSet<MessageId> = self.letters.iter().map(Envelope::id).collect();
        assert_eq!((&self.acknowledged, &self.settled), (&letters, &letters));
        assert_eq!(self.notices.len(), 1, "{:?}", self.notices);
        check_honest(&self.receipts);
    }
}

/// No two of one relay's receipts contradict each other.
pub(super) fn check_honest(receipts: &[SignedReceipt]) {
    let findings = audit(receipts).unwrap();
    let lie = findings.iter().find(|finding| matches!(finding, ChainFinding::Equivocation(_)));
    assert!(lie.is_none(), "{lie:?}");
}

const fn answer(transfer: &Transfer) -> Ack {
    Ack { seq: transfer.seq, taken: Vec::new(), duplicate: Vec::new(), refused: Vec::new(), proof: None }
}

fn taken(transfer: &Transfer) -> Ack {
    Ack { taken: transfer.branch.clone(), ..answer(transfer) }
}

fn duplicate(transfer: &Transfer) -> Ack {
    Ack { duplicate: transfer.branch.clone(), ..answer(transfer) }
}

fn refused(transfer: &Transfer) -> Ack {
    let reason = RefusalReason::Malformed.code();
    let refused = Refused { index: 0, reason, detail: "not this one".into(), retry_after_ms: 0 };
    Ack { refused: vec![refused], ..answer(transfer) }
}
