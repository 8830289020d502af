//! What a bundle shows: what is proven, what is only claimed, and what should make its reader careful.

use std::fmt;

use crate::ids::{AgencyId, MessageId, NodeId};
use crate::inner::Inner;
use crate::precedence::Precedence;
use crate::refusal::RefusalReason;
use crate::roster::RosterVersion;
use crate::time::Timestamp;

/// The outcome for a bundle in which everything holds.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The message's name: the id of the first envelope of its chain.
    pub message: MessageId,
    /// Everything that it shows, in the order in which it was checked.
    pub facts: Vec<Fact>,
    /// The content, if the bundle opens it.
    pub content: Option<Inner>,
}

/// [EVID-7] How much a fact is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Follows from the root keys by signatures and hashes alone.
    Proven,
    /// Somebody's word, mostly a clock's.
    Claimed,
    /// True, and a reason to look closer.
    Warning,
}

/// One thing that a bundle shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Whom the sender addressed.
    Addressed {
        /// The recipients.
        recipients: Vec<AgencyId>,
        /// How urgently.
        precedence: Precedence,
    },
    /// The sender sealed the same message anew, for recipients that could not open the envelope before.
    Attempt {
        /// The id of that envelope.
        envelope: MessageId,
    },
    /// The sealed body is the signed one.
    BodyIntact {
        /// Its size.
        bytes: usize,
    },
    /// Relays of several regions put the message between these times.
    Bracketed {
        /// How many regions.
        regions: usize,
        /// The earliest.
        from: Timestamp,
        /// The latest.
        to: Timestamp,
    },
    /// A relay held the message.
    Custody {
        /// Which.
        relay: NodeId,
        /// Who handed it over.
        received_from: NodeId,
        /// For whom.
        recipients: Vec<AgencyId>,
    },
    /// A recipient has it durably.
    Delivered {
        /// Which.
        recipient: AgencyId,
        /// Whether it opened there.
        opened: bool,
    },
    /// An issuer's receipts contradict each other.
    Equivocation {
        /// Whose.
        issuer: NodeId,
    },
    /// Somebody stands for the selection in this bundle.
    Exported {
        /// Who.
        exporter: NodeId,
    },
    /// The content is what the sender sealed.
    Opened,
    /// A recipient says that it was read.
    Read {
        /// Which.
        recipient: AgencyId,
    },
    /// The delivery receipt that a read receipt names is not in the bundle.
    ReadWithoutDelivery {
        /// Whose.
        recipient: AgencyId,
    },
    /// It was not delivered.
    Refused {
        /// Who says so.
        issuer: NodeId,
        /// To whom.
        recipient: AgencyId,
        /// Why.
        reason: RefusalReason,
    },
    /// The roots signed these rosters.
    Rosters {
        /// The first in the bundle.
        first: RosterVersion,
        /// The last.
        last: RosterVersion,
    },
    /// The federation's first root keys vouch for rosters up to this one, and no unbroken chain leads from them to the keys
    /// of the verifier, which have replaced them.
    RostersByFirstRoots {
        /// The last of these.
        through: RosterVersion,
    },
    /// Nothing in the bundle excludes that a roster between these two, which it leaves out, named other keys.
    RostersLeftOut {
        /// The version that was used.
        used: RosterVersion,
        /// When it was issued.
        issued: Timestamp,
    },
    /// Sealed to a key that the recipient published for that day.
    SealedTo {
        /// The recipient.
        recipient: AgencyId,
    },
    /// The sender signed.
    Signed {
        /// Who.
        sender: NodeId,
        /// The roster that lists its key.
        roster: RosterVersion,
    },
    /// A roster that was issued before a signature does not list its key: whoever signed may not have had it yet.
    SignedAfterRemoval {
        /// Whose.
        signer: NodeId,
        /// That roster.
        roster: RosterVersion,
    },
    /// A later roster no longer lists the key of a signature; it was valid at the time.
    SignerLaterRemoved {
        /// Whose.
        signer: NodeId,
        /// The first roster in the bundle without it.
        roster: RosterVersion,
    },
    /// When something happened, by the clock of whoever says so.
    Time {
        /// What.
        event: &'static str,
        /// By whose clock.
        by: NodeId,
        /// When.
        at: Timestamp,
    },
    /// Times that cannot all be right.
    TimeOrder {
        /// What is earlier than what it follows from.
        event: &'static str,
        /// By whose clock.
        by: NodeId,
    },
}

/// What no bundle proves.
pub const NOT_PROVEN: [&str; 3] = [
    "that a person read the message: systems acknowledge, too",
    "that the keys were in their owners' hands alone",
    "that there are no other messages",
];

impl Fact {
    /// How much it is worth ([EVID-7]).
    #[must_use]
    pub const fn strength(&self) -> Strength {
        match self {
            Self::Addressed { .. }
            | Self::Attempt { .. }
            | Self::BodyIntact { .. }
            | Self::Custody { .. }
            | Self::Delivered { .. }
            | Self::Exported { .. }
            | Self::Opened
            | Self::Read { .. }
            | Self::Refused { .. }
            | Self::Rosters { .. }
            | Self::SealedTo { .. }
            | Self::Signed { .. } => Strength::Proven,
            Self::Bracketed { .. } | Self::RostersLeftOut { .. } | Self::Time { .. } => Strength::Claimed,
            Self::Equivocation { .. }
            | Self::ReadWithoutDelivery { .. }
            | Self::RostersByFirstRoots { .. }
            | Self::SignedAfterRemoval { .. }
            | Self::SignerLaterRemoved { .. }
            | Self::TimeOrder { .. } => Strength::Warning,
        }
    }
}

// tidy: one flat match
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addressed { recipients, precedence } => {
                write!(f, "it was addressed to {}, precedence {precedence}", names(recipients))
            }
            Self::Attempt { envelope } => {
                write!(f, "the sender sealed the same message anew, as envelope {}", envelope.short())
            }
            Self::BodyIntact { bytes } => write!(f, "the sealed body ({bytes} bytes) is the one that was signed"),
            Self::Bracketed { regions, from, to } => {
                write!(f, "relays of {regions} regions saw it between {from} and {to}")
            }
            Self::Custody { relay, received_from, recipients } => {
                write!(
                    f,
                    "relay {relay} signed that it holds the message for {}, from {received_from}",
                    names(recipients)
                )
            }
            Self::Delivered { recipient, opened: true } => {
                write!(f, "{recipient} signed that it has the message, and that it opened")
            }
            Self::Delivered { recipient, opened: false } => {
                write!(f, "{recipient} signed that it has the message, and that it did not open")
            }
            Self::Equivocation { issuer } => {
                write!(f, "{issuer} signed two receipts that contradict each other: its receipts are worth little")
            }
            Self::Exported { exporter } => write!(f, "{exporter} signed the selection in this bundle"),
            Self::Opened => f.write_str("the content below is exactly what the sender sealed"),
            Self::Read { recipient } => write!(f, "{recipient} signed that the message was read"),
            Self::ReadWithoutDelivery { recipient } => {
                write!(f, "the delivery receipt that {recipient}'s read receipt names is not in the bundle")
            }
            Self::Refused { issuer, recipient, reason } => {
                write!(f, "{issuer} signed that the message is not delivered to {recipient}: {reason}")
            }
            Self::Rosters { first, last } => {
                write!(f, "the federation's root keys signed the rosters used here, versions {first} to {last}")
            }
            Self::RostersByFirstRoots { through } => {
                write!(
                    f,
                    "rosters up to {through} are signed by the federation's first root keys, which were replaced: \
                     whoever had these keys later could have signed them later"
                )
            }
            Self::RostersLeftOut { used, issued } => {
                write!(f, "that roster {used}, issued {issued}, was still the latest: the bundle lacks the next one")
            }
            Self::SealedTo { recipient } => {
                write!(f, "it was sealed to a key that {recipient} had published for that time")
            }
            Self::Signed { sender, roster } => {
                write!(f, "{sender} signed the message, with a key that roster {roster} lists for that time")
            }
            Self::SignedAfterRemoval { signer, roster } => {
                write!(f, "{signer} signed, by its clock, after roster {roster} had removed its key")
            }
            Self::SignerLaterRemoved { signer, roster } => {
                write!(f, "the key of {signer} was valid at the time; roster {roster} no longer lists it")
            }
            Self::Time { event, by, at } => write!(f, "{event} {at}, by the clock of {by}"),
            Self::TimeOrder { event, by } => {
                write!(f, "{event} by {by} is earlier than what it follows from: a clock was wrong")
            }
        }
    }
}

fn names(agencies: &[AgencyId]) -> String {
    agencies.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "valid: message {}", self.message)?;
        for (strength, title) in
            [(Strength::Proven, "proven"), (Strength::Claimed, "claimed"), (Strength::Warning, "look closer")]
        {
            let mut facts = self.facts.iter().filter(|fact| fact.strength() == strength).peekable();
            if facts.peek().is_some() {
                writeln!(f, "{title}:")?;
            }
            facts.try_for_each(|fact| writeln!(f, "  {fact}"))?;
        }
        writeln!(f, "not proven:")?;
        NOT_PROVEN.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
