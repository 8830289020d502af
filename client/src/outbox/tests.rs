use std::time::Duration;

use liaison_core::op::Table;
use liaison_node::local::OwnEvent;
use liaison_protocol::MessageId;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::refusal::RefusalReason;

use crate::api::model::{MessageState, Precedence, ProblemCode, RecipientState, Stage};
use crate::daemon::{Ask, Attended};
use crate::testing::{Desk, Federation, submission, until};

pub(super) async fn pair(federation: &Federation) -> (Desk, Desk) {
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    (a, b)
}

async fn problem(desk: &Desk, submission: crate::api::model::Submission) -> (String, Option<String>) {
    let problem = desk.office.submit(submission, None).await.unwrap_err();
    (problem.code, problem.hint)
}

#[tokio::test]
async fn a_message_arrives_and_its_receipt_comes_back() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    assert_eq!(a.sent(id).state, MessageState::Outbox);
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;

    let message = b.received(id);
    assert_eq!((message.subject.as_str(), message.text.as_str()), ("one", "text of one"));
    assert!(message.unread && !message.acked && message.verification.verified);
    let receipts = a.office.receipts(id, crate::api::model::Direction::Out).unwrap();
    assert!(receipts.complete && receipts.receipts.iter().all(|receipt| receipt.verified));
    until(|| a.office.open_messages(None, 10).unwrap().is_empty()).await;
}

#[tokio::test]
// [RCPT-3]
async fn reading_is_receipted_once_and_only_after_delivery() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    b.office.mark_read(id).await.unwrap();
    b.office.mark_read(id).await.unwrap();
    a.exchange(&b, || a.is(id, MessageState::Read)).await;
    assert!(!b.received(id).unread);
    let trace = a.office.trace(id).await.unwrap();
    let stages: Vec<Stage> = trace.hops.iter().map(|hop| hop.stage).collect();
    assert_eq!(stages, [Stage::Outbox, Stage::Inbox, Stage::Read]);
}

#[tokio::test]
// [RCPT-3]
async fn no_delivery_receipt_is_made_while_a_message_is_being_marked_read() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let marking = b.office.reading.read().await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    tokio::time::sleep(4 * crate::receipts::maker::GATHER).await;
    assert!(b.queued(&a.me()).is_empty(), "the mark would not see this receipt, nor be seen by it");
    drop(marking);
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_before_anything_is_kept() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let mut typo = submission(&[], "s");
    typo.to = vec!["ncb.eee".parse().unwrap()];
    let (code, hint) = problem(&a, typo).await;
    assert_eq!(code, ProblemCode::UnknownAgency.as_str());
    assert_eq!(hint.unwrap(), "did you mean 'ncb.ee'?");

    let good = || {
        let mut submission = submission(&[], "s");
        submission.to = vec!["ncb.ee".parse().unwrap()];
        submission
    };
    let mut bare = good();
    bare.tlp = None;
    assert_eq!(problem(&a, bare).await.0, ProblemCode::TlpMissing.as_str());
    let mut twice = good();
    twice.info = twice.to.clone();
    assert_eq!(problem(&a, twice).await.0, ProblemCode::BadRequest.as_str());
    let mut long = good();
    long.text = "x".repeat(1 << 20);
    assert_eq!(problem(&a, long).await.0, ProblemCode::TooLarge.as_str());
    let mut lines = good();
    lines.subject = "two\nlines".into();
    assert_eq!(problem(&a, lines).await.0, ProblemCode::BadRequest.as_str());
    let mut eternal = good();
    eternal.expires_in_s = Some(31 * 86_400);
    assert_eq!(problem(&a, eternal).await.0, ProblemCode::BadRequest.as_str());
    assert!(a.office.open_messages(None, 10).unwrap().is_empty());
}

#[tokio::test]
// [CUST-6]
async fn an_agreement_bounds_the_precedence() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let mut flash = submission(&[], "s");
    flash.to = vec!["ncb.ee".parse().unwrap()];
    flash.precedence = Some(Precedence::Flash);
    let roster = federation.roster_with(|roster| {
        use liaison_protocol::roster::Party;
        let (from, to) = ("ncb.sg".parse().unwrap(), "ncb.ee".parse().unwrap());
        certs_dev::agree(roster, Party::Agency(from), Party::Agency(to), liaison_protocol::Precedence::Priority);
    });
    a.roster.send_replace(roster);
    assert_eq!(problem(&a, flash.clone()).await.0, ProblemCode::NoAgreement.as_str());
    flash.precedence = Some(Precedence::Priority);
    a.submit(flash).await;
}

#[tokio::test]
async fn nothing_is_sent_to_an_agency_that_may_not_send_its_receipt() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let mut message = submission(&[], "s");
    message.to = vec!["ncb.ee".parse().unwrap()];
    let roster = federation.roster_with(|roster| {
        use liaison_protocol::roster::Party;
        let (from, to) = ("ncb.sg".parse().unwrap(), "ncb.ee".parse().unwrap());
        certs_dev::disagree(roster, &Party::Any, &Party::Any);
        certs_dev::agree(roster, Party::Agency(from), Party::Agency(to), liaison_protocol::Precedence::Flash);
    });
    a.roster.send_replace(roster);
    let refused = a.office.submit(message, None).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::NoAgreement.as_str());
    assert!(refused.detail.contains("no agreement lets ncb.ee write to ncb.sg"), "{}", refused.detail);
}

#[tokio::test]
async fn one_key_names_one_message_also_after_a_restart() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let key = || Some("case-1142".to_owned());
    let first = a.office.submit(submission(&[&b], "one"), key()).await.unwrap();
    let again = a.office.submit(submission(&[&b], "one"), key()).await.unwrap();
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.id, again.id);
    a.stop().await;
    let a = federation.start("ncb.sg").await;
    assert_eq!(a.office.submit(submission(&[&b], "one"), key()).await.unwrap().id, first.id);
    let other = a.office.submit(submission(&[&b], "two"), key()).await.unwrap_err();
    assert_eq!(other.code, ProblemCode::IdempotencyConflict.as_str());
    assert_eq!(a.queued(&b.me()).len(), 1);
}

#[tokio::test]
async fn a_key_compares_what_is_meant() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    let key = || Some("case-1142".to_owned());
    let first = a.office.submit(submission(&[&b, &c], "one"), key()).await.unwrap();
    let mut explicit = submission(&[&c, &b], "one");
    explicit.precedence = Some(Precedence::Routine);
    explicit.content_type = Some(crate::api::model::ContentType::Text);
    explicit.expires_in_s = Some(7 * 86_400);
    assert_eq!(a.office.submit(explicit.clone(), key()).await.unwrap().id, first.id);
    let info = crate::api::model::Submission { to: vec![b.me()], info: vec![c.me()], ..explicit.clone() };
    let flash = crate::api::model::Submission { precedence: Some(Precedence::Flash), ..explicit };
    for other in [info, flash] {
        let refused = a.office.submit(other, key()).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::IdempotencyConflict.as_str());
    }
}

#[tokio::test]
async fn keys_that_are_used_at_once_take_turns() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let submit = || a.office.submit(submission(&[&b], "one"), Some("k".into()));
    let (x, y, z) = tokio::join!(submit(), submit(), submit());
    let ids = [x.unwrap().id, y.unwrap().id, z.unwrap().id];
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(a.queued(&b.me()).len(), 1);
}

#[tokio::test]
// [PREKEY-5] [INNER-4]
async fn mail_for_a_lost_key_is_sealed_anew_and_stays_one_message() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    let b = b.restart_without_keys(&federation).await;
    b.learn_keys_of(&a).await;
    assert_eq!(a.deliver(&b).await, [(id, RefusalReason::KeyUnavailable)]);
    let refused = OwnEvent::Refused {
        id,
        index: 0,
        by: "ap-1".parse().unwrap(),
        reason: RefusalReason::KeyUnavailable,
        detail: String::new(),
    };
    a.tell(refused).await;
    // The key that is known is the lost one: it waits.
    until(|| a.sent(id).recipients[0].detail.contains("keys of ncb.ee")).await;
    assert!(a.queued(&b.me()).is_empty());

    a.learn_keys_of(&b).await;
    until(|| a.queued(&b.me()).len() == 1).await;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["one"]);
    assert!(a.office.trace(id).await.unwrap().hops.iter().any(|hop| hop.stage == Stage::Resealed));
    // Whatever envelope of the chain comes again, it is the same message.
    a.commit(vec![crate::outbox::work::Work::Reseal { first: id, index: 0 }.put(&a.office.shelf, a.office.now())])
        .await;
    assert_eq!(b.inbox()[0].thread, id.into());
}

#[tokio::test]
async fn what_was_sealed_anew_goes_with_its_message() {
    let federation = Federation::new();
    let (a, mut b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    for _ in 0..2 {
        b = b.restart_without_keys(&federation).await;
        b.learn_keys_of(&a).await;
        let (refused, by) = (a.queued(&b.me())[0].1.id, "ap-1".parse().unwrap());
        let reason = RefusalReason::KeyUnavailable;
        assert_eq!(a.deliver(&b).await, [(refused, reason)]);
        a.tell(OwnEvent::Refused { id: refused, index: 0, by, reason, detail: String::new() }).await;
        a.learn_keys_of(&b).await;
        until(|| a.queued(&b.me()).len() == 1).await;
    }
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    until(|| !a.office.is_open(id).unwrap() && a.office.work(1).unwrap().is_empty()).await;
    a.commit(a.office.forget_sent(id).unwrap()).await;
    assert_eq!(a.office.shelf.scan(Table::Outbox, b"").count(), 0);
}

#[tokio::test]
async fn a_message_without_a_key_waits_for_one_and_the_others_do_not() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    let id = a.send(&[&b, &c], "to both").await;
    assert_eq!((a.queued(&b.me()).len(), a.queued(&c.me()).len()), (1, 0));
    a.deliver(&b).await;
    assert_eq!(b.received(id).to, [b.me(), c.me()]);
    a.learn_keys_of(&c).await;
    until(|| a.queued(&c.me()).len() == 1).await;
    assert!(a.queued(&b.me()).is_empty());
    a.deliver(&c).await;
    assert_eq!(c.subjects(), ["to both"]);
}

#[tokio::test]
async fn what_no_relay_has_can_be_called_back() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let (kept, gone) = (a.send(&[&b], "kept").await, a.send(&[&b], "gone").await);
    let trace = a.office.cancel(gone).await.unwrap();
    assert_eq!(trace.state, MessageState::Cancelled);
    a.exchange(&b, || a.is(kept, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["kept"]);
    let late = a.office.cancel(kept).await.unwrap_err();
    assert_eq!(late.code, ProblemCode::AlreadySent.as_str());
}

#[tokio::test]
// [CUST-9]
async fn a_message_that_expires_is_said_to_be_undeliverable() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.tell(OwnEvent::Expired { id, index: 0 }).await;
    until(|| a.is(id, MessageState::Undeliverable)).await;
    assert_eq!(a.sent(id).recipients[0].state, RecipientState::Expired);
    until(|| {
        let events = a.office.events(0, 100).unwrap();
        events.iter().any(|event| event.kind.as_str() == "message.undeliverable")
    })
    .await;
}

#[tokio::test]
async fn silence_past_the_expiry_ends_a_message() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    a.clock.advance(Duration::from_secs(8 * 86_400));
    let ops = a.office.expire(id, a.office.now()).unwrap();
    a.commit(ops).await;
    until(|| a.is(id, MessageState::Undeliverable)).await;
    // A receipt that comes late still counts.
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
}

#[tokio::test]
async fn evidence_of_a_sent_message_verifies_from_the_roots_alone() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    let evidence = a.office.evidence(id, crate::api::model::Direction::Out).unwrap();
    let verdict = liaison_protocol::evidence::verify(evidence.into(), &a.office.anchor).unwrap();
    assert!(verdict.to_string().contains("ncb.ee signed that it has the message"), "{verdict}");
}

#[tokio::test]
async fn a_newer_key_is_sealed_to_from_the_next_message_on() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let before = a.send(&[&b], "before").await;
    let b = b.restart_without_keys(&federation).await;
    a.learn_keys_of(&b).await;
    a.send(&[&b], "after").await;
    assert_eq!(a.deliver(&b).await, [(before, RefusalReason::KeyUnavailable)]);
    assert_eq!(b.subjects(), ["after"]);
}

#[tokio::test]
async fn until_its_receipt_is_in_a_message_can_be_sent_again_as_it_was() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    let sent = a.office.node.store().envelope(&id).unwrap().unwrap();
    a.lose(&b).await;
    let again = a.office.resubmit(id, 0, super::work::Because::Silence).unwrap().unwrap();
    assert_eq!((again.envelope.unwrap().encoded(), again.attempt), (&sent, 2));
}

#[tokio::test]
async fn what_its_holder_has_lost_is_sent_again() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    let relay: liaison_protocol::NodeId = "ap-1".parse().unwrap();
    let receipt = super::fact::CustodyFact {
        envelope: id,
        indices: vec![0],
        holder: relay.clone(),
        from: (&a.me()).into(),
        at: a.office.now(),
        receipt: bytes::Bytes::from_static(b"receipt"),
        proof: bytes::Bytes::new(),
    };
    a.lose(&b).await;
    a.commit(vec![receipt.put(id)]).await;
    // One that never had it does not know it either.
    a.tell(answer(id, "ap-2", "ap-2", CustodyState::Unknown)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.queued(&b.me()).is_empty());
    a.tell(answer(id, relay.as_str(), "ap-1", CustodyState::Unknown)).await;
    until(|| a.queued(&b.me()).len() == 1).await;
    assert_eq!(a.queued(&b.me())[0].1.attempt, 2);
    let trace = a.office.trace(id).await.unwrap();
    let again = trace.hops.iter().find(|hop| hop.stage == Stage::Resubmitted).unwrap();
    assert_eq!(again.detail, "attempt 2: ap-1 does not know the message any more");
    // The same answer, late: it is on its way already.
    a.tell(answer(id, relay.as_str(), "ap-1", CustodyState::Unknown)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(a.queued(&b.me()).len(), 1);
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["one"]);
}

#[tokio::test]
async fn what_a_holder_behind_the_last_known_one_has_lost_is_sent_again() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.lose(&b).await;
    // eu-1 took it from ap-1, and its receipt was lost on the way back.
    a.tell(answer(id, "eu-1", "ap-1", CustodyState::Held)).await;
    let recipient = |a: &Desk| a.office.standing(id).unwrap().unwrap().recipients.remove(0);
    until(|| recipient(&a).detail == "held at eu-1 until the next hand-over").await;
    a.tell(answer(id, "eu-1", "ap-1", CustodyState::Unknown)).await;
    until(|| a.queued(&b.me()).len() == 1).await;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["one"]);
}

#[tokio::test]
async fn a_receipt_that_was_lost_is_made_again_when_its_sender_asks() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    b.office.mark_read(id).await.unwrap();
    until(|| !b.queued(&a.me()).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    b.lose(&a).await;
    assert!(a.is(id, MessageState::Custody));
    b.tell(OwnEvent::AskedAfter { id }).await;
    a.exchange(&b, || a.is(id, MessageState::Read)).await;
    // Once a minute is enough.
    b.tell(OwnEvent::AskedAfter { id }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(b.queued(&a.me()).is_empty());
}

// [RCPT-3]
#[tokio::test]
async fn a_read_receipt_counts_whichever_delivery_receipt_it_follows() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let (one, two) = (a.send(&[&b], "one").await, a.send(&[&b], "two").await);
    a.deliver(&b).await;
    until(|| b.queued(&a.me()).len() == 1).await;
    // The first is asked after while its receipt is on its way: another follows.
    b.tell(OwnEvent::AskedAfter { id: one }).await;
    until(|| b.queued(&a.me()).len() == 2).await;
    b.office.mark_read(one).await.unwrap();
    a.exchange(&b, || a.is(one, MessageState::Read) && a.is(two, MessageState::Delivered)).await;

    // The receipt of the third is lost, but for that it was read.
    let three = a.send(&[&b], "three").await;
    a.deliver(&b).await;
    until(|| b.queued(&a.me()).len() == 1).await;
    b.lose(&a).await;
    b.office.mark_read(three).await.unwrap();
    until(|| b.queued(&a.me()).len() == 1).await;
    b.deliver(&a).await;
    assert!(a.is(three, MessageState::Custody));
    b.tell(OwnEvent::AskedAfter { id: three }).await;
    a.exchange(&b, || a.is(three, MessageState::Read)).await;
}

#[tokio::test]
async fn what_the_first_holder_has_forgotten_is_sent_again_though_another_may_hold_it() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.lose(&b).await;
    for (at, holder, from) in [(1, "ap-2", "ncb.sg"), (2, "ap-1", "ncb.sg"), (3, "eu-1", "ap-1")] {
        let fact = super::fact::CustodyFact {
            envelope: id,
            indices: vec![0],
            holder: holder.parse().unwrap(),
            from: from.parse().unwrap(),
            at: a.office.now().after(Duration::from_millis(at)),
            receipt: bytes::Bytes::from_static(holder.as_bytes()),
            proof: bytes::Bytes::new(),
        };
        a.commit(vec![fact.put(id)]).await;
    }
    // Had it before ap-1 did.
    a.tell(answer(id, "ap-2", "ap-2", CustodyState::Unknown)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.queued(&b.me()).is_empty());
    a.tell(answer(id, "ap-1", "ap-1", CustodyState::Unknown)).await;
    until(|| a.queued(&b.me()).len() == 1).await;
}

fn answer(id: MessageId, by: &str, via: &str, state: CustodyState) -> OwnEvent {
    OwnEvent::Answer { id, index: 0, by: by.parse().unwrap(), via: via.parse().unwrap(), state }
}

#[tokio::test]
// [CUST-12]
async fn who_was_handed_a_message_and_does_not_answer_is_silent() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.lose(&b).await;
    let work = |state| {
        a.clock.advance(Duration::from_secs(13 * 3600));
        async {
            a.tell(answer(id, "ap-1", "ap-1", state)).await;
            a.office.attend(id, Ask::Silent, a.office.now()).unwrap().ops.len()
        }
    };
    assert_eq!(work(CustodyState::Held).await, 0);
    assert_eq!(work(CustodyState::Held).await, 0);
    assert_eq!(work(CustodyState::Released { to: "eu-1".parse().unwrap() }).await, 1, "it is sent again");
}

#[tokio::test]
async fn a_day_of_silence_sends_a_message_again() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.lose(&b).await;
    let Attended { ops, inquiries: asked, .. } = a.office.attend(id, Ask::Silent, a.office.now()).unwrap();
    assert!(ops.is_empty() && asked.is_empty(), "it has just been sent");
    a.clock.advance(Duration::from_secs(2 * 3600));
    let Attended { ops, inquiries: asked, .. } = a.office.attend(id, Ask::Silent, a.office.now()).unwrap();
    assert_eq!((ops.len(), asked), (0, vec![(id, 0)]), "an hour later it is asked after");
    a.clock.advance(Duration::from_secs(86_400));
    let Attended { ops, inquiries: asked, .. } = a.office.attend(id, Ask::Silent, a.office.now()).unwrap();
    assert_eq!((ops.len(), asked.len()), (1, 0));
    a.commit(ops).await;
    until(|| a.queued(&b.me()).len() == 1).await;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
}
