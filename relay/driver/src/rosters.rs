//! The roster in force: where it comes from, how a newer one takes effect, and how peers hear of it.

use std::sync::Arc;

use bytes::Bytes;
use liaison_core::Event;
use liaison_core::NodeKind;
use liaison_core::op::{Op, Table};
use liaison_core::roster_state::{Decision, ForkProof, Jump, RosterState, Settled};
use liaison_protocol::frame::ROSTER_FRAME_BYTES_MAX;
use liaison_protocol::roster::{Roster, RosterError, RosterVersion, TrustAnchor};
use liaison_protocol::{Hash, codec};

use crate::agency::OwnEvent;
use crate::requests::Waiter;
use crate::status::{ForkReport, ForkSide};
use crate::store_error::StoreError;
use crate::view::Reads;
use crate::{Driver, Output};

const PREFIX: &[u8] = b"roster/";
const FORK_KEY: &[u8] = b"roster-fork";
/// A fork's proof, once an operator has settled it: it is never thrown away.
const PROOF_PREFIX: &[u8] = b"roster-proof/";
const SETTLED_PREFIX: &[u8] = b"roster-settled/";
/// Two signed rosters.
const PROOF_BYTES_MAX: usize = 2 * ROSTER_FRAME_BYTES_MAX;

/// The reason why there is no roster to start with.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file's roster is not one that the roots signed.
    #[error("the roster file: {0}")]
    File(#[source] RosterError),
    /// The roots file has replaced root keys, or those of something else; and the store does not lead on from them.
    #[error(
        "the roster file: {0}; neither the roots file nor a roster in the store leads to the keys that signed this roster: get the \
         federation's present roots.json from its publishers, by a way that you trust"
    )]
    Roots(#[source] RosterError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The newest roster that the roots vouch for: the file's, or a later one that peers brought and the store kept. Where the
/// root keys were replaced since the roots file was written, the store's rosters lead on from the old ones ([ROSTER-14]).
///
/// # Errors
/// [`LoadError`].
pub fn load(store: &dyn Reads, anchor: &TrustAnchor, file: &[u8]) -> Result<Arc<Roster>, LoadError> {
    let kept = store.scan(Table::Meta, PREFIX, None, usize::MAX)?;
    let mut known: Vec<Roster> = Vec::new();
    for (_, bytes) in &kept {
        // What does not follow is older, or of roots that these have replaced.
        known.extend(match known.last() {
            None => Roster::verify_first(bytes, anchor),
            Some(last) => Roster::verify_next(bytes, last),
        });
    }
    let by_known = || known.iter().rev().find_map(|known| Roster::verify_offered(file, known).ok());
    let of_file = match Roster::verify_first(file, anchor) {
        Ok(roster) => Ok(roster),
        Err(refused) => by_known().ok_or(refused),
    };
    Ok(Arc::new(match (known.pop(), of_file) {
        // [ROSTER-6] Of one version, the store's was followed. If the file tells another story, the run loop finds the fork
        // when the file's is offered.
        (Some(last), Ok(of_file)) if last.version() >= of_file.version() => last,
        (_, Ok(of_file)) => {
            kept.iter().fold(of_file, |newest, (_, bytes)| Roster::verify_next(bytes, &newest).unwrap_or(newest))
        }
        // An old file, which was followed once, beside a newer roots file.
        (Some(last), Err(_)) if kept.iter().any(|(_, bytes)| bytes == file) => last,
        (_, Err(refused @ RosterError::Threshold { .. })) => return Err(LoadError::Roots(refused)),
        (_, Err(refused)) => return Err(LoadError::File(refused)),
    }))
}

fn record_key(version: RosterVersion) -> Vec<u8> {
    [PREFIX, &version.0.to_be_bytes()].concat()
}

/// The store's record of a roster that was followed.
#[must_use]
pub fn record(roster: &Roster) -> Op {
    Op::Put { table: Table::Meta, key: record_key(roster.version()), value: roster.signed().clone() }
}

/// The state in which a node stopped: an unsettled fork, and what operators have decided.
pub(crate) fn restore(store: &dyn Reads, trusted: Arc<Roster>) -> Result<RosterState, StoreError> {
    let fork = store.get(Table::Meta, FORK_KEY)?;
    let fork = fork.and_then(|bytes| codec::decode::<ForkProof>("fork proof", &bytes, PROOF_BYTES_MAX).ok());
    if let Some(fork) = &fork {
        tracing::error!(version = %fork.version, "two rosters of one version are in circulation: liaison-relay roster settle");
    }
    let settled = store.scan(Table::Meta, SETTLED_PREFIX, None, usize::MAX)?;
    let settled = settled.iter().filter_map(|(_, bytes)| codec::decode("settled fork", bytes, 64).ok()).collect();
    Ok(RosterState::new(trusted, fork).with_settled(settled))
}

/// The first roster in the store after this version.
pub(crate) fn first_after(
    store: &dyn Reads,
    after: RosterVersion,
) -> Result<Option<(RosterVersion, Bytes)>, StoreError> {
    let mut records = store.scan(Table::Meta, PREFIX, Some(&record_key(after)), 1)?;
    let version = |key: &[u8]| Some(RosterVersion(u32::from_be_bytes(key.strip_prefix(PREFIX)?.try_into().ok()?)));
    Ok(records.pop().and_then(|(key, bytes)| Some((version(&key)?, bytes))))
}

impl Driver {
    /// Judges a roster from an operator: at once, as nobody else waits for it.
    pub(crate) fn offer_roster(&mut self, bytes: &Bytes, jump: Jump) -> Result<RosterVersion, String> {
        self.apply_decision(self.rosters.judge(bytes, jump))
    }

    /// An adopted roster takes effect once it is durable. Gives the version that is, or will then be, in force.
    pub(crate) fn apply_decision(&mut self, decision: Decision) -> Result<RosterVersion, String> {
        match decision {
            Decision::Adopt(roster) => {
                let version = roster.version();
                self.adopting = Some(Arc::clone(&roster));
                let ops = vec![record(&roster)];
                let ticket = self.ticket(Waiter::Roster(roster));
                self.apply(Event::Records { ticket, ops });
                Ok(version)
            }
            Decision::Fork(proof) => {
                tracing::error!(version = %proof.version, "two rosters of one version are in circulation");
                // The first proof stays: it is remembered once it is durable.
                if self.rosters.fork().is_none() {
                    let ops =
                        vec![Op::Put { table: Table::Meta, key: FORK_KEY.into(), value: codec::encode(&proof).into() }];
                    let ticket = self.ticket(Waiter::Fork(Box::new(proof)));
                    self.apply(Event::Records { ticket, ops });
                }
                Err("another roster of this version is in force: the roots tell two stories".into())
            }
            Decision::Older { offered } => Err(format!(
                "roster version {offered} is older than version {}, which is in force",
                self.roster.version()
            )),
            Decision::Refuse(error) => Err(error.to_string()),
            Decision::Same => Ok(self.roster.version()),
        }
    }

    /// Both sides of the fork that is not settled.
    pub(crate) fn fork_report(&self) -> Option<ForkReport> {
        let fork = self.rosters.fork()?;
        let second = Roster::verify_offered(&fork.second, &self.roster).ok()?;
        let side = |roster: &Roster| ForkSide {
            hash: roster.hash(),
            issued_ms: roster.issued(),
            expires_ms: roster.expires(),
        };
        Some(ForkReport { version: fork.version, followed: side(&self.roster), other: side(&second) })
    }

    /// An operator has decided which of two rosters is right. Gives the version that is followed.
    pub(crate) fn settle_fork(&mut self, follow: Hash) -> Result<RosterVersion, String> {
        let Some(fork) = self.rosters.fork() else { return Err("there is no fork to settle".into()) };
        let Some((roster, decision)) = self.rosters.settle(follow) else {
            return Err(format!("neither roster of version {} has this hash", fork.version));
        };
        let version = fork.version;
        let proof = codec::encode(fork).into();
        let key = |prefix: &[u8]| [prefix, version.0.to_be_bytes().as_slice()].concat();
        let put = |key, value| Op::Put { table: Table::Meta, key, value };
        let ops = vec![
            Op::Delete { table: Table::Meta, key: FORK_KEY.into() },
            put(key(PROOF_PREFIX), proof),
            put(key(SETTLED_PREFIX), codec::encode(&decision).into()),
            record(&roster),
        ];
        let ticket = self.ticket(Waiter::Settled(roster, decision));
        self.apply(Event::Records { ticket, ops });
        Ok(version)
    }

    /// A daemon has no operator's commands: reading its roster file anew, with one of the two rosters in it, decides.
    pub(crate) fn settled_by_file(&mut self, signed: &Bytes) -> Option<Result<RosterVersion, String>> {
        let fork = self.rosters.fork().filter(|_| self.kind == NodeKind::Daemon)?;
        let offered = Roster::verify_offered(signed, &self.roster).ok()?;
        (offered.version() == fork.version).then(|| self.settle_fork(offered.hash()))
    }

    /// The decision is durable.
    pub(crate) fn settled(&mut self, roster: Arc<Roster>, decision: Settled) {
        tracing::warn!(version = %roster.version(), hash = %roster.hash(), "a fork of the roster is settled");
        let changed = roster.hash() != self.roster.hash();
        self.rosters.settled(Arc::clone(&roster), decision);
        self.news.claims.forgive();
        if changed {
            self.follow(roster);
        }
    }

    /// It is durable: from here on it decides ([ROSTER-10]).
    pub(crate) fn adopt(&mut self, roster: Arc<Roster>) {
        if roster.version() <= self.roster.version() {
            return;
        }
        self.rosters.adopted(Arc::clone(&roster));
        self.follow(roster);
    }

    fn follow(&mut self, roster: Arc<Roster>) {
        tracing::info!(version = %roster.version(), "roster in force");
        self.roster = Arc::clone(&roster);
        self.say(Output::Roster(Arc::clone(&roster)));
        self.follow_relays(&roster);
        self.offer_followed_roster();
        self.bundles.retain(&roster);
        self.forget_refusals();
        self.apply(Event::Roster(roster));
        self.follow_signers();
        self.progress(OwnEvent::Roster);
    }
}
