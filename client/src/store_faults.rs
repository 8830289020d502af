//! A daemon whose store fails in each of its calls in turn: the real office, tasks and run loop, from the start to the
//! last receipt. What it sends is sealed to a key that the other one has lost, and so sealed anew.
//!
//! ```text
//!  application ── submit, cancel, ack, read ──► daemon ── letters, chunks, receipts ──► a sound daemon
//!                                                  └─ FaultyStore ─ DiskStore
//! ```

use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_node::bundles;
use liaison_node::local::{LocalAgency, OwnEvent, Received};
use liaison_node::store::Store;
use liaison_node::store::testing::{Failure, FaultyStore};
use liaison_protocol::MessageId;
use liaison_protocol::envelope::verify_bytes;
use liaison_protocol::refusal::RefusalReason;
use tokio::task::JoinSet;

use crate::api::model::{
    AttachmentRef, Direction, EventKind, ListQuery, MessageState, NewUpload, Problem, ProblemCode, Submission,
};
use crate::problem::Answer;
use crate::records::places::look_at;
use crate::testing::{Desk, Federation, submission, until};

/// Trials at a time: they wait more than they work.
const TOGETHER: u64 = 8;
/// Names the step from one failing call to the next; 1 fails every one.
const EVERY: &str = "LIAISON_STORE_FAULTS_EVERY";
const ME: &str = "ncb.sg";
const OTHER: &str = "ncb.ee";
const FILE: &[u8] = b"what is attached";

/// How the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// A call, of any kind, meets EIO; a commit before it is written.
    Call,
    /// A commit finds the disk full: nothing is written, and the store goes on.
    Full,
    /// A commit's sync fails after its write.
    Sync,
}

impl How {
    fn arm(self, nth: u64, store: &FaultyStore<impl Store>) {
        match self {
            Self::Call => store.fail_call(nth),
            Self::Full => store.fail_commit(nth, Failure::Full),
            Self::Sync => store.fail_commit(nth, Failure::AfterWrite),
        }
    }
}

/// What the application was told: it remembers this whatever becomes of its daemon.
#[derive(Debug, Default)]
struct Told {
    upload: Option<String>,
    attached: bool,
    submitted: Option<MessageId>,
    regretted: Option<MessageId>,
    cancelled: bool,
    acked: bool,
    read: bool,
}

impl Told {
    /// Goes on from what was answered, to the end or to the first thing that is refused.
    async fn go_on(&mut self, me: &Desk, other: &Desk, arrival: MessageId) -> Answer<()> {
        let office = &me.office;
        if self.upload.is_none() {
            let request = NewUpload { name: "file".into(), total_len: FILE.len() as u64 };
            self.upload = Some(office.new_upload(request).await?.id);
        }
        let upload = self.upload.clone().unwrap();
        if !self.attached {
            // The octets may be there although nobody said so.
            if office.upload(&upload).await?.offset == 0 {
                office.append(&upload, 0, FILE.into()).await?;
            }
            self.attached = true;
        }
        let attachments = vec![AttachmentRef { upload, name: "file".into() }];
        let kept = Submission { attachments, ..submission(&[other], "kept") };
        same(&mut self.submitted, office.submit(kept, Some("kept".into())).await?.id.unwrap().0);
        let regretted = submission(&[other], "regretted");
        same(&mut self.regretted, office.submit(regretted, Some("regretted".into())).await?.id.unwrap().0);
        if !self.cancelled {
            office.cancel(self.regretted.unwrap()).await?;
            self.cancelled = true;
        }
        seal_anew(me, other, self.submitted.unwrap()).await?;
        carry(other, me).await?;
        if !self.acked {
            office.ack(arrival).await?;
            self.acked = true;
        }
        if !self.read {
            office.mark_read(arrival).await?;
            self.read = true;
        }
        let submitted = self.submitted.unwrap();
        for _ in 0..2000 {
            carry(me, other).await?;
            carry(other, me).await?;
            let delivered = office.message(submitted, Direction::Out)?.state == MessageState::Delivered;
            if delivered && other.is(arrival, MessageState::Read) {
                return Ok(());
            }
            if me.is_ending() {
                return Err(Problem::new(ProblemCode::Stopping, "it ends"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come true: {self:?}");
    }

    /// What was answered is there, and what was called back is nowhere.
    fn check(&self, me: &Desk) {
        if let Some(id) = self.submitted {
            me.sent(id);
        }
        if self.cancelled {
            assert!(me.is(self.regretted.unwrap(), MessageState::Cancelled), "{self:?}");
        }
        if self.acked {
            assert_eq!(me.office.shelf.scan(Table::Inbox, b"a").count(), 0, "{self:?}");
        }
        if self.read {
            let unread = ListQuery { unread: Some(true), ..ListQuery::default() };
            assert!(me.office.list(Direction::In, &unread).unwrap().items.is_empty(), "{self:?}");
        }
    }

    /// Everything has arrived once, and was announced by one event.
    async fn check_end(&self, me: &Desk, other: &Desk, arrival: MessageId) {
        self.check(me);
        assert_eq!(other.subjects(), ["kept"]);
        assert_eq!(me.subjects(), ["arrival"]);
        let expected = [
            (EventKind::Stored, self.submitted.unwrap()),
            (EventKind::Resealed, self.submitted.unwrap()),
            (EventKind::Delivered, self.submitted.unwrap()),
            (EventKind::Cancelled, self.regretted.unwrap()),
            (EventKind::Received, arrival),
        ];
        let told = || {
            let events = me.office.events(0, 1000).unwrap();
            expected.map(|(kind, id)| {
                events
                    .iter()
                    .filter(|event| event.kind == kind && event.id.as_ref().is_some_and(|of| of.0 == id))
                    .count()
            })
        };
        // An event's number is shown a moment after its commit.
        until(|| told().iter().all(|count| *count > 0)).await;
        assert_eq!(told(), [1; 5]);
    }
}

/// The message is refused for its key, and waits for a newer one, which comes.
async fn seal_anew(me: &Desk, other: &Desk, id: MessageId) -> Answer<()> {
    let office = &me.office;
    for _ in 0..2000 {
        carry(me, other).await?;
        if office.message(id, Direction::Out)?.recipients[0].detail.contains("keys of") {
            office.node.commit(vec![bundles::put(&other.me(), &other.bundle())]).await?;
            let event = OwnEvent::Bundle { agency: other.me() };
            office.node.commit(office.progress(event, office.now())).await?;
        } else if bundles::get(&**office.node.store(), &other.me(), &office.roster(), office.now())?
            .is_some_and(|known| *known.frame() == other.bundle())
        {
            return Ok(());
        }
        if me.is_ending() {
            return Err(Problem::new(ProblemCode::Stopping, "it ends"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not sealed anew");
}

/// One key, one message, whatever was answered how often.
fn same(known: &mut Option<MessageId>, answered: MessageId) {
    assert_eq!(*known.get_or_insert(answered), answered, "another message under the same key");
}

/// Carries what is queued, until one side's store refuses.
async fn carry(from: &Desk, to: &Desk) -> Answer<()> {
    let store = from.office.node.store();
    for rank in 0..liaison_core::op::RANKS {
        for (seq, entry) in store.head(&to.me(), rank, 0, 100)? {
            let Some(bytes) = store.envelope(&entry.id)? else { continue };
            let roster = from.office.roster();
            let envelope = verify_bytes(bytes, &roster.federation(), &*roster).unwrap();
            let mut ended = Vec::new();
            match to.office.receive(&envelope, entry.index, to.office.now()) {
                Received::Deliver { ops, .. } => match to.office.node.commit(ops).await {
                    Ok(()) => to.office.committed(entry.id),
                    Err(error) => {
                        to.office.dropped(entry.id);
                        return Err(error.into());
                    }
                },
                Received::Refuse { reason: reason @ RefusalReason::KeyUnavailable, detail, .. } => {
                    to.office.dropped(entry.id);
                    let (id, index, by) = (entry.id, entry.index, (&to.me()).into());
                    let refused = OwnEvent::Refused { id, index, by, reason, detail };
                    ended = from.office.progress(refused, from.office.now());
                }
                Received::Fault(fault) => return Err(Problem::new(ProblemCode::StoreFault, fault)),
                answer => panic!("{answer:?}"),
            }
            let position = liaison_core::op::Position { queue: to.me(), rank, seq };
            ended.push(Op::Dequeue { position, id: entry.id, expires: entry.expires });
            from.office.node.commit(ended).await?;
        }
    }
    Ok(())
}

/// Lets the `nth` call fail, and a second daemon go on with what is on the disk. The call's name, if there was one.
async fn trial(how: How, nth: u64) -> Option<&'static str> {
    let federation = Federation::new();
    let other = federation.start(OTHER).await;
    // Keys are exchanged, and a message waits for this daemon.
    let me = federation.start(ME).await;
    me.learn_keys_of(&other).await;
    other.learn_keys_of(&me).await;
    me.stop().await;
    let other = other.restart_without_keys(&federation).await;
    let arrival = other.submit(submission_to(ME)).await.id.unwrap().0;

    let mut told = Told::default();
    let store = Arc::new(FaultyStore::new(federation.open_store(ME).await));
    how.arm(nth, &store);
    let ended = match federation.start_over(ME, Arc::clone(&store) as _).await {
        Ok(me) => {
            let mut ended = told.go_on(&me, &other, arrival).await;
            let full =
                |ended: &Answer<()>| matches!(ended, Err(problem) if problem.code == ProblemCode::DiskFull.as_str());
            if how == How::Full && full(&ended) {
                ended = told.go_on(&me, &other, arrival).await;
            }
            let stops = store.failed().is_some() && how != How::Full;
            if stops {
                until(|| me.is_ending()).await;
            }
            let outcome = me.end().await;
            assert_eq!(outcome.is_err(), stops, "{how:?}, call {nth}, {:?}: {outcome:?}, {ended:?}", store.failed());
            ended.map_err(|problem| problem.detail)
        }
        Err(error) => Err(error),
    };
    let failed = store.failed();
    let place = format!("{how:?}, call {nth}, {failed:?}: {ended:?}");
    if failed.is_none() || how == How::Full {
        assert!(ended.is_ok(), "{place}");
    }
    drop(store);

    let me = federation.start(ME).await;
    told.check(&me);
    told.go_on(&me, &other, arrival).await.unwrap_or_else(|problem| panic!("{place}, then {problem:?}"));
    until(|| me.office.work(1).unwrap().is_empty()).await;
    told.check_end(&me, &other, arrival).await;
    drop((look_at(&me), look_at(&other)));
    me.stop().await;
    other.stop().await;
    failed
}

fn submission_to(agency: &str) -> Submission {
    Submission { to: vec![agency.parse().unwrap()], ..submission(&[], "arrival") }
}

/// Calls in steps of `step`, until one is beyond the last.
async fn calls_fail(how: How, step: u64) {
    let step = std::env::var(EVERY).map_or(step, |every| every.parse().expect("a number"));
    let mut failed = std::collections::BTreeMap::<_, u64>::new();
    for first in (1..).step_by(usize::try_from(step * TOGETHER).unwrap()) {
        let trials: JoinSet<_> = (0..TOGETHER).map(|n| trial(how, first + n * step)).collect();
        let names = trials.join_all().await;
        names.iter().flatten().for_each(|name| *failed.entry(*name).or_default() += 1);
        if names.contains(&None) {
            break;
        }
    }
    eprintln!("{how:?}: {failed:?}");
    assert!(failed.values().sum::<u64>() >= 4, "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_of_the_store_fails_the_daemon_stops_and_nothing_is_lost_or_repeated() {
    calls_fail(How::Call, 29).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_sync_fails_the_daemon_stops_and_nothing_is_lost_or_repeated() {
    calls_fail(How::Sync, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_commit_finds_the_disk_full_the_daemon_goes_on_and_nothing_is_lost_or_repeated() {
    calls_fail(How::Full, 3).await;
}

#[tokio::test]
async fn what_is_called_back_leaves_the_queue_in_the_commit_that_says_so() {
    let federation = Federation::new();
    let other = federation.start(OTHER).await;
    let store = Arc::new(FaultyStore::new(federation.open_store(ME).await));
    let me = federation.start_idle_over(ME, Arc::clone(&store) as _).await.unwrap();
    me.learn_keys_of(&other).await;
    let id = me.send(&[&other], "regretted").await;
    // The second commit from here on, if there is one.
    store.fail_commit(2, Failure::BeforeSync);
    drop(me.office.cancel(id).await);
    drop(me.end().await);
    drop(store);

    let me = federation.start(ME).await;
    assert_eq!(me.queued(&other.me()), []);
    assert!(me.is(id, MessageState::Cancelled));
}
