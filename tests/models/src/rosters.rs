//! Rosters on their way through a federation whose root holders tell two stories, or lost a key.
//!
//! The nodes' decisions are the product's: [`RosterState::judge`] is asked once for every pair of trusted and offered
//! roster, real signatures and all, and the model explores what follows. Any roster that exists may reach any node at
//! any time, from peers or operators; decisions take effect when they are durable; nodes crash; operators settle forks.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use liaison_core::roster_state::{Decision, ForkProof, JUMP_MAX, Jump, RosterState};
use liaison_protocol::Timestamp;
use liaison_protocol::roster::{RootKey, RootSet, Roster, RosterDocument, RosterVersion, TrustAnchor};
use stateright::{Model, Property};

use crate::draw::Draw;

/// Nodes that follow rosters.
const NODES: usize = 3;
const ISSUED: Timestamp = Timestamp::from_millis(1_795_521_600_000);
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A roster of the version that is trusted replaces it.
    AcceptSameVersion,
    /// A roster of an older version replaces the trusted one.
    AcceptOlder,
    /// A roster takes effect before it is durable: a crash goes back.
    EffectBeforeSync,
    /// A fork is noticed and updates go on.
    ForkDoesNotFreeze,
    /// A fork is forgotten in a crash.
    ForkIsVolatile,
    /// The next version may name any predecessor.
    IgnorePredecessor,
    /// A version thousands ahead needs no operator.
    JumpUnasked,
    /// One signature fewer than the threshold will do.
    ThresholdShortByOne,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AcceptSameVersion,
        Self::AcceptOlder,
        Self::EffectBeforeSync,
        Self::ForkDoesNotFreeze,
        Self::ForkIsVolatile,
        Self::IgnorePredecessor,
        Self::JumpUnasked,
        Self::ThresholdShortByOne,
    ];
}

/// A roster that exists, by its place in [`Rosters::facts`].
type Doc = usize;

/// What an observer knows of a roster. Nothing here comes from the code under test.
#[derive(Clone, Debug)]
struct Fact {
    version: u32,
    /// The roster that it names as its predecessor.
    prev: Option<Doc>,
    /// Signatures of two of three root holders.
    is_signed: bool,
}

/// What a node does with an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Adopt,
    Fork,
    Leave,
}

/// The federation and what its nodes decide.
#[derive(Clone, Debug)]
pub struct Rosters {
    bug: Option<Bug>,
    crashes_max: u8,
    facts: Vec<Fact>,
    /// By trusted roster, whether a fork is open, offered roster, and whether an operator accepts a jump.
    verdicts: BTreeMap<(Doc, bool, Doc, bool), Verdict>,
}

/// One node: what is on disk, what is in force, and what waits for its sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    disk: Standing,
    now: Standing,
    staged: Option<Standing>,
    /// Observer: a fork was on disk and no operator settled it.
    must_be_frozen: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Standing {
    trusted: Doc,
    is_forked: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: [Node; NODES],
    crashes: u8,
    /// The first rule that a change of the roster in force broke.
    broken: Option<&'static str>,
}

/// One thing that happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// It stops and starts.
    Crash(usize),
    /// Somebody offers a roster; an operator may have said that a far jump is right.
    Offer(usize, Doc, bool),
    /// An operator settles its fork.
    Settle(usize),
    /// What it decided becomes durable, and takes effect.
    Sync(usize),
}

type Decisions = (Vec<Fact>, BTreeMap<(Doc, bool, Doc, bool), Verdict>);

/// The product's answer to every question there is.
static DECISIONS: LazyLock<Decisions> = LazyLock::new(|| {
    let documents = Documents::new();
    let facts = documents.facts();
    let mut verdicts = BTreeMap::new();
    let genuine = |doc: Doc| facts[doc].is_signed;
    for trusted in (0..facts.len()).filter(|doc| genuine(*doc)) {
        for (is_forked, offered, jump) in [false, true]
            .into_iter()
            .flat_map(|forked| (0..facts.len()).map(move |doc| (forked, doc)))
            .flat_map(|(forked, doc)| [(forked, doc, false), (forked, doc, true)])
        {
            let verdict = documents.judge(trusted, is_forked, offered, jump);
            verdicts.insert((trusted, is_forked, offered, jump), verdict);
        }
    }
    (facts, verdicts)
});

impl Rosters {
    /// Nodes that decide as the product does, but for `bug`.
    ///
    /// # Panics
    /// The rosters of the model are not what they should be.
    #[must_use]
    pub fn new(bug: Option<Bug>, crashes_max: u8) -> Self {
        let (facts, verdicts) = DECISIONS.clone();
        Self { bug, crashes_max, facts, verdicts }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// The product's verdict, unless a planted bug has another.
    fn verdict(&self, at: Standing, offered: Doc, jump: bool) -> Verdict {
        let (fact, trusted) = (&self.facts[offered], &self.facts[at.trusted]);
        let is_other = offered != at.trusted && fact.is_signed && !at.is_forked;
        let is_next = fact.version == trusted.version + 1;
        let wrong = match self.bug {
            Some(Bug::AcceptSameVersion) => is_other && fact.version == trusted.version,
            Some(Bug::AcceptOlder) => is_other && fact.version < trusted.version,
            Some(Bug::IgnorePredecessor) => is_other && is_next,
            Some(Bug::JumpUnasked) => is_other && fact.version > trusted.version + JUMP_MAX,
            Some(Bug::ThresholdShortByOne) => !fact.is_signed && is_next && !at.is_forked,
            _ => false,
        };
        let forked = at.is_forked && !self.is(Bug::ForkDoesNotFreeze);
        // What a bug made it follow, the product never would: it has no verdict from there.
        let real = self.verdicts.get(&(at.trusted, forked, offered, jump)).copied().unwrap_or(Verdict::Leave);
        if wrong { Verdict::Adopt } else { real }
    }

    /// The rule that a change of what is in force breaks. Written from the specification, not from the code.
    fn broken_rule(&self, node: &Node, to: Standing, jump: bool) -> Option<&'static str> {
        let (from, to) = (node.now.trusted, to.trusted);
        if from == to {
            return None;
        }
        let (old, new) = (&self.facts[from], &self.facts[to]);
        if !new.is_signed {
            Some("two of three root holders sign what is followed")
        } else if new.version <= old.version {
            Some("versions only rise")
        } else if new.version == old.version + 1 && new.prev != Some(from) {
            Some("the next version follows from the one before")
        } else if new.version - old.version > JUMP_MAX && !jump {
            Some("a far jump needs an operator")
        } else if node.must_be_frozen {
            Some("after a fork an operator decides")
        } else {
            None
        }
    }
}

impl Model for Rosters {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State { nodes: Default::default(), crashes: 0, broken: None }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (index, node) in state.nodes.iter().enumerate() {
            if node.staged.is_some() {
                steps.push(Step::Sync(index));
            } else {
                let offers = (0..self.facts.len()).flat_map(|doc| [(doc, false), (doc, true)]);
                steps.extend(offers.map(|(doc, jump)| Step::Offer(index, doc, jump)));
                steps.extend(node.now.is_forked.then_some(Step::Settle(index)));
            }
            if state.crashes < self.crashes_max {
                steps.push(Step::Crash(index));
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Crash(index) => {
                state.crashes += 1;
                let node = &mut state.nodes[index];
                let before = node.now;
                (node.now, node.staged) = (node.disk, None);
                if self.is(Bug::ForkIsVolatile) {
                    (node.now.is_forked, node.disk.is_forked) = (false, false);
                }
                if self.facts[node.now.trusted].version < self.facts[before.trusted].version {
                    state.broken = Some("versions only rise");
                }
            }
            Step::Offer(index, doc, jump) => {
                let node = &state.nodes[index];
                let decided = match self.verdict(node.now, doc, jump) {
                    Verdict::Adopt => Standing { trusted: doc, ..node.now },
                    Verdict::Fork => Standing { is_forked: true, ..node.now },
                    Verdict::Leave => return None,
                };
                let broken = self.broken_rule(node, decided, jump);
                let node = &mut state.nodes[index];
                node.staged = Some(decided);
                if self.is(Bug::EffectBeforeSync) {
                    node.now = decided;
                }
                state.broken = state.broken.or(broken);
            }
            Step::Settle(index) => {
                let node = &mut state.nodes[index];
                node.now.is_forked = false;
                (node.disk, node.must_be_frozen) = (node.now, false);
            }
            Step::Sync(index) => {
                let node = &mut state.nodes[index];
                let decided = node.staged.take()?;
                node.must_be_frozen |= decided.is_forked;
                (node.disk, node.now) = (decided, decided);
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no rule of the specification is broken", |_, state: &State| state.broken.is_none()),
            Property::always("a fork stays until an operator settles it", |_, state: &State| {
                state.nodes.iter().all(|node| !node.must_be_frozen || node.disk.is_forked)
            }),
            Property::sometimes("all nodes reach the last version", |model: &Self, state: &State| {
                state.nodes.iter().all(|node| node.now.trusted == model.last())
            }),
            Property::sometimes("two nodes follow two stories, and both know", |model: &Self, state: &State| {
                let [one, other, _] = &state.nodes;
                let version = |node: &Node| model.facts[node.now.trusted].version;
                let is_split = version(one) == version(other) && one.now.trusted != other.now.trusted;
                is_split && one.now.is_forked && other.now.is_forked
            }),
        ]
    }
}

impl Rosters {
    fn last(&self) -> Doc {
        let genuine = self.facts.iter().enumerate().filter(|(_, fact)| fact.is_signed);
        genuine.max_by_key(|(_, fact)| fact.version).map(|(doc, _)| doc).unwrap_or_default()
    }
}

/// The rosters themselves.
struct Documents {
    rosters: Vec<(Vec<u8>, Option<Arc<Roster>>)>,
    versions: Vec<(u32, Option<Doc>)>,
}

impl Documents {
    /// 1; two of version 2; a 3 after each; one far ahead; a 2 with one signature.
    fn new() -> Self {
        let rng = &mut Draw::new(1);
        let roots: Vec<RootKey> = (0..3).map(|_| RootKey::generate(rng)).collect();
        let keys = RootSet { threshold: 2, keys: roots.iter().map(|root| root.public().clone()).collect() };
        let genesis = RosterDocument::genesis("model", keys.clone(), ISSUED, ISSUED.after(LIFETIME));
        let anchor = TrustAnchor { federation: genesis.federation, roots: keys };
        let first = genesis.sign(&[&roots[0], &roots[1]], rng);
        let first_roster = Arc::new(Roster::verify_first(&first, &anchor).expect("version 1 is sound"));
        let mut all = Self { rosters: vec![(first, Some(first_roster))], versions: vec![(1, None)] };
        for (name, version, after, signers) in [
            ("one", 2, 0, 2),
            ("other", 2, 0, 2),
            ("one", 3, 1, 2),
            ("other", 3, 2, 2),
            ("far", 3 + JUMP_MAX + 1, 3, 2),
            ("stolen key", 2, 0, 1),
        ] {
            let previous = Arc::clone(all.rosters[after].1.as_ref().expect("it follows a good one"));
            let mut document = RosterDocument::after(&previous, ISSUED, ISSUED.after(LIFETIME));
            (document.name, document.version) = (name.into(), RosterVersion(version));
            let signers: Vec<&RootKey> = roots.iter().take(signers).collect();
            let bytes = document.sign(&signers, rng);
            let roster = Roster::verify_offered(&bytes, &previous).ok().map(Arc::new);
            all.rosters.push((bytes, roster));
            all.versions.push((version, Some(after)));
        }
        all
    }

    fn facts(&self) -> Vec<Fact> {
        let unsigned = self.versions.len() - 1;
        let facts = self.versions.iter().enumerate();
        facts
            .map(|(doc, (version, prev))| Fact { version: *version, prev: *prev, is_signed: doc != unsigned })
            .collect()
    }

    fn judge(&self, trusted: Doc, is_forked: bool, offered: Doc, jump: bool) -> Verdict {
        let roster = Arc::clone(self.rosters[trusted].1.as_ref().expect("only good ones are trusted"));
        let (version, first) = (roster.version(), roster.signed().clone());
        let fork = is_forked.then(|| ForkProof { version, second: first.clone(), first });
        let jump = if jump { Jump::Accept } else { Jump::Limit };
        match RosterState::new(roster, fork).judge(&self.rosters[offered].0, jump) {
            Decision::Adopt(_) => Verdict::Adopt,
            Decision::Fork(_) => Verdict::Fork,
            Decision::Older { .. } | Decision::Refuse(_) | Decision::Same => Verdict::Leave,
        }
    }
}
