//! Which roster a node follows, and what it does with an older, a forked, a far or an expired one.
//!
//! ```text
//!                 offer: newer, follows                 expires            + 14 days
//!  ┌─────────┐ ─────────────────────────► ┌─────────┐ ─────────► ┌───────┐ ─────────► ┌─────────┐
//!  │ trusted │ ◄───────── adopt ───────── │ current │            │ grace │            │ expired │
//!  └─────────┘                            └─────────┘            └───────┘            └─────────┘
//!       │ offer: same version, other bytes, both sufficiently signed         no new custody, what is held goes on
//!       ▼
//!  ┌────────┐  stays on the first, refuses every update until an operator settles it
//!  │ forked │
//!  └────────┘
//! ```
//!
//! Trust is durable before it takes effect: commit an adopted roster's bytes, or a fork's proof, and only then call
//! [`RosterState::adopted`] or [`RosterState::forked`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_protocol::hash::Hash;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::roster::{Roster, RosterError, RosterVersion};
use liaison_protocol::{Timestamp, limits};
use serde::{Deserialize, Serialize};

/// An expired roster still carries custody for this long, with alarms.
pub const GRACE: Duration = limits::ROSTER_GRACE;
/// Versions that one update may skip before an operator has to say so.
pub const JUMP_MAX: u32 = 1_000;

/// The roster that a node follows, and what it knows about others.
#[derive(Clone, Debug)]
pub struct RosterState {
    trusted: Arc<Roster>,
    fork: Option<ForkProof>,
    settled: Vec<Settled>,
}

/// A roster that an operator has decided against: it is no news any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Its version.
    pub version: RosterVersion,
    /// SHA-256 of its payload.
    pub refused: Hash,
}

/// Two rosters of one version, both sufficiently signed: proof that root holders tell two stories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkProof {
    /// The version that both have.
    pub version: RosterVersion,
    /// The one that this node follows, signed, as received.
    pub first: Bytes,
    /// The other one.
    pub second: Bytes,
}

/// What to do with a roster that a peer or an operator offers.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Commit it, then follow it.
    Adopt(Arc<Roster>),
    /// Write the proof, raise the alarm, stay on the first.
    Fork(ForkProof),
    /// The peer is behind: offer it ours.
    Older {
        /// What it offered.
        offered: RosterVersion,
    },
    /// Not taken.
    Refuse(OfferRefused),
    /// It is the one that this node follows.
    Same,
}

/// Why an offered roster is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferRefused {
    /// A fork is not settled.
    #[error(
        "two rosters of version {version} are in circulation; updates wait until an operator settles it \
         (liaison-relay roster settle)"
    )]
    Forked {
        /// The forked version.
        version: RosterVersion,
    },
    /// More than [`JUMP_MAX`] versions ahead.
    #[error(
        "roster version {offered} is {} versions ahead of {trusted}; if that is right, put it into this node's roster \
         file and reload that (SIGHUP)",
        offered.0.saturating_sub(trusted.0)
    )]
    Jump {
        /// What was offered.
        offered: RosterVersion,
        /// What this node follows.
        trusted: RosterVersion,
    },
    /// An operator has decided for the other roster of this version.
    #[error("an operator has decided against this roster of version {version}")]
    Settled {
        /// The version that both have.
        version: RosterVersion,
    },
    /// Its signatures or its content.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// Whether an operator has said that a far jump is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Said.
    Accept,
    /// Not said: at most [`JUMP_MAX`] versions.
    Limit,
}

/// How the trusted roster stands against the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In force.
    Current,
    /// Past `expires + GRACE`: no new custody; what is held is still delivered.
    Expired,
    /// Past `expires`: everything goes on, every surface alarms.
    Grace {
        /// Custody ends then.
        until: Timestamp,
    },
}

impl Standing {
    /// Whether new custody may be accepted ([ROSTER-11]).
    #[must_use]
    pub const fn accepts_custody(self) -> bool {
        !matches!(self, Self::Expired)
    }
}

/// The clock is before what must have been in the past: this node must not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock is before the roster was issued or this program was built; set it first")]
pub struct ClockBehind {
    /// It must be at least this.
    pub at_least: Timestamp,
}

/// What a peer's hello or offer says about its roster, against ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// The peer has a newer one: ask for it.
    Newer,
    /// The peer has an older one: it will ask, or may be sent ours.
    Older,
    /// The same version with another hash: ask for it, it may be a fork.
    Other,
    /// The same.
    Same,
}

impl RosterState {
    /// A node that follows `trusted`, verified before; `fork` as its store remembers it.
    #[must_use]
    pub const fn new(trusted: Arc<Roster>, fork: Option<ForkProof>) -> Self {
        Self { trusted, fork, settled: Vec::new() }
    }

    /// As its store remembers the operators' decisions.
    #[must_use]
    pub fn with_settled(mut self, settled: Vec<Settled>) -> Self {
        self.settled = settled;
        self
    }

    /// The roster that this node follows.
    #[must_use]
    pub const fn trusted(&self) -> &Arc<Roster> {
        &self.trusted
    }

    /// An unsettled fork.
    #[must_use]
    pub const fn fork(&self) -> Option<&ForkProof> {
        self.fork.as_ref()
    }

    /// Judges `bytes` that a peer or an operator offers. Nothing changes: apply the decision with
    /// [`RosterState::adopted`] or [`RosterState::forked`] once it is durable.
    // [ROSTER-5] [ROSTER-6] [ROSTER-7]
    #[must_use]
    pub fn judge(&self, bytes: &[u8], jump: Jump) -> Decision {
        if bytes == self.trusted.signed() {
            return Decision::Same;
        }
        let offered = match Roster::verify_offered(bytes, &self.trusted) {
            Ok(offered) => offered,
            Err(error) => return Decision::Refuse(error.into()),
        };
        let (version, trusted) = (offered.version(), self.trusted.version());
        if offered.hash() == self.trusted.hash() {
            return Decision::Same;
        }
        if version < trusted && !planted(Mutant::RosterNotNewer) {
            return Decision::Older { offered: version };
        }
        if version == trusted && planted(Mutant::ForkFollowed) {
            return Decision::Adopt(Arc::new(offered));
        }
        if version == trusted {
            if self.settled.contains(&Settled { version, refused: offered.hash() }) {
                return Decision::Refuse(OfferRefused::Settled { version });
            }
            let (first, second) = (self.trusted.signed().clone(), offered.signed().clone());
            return Decision::Fork(ForkProof { version, first, second });
        }
        if let Some(fork) = &self.fork {
            return Decision::Refuse(OfferRefused::Forked { version: fork.version });
        }
        let far = version.0.saturating_sub(trusted.0) > JUMP_MAX;
        if far && jump == Jump::Limit && !planted(Mutant::JumpUnlimited) {
            return Decision::Refuse(OfferRefused::Jump { offered: version, trusted });
        }
        match offered.check_follows(&self.trusted) {
            Ok(()) => Decision::Adopt(Arc::new(offered.succeeding(&self.trusted))),
            Err(error) => Decision::Refuse(error.into()),
        }
    }

    /// Follows `roster`, whose bytes are durable.
    pub fn adopted(&mut self, roster: Arc<Roster>) {
        self.trusted = roster;
    }

    /// Remembers a fork whose proof is durable. The first proof stays.
    pub fn forked(&mut self, proof: ForkProof) {
        self.fork.get_or_insert(proof);
    }

    /// What settling the fork for the roster with the hash `follow` means: which roster to follow, and which decision to
    /// make durable before [`RosterState::settled`]. `None`: there is no fork, or neither roster has this hash.
    #[must_use]
    pub fn settle(&self, follow: Hash) -> Option<(Arc<Roster>, Settled)> {
        let fork = self.fork.as_ref()?;
        let second = Arc::new(Roster::verify_offered(&fork.second, &self.trusted).ok()?);
        let (version, first) = (fork.version, Arc::clone(&self.trusted));
        if follow == first.hash() {
            return Some((first, Settled { version, refused: second.hash() }));
        }
        (follow == second.hash())
            .then(|| (Arc::new(Roster::clone(&second).succeeding(&first)), Settled { version, refused: first.hash() }))
    }

    /// An operator has settled the fork, durably: updates are taken again.
    pub fn settled(&mut self, follow: Arc<Roster>, decision: Settled) {
        self.trusted = follow;
        self.fork = None;
        self.settled.push(decision);
    }

    /// Compares what a peer says that it follows. That is not signed by the roots: it only leads to asking
    /// ([`crate::roster_claims`]).
    #[must_use]
    pub fn compare(&self, version: RosterVersion, hash: Hash) -> Announcement {
        let trusted = self.trusted.version();
        match version.cmp(&trusted) {
            std::cmp::Ordering::Less => Announcement::Older,
            std::cmp::Ordering::Equal if hash == self.trusted.hash() => Announcement::Same,
            std::cmp::Ordering::Equal => Announcement::Other,
            std::cmp::Ordering::Greater => Announcement::Newer,
        }
    }

    /// How the trusted roster stands at `now`.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let until = self.trusted.expires().after(GRACE);
        if now <= self.trusted.expires() {
            Standing::Current
        } else if now <= until {
            Standing::Grace { until }
        } else {
            Standing::Expired
        }
    }

    /// When [`RosterState::standing`] is next worth asking.
    #[must_use]
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let expires = self.trusted.expires();
        [expires, expires.after(GRACE)].into_iter().find(|at| *at > now)
    }
}

/// Whether a node may start with this clock and roster.
///
/// # Errors
/// [`ClockBehind`]: `now` is before the roster was issued, or before `built`.
pub fn check_clock(roster: &Roster, now: Timestamp, built: Timestamp) -> Result<(), ClockBehind> {
    let at_least = roster.issued().max(built);
    if now < at_least { Err(ClockBehind { at_least }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
