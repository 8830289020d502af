//! Prekey bundles of an agency whose signing key was stolen, until the roster replaces the key and after.
//!
//! Which bundle counts, which of two is the higher one, and where the owner's next one stands, is the product's to say
//! ([`verify_bundle`], [`recall_bundle`], [`BundlePosition::next`]), over real signatures and rosters. The model explores
//! what follows: whatever was ever published may reach any node at any time; rosters reach nodes in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use liaison_protocol::envelope::SenderKeys;
use liaison_protocol::hash::Hash;
use liaison_protocol::limits::CLOCK_AHEAD_MAX;
use liaison_protocol::prekey::{
    BundleOrder, BundlePosition, PrekeyBundle, PrekeyEntry, SignedBundle, Succession, VerifiedBundle, recall_bundle,
    verify_bundle,
};
use liaison_protocol::sign::{Signer as _, SigningKey, VerifyingKey};
use liaison_protocol::{AgencyId, FederationId, KeyId, NodeId, Timestamp, codec, label};
use stateright::{Model, Property};

use crate::draw::Draw;

/// Nodes that keep the owner's bundle: one that seals, and one that passes it on.
const NODES: usize = 2;
/// The one that seals.
const SENDER: usize = 0;
const START: Timestamp = Timestamp::from_millis(1_795_521_600_000);
/// A step of the clock. Two of them and a second are the longest wait for a higher number than a thief's.
const TICK: Duration = CLOCK_AHEAD_MAX;
const WAIT_MAX: u8 = 3;
const FEDERATION: FederationId = FederationId([7; 16]);

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// A key that was chosen once is sealed to without asking the roster again.
    CacheKept,
    /// A bundle whose signer has ended keeps its place in the order.
    EndedKeepsItsPlace,
    /// A bundle that is kept is used without asking the roster again.
    KeptCounts,
    /// A bundle may have any number.
    Unbounded,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::CacheKept, Self::EndedKeepsItsPlace, Self::KeptCounts, Self::Unbounded];
}

/// Which of the agency's keys: the one that was stolen, or the one that replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Stolen,
    New,
}

/// A published bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    key: Key,
    by_thief: bool,
    issued: u8,
    epoch: u32,
    seq: u64,
}

/// A roster names one key.
struct Roster(Key);

impl SenderKeys for Roster {
    fn verifying_key(&self, _: &NodeId, key: KeyId, _: Timestamp) -> Option<VerifyingKey> {
        let named = signing_key(self.0).verifying_key();
        (named.key_id() == key).then_some(named)
    }
}

fn signing_key(key: Key) -> &'static SigningKey {
    static KEYS: LazyLock<[SigningKey; 2]> = LazyLock::new(|| {
        let rng = &mut Draw::new(3);
        [SigningKey::generate(rng), SigningKey::generate(rng)]
    });
    &KEYS[usize::from(key == Key::New)]
}

fn at(tick: u8) -> Timestamp {
    START.after(TICK * u32::from(tick))
}

impl Published {
    const fn position(self) -> BundlePosition {
        BundlePosition { epoch: self.epoch, seq: self.seq }
    }

    const fn is_endless(self) -> bool {
        self.epoch == u32::MAX
    }

    /// As it goes over links. A thief signs what the product would not.
    fn signed(self) -> SignedBundle {
        static SIGNED: Mutex<BTreeMap<Published, SignedBundle>> = Mutex::new(BTreeMap::new());
        let mut known = SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(self).or_insert_with(|| self.sign()).clone()
    }

    fn sign(self) -> SignedBundle {
        let (issued, whose) = (at(self.issued), u8::from(self.by_thief));
        let entry = PrekeyEntry {
            id: Hash([whose; 32]),
            not_before: issued,
            not_after: issued.after(Duration::from_secs(86_400)),
            once: false,
        };
        let agency: AgencyId = "ncb.ee".parse().expect("a name");
        let bundle = codec::encode(&PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: FEDERATION,
            agency,
            epoch: self.epoch,
            seq: self.seq,
            issued,
            max_ttl_s: 86_400,
            keys: vec![entry],
        });
        let key = signing_key(self.key);
        let signature = key.sign(&[label::PREKEYS, &Hash::of(&[&bundle]).0].concat()).expect("it signs");
        SignedBundle { bundle: bundle.into(), key: key.key_id(), signature }
    }
}

/// One node: the roster that it follows, and the bundle that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    roster: Key,
    kept: Option<Published>,
    /// The sender's choice, remembered.
    cached: Option<Published>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    published: BTreeSet<Published>,
    nodes: [Node; NODES],
    /// The key that the owner signs with: from the replacement on, the new one.
    owner: Key,
    /// The highest that the owner knows of, its own or not.
    highest: Option<BundlePosition>,
    own: Option<BundlePosition>,
    /// Observer: what was sealed last, and under which roster.
    sealed: Option<(Key, Published)>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A node follows the roster that replaces the key.
    Adopt(usize),
    /// A bundle reaches a node.
    Deliver(usize, Published),
    /// The owner hears of a bundle.
    Meet(Published),
    /// The owner publishes.
    Publish,
    /// The roots replace the key, and the owner signs with the new one.
    Replace,
    /// The sender seals.
    Seal,
    /// The thief publishes: the highest that is taken, or the highest there is.
    Steal(bool),
    /// Time passes.
    Tick,
}

/// An agency, a thief of its key, and nodes that decide as the product does, but for `bug`.
#[derive(Clone, Debug)]
pub struct Prekeys {
    /// What is wrong.
    pub bug: Option<Bug>,
    /// Steps of the clock.
    pub ticks_max: u8,
    /// Bundles of the owner; the thief has one of each kind.
    pub bundles_max: usize,
}

type Question = (Option<Bug>, Published, Option<Published>, Key, u8);

impl Prekeys {
    /// What a node keeps, if it counts by its roster.
    fn recall(&self, kept: Published, roster: Key, now: u8) -> Option<VerifiedBundle> {
        let real = recall_bundle(kept.signed(), &FEDERATION, &Roster(roster), at(now)).ok();
        if self.bug == Some(Bug::KeptCounts) {
            recall_bundle(kept.signed(), &FEDERATION, &Roster(kept.key), at(now)).ok()
        } else {
            real
        }
    }

    /// Whether a node takes a bundle, as `liaison_node::bundles::admit` decides.
    fn takes(&self, offered: Published, kept: Option<Published>, roster: Key, now: u8) -> bool {
        static ANSWERS: Mutex<BTreeMap<Question, bool>> = Mutex::new(BTreeMap::new());
        let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (self.bug, offered, kept, roster, now);
        *answers.entry(question).or_insert_with(|| self.decide(offered, kept, roster, now))
    }

    fn decide(&self, offered: Published, kept: Option<Published>, roster: Key, now: u8) -> bool {
        let endless = offered.is_endless() || kept.is_some_and(Published::is_endless);
        if self.bug == Some(Bug::Unbounded) && endless {
            return offered.key == roster && kept.is_none_or(|kept| kept.position() < offered.position());
        }
        let Ok(verified) = verify_bundle(offered.signed(), &FEDERATION, &Roster(roster), at(now)) else { return false };
        if self.bug == Some(Bug::EndedKeepsItsPlace) {
            return kept.is_none_or(|kept| kept.position() < offered.position());
        }
        let known = kept.and_then(|kept| self.recall(kept, roster, now));
        known.is_none_or(|known| verified.compare(&known) == BundleOrder::Newer)
    }

    /// Whether a bundle that the owner can make within the wait is taken by `node`. After the replacement the first one is:
    /// a thief's bundle, whatever its number, is none any more.
    fn can_publish(&self, state: &State, node: &Node) -> bool {
        if node.roster != state.owner {
            // It does not know the owner's key yet.
            return true;
        }
        let met = node.kept.filter(|kept| kept.key == state.owner).map(Published::position);
        let highest = state.highest.max(met);
        let wait = if state.owner == Key::New { 0 } else { WAIT_MAX };
        (0..=wait).any(|wait| {
            let issued = state.now + wait;
            BundlePosition::next(highest, Succession::NewEpoch, at(issued)).is_some_and(|position| {
                let BundlePosition { epoch, seq } = position;
                let next = Published { key: state.owner, by_thief: false, issued, epoch, seq };
                self.takes(next, node.kept, node.roster, issued)
            })
        })
    }
}

impl Model for Prekeys {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let node = Node { roster: Key::Stolen, kept: None, cached: None };
        vec![State {
            now: 0,
            published: BTreeSet::new(),
            nodes: [node; NODES],
            owner: Key::Stolen,
            highest: None,
            own: None,
            sealed: None,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        let own = state.published.iter().filter(|bundle| !bundle.by_thief).count();
        let stolen = |endless| state.published.iter().any(|bundle| bundle.by_thief && bundle.is_endless() == endless);
        steps.extend((state.now < self.ticks_max).then_some(Step::Tick));
        steps.extend((own < self.bundles_max).then_some(Step::Publish));
        steps.extend((!stolen(false)).then_some(Step::Steal(false)));
        // Of the highest numbers there are, those of one time are like those of any other.
        steps.extend((state.now == 0 && !stolen(true)).then_some(Step::Steal(true)));
        steps.extend((state.owner == Key::Stolen).then_some(Step::Replace));
        steps.push(Step::Seal);
        for bundle in &state.published {
            steps.push(Step::Meet(*bundle));
            steps.extend((0..NODES).map(|node| Step::Deliver(node, *bundle)));
        }
        if state.owner == Key::New {
            steps.extend((0..NODES).map(Step::Adopt));
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Adopt(node) => state.nodes[node].roster = Key::New,
            Step::Deliver(node, bundle) => {
                let node = &mut state.nodes[node];
                if self.takes(bundle, node.kept, node.roster, state.now) {
                    (node.kept, node.cached) = (Some(bundle), None);
                }
            }
            Step::Meet(bundle) => {
                let counts = verify_bundle(bundle.signed(), &FEDERATION, &Roster(state.owner), at(state.now)).is_ok();
                state.highest = if counts { state.highest.max(Some(bundle.position())) } else { state.highest };
            }
            Step::Publish => {
                let succession = if state.highest > state.own { Succession::NewEpoch } else { Succession::Continue };
                let position = BundlePosition::next(state.highest, succession, at(state.now))?;
                let BundlePosition { epoch, seq } = position;
                let (key, issued) = (state.owner, state.now);
                state.published.insert(Published { key, by_thief: false, issued, epoch, seq });
                (state.own, state.highest) = (Some(position), Some(position));
            }
            Step::Replace => {
                // What the owner knows of others was signed by the old key.
                (state.owner, state.highest) = (Key::New, state.own);
            }
            Step::Seal => {
                let node = &mut state.nodes[SENDER];
                let remembered = node.cached.filter(|cached| {
                    self.bug == Some(Bug::CacheKept) || self.recall(*cached, node.roster, state.now).is_some()
                });
                let kept = node.kept.filter(|kept| self.recall(*kept, node.roster, state.now).is_some());
                let chosen = remembered.or(kept)?;
                node.cached = Some(chosen);
                state.sealed = Some((node.roster, chosen));
            }
            Step::Steal(endless) => {
                // Dated as far ahead as it may be.
                let issued = state.now + 1;
                let seconds = u32::try_from(at(issued + 1).as_millis() / 1000).expect("before 2106");
                let (epoch, seq) = if endless { (u32::MAX, u64::MAX) } else { (seconds, at(issued).as_millis()) };
                state.published.insert(Published { key: Key::Stolen, by_thief: true, issued, epoch, seq });
            }
            Step::Tick => state.now += 1,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is sealed to keys of a signer that the roster has ended", |_, state: &State| {
                state.sealed.is_none_or(|(roster, to)| roster == to.key)
            }),
            Property::always("the owner can always publish again", |model: &Self, state: &State| {
                state.nodes.iter().all(|node| model.can_publish(state, node))
            }),
            Property::sometimes("something is sealed to the thief's keys", |_, state: &State| {
                state.sealed.is_some_and(|(_, to)| to.by_thief)
            }),
            Property::sometimes("a node keeps a bundle that counts no longer", |_, state: &State| {
                state.nodes.iter().any(|node| node.kept.is_some_and(|kept| kept.key != node.roster))
            }),
            Property::sometimes("after the replacement the owner's keys are sealed to", |_, state: &State| {
                state.sealed.is_some_and(|(roster, to)| roster == Key::New && !to.by_thief)
            }),
            Property::sometimes("the owner publishes above the thief", |_, state: &State| {
                let kept = state.nodes[SENDER].kept.filter(|kept| kept.key == Key::Stolen && !kept.by_thief);
                let thief = state.published.iter().filter(|bundle| bundle.by_thief && !bundle.is_endless());
                kept.is_some_and(|kept| {
                    thief.map(|bundle| bundle.position()).max().is_some_and(|top| kept.position() > top)
                })
            }),
        ]
    }
}
