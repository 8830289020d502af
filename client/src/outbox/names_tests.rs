//! One name for a message, wherever it is and however often it was sealed.

use liaison_node::local::{LocalAgency as _, OwnEvent};
use liaison_protocol::MessageId;
use liaison_protocol::evidence::verify;

use super::tests::pair;
use crate::api::model::{Direction, EventKind, MessageState, RecipientState};
use crate::testing::{Desk, Federation, submission, until};

/// A message to two agencies, of which the second has no key yet when it is sent, and has it now.
async fn sealed_twice(federation: &Federation) -> (Desk, Desk, Desk, MessageId) {
    let (a, b) = pair(federation).await;
    let c = federation.start("ncb.fr").await;
    c.learn_keys_of(&a).await;
    let id = a.send(&[&b, &c], "to both").await;
    a.exchange(&b, || a.sent(id).recipients[0].state == RecipientState::Delivered).await;
    a.clock.advance(std::time::Duration::from_secs(60));
    c.clock.advance(std::time::Duration::from_secs(60));
    a.learn_keys_of(&c).await;
    a.exchange(&c, || a.is(id, MessageState::Delivered)).await;
    (a, b, c, id)
}

#[tokio::test]
async fn a_message_that_was_sealed_again_has_one_name_at_both_ends() {
    let federation = Federation::new();
    let (a, b, c, id) = sealed_twice(&federation).await;
    let trace = a.office.trace(id).await.unwrap();
    let attempt = trace.attempts[0].id.0;
    assert_ne!(attempt, id);
    for desk in [&b, &c] {
        assert_eq!(desk.inbox()[0].id, id.into());
        let events = desk.office.events(0, 100).unwrap();
        assert!(events.iter().any(|event| event.kind == EventKind::Received && event.id == Some(id.into())));
        let message = desk.received(id);
        assert_eq!((message.id, message.created), (id.into(), a.sent(id).created));
        assert_eq!(desk.office.thread(id).unwrap().messages[0].id, id.into());
        let (entry, way) = desk.office.find(&id.short()).unwrap();
        assert_eq!((desk.office.name_of(entry).unwrap(), way), (id, Direction::In));
        desk.office.ack(id).await.unwrap();
        desk.office.mark_read(id).await.unwrap();
        assert!(desk.received(id).acked && !desk.received(id).unread);
    }
    // The envelope's own id names the message, too.
    assert_eq!(a.office.find(&attempt.short()).unwrap(), (id, Direction::Out));
    assert_eq!(c.received(attempt).id, id.into());
    let mut answer = submission(&[&a], "answer");
    answer.in_reply_to = Some(attempt.into());
    let answer = c.submit(answer).await.id.unwrap().0;
    c.deliver(&a).await;
    assert_eq!(a.received(answer).in_reply_to, Some(id.into()));
    assert_eq!(a.office.thread(answer).unwrap().messages.len(), 2);
}

#[tokio::test]
async fn evidence_holds_every_envelope_and_verifies_for_every_recipient() {
    let federation = Federation::new();
    let (a, b, c, id) = sealed_twice(&federation).await;
    let sent = verify(a.office.evidence(id, Direction::Out).unwrap().into(), &a.office.anchor).unwrap();
    assert_eq!(sent.message, id);
    for agency in ["ncb.ee", "ncb.fr"] {
        assert!(sent.to_string().contains(&format!("{agency} signed that it has the message")), "{sent}");
    }
    for desk in [&b, &c] {
        let received = verify(desk.office.evidence(id, Direction::In).unwrap().into(), &desk.office.anchor).unwrap();
        assert_eq!(received.message, id);
    }
}

#[tokio::test]
async fn a_name_goes_with_its_message() {
    let federation = Federation::new();
    let (_, _, c, id) = sealed_twice(&federation).await;
    let entry = c.office.entry(id).unwrap();
    assert_ne!(entry, id);
    c.commit(c.office.forget_received(entry).unwrap()).await;
    assert!(c.office.find(&id.to_string()).is_err());
    assert_eq!(c.office.entry(id).unwrap(), id);
}

#[tokio::test]
async fn a_message_to_ones_own_agency_is_sent_and_received() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&a, &b], "to us, too").await;
    assert_eq!(a.deliver(&a).await, []);
    a.exchange(&b, || a.sent(id).recipients.iter().any(|to| to.state == RecipientState::Delivered)).await;
    let text = id.short();
    assert_eq!(a.office.find(&text).unwrap(), (id, Direction::In));
    assert_eq!(a.office.find_going(&text, Direction::Out).unwrap(), (id, Direction::Out));
    let receipts = a.office.receipts(id, Direction::Out).unwrap();
    assert!(!receipts.receipts.is_empty());
    // What was received has its receipts elsewhere, and claims nothing.
    let received = b.office.receipts(id, Direction::In).unwrap();
    assert!(!received.complete && received.receipts.is_empty() && received.direction == Direction::In);
}

#[tokio::test]
async fn an_expired_message_with_attachments_is_one_event_and_nothing_is_waited_for() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let mut message = submission(&[&b], "with three files");
    for name in ["one", "two", "three"] {
        let upload = crate::api::model::NewUpload { name: name.into(), total_len: 5 };
        let upload = a.office.new_upload(upload).await.unwrap().id;
        a.office.append(&upload, 0, b"octet".as_slice().into()).await.unwrap();
        message.attachments.push(crate::api::model::AttachmentRef { upload, name: name.into() });
    }
    let id = a.submit(message).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 4).await;
    let now = a.office.now();
    let mut ops = Vec::new();
    // In one commit, as when their time is up together; the chunks first.
    let mut envelopes: Vec<MessageId> = a.queued(&b.me()).into_iter().map(|(_, entry)| entry.id).collect();
    envelopes.sort_by_key(|envelope| *envelope == id);
    for id in envelopes {
        ops.extend(a.office.progress(OwnEvent::Expired { id, index: 0 }, now));
    }
    a.commit(ops).await;
    until(|| a.is(id, MessageState::Undeliverable) && a.office.work(1).unwrap().is_empty()).await;
    // And one that comes late.
    a.tell(OwnEvent::Expired { id, index: 0 }).await;
    until(|| a.office.work(1).unwrap().is_empty()).await;
    let events = a.office.events(0, 100).unwrap();
    let ended: Vec<_> = events.iter().filter(|event| event.kind == EventKind::Undeliverable).collect();
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert!(!ended[0].detail.ends_with(':') && !ended[0].detail.ends_with(' '), "{:?}", ended[0].detail);
    let receipts = a.office.receipts(id, Direction::Out).unwrap();
    assert_eq!((receipts.awaited, receipts.undelivered), (Vec::new(), vec![b.me()]));
}
