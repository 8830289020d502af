//! Chunks that somebody sends to hurt: another's as one's own, and more than anybody announces.

use std::time::Duration;

use liaison_node::local::{LocalAgency, OwnEvent, Received};
use liaison_protocol::chunk::{AttachmentKey, ChunkRequest, seal_chunk};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::inner::{Content, Message};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{MessageId, NodeId, Precedence};

use super::tests::{file, pair, read, upload};
use super::unannounced::UnannouncedLimits;
use crate::api::model::{Direction, MessageState};
use crate::daemon::Ask;
use crate::outbox::sealing::Sealing;
use crate::testing::{Desk, Federation, submission, until};

const CHUNK: u64 = 256 * 1024 + 16;
const HOUR: Duration = Duration::from_secs(3600);

/// A chunk that `from` signs.
fn chunk(from: &Desk, to: &Desk, key: &AttachmentKey, index: u32, count: u32, plaintext: &[u8]) -> VerifiedEnvelope {
    let request = ChunkRequest {
        federation: from.office.roster().federation(),
        sender: &NodeId::from(&from.me()),
        recipients: &[to.me()],
        created: from.office.now(),
        expires: from.office.now().after(10 * 24 * HOUR),
        precedence: Precedence::Routine,
        key,
        index,
        count,
        plaintext,
    };
    seal_chunk(&request, &*from.office.signer, &mut from.office.shelf.random()).unwrap()
}

/// A chunk that no message announces.
fn stray(from: &Desk, to: &Desk, index: u32) -> VerifiedEnvelope {
    chunk(from, to, &AttachmentKey::generate(&mut from.office.shelf.random()), index, 100, &[1])
}

/// Hands an envelope over; why it was not taken.
async fn hand(to: &Desk, envelope: &VerifiedEnvelope) -> Option<RefusalReason> {
    match to.office.receive(envelope, 0, to.office.now()) {
        Received::Deliver { ops, .. } => {
            to.commit(ops).await;
            to.office.committed(envelope.id());
            None
        }
        Received::Later { reason, .. } => Some(reason),
        other => panic!("{other:?}"),
    }
}

/// A message of `from` with these attachments, however they came to it.
async fn announce(from: &Desk, to: &Desk, message: Message) -> MessageId {
    let sealing = Sealing {
        content: &Content::Message(message),
        recipients: &[to.me()],
        created: from.office.now(),
        expires: from.office.now().after(24 * HOUR),
        precedence: Precedence::Routine,
    };
    let envelope = from.office.seal(&sealing).unwrap().branch([0]).unwrap();
    assert_eq!(hand(to, &envelope).await, None);
    envelope.id()
}

fn unannounced(desk: &Desk) -> u64 {
    desk.office.unannounced.standing().0
}

// [CHUNK-1]
#[tokio::test]
async fn a_chunk_that_an_accomplice_signs_first_does_not_stand_in_for_its_senders() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    c.learn_keys_of(&b).await;
    let octets = file(300_000);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &octets, 300_000).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;

    // The accomplice has the sealed chunks, and signs them as its own: the same bodies under other headers.
    let message = a.office.sent(id).unwrap().unwrap().message;
    let announced = message.attachments[0].clone();
    let copies = [0, 1].map(|index: u32| {
        let at = index as usize * 256 * 1024;
        let plaintext = &octets[at..octets.len().min(at + 256 * 1024)];
        chunk(&c, &b, &announced.key, index, 2, plaintext)
    });
    for (copy, hash) in copies.iter().zip(&announced.chunk_hashes) {
        assert_eq!(copy.header().body_hash, *hash);
        assert_eq!(hand(&b, copy).await, None);
    }
    assert_eq!(unannounced(&b), 2 * CHUNK);
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(read(&b, id, Direction::In, 1), octets);
    assert_eq!(unannounced(&b), 2 * CHUNK, "the accomplice's are its own, and announced by nobody");

    // Its message with the same attachment comes and goes: the other's attachment stays.
    let its = announce(&c, &b, message).await;
    until(|| b.has(its, MessageState::Received)).await;
    assert_eq!(unannounced(&b), 0);
    b.commit(b.office.forget_received(its).unwrap()).await;
    assert_eq!(read(&b, id, Direction::In, 1), octets);
}

#[tokio::test]
async fn a_chunk_of_two_messages_goes_with_the_last_of_them() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let octets = file(7);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &octets, 7).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    let message = a.office.sent(id).unwrap().unwrap().message;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    let again = announce(&a, &b, Message { thread: Some(id), ..message.clone() }).await;
    until(|| b.has(again, MessageState::Received)).await;
    b.commit(b.office.forget_received(id).unwrap()).await;
    assert_eq!(read(&b, again, Direction::In, 1), octets);
    b.commit(b.office.forget_received(again).unwrap()).await;
    let name = super::ChunkName::new(&a.me(), &message.attachments[0].chunk_hashes[0]);
    for place in [super::chunk_place(name), super::arrived_place(name)] {
        assert!(!b.office.shelf.has(&place).unwrap());
    }
}

// [CHUNK-4]
#[tokio::test]
async fn chunks_that_no_message_announces_have_a_budget_for_each_sender_and_one_for_all() {
    let mut federation = Federation::new();
    federation.unannounced.bytes_max = 16 * CHUNK;
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    for index in 0..2 {
        assert_eq!(hand(&b, &stray(&a, &b, index)).await, None);
    }
    assert_eq!(hand(&b, &stray(&a, &b, 2)).await, Some(RefusalReason::Quota));
    assert_eq!(hand(&b, &stray(&c, &b, 2)).await, None, "another sender has a budget of its own");
    assert_eq!(unannounced(&b), 3 * CHUNK);
    let (status, findings) = (b.operator.status().await.unwrap(), |status: &_| b.office.doctor(status, &[]).unwrap());
    let text = &findings(&status).into_iter().find(|finding| finding.id == "inbox").unwrap().text;
    assert!(text.contains("512.0 KiB from ncb.sg"), "{text}");
    assert_eq!(b.office.status(&status, &[]).unwrap().inbox.unannounced_bytes, 3 * CHUNK);

    // A restart forgets none of them; and what a message announces always has room.
    b.stop().await;
    let b = federation.start("ncb.ee").await;
    assert_eq!(unannounced(&b), 3 * CHUNK);
    assert_eq!(hand(&b, &stray(&a, &b, 2)).await, Some(RefusalReason::Quota));
    b.learn_keys_of(&a).await;
    let octets = file(400_000);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &octets, 400_000).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(read(&b, id, Direction::In, 1), octets);

    // Their time over, they go, and make room.
    b.clock.advance(UnannouncedLimits::DEFAULT.life + HOUR);
    b.commit(b.office.forget_unannounced(b.office.now(), 100).unwrap()).await;
    assert_eq!(unannounced(&b), 0);
    assert_eq!(b.office.shelf.scan(liaison_core::op::Table::Chunks, b"x").count(), 0);
    assert_eq!(read(&b, id, Direction::In, 1), octets);
    assert_eq!(hand(&b, &stray(&c, &b, 3)).await, None);
}

// [CHUNK-4]
#[tokio::test]
async fn chunks_that_went_before_their_message_came_are_sent_again() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let octets = file(300_000);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &octets, 300_000).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;
    // The message is held up for two days; its chunks come, and go.
    let held_up = a.queued(&b.me()).remove(0);
    let bytes = a.office.node.store().envelope(&id).unwrap().unwrap();
    let gone = liaison_core::op::Op::Dequeue { position: held_up.0, id, expires: held_up.1.expires };
    a.commit(vec![gone]).await;
    assert_eq!(a.deliver(&b).await, []);
    until(|| unannounced(&b) == 2 * CHUNK).await;
    b.clock.advance(48 * HOUR);
    a.clock.advance(48 * HOUR);
    b.commit(b.office.forget_unannounced(b.office.now(), 100).unwrap()).await;
    let roster = a.office.roster();
    let envelope = liaison_protocol::envelope::verify_bytes(bytes, &roster.federation(), &*roster).unwrap();
    assert_eq!(hand(&b, &envelope).await, None);
    assert!(b.has(id, MessageState::Arriving));

    // Its sender hears that the message is there, and gets no receipt for a day.
    let (by, via): (NodeId, NodeId) = ("ap-1".parse().unwrap(), "ap-1".parse().unwrap());
    a.tell(OwnEvent::Answer { id, index: 0, by, via, state: CustodyState::Delivered }).await;
    let attended = a.office.attend(id, Ask::Silent, a.office.now()).unwrap();
    a.commit(attended.ops).await;
    a.office.wake.feed.notify_one();
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(read(&b, id, Direction::In, 1), octets);
}
