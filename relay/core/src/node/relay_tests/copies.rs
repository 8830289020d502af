//! A second copy of a message comes to a relay while the first one is on its way to the disk, to another, or out.

use std::time::Duration;

use liaison_protocol::Precedence;
use liaison_protocol::refusal::RefusalReason;

use super::{BEHIND, Hub, RELAY, SPARE, Word, acked, acks, sends};
use crate::durable::Durable;
use crate::event::{CommitResult, Event};
use crate::link::NodeKind;
use crate::op::{Held, Remembered};

/// What the store says of a message that is held.
fn held(hub: &Hub) -> Option<Remembered> {
    Some(Remembered::mark(1, Held::Yes, hub.now.after(Duration::from_secs(86_400))))
}

// [CUST-4]
#[test]
fn what_was_said_to_be_held_while_it_was_sent_is_kept_whatever_the_answer() {
    let mut hub = Hub::new(|_| ());
    hub.link_up(4, SPARE, NodeKind::Relay);
    let letter = hub.letter_to(BEHIND, "ncb.sg", Precedence::Routine, 500);
    let [send] = sends(&hub.offer("ncb.sg", letter.clone())).try_into().unwrap();
    hub.seen = held(&hub);
    assert_eq!(hub.hand_over(SPARE, letter.clone()).taken, [0], "it is held here");
    // The other relay may have let go of its copy for this word, and call this one a duplicate of that copy.
    let signed = hub.receipt(RELAY, letter.id(), &[0]);
    hub.acknowledge(&send, Word::Duplicate, Some(signed));
    assert_eq!(hub.node.queues()[0].entries, 1);
}

// [CUST-4]
#[test]
fn what_is_just_leaving_is_not_said_to_be_held() {
    let mut hub = Hub::new(|_| ());
    hub.link_up(4, SPARE, NodeKind::Relay);
    let letter = hub.letter_to(BEHIND, "ncb.sg", Precedence::Routine, 500);
    let [send] = sends(&hub.offer("ncb.sg", letter.clone())).try_into().unwrap();
    let signed = hub.receipt(RELAY, letter.id(), &[0]);
    hub.step(acked(&send, Word::Taken, Some(signed)));
    // The release is not durable: the store still says that the message is held.
    hub.seen = held(&hub);
    let copy = hub.received(SPARE, letter);
    let mut actions = hub.step(copy);
    actions.extend(hub.handle(Event::Committed(CommitResult::Durable(Durable::assertion(1)))));
    let [ack] = acks(actions).try_into().unwrap();
    assert!(ack.taken.is_empty() && ack.duplicate.is_empty(), "{ack:?}");
    assert_eq!(ack.refused[0].reason, RefusalReason::NoRoute.code());
    assert!(ack.refused[0].retry_after_ms > 0);
}

// [CUST-1]
#[test]
fn a_copy_of_what_a_full_disk_did_not_take_is_not_said_to_be_held() {
    let mut hub = Hub::new(|_| ());
    let letter = hub.letter("ncb.sg", Precedence::Routine, 500);
    let first = hub.received("ncb.sg", letter.clone());
    hub.step(first);
    let second = hub.received("ncb.sg", letter);
    hub.step(second);
    let mut actions = hub.step(Event::Committed(CommitResult::Full));
    hub.now = hub.now.after(Duration::from_secs(60));
    actions.extend(hub.handle(Event::Timer));
    let acks = acks(actions);
    assert_eq!(acks.len(), 2);
    for ack in acks {
        assert!(ack.taken.is_empty() && ack.duplicate.is_empty(), "{ack:?}");
        assert_eq!(ack.refused[0].reason, RefusalReason::DiskLow.code());
    }
}
