//! What one seed does to its federation: sizes, mail and faults, each written out, so that a plan can be shrunk.

use liaison_protocol::Precedence;

/// Everything that follows from a seed. The world draws nothing but delays beside it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it comes from; seeds the delays, too.
    pub seed: u64,
    /// Whether the real office is behind each daemon, or an agency that keeps to its rules with records of its own.
    pub office: bool,
    /// Who takes part.
    pub shape: Shape,
    /// How fast the world is.
    pub pace: Pace,
    /// What is sent.
    pub mail: Vec<Mail>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Who takes part, and under which rules.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Regions, with one relay or two.
    pub regions: usize,
    /// Regions that have a second relay, a bit each.
    pub second: u8,
    /// Home relays of agencies in regions with two: agency `a` has the homes `a % len`. Empty: both, the first before the
    /// second.
    pub homes: Vec<Homes>,
    /// Agencies: number `a` is at home in region `a % regions`.
    pub agencies: usize,
    /// Whether all relays are linked with each other, or only neighbours in a ring.
    pub meshed: bool,
    /// Bytes that a relay holds for one agency; `None` for plenty.
    pub quota_bytes: Option<u64>,
    /// Envelopes a second that one agency may submit.
    pub rate: Option<u32>,
    /// Whether only some agencies may write to some others, and not all to all.
    pub strict: bool,
}

/// An agency's home relays, where its region has two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Homes {
    /// The first one before the second.
    Both,
    /// The first one alone.
    First,
    /// The second one alone.
    Second,
    /// The second one before the first.
    Turned,
}

/// How fast the world is when nothing is wrong.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Longest delay of a frame, in milliseconds.
    pub delay_ms_max: u64,
    /// Longest commit, in milliseconds.
    pub commit_ms_max: u64,
    /// Envelopes of this many bytes and more of text, for quotas.
    pub text_bytes: usize,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Mail {
    /// When it is submitted.
    pub at_ms: u64,
    /// The sending agency's number.
    pub from: usize,
    /// The recipients' numbers.
    pub to: Vec<usize>,
    /// How urgent.
    pub precedence: Precedence,
    /// Its lifetime.
    pub lifetime_s: u64,
    /// When its sender withdraws it, after it was submitted.
    pub cancel_after_ms: Option<u64>,
    /// When each recipient's application takes it over and marks it read, after it was shown. Only whole daemons know it.
    pub read_after_ms: Option<u64>,
    /// Bytes of each attachment. Only whole daemons attach anything.
    pub attached: Vec<usize>,
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The daemon of the agency of this number.
    Agency(usize),
    /// The relay of this number: first relays in the order of their regions, then second ones.
    Relay(usize),
}

/// One fault, from `at_ms` on for `for_ms`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When it begins.
    pub at_ms: u64,
    /// How long it lasts; how long a crashed node stays down.
    pub for_ms: u64,
    /// What it is.
    pub kind: FaultKind,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A clock jumps, and jumps back when the fault ends.
    ClockJump(Place, i64),
    /// The power fails. What is being synced is there afterwards, or is not.
    Crash(Place),
    /// A link is cut, both ways.
    Cut(Place, Place),
    /// A region's relay has no link to the others.
    Dark(usize),
    /// An operator drains a node.
    Drain(Place),
    /// A disk is destroyed, and replaced by an empty one.
    DiskLost(Place),
    /// A relay stops, and never starts again.
    Gone(Place),
    /// Commits find the disk full, in so many percent.
    Full(Place, u64),
    /// A daemon that is whole loses its private prekeys: it is stopped, and started without its slot file.
    KeysLost(Place),
    /// The next sync fails: the node stops, and is started again when the fault ends.
    SyncFails(Place),
    /// A link goes down and comes up, again and again.
    Flap(Place, Place),
    /// The network breaks its word: frames of live links are lost, repeated and overtaken, each in so many per mille.
    Frames {
        /// Lost.
        lost: u64,
        /// Repeated.
        repeated: u64,
        /// Delayed past later ones.
        overtaken: u64,
    },
    /// A forged, old or forked roster is offered to a node.
    Offer(Place, Offer),
    /// A disk falls below its low-water mark.
    Low(Place),
    /// A node is started from a copy of its disk that is as old as the fault is long.
    Restored(Place),
    /// Stored bytes change: the node stops when it reads them, and starts with an empty disk.
    Rot(Place),
    /// The roots publish a new roster.
    Roster(Change),
    /// A thief of an agency's signing key publishes prekeys of its own in the agency's name.
    Stolen(Place),
    /// A disk takes up to so many milliseconds for a commit.
    Slow(Place, u64),
    /// One direction of a link carries nothing.
    Stall(Place, Place),
    /// A node plays false, with so many percent of what it could do it to.
    Trick(Place, Trick, u64),
}

/// What a new roster changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing but its version.
    Nothing,
    /// This agency has another signing key; its daemon is started with that one.
    Rekeyed(usize),
    /// This agency leaves the federation.
    Removed(usize),
    /// This agency is suspended.
    Suspended(usize),
}

/// Rosters that must not be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Signed by strangers, enough of them.
    Forged,
    /// The version in force, with other content, well signed: it is proof, and not followed.
    Fork,
    /// An earlier version.
    Older,
    /// Signed by one root key less than it takes.
    Short,
    /// Signed twice by the same root key.
    Twice,
    /// The next version, naming another predecessor.
    WrongPredecessor,
}

/// How a hostile node plays false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// Answers inquiries as it likes, in anybody's name.
    Answers,
    /// Raises the attempt of what it passes on.
    Attempts,
    /// Sends frames of every type that nobody asked for.
    Babble,
    /// Compares with numbers and lists that it makes up.
    Books,
    /// Sends transfers whose branch names recipients that do not exist.
    Branch,
    /// Signs what others have sealed, messages and chunks, as its own.
    Copy,
    /// Changes a byte of what it passes on.
    Forge,
    /// Sits on what it passes on for hours.
    Hold,
    /// Sends on another lane than the envelope's.
    Lane,
    /// Sends envelopes back to where they have been, and past as many relays as it likes.
    Loop,
    /// Changes, swaps or keeps back proofs of custody.
    Proofs,
    /// Says that it reaches every relay at no cost.
    Reach,
    /// Sends what it sent before, again.
    Replay,
    /// Hands over envelopes of others as an agency's.
    Spoof,
    /// Leaves out wraps.
    Strip,
    /// Acknowledges what it then drops.
    Swallow,
    /// Tells senders that the recipients of what it passes on have lost the keys for it.
    Unkey,
    /// Acknowledges without a receipt.
    Unproven,
    /// Passes on no bundle, inquiry, route or roster.
    Withhold,
}

impl Trick {
    /// Whether it waits for no frame to change.
    #[must_use]
    pub const fn is_unasked(self) -> bool {
        matches!(self, Self::Babble | Self::Copy | Self::Spoof)
    }
}

impl Plan {
    /// When the last fault is over.
    #[must_use]
    pub fn quiet_ms(&self) -> u64 {
        self.faults.iter().map(|fault| fault.at_ms + fault.for_ms).max().unwrap_or(0)
    }

    /// When the last message is submitted, and the last fault over.
    #[must_use]
    pub fn settled_ms(&self) -> u64 {
        self.mail.iter().map(|mail| mail.at_ms).max().unwrap_or(0).max(self.quiet_ms())
    }
}

impl Shape {
    /// Relays in all.
    #[must_use]
    pub const fn relays(&self) -> usize {
        self.regions + self.second.count_ones() as usize
    }

    /// A region's second relay.
    #[must_use]
    pub const fn second_relay(&self, region: usize) -> Option<usize> {
        let bit = 1 << region;
        let before = self.second & (bit - 1);
        if self.second & bit == 0 { None } else { Some(self.regions + before.count_ones() as usize) }
    }

    /// The other relay of this relay's region.
    #[must_use]
    pub fn sibling(&self, relay: usize) -> Option<usize> {
        let region = (0..self.regions).find(|region| self.second_relay(*region) == Some(relay));
        region.or_else(|| self.second_relay(relay))
    }

    /// Whether these two relays keep a link: in a mesh all do, in a ring neighbours and those of one region.
    #[must_use]
    pub fn are_linked(&self, a: usize, b: usize) -> bool {
        let (a, b) = (a.min(b), a.max(b));
        let neighbours = b == a + 1 || (a == 0 && b + 1 == self.relays());
        a != b && (self.meshed || neighbours || self.sibling(a) == Some(b))
    }

    /// An agency's home relays, the preferred one first.
    #[must_use]
    pub fn homes(&self, agency: usize) -> Vec<usize> {
        let first = agency % self.regions;
        let Some(second) = self.second_relay(first) else { return vec![first] };
        let homes = agency.checked_rem(self.homes.len()).and_then(|turn| self.homes.get(turn));
        match homes.unwrap_or(&Homes::Both) {
            Homes::Both => vec![first, second],
            Homes::First => vec![first],
            Homes::Second => vec![second],
            Homes::Turned => vec![second, first],
        }
    }

    /// Nodes are numbered relays first.
    #[must_use]
    pub const fn node(&self, place: Place) -> Option<usize> {
        match place {
            Place::Relay(relay) if relay < self.relays() => Some(relay),
            Place::Agency(agency) if agency < self.agencies => Some(self.relays() + agency),
            _ => None,
        }
    }

    /// Whether agency `from` may write to agency `to`, and up to which rank (0 is the most urgent).
    #[must_use]
    pub const fn may_write(&self, from: usize, to: usize) -> Option<u8> {
        if !self.strict {
            return Some(0);
        }
        match (from + 2 * to) % 5 {
            0 => None,
            1 => Some(2),
            _ => Some(0),
        }
    }
}

impl Fault {
    /// Its name in a report.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.kind.name()
    }
}

impl FaultKind {
    /// The node that it happens to, where it is one.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match *self {
            Self::ClockJump(place, _)
            | Self::Crash(place)
            | Self::DiskLost(place)
            | Self::Drain(place)
            | Self::Full(place, _)
            | Self::Gone(place)
            | Self::KeysLost(place)
            | Self::Low(place)
            | Self::Offer(place, _)
            | Self::Restored(place)
            | Self::Rot(place)
            | Self::Slow(place, _)
            | Self::Stolen(place)
            | Self::SyncFails(place)
            | Self::Trick(place, ..) => Some(place),
            Self::Cut(..)
            | Self::Dark(_)
            | Self::Flap(..)
            | Self::Frames { .. }
            | Self::Roster(_)
            | Self::Stall(..) => None,
        }
    }

    /// Its name in a report.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ClockJump(..) => "clock jumps",
            Self::Crash(_) => "crashes",
            Self::Cut(..) => "cuts",
            Self::Dark(_) => "dark regions",
            Self::DiskLost(_) => "disks lost",
            Self::Drain(_) => "drains",
            Self::Flap(..) => "flapping links",
            Self::Frames { .. } => "lossy networks",
            Self::Full(..) => "full disks",
            Self::Gone(_) => "relays gone for good",
            Self::KeysLost(_) => "prekeys lost",
            Self::Low(_) => "low disks",
            Self::Offer(..) => "false rosters",
            Self::Restored(_) => "backups restored",
            Self::Roster(_) => "rosters",
            Self::Rot(_) => "rotten disks",
            Self::Slow(..) => "slow disks",
            Self::Stall(..) => "one-way cuts",
            Self::Stolen(_) => "prekeys by a thief",
            Self::SyncFails(_) => "failed syncs",
            Self::Trick(..) => "hostile nodes",
        }
    }
}
