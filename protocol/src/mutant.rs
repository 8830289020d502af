//! Deliberate bugs, one at a time, for a harness that shows that its checks find them (docs/reliability.md, "Mutants").
//!
//! Without the feature `mutants`, which only `liaison-tests` turns on, [`planted`] is `false` at compile time, and
//! nothing of this is in a program. A place that can go wrong on purpose asks [`planted`] in one line.

/// Whether bugs can be planted in this build: never in a program.
pub const COMPILED: bool = cfg!(feature = "mutants");

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum Mutant { $($(#[doc = $what])+ $name,)+ }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it does, in words.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => concat!($($what,)+),)+ }
            }
        }
    };
}

mutants! {
    // Budgets of peers.
    /// takes rosters that nobody asked for
    RostersUnasked,
    /// reads control frames as fast as they come
    BudgetUncounted,

    // Commits and acknowledgements.
    /// acknowledges when a commit begins, not when it has ended
    AckBeforeSync,
    /// acknowledges the copy of an envelope whose first copy is not yet durable
    AckDuplicateOfUnsynced,
    /// acknowledges the copy of an envelope whose first copy found the disk full meanwhile
    LeaningAcknowledged,
    /// a commit acknowledges what the next one will cover
    AckNextCommit,
    /// says that a submission is done when its commit begins
    AnswerBeforeSync,
    /// a full disk is answered like a commit that went well
    AnswerDoneOnFullDisk,
    /// what could not be written for lack of room is acknowledged
    AckOnFullDisk,
    /// what next holders acknowledged is forgotten if the disk is full just then
    FullDiskForgetsReleases,
    /// what was ending is forgotten if the disk is full just then
    FullDiskForgetsEndings,
    /// what has become durable does not join its queue
    DurableNotQueued,

    // Custody.
    /// lets go of what a relay acknowledges without a receipt
    UnsignedLetsGo,
    /// passes a proof of custody back as often as it comes
    ProofsInACircle,
    /// a relay says that it has passed on what another relay brings back
    PassedBetweenRelays,
    /// tells another relay that it holds what it is just releasing
    LeavingIsHeld,
    /// releases what another relay's copy was taken for while it was in flight
    MergedReleased,
    /// deletes an envelope when it is sent
    DeleteOnSend,
    /// deletes what was in flight when its link goes down
    DeleteOnLinkDown,
    /// takes a refusal for now as an acknowledgement
    DeleteOnRefusalForNow,
    /// deletes what was refused for good, and tells nobody
    RefusalForGoodIsSilent,
    /// removes what has expired without the notice
    RemovalWithoutNotice,
    /// forgets what was in flight when its link goes down
    PutBackForgotten,
    /// after a start, queues are not read from the disk
    QueuesNotReplayed,
    /// after a start, numbers of entries are given anew
    SequenceStartsAnew,
    /// reading a queue skips an entry
    LoadSkipsOne,
    /// what is being removed is read from the disk again, and sent
    LoadSendsTheRemoved,
    /// a copy for other recipients replaces the wraps that are stored
    MergeForgotten,
    /// a message submitted again replaces the wraps that are queued
    SubmittedAgainLosesWraps,
    /// one transfer carries what goes another way, too
    FanOutMixesWays,

    // Dedupe.
    /// a relay does not remember on its disk what it took
    DedupeVolatile,
    /// an inbox does not remember on its disk what it took
    InboxDedupeVolatile,
    /// what is in a commit under way is not known as a duplicate
    PendingNotKnown,
    /// ids are forgotten at their message's expiry
    DedupeWithoutMargin,
    /// an inbox takes a message again when its attempt is raised
    InboxTakesAttempts,
    /// a raised attempt does not pass a relay that remembers the message
    AttemptIgnored,
    /// a relay takes a copy of what has left, whatever its attempt
    AttemptAlwaysNew,
    /// a relay takes a second copy of what it holds
    HeldTakenTwice,
    /// what has left is still said to be held
    ReleasedStillHeld,
    /// an inbox acknowledges, and does not keep, the message
    InboxKeepsNothing,

    // Expiry.
    /// custody ends a minute before the expiry
    ExpiryEarly,
    /// what is in flight expires
    ExpiryInFlight,
    /// after the first expiry, the next one is not looked for
    ExpiryForgotten,
    /// after a start, expiries are not looked for
    ExpiryNotReplayed,
    /// an end that could not be made is not tried again
    EndNotRetried,
    /// mail for an agency that has left the federation waits for its expiry
    RemovedMailWaits,

    // Admission.
    /// takes what has expired
    ExpiredTaken,
    /// takes what comes from the future
    FutureTaken,
    /// refuses for good what a clock puts into the future
    ClockRefusesForGood,
    /// takes another's envelope from an agency
    SpoofTaken,
    /// takes an envelope without an agreement
    AgreementIgnored,
    /// takes an envelope above the precedence of the agreement
    PrecedenceIgnored,
    /// takes an envelope that has passed here before
    LoopTaken,
    /// takes an envelope that has passed any number of relays
    HopsUnbounded,
    /// takes an envelope without the recipient's wrap
    WrapMissingTaken,
    /// takes recipients that the header does not name
    BranchUnchecked,
    /// takes an envelope on another precedence's lane
    LaneUnchecked,
    /// takes custody though a quota is used up
    QuotaIgnored,
    /// all precedences use the reserve of flash
    FlashReserveForAll,
    /// one sender may fill a queue
    ShareIgnored,
    /// takes custody though the disk is low
    LowDiskIgnored,
    /// takes custody in a drain
    DrainIgnored,
    /// an agency may submit as fast as it likes
    RateIgnored,
    /// a drain refuses for good
    DrainRefusesForGood,
    /// an expired roster carries custody for ever
    GraceEndless,
    /// a newer roster does not change what is admitted
    RosterIgnored,

    // Forwarding.
    /// what was refused for now is sent again at once
    HoldIgnored,
    /// what was refused for now waits for ever
    HoldNeverEnds,
    /// a refusal's own time is not waited for
    BackoffIgnoresThePeer,
    /// one queue that waits holds up the others on its lane
    HoldStopsTheLane,
    /// what one peer refuses for now is kept from every peer
    HoldStopsEveryPeer,
    /// a peer that acknowledges nothing is kept
    SilentPeerKept,
    /// envelopes go back to where they came from
    RouteGoesBack,
    /// a home relay does not pass on to the one that has the recipient's link
    PresenceIgnored,
    /// an old link's end makes its peer's new link unknown
    OldLinkHidesTheNew,

    // Links.
    /// whoever has said hello gives up when the peer's own link comes up
    CrossingAbandoned,
    /// a peer's new link is up before the old one is down
    UpBeforeDown,
    /// a link that does not answer is not dialed anew beside it
    DeafLinkTrusted,
    /// a silent address is probed ever more rarely
    ProbesGiveUp,
    /// a silent peer is given up when QUIC does, which may be later
    SilenceUncounted,
    /// a frame may stand still for ever
    StandstillEndless,
    /// a stream that is cut off counts as one that has ended
    ResetIsEnd,
    /// transfers may come in any order
    SequenceUnchecked,
    /// a lane's first frame must come within 15 s, whatever goes before it
    LaneMustOpenAtOnce,
    /// a link that is closed in peace is closed at once
    PeaceCutsOff,
    /// what has arrived when a link is closed is not read
    LastWordsUnread,
    /// streams are dropped before the link is closed
    StreamsDroppedFirst,
    /// envelopes are read though there is no room for them
    RoomUncounted,
    /// frames that wait together change their order
    BatchReordered,
    /// an acknowledgement that is repeated counts as an answer
    OldAnswersCount,
    /// how soon a peer is to answer follows from packets of long ago, too
    DoubtByOldRoundTrips,
    /// what QUIC repeats into silence asks for no answer
    ProbesAskForNothing,
    /// a peer that refused us is not dialed at once when the link that it dialed ends
    OldRefusalsDelay,
    /// lanes share a window that two of them can use up
    LanesShareOneWindow,

    // Rosters.
    /// one root signature less than the threshold is enough
    ThresholdShortByOne,
    /// one root that signs twice counts twice
    SignerCountsTwice,
    /// a roster that is not newer is followed
    RosterNotNewer,
    /// a roster that names another predecessor is followed
    RosterPredecessorIgnored,
    /// the other one of two rosters of one version is followed
    ForkFollowed,
    /// new root keys need not sign for themselves
    NewRootsUnsigned,
    /// a root's signature is not verified
    RootSignatureUnchecked,
    /// a roster may be any number of versions ahead
    JumpUnlimited,

    // Envelopes and receipts.
    /// an envelope's signature is not verified
    SignatureUnchecked,
    /// a body is not compared with the hash that was signed
    BodyHashUnchecked,
    /// a wrap is not compared with the hash that was signed
    WrapHashUnchecked,
    /// an envelope of another federation is taken
    FederationUnchecked,
    /// a signing key is good at any time
    KeyTimeUnchecked,
    /// what stands under the seal is not compared with the header
    InnerUnchecked,
    /// a content key is not compared with its commitment
    CommitmentUnchecked,
    /// padding is not checked
    PaddingUnchecked,
    /// bytes that the encoder would not give are decoded
    NonCanonicalDecoded,
    /// an envelope may live for any time
    LifetimeUnbounded,
    /// recipients need not be in order
    RecipientsUnordered,
    /// a receipt's signature is not verified
    ReceiptSignatureUnchecked,
    /// anybody signs for delivery to a recipient
    ReceiptIssuerUnchecked,
    /// a leaf need not be in the batch that was signed
    LeafUnchecked,
    /// a receipt may be older than what it is about
    ReceiptTimeUnchecked,
    /// two receipts of one number prove nothing
    EquivocationUnseen,
    /// after a start, receipts go on where the store ends, whatever was signed since it was copied
    LeaseIgnored,

    // The store and the run loop.
    /// a commit that failed is tried again
    FaultTriedAgain,
    /// the run loop takes a batch for durable when it is handed over
    HandedOverIsDurable,
    /// damage in a journal is cut off, with the batches behind it
    DamageCutOff,
    /// an envelope that looks like a batch passes for one that was committed later
    AnyBatchFollows,
    /// a whole batch whose number is wrong, or the one before it, is cut off
    OutOfOrderCutOff,
    /// a store of another format is opened
    OtherFormatOpened,

    // The daemon.
    /// a submission's key is not remembered
    SubmissionKeyForgotten,
    /// a submission with a known key is not compared with the first one
    SubmissionContentIgnored,
    /// submissions with one key do not take turns
    SubmissionKeysTakeNoTurns,
    /// the outbox keeps the text, and nothing to send again
    OutboxKeepsNoWraps,
    /// messages are sealed to the key that was known first
    OldKeySealed,
    /// a bundle that is kept counts after its signer has ended
    RevokedSignerCounts,
    /// a bundle may have any epoch and number
    BundleNumbersUnbounded,
    /// what somebody else publishes in this agency's name is left as it is
    ForeignBundleIgnored,
    /// octets of an upload are taken at any offset
    UploadOffsetIgnored,
    /// attachments that are not what their message announces are signed for
    DamagedAttachmentSignedFor,
    /// a message is signed for before its attachments are here
    ReceiptBeforeAttachments,
    /// a message comes into the inbox without its event
    InboxWithoutEvent,
    /// readers of events see numbers past one whose commit is open
    OpenNumbersShown,
    /// after a start, numbers of events are given anew
    NumbersStartAnew,
    /// an envelope that comes again is a second message
    CopyIsSecondMessage,
    /// says that a chunk is to be sent again while the feed is ending, which then forgets it
    FeedTakesNoTurns,
    /// owes the receipt of a second envelope of a message whose attachments are not here yet
    CopyReceiptedInPart,
    /// lets go of a message that is read while envelopes of it may still come
    ForgottenWhileAlive,
    /// a message takes the place of another sender's
    AnyoneSupersedes,
    /// that an application has taken a message over is not remembered
    HandOverForgotten,
    /// a message counts as whole while chunks of it are missing
    WholeTooSoon,
    /// that a relay has lost chunks changes nothing
    LostChunksIgnored,
    /// chunks are not sent again to a recipient that says nothing of them for days
    ChunksSentOnce,
    /// chunks that have been delivered stay in the outbox
    ChunksLeftBehind,
    /// whichever attachment is asked for, the first one is read
    FirstAttachmentRead,
    /// that a message was read is not remembered
    ReadingForgotten,
    /// a message counts as read when it is delivered
    DeliveredIsRead,
    /// what is read before its delivery receipt is made gets no read receipt
    ReadWishForgotten,
    /// of two receipts for one message the first is kept, whatever the others say
    FirstReceiptKept,
    /// what is called back leaves the queue in one commit, and is written down in the next
    RecallInTwoCommits,
    /// what its recipient does not sign for is not sent by another home relay
    OneWayOnly,
    /// messages that nobody answers for are neither asked after nor sent again
    SilenceIgnored,
    /// takes it for word of a message that somebody was handed it who does not answer
    HearsayIsWord,
    /// a message is let go of when its first recipient has it
    SettledEarly,
    /// a prekey that is spent is not erased
    SpentPrekeyKept,
    /// a record of the daemon opens in another's place
    RecordOpensAnywhere,
    /// a daemon keeps whatever chunks come, announced or not
    UnannouncedUnbounded,
    /// a clock that jumps fills the slots of prekeys
    SlotsRunOut,
    /// a message that goes takes along the chunks that another message announces
    ChunkNotCounted,
}

/// Whether this bug is planted.
#[cfg(not(feature = "mutants"))]
#[must_use]
#[inline(always)]
pub const fn planted(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switch::{VARIABLE, plant, planted};

#[cfg(feature = "mutants")]
mod switch {
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::Mutant;

    /// Names the planted bug to a test program that knows no other way.
    pub const VARIABLE: &str = "LIAISON_MUTANT";

    const UNKNOWN: u16 = u16::MAX;
    const NONE: u16 = u16::MAX - 1;

    static PLANTED: AtomicU16 = AtomicU16::new(UNKNOWN);

    /// Plants a bug in this process, instead of the one before; `None` for a sound process.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.store(mutant.map_or(NONE, |mutant| mutant as u16), Ordering::SeqCst);
    }

    /// Whether this bug is planted.
    #[must_use]
    pub fn planted(mutant: Mutant) -> bool {
        match PLANTED.load(Ordering::Relaxed) {
            UNKNOWN => {
                plant(from_environment());
                planted(mutant)
            }
            number => number == mutant as u16,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "in a test build only: a test program cannot be told otherwise")]
    fn from_environment() -> Option<Mutant> {
        let name = std::env::var(VARIABLE).ok()?;
        Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == name).copied()
    }
}
