//! A daemon with two home relays, and a relay between two others, driven by events: by which link each entry goes.

mod moves;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use liaison_protocol::frame::{Ack, ReachEntry, Refused};
use liaison_protocol::receipt::{CustodyLeaf, Issuer, ReceiptChain};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, RelayEntry, RootKey, RootSet, Roster, RosterDocument, SignKeyEntry, TrustAnchor,
};
use liaison_protocol::sign::{Signer as _, SigningKey};
use liaison_protocol::{AgencyId, Hash, MessageId, NodeId, Timestamp};

use super::{Config, Node, Restored, RestoredQueue};
use crate::action::{Action, SendTransfer};
use crate::durable::Durable;
use crate::event::Event;
use crate::link::{LinkKey, NodeKind};
use crate::op::Entry;
use crate::proofs::VerifiedReceipt;
use crate::testing::Counter;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const HOMES: [&str; 2] = ["ap-1", "ap-2"];
const ROUTINE: u8 = 3;

/// A node whose links are numbered from 1, in the order of its peers.
struct Hub {
    node: Node,
    now: Timestamp,
    sent: Vec<SendTransfer>,
}

impl Hub {
    /// A daemon whose home relays are its peers. `queued`: how many entries wait for each agency, all routine.
    fn daemon(queued: &[(&str, u64)]) -> Self {
        Self::new(("ncb.sg", NodeKind::Daemon), queued, &entry)
    }

    /// A relay of another region, whose peers are the home relays of `ncb.ee`; `us-1` leads to both.
    fn relay(queued: u64, entry: &dyn Fn(u64) -> Entry) -> Self {
        let mut hub = Self::new(("eu-1", NodeKind::Relay), &[("ncb.ee", queued)], entry);
        hub.event(Event::LinkUp { link: LinkKey(3), peer: "us-1".parse().unwrap(), kind: NodeKind::Relay });
        let reach = |home: &str| ReachEntry { relay: home.parse().unwrap(), cost: 10, hops: 1 };
        hub.event(Event::Reach { link: LinkKey(3), relays: HOMES.map(reach).to_vec() });
        hub
    }

    fn new((me, kind): (&str, NodeKind), queued: &[(&str, u64)], entry: &dyn Fn(u64) -> Entry) -> Self {
        let homes: Vec<NodeId> = HOMES.map(|home| home.parse().unwrap()).to_vec();
        let config = Config {
            me: me.parse().unwrap(),
            kind,
            home: if kind == NodeKind::Daemon { homes.clone() } else { Vec::new() },
            costs: BTreeMap::new(),
            agency_bytes_max: u64::MAX,
            flash_reserve_percent: 5,
            agency_rate: None,
            seed: 7,
        };
        let queue = |(agency, entries): &(&str, u64)| RestoredQueue {
            queue: agency.parse().unwrap(),
            rank: ROUTINE,
            entries: *entries,
            bytes: 100 * entries,
            oldest: NOW,
        };
        let queues = queued.iter().map(queue).collect();
        let restored = Restored { last_seq: 1_000_000, queues, ..Restored::default() };
        let mut hub = Self { node: Node::new(config, roster(), restored), now: NOW, sent: Vec::new() };
        let mut seqs = 1..;
        let mut stored: BTreeMap<AgencyId, Vec<(u64, Entry)>> = BTreeMap::new();
        for (agency, entries) in queued {
            let agency: AgencyId = agency.parse().unwrap();
            let of_it = seqs.by_ref().take(usize::try_from(*entries).unwrap());
            stored.insert(agency, of_it.map(|seq| (seq, entry(seq))).collect());
        }
        let up = |(link, peer)| Event::LinkUp { link: LinkKey(link), peer, kind: NodeKind::Relay };
        hub.handle((1..).zip(homes).map(up).collect(), &stored);
        hub
    }

    /// Events that come at once, and what follows from them.
    fn handle(&mut self, mut events: Vec<Event>, stored: &BTreeMap<AgencyId, Vec<(u64, Entry)>>) {
        while !events.is_empty() {
            let mut actions = Vec::new();
            self.node.handle_together(events.drain(..), self.now, &mut actions);
            for action in actions {
                match action {
                    Action::Send(send) => self.sent.push(send),
                    Action::Load { queue, rank, after, limit } => {
                        let entries = stored.get(&queue).into_iter().flatten();
                        let entries: Vec<_> = entries.filter(|(seq, _)| *seq > after).take(limit).cloned().collect();
                        let end = entries.len() < limit;
                        events.push(Event::Loaded { queue, rank, entries, end });
                    }
                    Action::Commit { .. } => {
                        events.push(Event::Committed(crate::event::CommitResult::Durable(Durable::assertion(1))))
                    }
                    _ => {}
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.handle(vec![event], &BTreeMap::new());
    }

    /// What has been sent since the last call: by which home, and which entry.
    fn sent(&mut self) -> Vec<(&'static str, u64)> {
        let name = |link: LinkKey| ["ap-1", "ap-2", "us-1"][usize::try_from(link.0).unwrap() - 1];
        self.sent.drain(..).map(|send| (name(send.link), number(send.id))).collect()
    }

    fn answer(&mut self, sends: &[SendTransfer], refusal: Option<(RefusalReason, Duration)>) {
        for send in sends {
            let index = send.branch[0];
            let refused = refusal.map(|(reason, after)| Refused {
                index,
                reason: reason.code(),
                detail: String::new(),
                retry_after_ms: u32::try_from(after.as_millis()).unwrap(),
            });
            let taken = if refused.is_some() { vec![] } else { vec![index] };
            let refused = refused.into_iter().collect();
            let (receipt, proof) = (!taken.is_empty()).then(|| self.receipt(send)).unzip();
            let ack = Ack { seq: send.seq, taken, duplicate: vec![], refused, proof };
            self.event(Event::Acked { link: send.link, rank: send.rank, acks: vec![ack], receipt });
        }
    }

    /// What a home relay signs when it takes over.
    fn receipt(&self, send: &SendTransfer) -> (VerifiedReceipt, bytes::Bytes) {
        let (me, roster) = (self.node.config.me.clone(), &self.node.roster);
        let key = SigningKey::generate(&mut Counter(9 + u8::try_from(send.link.0).unwrap()));
        let leaf = CustodyLeaf { id: send.id, received_from: me, time: NOW, indices: send.branch.clone() };
        let issuer = Issuer {
            federation: roster.federation(),
            id: HOMES[usize::try_from(send.link.0).unwrap() - 1].parse().unwrap(),
            key: key.key_id(),
            roster_version: roster.version(),
        };
        let receipt = ReceiptChain::default().next_custody(&issuer, &[leaf], NOW);
        let signed = receipt.sign(&key).unwrap().encode().into();
        (VerifiedReceipt::verify(signed, roster).unwrap(), receipt.proof(0).unwrap().encode().into())
    }

    fn later(&mut self, span: Duration) {
        self.now = self.now.after(span);
        self.event(Event::Timer);
    }
}

fn roster() -> Arc<Roster> {
    let root = RootKey::generate(&mut Counter(1));
    let roots = RootSet { threshold: 1, keys: vec![root.public().clone()] };
    let not_after = NOW.after(Duration::from_secs(30 * 86_400));
    let mut document = RosterDocument::genesis("test", roots.clone(), NOW, not_after);
    let key = |number| SigningKey::generate(&mut Counter(number)).verifying_key();
    for (number, id) in (10..).zip(["ap-1", "ap-2", "eu-1", "us-1"]) {
        document.relays.push(RelayEntry {
            id: id.parse().unwrap(),
            region: "asia".parse().unwrap(),
            addresses: vec!["127.0.0.1:4433".into()],
            tls_key: [number; 32],
            sign_key: key(number),
            operator: "operator".into(),
            not_after,
        });
    }
    document.agencies.push(AgencyEntry {
        id: "ncb.ee".parse().unwrap(),
        name: "agency".into(),
        home: HOMES.map(|home| home.parse().unwrap()).to_vec(),
        tls_keys: vec![[60; 32]],
        sign_keys: vec![SignKeyEntry { alg: 1, public: key(61), not_before: NOW, not_after }],
        max_ttl_s: 86_400,
        quota_bytes: None,
        status: AgencyStatus::Active,
    });
    let anchor = TrustAnchor { federation: document.federation, roots };
    Arc::new(Roster::verify_first(&document.sign(&[&root], &mut Counter(2)), &anchor).unwrap())
}

fn entry(number: u64) -> Entry {
    entry_of(number, "ncb.sg")
}

/// The entry of this number, by this sender.
pub(crate) fn entry_of(number: u64, sender: &str) -> Entry {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Entry {
        id: MessageId(Hash(id)),
        index: 0,
        attempt: 1,
        sender: sender.parse().unwrap(),
        from: sender.parse().unwrap(),
        path: Vec::new(),
        accepted: NOW,
        expires: NOW.after(Duration::from_secs(86_400)),
        bytes: 100,
    }
}

fn number(id: MessageId) -> u64 {
    u64::from_be_bytes(*id.0.0.first_chunk().unwrap())
}

const SOON: Duration = Duration::from_secs(5);

// [CUST-14]
#[test]
fn what_the_first_home_cannot_take_now_goes_by_the_second_at_once() {
    for reason in [RefusalReason::Draining, RefusalReason::DiskLow, RefusalReason::Quota, RefusalReason::Clock] {
        let mut hub = Hub::daemon(&[("ncb.ee", 3)]);
        let first = std::mem::take(&mut hub.sent);
        assert!(first.iter().all(|send| send.link == LinkKey(1)), "{first:?}");
        hub.answer(&first, Some((reason, SOON)));
        assert_eq!(hub.sent(), [("ap-2", 1), ("ap-2", 2), ("ap-2", 3)], "{reason}");
    }
}

#[test]
fn a_home_that_takes_again_is_used_again_once_its_time_is_over() {
    let mut hub = Hub::daemon(&[("ncb.ee", 2)]);
    let first = std::mem::take(&mut hub.sent);
    hub.answer(&first, Some((RefusalReason::Draining, SOON)));
    let second = std::mem::take(&mut hub.sent);
    hub.answer(&second, Some((RefusalReason::DiskLow, 10 * SOON)));
    assert_eq!(hub.sent(), [], "both have refused");
    let wait = hub.node.next_deadline().unwrap().since(hub.now);
    assert!((SOON..2 * SOON).contains(&wait), "the first one's time counts: {wait:?}");
    hub.later(wait);
    let probe = std::mem::take(&mut hub.sent);
    assert_eq!((probe.len(), probe[0].link), (1, LinkKey(1)), "one tries whether it takes anything");
    hub.answer(&probe, None);
    assert_eq!(hub.sent(), [("ap-1", 2)]);
}

// [CUST-14]
#[test]
fn what_is_refused_by_itself_waits_alone() {
    let mut hub = Hub::daemon(&[("ncb.ee", 4)]);
    let first = std::mem::take(&mut hub.sent);
    hub.answer(&first[..1], Some((RefusalReason::NoRoute, SOON)));
    let second = std::mem::take(&mut hub.sent);
    assert_eq!((second.len(), second[0].link), (1, LinkKey(2)));
    hub.answer(&second, Some((RefusalReason::NoRoute, SOON)));
    // The others are in flight to the first home, and what comes back goes there again.
    hub.event(Event::LinkDown { link: LinkKey(2) });
    hub.event(Event::LinkDown { link: LinkKey(1) });
    hub.event(Event::LinkUp { link: LinkKey(3), peer: "ap-1".parse().unwrap(), kind: NodeKind::Relay });
    let numbers: Vec<u64> = hub.sent.iter().map(|send| number(send.id)).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "a link that is new has refused nothing");
}

#[test]
fn a_queue_that_one_home_has_no_room_for_leaves_the_others_to_it() {
    let mut hub = Hub::daemon(&[("ncb.ee", 2), ("ncb.fr", 2)]);
    let first = std::mem::take(&mut hub.sent);
    let (full, other): (Vec<SendTransfer>, Vec<SendTransfer>) =
        first.into_iter().partition(|send| number(send.id) <= 2);
    hub.answer(&full, Some((RefusalReason::Quota, SOON)));
    hub.answer(&other, None);
    assert_eq!(hub.sent(), [("ap-2", 1), ("ap-2", 2)]);
    let queues = hub.node.queues();
    assert!(queues[0].last_error.as_deref().unwrap().starts_with("ap-1: "), "{queues:?}");
}

// [CUST-14]
#[test]
fn a_relay_offers_what_one_home_refuses_to_the_other_and_to_nobody_else() {
    let mut hub = Hub::relay(2, &|number| entry_of(number, "ncb.sg"));
    let first = std::mem::take(&mut hub.sent);
    assert!(first.iter().all(|send| send.link == LinkKey(1)), "{first:?}");
    hub.answer(&first, Some((RefusalReason::DiskLow, SOON)));
    let second = std::mem::take(&mut hub.sent);
    assert!(second.iter().all(|send| send.link == LinkKey(2)) && second.len() == 2, "{second:?}");
    hub.answer(&second, Some((RefusalReason::Quota, SOON)));
    assert_eq!(hub.sent(), [], "us-1 only leads there");
}

#[test]
fn what_is_sent_again_goes_by_the_recipients_other_home() {
    let attempt = |attempt| Hub::relay(1, &|number| Entry { attempt, ..entry_of(number, "ncb.sg") }).sent();
    assert_eq!([1, 2, 3].map(attempt), [[("ap-1", 1)], [("ap-2", 1)], [("ap-1", 1)]]);
}

#[test]
fn what_is_sent_again_goes_by_the_home_that_has_not_had_it_and_names_none_on_the_wire() {
    for (attempt, had, goes) in [(2, "ap-1", "ap-2"), (3, "ap-1", "ap-2"), (2, "ap-2", "ap-1"), (3, "ap-2", "ap-1")] {
        let again = |number| Entry { attempt, path: vec![had.parse().unwrap()], ..entry(number) };
        let mut hub = Hub::new(("ncb.sg", NodeKind::Daemon), &[("ncb.ee", 1)], &again);
        assert!(hub.sent.iter().all(|send| send.path.is_empty()));
        assert_eq!(hub.sent(), [(goes, 1)], "attempt {attempt}, after {had}");
    }
}

#[test]
fn a_home_that_refuses_for_hours_is_offered_one_entry_at_a_time() {
    let mut hub = Hub::daemon(&[("ncb.ee", 100), ("ncb.fr", 100)]);
    hub.event(Event::LinkDown { link: LinkKey(2) });
    let mut offered = 0;
    let began = hub.now;
    while hub.now.since(began) < Duration::from_secs(3_600) {
        let sent = std::mem::take(&mut hub.sent);
        offered += sent.len();
        hub.answer(&sent, Some((RefusalReason::DiskLow, SOON)));
        let wait = hub.node.next_deadline().unwrap().since(hub.now);
        hub.later(wait.max(Duration::from_millis(1)));
    }
    assert!((200 + 50..200 + 250).contains(&offered), "{offered} transfers");
    let probe = std::mem::take(&mut hub.sent);
    hub.answer(&probe, None);
    assert_eq!(hub.sent.len() + probe.len(), 200, "all goes as soon as one is taken");
}
