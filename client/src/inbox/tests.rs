use std::time::Duration;

use liaison_core::op::Table;
use liaison_protocol::inner::{Content, Supersedes};
use liaison_protocol::{MessageId, Precedence};

use crate::api::model::{Direction, EventKind, ListOrder, ListQuery, MessageState, ProblemCode};
use crate::outbox::sealing::Sealing;
use crate::testing::{Desk, Federation, holds, submission, until};

async fn pair(federation: &Federation) -> (Desk, Desk) {
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    (a, b)
}

#[tokio::test]
async fn what_is_not_handed_over_is_offered_again_after_a_restart() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let (one, two) = (a.send(&[&b], "one").await, a.send(&[&b], "two").await);
    a.deliver(&b).await;
    b.office.ack(one).await.unwrap();
    b.stop().await;
    let b = federation.start("ncb.ee").await;
    assert!(b.received(one).acked && !b.received(two).acked);
    assert_eq!(b.subjects(), ["one", "two"]);
}

#[tokio::test]
async fn the_event_stream_goes_on_after_a_restart_where_it_stopped() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    a.send(&[&b], "one").await;
    a.deliver(&b).await;
    let seen = b.office.events(0, 100).unwrap();
    let last = seen.iter().rfind(|event| event.kind == EventKind::Received).unwrap();
    let cursor = last.cursor;
    b.stop().await;
    let b = federation.start("ncb.ee").await;
    a.send(&[&b], "two").await;
    a.deliver(&b).await;
    let next = b.office.events(cursor, 100).unwrap();
    let received: Vec<_> = next.iter().filter(|event| event.kind == EventKind::Received).collect();
    assert_eq!(received.len(), 1);
    assert!(received[0].cursor > cursor);
    assert_eq!(b.received(received[0].id.unwrap().0).subject, "two");
}

#[tokio::test]
async fn a_copy_is_no_second_message() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    let copy = a.queued(&b.me());
    a.deliver(&b).await;
    assert_eq!(copy[0].1.id, id);
    let kept: crate::kept::Kept = b.office.received_kept(id).unwrap().unwrap();
    let envelope = kept.envelope(Table::Inbox, &b.office.roster().federation()).unwrap();
    let again = b.office.take(&envelope, 0, b.office.now()).unwrap();
    let liaison_node::local::Received::Deliver { ops, .. } = again else { panic!("{again:?}") };
    assert_eq!(ops.len(), 1, "a receipt is owed, and nothing else");
    b.office.chains.leave(id);
}

#[tokio::test]
async fn what_is_read_stays_until_nothing_of_it_can_come() {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut federation = Federation::new();
    federation.retain_read = DAY;
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "one").await;
    a.deliver(&b).await;
    b.office.ack(id).await.unwrap();
    b.office.mark_read(id).await.unwrap();
    until(|| !b.queued(&a.me()).is_empty()).await;
    b.stop().await;

    // Nobody tidies up but this test.
    let b = federation.start_idle("ncb.ee").await;
    let unretained = || b.office.unretained(Table::Inbox, 0, 10).unwrap().0;
    b.clock.advance(7 * DAY);
    assert_eq!(unretained(), [], "its sender may ask for the receipt");
    b.clock.advance(DAY + Duration::from_secs(60));
    assert_eq!(unretained(), [id]);
}

#[tokio::test]
async fn nobody_supersedes_the_message_of_another_sender() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    c.learn_keys_of(&b).await;
    let id = a.send(&[&b], "the true one").await;
    // The thief has seen the id, and is first.
    let mut message = c.office.sent(c.send(&[&b], "bait").await).unwrap().unwrap().message;
    message.subject = "the false one".into();
    message.chain = Some(Supersedes { first: id, previous: id, sent: c.office.now() });
    let sealing = Sealing {
        content: &Content::Message(message),
        recipients: &[b.me()],
        created: c.office.now(),
        expires: c.office.now().after(Duration::from_secs(3600)),
        precedence: Precedence::Routine,
    };
    let outgoing = c.office.seal(&sealing).unwrap();
    c.office.node.submit(outgoing.branch([0]).unwrap(), 1, Vec::new()).await.unwrap();
    c.deliver(&b).await;
    a.deliver(&b).await;
    assert_eq!(b.subjects(), ["bait", "the false one", "the true one"]);
    // Nor does a message take the name of another.
    let names: std::collections::BTreeSet<_> = b.inbox().iter().map(|line| line.id.to_string()).collect();
    assert_eq!(names.len(), 3);
    assert_eq!(b.received(id).subject, "the true one");
    assert_eq!(b.office.find(&id.to_string()).unwrap(), (id, Direction::In));
}

#[tokio::test]
async fn lists_filter_and_go_on_from_either_end() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    for n in 0..5 {
        a.send(&[&b], &format!("{n}")).await;
    }
    a.deliver(&b).await;
    let page = |query: ListQuery| {
        let page = b.office.list(Direction::In, &query).unwrap();
        (page.items.iter().map(|line| line.subject.clone()).collect::<Vec<_>>().concat(), page.next)
    };
    let (first, next) = page(ListQuery { limit: Some(2), ..ListQuery::default() });
    let (rest, end) = page(ListQuery { after: next, ..ListQuery::default() });
    assert_eq!((first + &rest, end), ("01234".to_owned(), None));
    let newest = ListQuery { limit: Some(2), order: Some(ListOrder::Newest), ..ListQuery::default() };
    let (last, next) = page(newest.clone());
    assert_eq!(last, "43");
    assert_eq!(page(ListQuery { before: next, ..newest }).0, "21");
    b.office.mark_read(b.inbox()[1].id.0).await.unwrap();
    assert_eq!(page(ListQuery { unread: Some(true), ..ListQuery::default() }).0, "0234");
    let other = ListQuery { from: Some("ncb.fr".parse().unwrap()), ..ListQuery::default() };
    assert_eq!(page(other).0, "");
}

#[tokio::test]
async fn a_thread_shows_both_ways() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "question").await;
    a.deliver(&b).await;
    let mut answer = submission(&[&a], "answer");
    answer.in_reply_to = Some(id.into());
    let answer = b.submit(answer).await.id.unwrap().0;
    b.deliver(&a).await;
    for desk in [&a, &b] {
        let thread = desk.office.thread(answer).unwrap();
        let subjects: Vec<_> = thread.messages.iter().map(|line| line.subject.as_str()).collect();
        assert_eq!((thread.id.0, subjects), (id, vec!["question", "answer"]));
    }
    assert_eq!(a.received(answer).in_reply_to, Some(id.into()));
}

#[tokio::test]
async fn the_beginning_of_an_id_finds_its_message() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id: MessageId = a.send(&[&b], "one").await;
    let text = id.to_string();
    for chars in [4, 5, 10, 51, 52] {
        assert_eq!(a.office.find(&text[..chars]).unwrap(), (id, Direction::Out));
    }
    for wrong in ["", &text[..3], "uuuu", &(text.clone() + "0"), "../../x"] {
        assert_eq!(a.office.find(wrong).unwrap_err().code, ProblemCode::UnknownMessage.as_str(), "{wrong}");
    }
}

#[tokio::test]
async fn no_word_of_a_message_is_on_disk_in_clear() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let id = a.send(&[&b], "planted marker").await;
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    a.stop().await;
    b.stop().await;
    for agency in ["ncb.sg", "ncb.ee"] {
        let folder = federation.store_folder(agency);
        assert!(!holds(&folder, b"planted marker"), "{agency}");
        assert!(holds(&folder, id.0.0.as_slice()), "{agency}: the search finds what is there");
    }
}
