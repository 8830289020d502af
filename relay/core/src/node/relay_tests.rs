//! A relay between agencies and other relays, driven by events: what it takes, and what makes it let go.

mod copies;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::{Ack, Refused};
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::receipt::{CustodyLeaf, Issuer, ReceiptChain};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, AgreementEntry, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument,
    SignKeyEntry, TrustAnchor,
};
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::{Signer as _, SigningKey};
use liaison_protocol::{Hash, MessageId, NodeId, Precedence, Timestamp};
use rand_core::{TryCryptoRng, TryRng};

use super::{Config, Node, Restored};
use crate::action::{Action, SendTransfer};
use crate::admit::rank_of;
use crate::durable::Durable;
use crate::event::{CommitResult, Event, Received};
use crate::link::{LinkKey, NodeKind};
use crate::op::{Held, Op, Remembered, Table};
use crate::proofs::VerifiedReceipt;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const ME: &str = "eu-1";
const RELAY: &str = "ap-1";
/// Another home relay of the agency behind [`RELAY`].
const SPARE: &str = "ap-2";
const AGENCIES: [&str; 4] = ["ncb.jp", "ncb.sg", AWAY, BEHIND];
/// What is written to it stays in its queue.
const AWAY: &str = "ncb.ee";
/// At home at the other relays.
const BEHIND: &str = "ncb.fr";
const ROOM: u64 = 100_000;

/// Hashes of a counter.
struct Stream(u64);

impl TryRng for Stream {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|number| number as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Hash::of(&[&self.0.to_be_bytes()]).0[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

#[derive(Clone, Copy)]
enum Word {
    Duplicate,
    Taken,
}

struct Hub {
    node: Node,
    roster: Arc<Roster>,
    keys: BTreeMap<NodeId, SigningKey>,
    prekey: PrekeySecret,
    random: Stream,
    now: Timestamp,
    links: BTreeMap<NodeId, LinkKey>,
    last_seq: u64,
    /// Records of senders' shares, as a store has them.
    shares: BTreeMap<Vec<u8>, bytes::Bytes>,
    /// What the store remembers of what is handed over.
    seen: Option<Remembered>,
}

impl Hub {
    fn new(change: impl FnOnce(&mut RosterDocument)) -> Self {
        let mut random = Stream(1);
        let names = AGENCIES.iter().chain(&[ME, RELAY, SPARE]);
        let keys: BTreeMap<NodeId, SigningKey> =
            names.map(|name| (name.parse().unwrap(), SigningKey::generate(&mut random))).collect();
        let roster = roster(&keys, change, &mut random);
        let prekey = PrekeySecret::generate(&mut random);
        let mut hub = Self {
            node: node(&roster, Restored::default()),
            roster,
            keys,
            prekey,
            random,
            now: NOW,
            links: BTreeMap::new(),
            last_seq: 0,
            shares: BTreeMap::new(),
            seen: None,
        };
        hub.link([(AGENCIES[0], NodeKind::Daemon), (AGENCIES[1], NodeKind::Daemon), (RELAY, NodeKind::Relay)]);
        hub
    }

    fn link<const N: usize>(&mut self, peers: [(&str, NodeKind); N]) {
        for (number, (peer, kind)) in (1..).zip(peers) {
            self.link_up(number, peer, kind);
        }
    }

    fn link_up(&mut self, number: u64, peer: &str, kind: NodeKind) {
        let (link, peer): (_, NodeId) = (LinkKey(number), peer.parse().unwrap());
        self.links.insert(peer.clone(), link);
        self.handle(Event::LinkUp { link, peer, kind });
    }

    /// Every commit goes well.
    fn handle(&mut self, event: Event) -> Vec<Action> {
        let (mut events, mut all) = (vec![event], Vec::new());
        while let Some(event) = events.pop() {
            let actions = self.step(event);
            let commits = actions.iter().filter(|action| matches!(action, Action::Commit { .. }));
            events.extend(commits.map(|_| Event::Committed(CommitResult::Durable(Durable::assertion(1)))));
            all.extend(actions);
        }
        all
    }

    /// One event. What it commits is on its way to the disk.
    fn step(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.node.handle(event, self.now, &mut actions);
        let commits = actions.iter().filter_map(|action| match action {
            Action::Commit { ops, .. } => Some(ops),
            _ => None,
        });
        for op in commits.flatten() {
            match op {
                Op::Put { table: Table::Shares, key, value } => {
                    self.shares.insert(key.clone(), value.clone());
                }
                Op::Delete { table: Table::Shares, key } => drop(self.shares.remove(key)),
                _ => {}
            }
        }
        actions
    }

    /// To the agency that is away.
    fn letter(&mut self, sender: &str, precedence: Precedence, bytes: usize) -> VerifiedEnvelope {
        self.letter_to(AWAY, sender, precedence, bytes)
    }

    fn letter_to(&mut self, to: &str, sender: &str, precedence: Precedence, bytes: usize) -> VerifiedEnvelope {
        let message = Message {
            thread: None,
            in_reply_to: None,
            chain: None,
            info: Vec::new(),
            subject: String::new(),
            tlp: Tlp::Green,
            handling: Vec::new(),
            content_type: ContentType::Text,
            text: "x".repeat(bytes),
            attachments: Vec::new(),
        };
        let sender: NodeId = sender.parse().unwrap();
        let request = SealRequest {
            federation: self.roster.federation(),
            sender: &sender,
            recipients: &[(to.parse().unwrap(), self.prekey.public())],
            created: self.now,
            expires: self.now.after(Duration::from_secs(86_400)),
            precedence,
            content: &Content::Message(message),
        };
        seal(&request, &self.keys[&sender], &mut self.random).unwrap().envelope
    }

    fn hand_over(&mut self, by: &str, envelope: VerifiedEnvelope) -> Ack {
        let [ack] = <[_; 1]>::try_from(acks(self.offer(by, envelope))).unwrap();
        ack
    }

    fn offer(&mut self, by: &str, envelope: VerifiedEnvelope) -> Vec<Action> {
        let received = self.received(by, envelope);
        self.handle(received)
    }

    fn received(&mut self, by: &str, envelope: VerifiedEnvelope) -> Event {
        self.last_seq += 1;
        let received = Received {
            link: self.links[&by.parse::<NodeId>().unwrap()],
            rank: rank_of(envelope.header()),
            seq: self.last_seq,
            attempt: 1,
            accepted: self.now,
            branch: vec![0],
            path: Vec::new(),
            envelope,
            seen: vec![self.seen.clone()],
            stored: None,
            local: None,
        };
        Event::Received(Box::new(received))
    }

    /// A receipt of `issuer` for what this relay handed over, and the path to its only leaf.
    fn receipt(&self, issuer: &str, id: MessageId, indices: &[u16]) -> (VerifiedReceipt, bytes::Bytes) {
        let key = &self.keys[&issuer.parse().unwrap()];
        let leaf = CustodyLeaf { id, received_from: ME.parse().unwrap(), time: self.now, indices: indices.to_vec() };
        let issuer = Issuer {
            federation: self.roster.federation(),
            id: issuer.parse().unwrap(),
            key: key.key_id(),
            roster_version: self.roster.version(),
        };
        let receipt = ReceiptChain::default().next_custody(&issuer, &[leaf], self.now);
        let signed = receipt.sign(key).unwrap().encode().into();
        (VerifiedReceipt::verify(signed, &self.roster).unwrap(), receipt.proof(0).unwrap().encode().into())
    }

    /// The peer's word that it has taken a transfer, or had it before.
    fn acknowledge(
        &mut self,
        send: &SendTransfer,
        word: Word,
        signed: Option<(VerifiedReceipt, bytes::Bytes)>,
    ) -> Vec<Action> {
        self.handle(acked(send, word, signed))
    }

    /// Hands over letters of 2 KiB until one is refused. How many were taken, and the refusal.
    fn fill(&mut self, by: &str, sender: &str, precedence: Precedence) -> (usize, Refused) {
        for taken in 0.. {
            let letter = self.letter(sender, precedence, 500);
            if let Some(refused) = self.hand_over(by, letter).refused.pop() {
                return (taken, refused);
            }
        }
        unreachable!("a queue has an end")
    }
}

fn acked(send: &SendTransfer, word: Word, signed: Option<(VerifiedReceipt, bytes::Bytes)>) -> Event {
    let (receipt, proof) = signed.unzip();
    let (taken, duplicate) = match word {
        Word::Taken => (vec![0], vec![]),
        Word::Duplicate => (vec![], vec![0]),
    };
    let ack = Ack { seq: send.seq, taken, duplicate, refused: vec![], proof };
    Event::Acked { link: send.link, rank: send.rank, acks: vec![ack], receipt }
}

fn acks(actions: Vec<Action>) -> Vec<Ack> {
    let acks = actions.into_iter().filter_map(|action| match action {
        Action::Acknowledge { acks, .. } => Some(acks),
        _ => None,
    });
    acks.flatten().map(|ack| ack.ack).collect()
}

fn node(roster: &Arc<Roster>, restored: Restored) -> Node {
    let config = Config {
        me: ME.parse().unwrap(),
        kind: NodeKind::Relay,
        home: Vec::new(),
        costs: BTreeMap::new(),
        agency_bytes_max: ROOM,
        flash_reserve_percent: 10,
        agency_rate: None,
        seed: 7,
    };
    Node::new(config, Arc::clone(roster), restored)
}

fn roster(
    keys: &BTreeMap<NodeId, SigningKey>,
    change: impl FnOnce(&mut RosterDocument),
    random: &mut Stream,
) -> Arc<Roster> {
    let root = RootKey::generate(random);
    let roots = RootSet { threshold: 1, keys: vec![root.public().clone()] };
    let not_after = NOW.after(Duration::from_secs(30 * 86_400));
    let mut document = RosterDocument::genesis("test", roots.clone(), NOW, not_after);
    let mut link_key = || *SigningKey::generate(random).verifying_key().as_bytes();
    for id in [ME, RELAY, SPARE] {
        let id: NodeId = id.parse().unwrap();
        document.relays.push(RelayEntry {
            region: "region".parse().unwrap(),
            addresses: vec!["127.0.0.1:1".into()],
            tls_key: link_key(),
            sign_key: keys[&id].verifying_key(),
            operator: "test".into(),
            not_after,
            id,
        });
    }
    for id in AGENCIES {
        let public = keys[&id.parse().unwrap()].verifying_key();
        document.agencies.push(AgencyEntry {
            id: id.parse().unwrap(),
            name: id.into(),
            home: if id == BEHIND { vec![RELAY, SPARE] } else { vec![ME] }
                .into_iter()
                .map(|id| id.parse().unwrap())
                .collect(),
            tls_keys: vec![link_key()],
            sign_keys: vec![SignKeyEntry { alg: 1, public, not_before: Timestamp::ZERO, not_after }],
            max_ttl_s: 7 * 86_400,
            quota_bytes: None,
            status: AgencyStatus::Active,
        });
    }
    let max_precedence = Precedence::Flash;
    document.agreements = vec![AgreementEntry { from: Party::Any, to: Party::Any, max_precedence, quota_bytes: None }];
    change(&mut document);
    let anchor = TrustAnchor { federation: document.federation, roots };
    Arc::new(Roster::verify_first(&document.sign(&[&root], random), &anchor).unwrap())
}

// [CUST-21]
#[test]
fn one_sender_neither_uses_up_a_queue_nor_its_reserve_of_flash() {
    let mut hub = Hub::new(|_| ());
    let (first, refused) = hub.fill("ncb.sg", "ncb.sg", Precedence::Routine);
    assert_eq!(RefusalReason::try_from(refused.reason), Ok(RefusalReason::Quota));
    assert!(refused.retry_after_ms > 0);
    assert!(refused.detail.contains("ncb.sg has"), "{}", refused.detail);
    let (flash, _) = hub.fill("ncb.sg", "ncb.sg", Precedence::Flash);
    assert!(flash > 0, "its routine mail has not used up its flash");
    let (second, _) = hub.fill("ncb.jp", "ncb.jp", Precedence::Routine);
    assert!(first / 4 < second, "{second} of another sender after {first} and {flash} flash");
    let (flash, _) = hub.fill("ncb.jp", "ncb.jp", Precedence::Flash);
    assert!(flash > 0, "another sender's flash");
}

// [CUST-21]
#[test]
fn an_agreements_quota_is_a_bound_by_whatever_relay_it_comes() {
    let mut hub = Hub::new(|document| {
        document.agreements.push(AgreementEntry {
            from: Party::Agency("ncb.sg".parse().unwrap()),
            to: Party::Agency("ncb.ee".parse().unwrap()),
            max_precedence: Precedence::Flash,
            quota_bytes: Some(10_000),
        });
    });
    let (taken, refused) = hub.fill("ncb.sg", "ncb.sg", Precedence::Routine);
    assert!((3..6).contains(&taken), "{taken}");
    assert!(refused.detail.contains("of its 10000 bytes"), "{}", refused.detail);
    for (by, precedence) in [("ncb.sg", Precedence::Flash), (RELAY, Precedence::Routine)] {
        assert_eq!(hub.fill(by, "ncb.sg", precedence).0, 0, "{precedence}, by {by}");
    }
    assert!(hub.fill("ncb.jp", "ncb.jp", Precedence::Routine).0 > 10);
}

// [CUST-21]
#[test]
fn shares_are_known_again_after_a_restart() {
    let mut hub = Hub::new(|_| ());
    let (taken, _) = hub.fill("ncb.sg", "ncb.sg", Precedence::Routine);
    assert!(taken > 10);
    let queues = hub.node.queues().into_iter().map(|view| super::RestoredQueue {
        queue: view.queue,
        rank: view.rank,
        entries: view.entries,
        bytes: view.bytes,
        oldest: NOW,
    });
    let shares = hub.shares.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let restored = Restored { last_seq: 1_000, queues: queues.collect(), shares, ..Restored::default() };
    hub.node = node(&hub.roster, restored);
    hub.link([("ncb.jp", NodeKind::Daemon), ("ncb.sg", NodeKind::Daemon)]);
    assert_eq!(hub.fill("ncb.sg", "ncb.sg", Precedence::Routine).0, 0);
    assert!(hub.fill("ncb.jp", "ncb.jp", Precedence::Routine).0 > 5);
}

// [CUST-22]
#[test]
fn a_relay_sends_small_notices_only_and_few_of_them_and_none_into_the_reserve() {
    let mut hub = Hub::new(|_| ());
    let large = hub.letter(RELAY, Precedence::Routine, 5_000);
    let refused = hub.hand_over(RELAY, large).refused.pop().unwrap();
    assert_eq!((refused.reason, refused.retry_after_ms), (RefusalReason::NoAgreement.code(), 0));
    let (taken, refused) = hub.fill(RELAY, RELAY, Precedence::Flash);
    assert_eq!(refused.reason, RefusalReason::Quota.code());
    assert!((1..=8).contains(&taken), "16 KiB, which is more than a sixteenth of this small room: {taken}");
    let (first, _) = hub.fill("ncb.sg", "ncb.sg", Precedence::Flash);
    assert!(first > 10);
}

fn sends(actions: &[Action]) -> Vec<SendTransfer> {
    let send = |action: &Action| if let Action::Send(send) = action { Some(send.clone()) } else { None };
    actions.iter().filter_map(send).collect()
}

fn is_unproven(actions: &[Action], relay: &str) -> bool {
    actions.iter().any(|action| matches!(action, Action::Unproven { peer } if peer.as_str() == relay))
}

// [CUST-23]
#[test]
fn a_relay_lets_go_only_to_a_relay_that_has_signed_for_this_very_transfer() {
    let mut hub = Hub::new(|_| ());
    let letter = hub.letter_to(BEHIND, "ncb.sg", Precedence::Routine, 500);
    let id = letter.id();
    let mut sent = sends(&hub.offer("ncb.sg", letter));
    let other = MessageId(Hash([9; 32]));
    let wrong = [
        None,
        Some(hub.receipt(SPARE, id, &[0])),
        Some(hub.receipt(RELAY, other, &[0])),
        Some(hub.receipt(RELAY, id, &[0, 1])),
    ];
    let words = [Word::Taken, Word::Duplicate].into_iter().cycle();
    for (signed, word) in wrong.into_iter().zip(words) {
        let [send] = <[SendTransfer; 1]>::try_from(sent).unwrap();
        let actions = hub.acknowledge(&send, word, signed);
        assert!(is_unproven(&actions, RELAY), "{actions:?}");
        assert!(!actions.iter().any(|action| matches!(action, Action::Passed(_))));
        assert_eq!(hub.node.queues()[0].entries, 1, "it is kept");
        assert!(hub.node.queues()[0].last_error.as_ref().unwrap().contains("without a custody receipt"));
        hub.now = hub.now.after(Duration::from_secs(130));
        sent = sends(&hub.handle(Event::Timer));
    }
    let [send] = <[SendTransfer; 1]>::try_from(sent).unwrap();
    let signed = hub.receipt(RELAY, id, &[0]);
    let actions = hub.acknowledge(&send, Word::Duplicate, Some(signed));
    assert!(!is_unproven(&actions, RELAY));
    let passed =
        actions.iter().find_map(|action| if let Action::Passed(passed) = action { Some(passed) } else { None });
    assert_eq!(passed.unwrap().from.as_str(), "ncb.sg", "its sender has the proof");
    assert!(hub.node.queues().is_empty());
}

// [CUST-23]
#[test]
fn what_a_relay_says_that_it_had_before_is_covered_by_its_receipt_too() {
    let mut hub = Hub::new(|_| ());
    let letter = hub.letter("ncb.sg", Precedence::Routine, 500);
    let claims = |actions: Vec<Action>| {
        let claimed = actions.into_iter().find_map(|action| match action {
            Action::Commit { custody, .. } => Some(custody),
            _ => None,
        });
        claimed.unwrap().into_iter().map(|taken| taken.indices).collect::<Vec<_>>()
    };
    assert_eq!(claims(hub.offer("ncb.sg", letter.clone())), [[0]]);
    hub.seen = Some(Remembered::mark(1, Held::Released, hub.now.after(Duration::from_secs(86_400))));
    assert_eq!(claims(hub.offer("ncb.sg", letter)), [[0]], "a duplicate");
}

// [CUST-6]
#[test]
fn what_comes_from_the_future_is_refused_for_now_whoever_sent_it() {
    let mut hub = Hub::new(|_| ());
    for (sender, by) in [("ncb.sg", "ncb.sg"), (RELAY, RELAY)] {
        let letter = hub.letter(sender, Precedence::Routine, 500);
        let right = hub.now;
        hub.now = right.before(Duration::from_secs(359));
        let refused = hub.hand_over(by, letter.clone()).refused.pop().unwrap();
        assert_eq!(refused.reason, RefusalReason::Clock.code());
        assert!(refused.retry_after_ms > 0, "{sender}");
        hub.now = right.before(Duration::from_secs(299));
        assert_eq!(hub.hand_over(by, letter).taken, [0], "{sender}");
        hub.now = right;
    }
}

// [CUST-24]
#[test]
fn a_relay_whose_clock_is_off_takes_nothing_until_it_is_set() {
    let mut hub = Hub::new(|_| ());
    hub.link_up(4, SPARE, NodeKind::Relay);
    let (right, slow) = (hub.now, hub.now.before(Duration::from_secs(360)));
    let letter = hub.letter("ncb.sg", Precedence::Flash, 500);
    hub.now = slow;
    for link in [3, 4] {
        hub.handle(Event::ClockTold { link: LinkKey(link), theirs: right });
    }
    let refused = hub.hand_over("ncb.sg", letter.clone()).refused.pop().unwrap();
    assert_eq!(refused.reason, RefusalReason::Clock.code());
    assert!(refused.retry_after_ms > 0);
    assert!(refused.detail.contains("the clock of eu-1 is 360 s behind"), "{}", refused.detail);
    hub.handle(Event::LinkDown { link: LinkKey(4) });
    hub.now = right;
    hub.handle(Event::ClockTold { link: LinkKey(3), theirs: right });
    assert_eq!(hub.hand_over("ncb.sg", letter).taken, [0]);
}

// [CUST-6] [CUST-9]
#[test]
fn what_is_refused_until_it_expires_ends_with_the_word_of_the_refusal() {
    let mut hub = Hub::new(|_| ());
    let letter = hub.letter_to(BEHIND, "ncb.sg", Precedence::Routine, 500);
    let actions = hub.offer("ncb.sg", letter);
    let entry = actions.iter().find_map(|action| match action {
        Action::Commit { ops, .. } => ops.iter().find_map(|op| match op {
            Op::Enqueue { position, entry } => Some((position.clone(), entry.clone())),
            _ => None,
        }),
        _ => None,
    });
    let entry = entry.unwrap();
    let [send] = <[SendTransfer; 1]>::try_from(sends(&actions)).unwrap();
    let (reason, detail) = (RefusalReason::Clock.code(), "created 359 s ahead".into());
    let refused = vec![Refused { index: 0, reason, detail, retry_after_ms: 5_000 }];
    let ack = Ack { seq: send.seq, taken: vec![], duplicate: vec![], refused, proof: None };
    hub.handle(Event::Acked { link: send.link, rank: send.rank, acks: vec![ack], receipt: None });
    hub.handle(Event::LinkDown { link: send.link });
    hub.now = entry.1.expires;
    let ended = hub.handle(Event::Expiring { entries: vec![entry], next: None }).into_iter().find_map(|action| {
        let Action::End { reason, detail, .. } = action else { return None };
        Some((reason, detail))
    });
    let (reason, detail) = ended.unwrap();
    assert_eq!(reason, RefusalReason::Expired);
    assert!(detail.contains("clock: created 359 s ahead"), "{detail}");
}
