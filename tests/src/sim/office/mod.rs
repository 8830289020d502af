//! Agencies with the real office behind their daemons: outbox, inbox, receipts, inquiries and sending again are the
//! product's own, from the submission to the inbox that an application follows.
//!
//! ```text
//!  plan ─ submit, cancel ─► Office ── Requests ──► World ─ events ─► core ─ commits ─► disk
//!  list, read ◄────────────── │ ▲                                                     │
//!                             │ └── receive, committed, progress ◄── frames, actions  │
//!                             └──────────────── Store (what is committed) ◄───────────┘
//! ```
//!
//! A crash drops the office with all that it was doing; a start opens a new one over the disk. Its loops wait for the
//! world's clock, its randomness comes from the seed, and nothing of it runs on another thread.

mod application;
mod attachments;
mod clock;
mod custody;
mod errands;
mod provide;
mod records;
mod run;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use liaison_client::api::model::{CustodyTrace, Problem, Submitted};
use liaison_client::at_rest::AtRest;
use liaison_client::attachment::unannounced::UnannouncedLimits;
use liaison_client::daemon::mail_tasks;
use liaison_client::office::{Delays, Office, OfficeParts, Policy};
use liaison_client::random::Entropy;
use liaison_core::{LinkKey, Ticket};
use liaison_node::local::{NodeHandle, Reply, Requests};
use liaison_protocol::roster::{Roster, TrustAnchor};
use liaison_protocol::{MessageId, Timestamp};
use rand_core::Rng;
use tokio::sync::watch;

use self::attachments::Uploads;
use self::clock::SimClock;
use self::errands::Errands;
use self::store::SimStore;
use super::fixture::Federation;
use super::node::SimNode;
use super::rng::SimRng;
use super::trace::NodeNo;
use super::world::What;

pub(super) use self::custody::Receipts;
pub(super) use self::provide::Keys;
pub(super) use self::store::{SimLease, SimSlots};

/// The store's disk is low below this.
const MIN_FREE_BYTES: u64 = 1 << 20;

/// One life of an agency's office.
pub(super) struct Desk {
    office: Arc<Office>,
    clock: SimClock,
    requests: Requests,
    roster: watch::Sender<Arc<Roster>>,
    errands: Errands<Errand, Ended>,
    waiting: BTreeMap<Ticket, Waiter>,
    low: Arc<AtomicBool>,
    /// Transfers that the office has seen, and the core has not settled.
    offered: BTreeMap<(LinkKey, u8, u64), MessageId>,
    /// When the world looks after it next.
    wake_ms: Option<u64>,
}

/// What an office is doing, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    /// The application calls a message back.
    Cancel { id: MessageId },
    /// The application takes a message over, and marks it read.
    Mark { id: MessageId },
    /// The application submits a message of the plan.
    Submit { mail: usize },
    /// One of the daemon's loops.
    Task { name: &'static str },
}

enum Ended {
    Cancelled(Result<CustodyTrace, Problem>),
    Marked(Result<(), Problem>),
    Submitted(Result<Submitted, Problem>),
    Task,
}

/// Who waits for the core's answer.
enum Waiter {
    Cancelled(Option<Reply>),
    Unit(Option<Reply>),
}

/// What an agency has besides its disk, in all its lives.
#[derive(Default)]
pub(super) struct Agency {
    pub(super) slots: SimSlots,
    pub(super) lease: SimLease,
    /// The last message that its application has seen.
    cursor: u64,
    /// Something may have come since.
    pub(super) arrivals: bool,
    /// Messages whose attachments it has not read.
    arriving: BTreeSet<MessageId>,
    /// What it has begun to upload, for each message of the plan.
    uploads: BTreeMap<usize, Uploads>,
}

impl Desk {
    /// Opens the office over what is on the node's disk.
    pub(super) fn open(node: &SimNode, number: NodeNo, federation: &Federation, seed: u64, now_ms: u64) -> Self {
        let clock = SimClock::new(node.clock(now_ms), now_ms);
        let low = Arc::default();
        let store = SimStore { disk: Arc::clone(&node.stored), low: Arc::clone(&low) };
        let (handle, requests) = NodeHandle::new(Arc::new(store));
        let (roster, followed) = watch::channel(Arc::clone(node.roster()));
        let signer = federation.shared_signer(number);
        let parts = OfficeParts {
            agency: federation.agency(number),
            signer: Arc::clone(signer) as _,
            verifying_key: signer.verifying_key(),
            at_rest: AtRest::new(&[u8::try_from(number).expect("few nodes"); 32]),
            slots: node.agency.slots.open(),
            lease: node.agency.lease.open(),
            node: handle,
            anchor: TrustAnchor {
                federation: node.roster().federation(),
                roots: node.roster().document().roots.clone(),
            },
            roster: followed,
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(Seeded(Mutex::new(SimRng::new(seed)))),
            policy: Policy {
                default_tlp: None,
                min_free_bytes: MIN_FREE_BYTES,
                retain_read: Duration::from_secs(90 * 86_400),
                inquire_every: Duration::from_secs(3_600),
                unannounced: UnannouncedLimits::DEFAULT,
                another_way: Delays::default(),
            },
        };
        let office = Arc::new(Office::open(parts).expect("what the office wrote, it reads"));
        let mut errands = Errands::new();
        for task in mail_tasks(&office) {
            errands.start(Errand::Task { name: task.name }, async move {
                drop(task.work.await);
                Ended::Task
            });
        }
        let (waiting, offered) = (BTreeMap::new(), BTreeMap::new());
        Self { office, clock, requests, roster, errands, waiting, low, offered, wake_ms: None }
    }

    /// What the application is to ask for again at `node`.
    fn unanswered(&self, node: NodeNo) -> Vec<What> {
        let asked = self.errands.kinds().filter_map(|errand| match errand {
            Errand::Submit { mail } => Some(What::Submit { mail }),
            Errand::Mark { id } => Some(What::Mark { node, id }),
            Errand::Cancel { .. } | Errand::Task { .. } => None,
        });
        asked.collect()
    }

    fn set_clock(&self, shown: Timestamp, true_ms: u64) {
        self.clock.set(shown, true_ms);
    }
}

/// One life's randomness.
struct Seeded(Mutex<SimRng>);

impl Entropy for Seeded {
    fn fill(&self, octets: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(octets);
    }
}
