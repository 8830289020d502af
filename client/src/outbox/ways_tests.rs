use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::Entry;
use liaison_node::local::OwnEvent;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::{MessageId, NodeId};

use super::fact::CustodyFact;
use crate::api::model::{MessageState, Precedence};
use crate::daemon::{Ask, Attended};
use crate::testing::{Desk, Federation, submission, until};

/// Longer than the delay of flash, with its jitter.
const DELAY: Duration = Duration::from_secs(38);
const DAY: Duration = Duration::from_secs(86_400);

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// `ncb.sg`, whose homes `links` are linked, and `ncb.ee`, with a flash message that the home relay `by` has taken.
async fn taken(federation: &Federation, links: &[&str], by: &str) -> (Desk, Desk, MessageId) {
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    for link in links {
        a.tell(OwnEvent::LinkUp { peer: node(link) }).await;
    }
    let mut flash = submission(&[&b], "one");
    (flash.precedence, flash.expires_in_s) = (Some(Precedence::Flash), Some(7 * 86_400));
    let id = a.submit(flash).await.id.unwrap().0;
    a.lose(&b).await;
    takes(&a, id, by).await;
    (a, b, id)
}

/// The home relay `by` signs for it.
async fn takes(a: &Desk, id: MessageId, by: &str) {
    let fact = CustodyFact {
        envelope: id,
        indices: vec![0],
        holder: node(by),
        from: (&a.me()).into(),
        at: a.office.now(),
        receipt: Bytes::from(format!("receipt of {by}")),
        proof: Bytes::new(),
    };
    a.commit(vec![fact.put(id)]).await;
}

async fn told(a: &Desk, id: MessageId, by: &str, state: CustodyState) {
    a.tell(OwnEvent::Answer { id, index: 0, by: node(by), via: node("ap-1"), state }).await;
}

fn look(a: &Desk, id: MessageId) -> Attended {
    a.office.attend(id, Ask::Due, a.office.now()).unwrap()
}

/// Commits what is to be done, and waits for what is queued then.
async fn sent_again(a: &Desk, b: &Desk, look: Attended) -> Entry {
    assert_eq!(look.ops.len(), 1);
    a.commit(look.ops).await;
    until(|| a.queued(&b.me()).len() == 1).await;
    a.queued(&b.me()).remove(0).1
}

fn detail(a: &Desk, id: MessageId) -> String {
    a.office.standing(id).unwrap().unwrap().recipients.remove(0).detail
}

// [CUST-15]
#[tokio::test]
async fn each_other_home_gets_what_nobody_signs_for_once_whatever_is_claimed() {
    let federation = Federation::with_homes(2);
    let (a, b, id) = taken(&federation, &["ap-1", "ap-2"], "ap-1").await;
    let first = look(&a, id);
    assert!(first.ops.is_empty() && first.inquiries.is_empty(), "it has just been sent");
    let ask = first.next.unwrap();
    a.clock.advance(Duration::from_secs(16));
    assert!(ask <= a.office.now());
    assert_eq!(look(&a, id).inquiries, [(id, 0)], "asked in time for an answer");
    told(&a, id, "ap-1", CustodyState::Held).await;
    a.clock.advance(DELAY);
    let entry = sent_again(&a, &b, look(&a, id)).await;
    assert_eq!((entry.attempt, entry.path), (2, vec![node("ap-1")]));
    a.lose(&b).await;
    takes(&a, id, "ap-2").await;
    assert!(detail(&a, id).starts_with("sent again by ap-2: no delivery receipt for "), "{}", detail(&a, id));

    // A recipient that is away costs no more than that.
    for _ in 0..6 {
        a.clock.advance(DAY - Duration::from_secs(100));
        told(&a, id, "ap-1", CustodyState::Held).await;
        let look = look(&a, id);
        assert!(look.ops.is_empty() && look.next.is_none(), "{:?}", look.ops);
    }
}

// [CUST-15]
#[tokio::test]
async fn what_an_unreachable_relay_holds_goes_by_another_way_and_people_read_why() {
    let federation = Federation::with_homes(2);
    let (a, b, id) = taken(&federation, &["ap-1", "ap-2"], "ap-1").await;
    a.clock.advance(Duration::from_secs(16));
    told(&a, id, "ap-1", CustodyState::Released { to: node("eu-1") }).await;
    a.clock.advance(DELAY);
    sent_again(&a, &b, look(&a, id)).await;
    assert!(detail(&a, id).starts_with("to be sent again: eu-1 has not answered for 5"), "{}", detail(&a, id));
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["one"]);
}

// [CUST-15]
#[tokio::test]
async fn with_one_home_linked_it_goes_there_again_and_by_the_other_once_that_is_back() {
    let federation = Federation::with_homes(2);
    let (a, b, id) = taken(&federation, &["ap-1"], "ap-1").await;
    a.clock.advance(DELAY);
    let entry = sent_again(&a, &b, look(&a, id)).await;
    assert_eq!(entry.attempt, 2, "relays send it by the recipient's other home");
    a.lose(&b).await;
    a.clock.advance(DAY / 2);
    assert!(look(&a, id).ops.is_empty(), "there is no other way");
    a.tell(OwnEvent::LinkUp { peer: node("ap-2") }).await;
    let entry = sent_again(&a, &b, look(&a, id)).await;
    assert_eq!((entry.attempt, entry.path), (3, vec![node("ap-1")]));
}

#[tokio::test]
async fn people_need_not_wait_and_cannot_send_it_more_often_than_there_are_ways() {
    let federation = Federation::with_homes(2);
    let (a, b, id) = taken(&federation, &["ap-1", "ap-2"], "ap-1").await;
    let said = a.office.retry(id).await.unwrap().detail;
    assert_eq!(said, "0 copies offered again, 1 sent again by another way, 1 asked after at the relays");
    until(|| a.queued(&b.me()).len() == 1).await;
    assert_eq!(detail(&a, id), "to be sent again: asked for with liaison retry");
    a.lose(&b).await;
    takes(&a, id, "ap-2").await;
    let said = a.office.retry(id).await.unwrap().detail;
    assert_eq!(said, "0 copies offered again, 0 sent again by another way, 1 asked after at the relays");
}

// [CUST-15]
#[tokio::test]
async fn who_says_again_and_again_that_a_message_is_lost_does_not_use_up_its_attempts() {
    let federation = Federation::with_homes(2);
    let (a, b, id) = taken(&federation, &["ap-1", "ap-2"], "ap-1").await;
    let mut attempts = 1;
    for _ in 0..200 {
        a.clock.advance(Duration::from_secs(31));
        told(&a, id, "ap-1", CustodyState::Unknown).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        if let Some((_, entry)) = a.queued(&b.me()).pop() {
            attempts = entry.attempt;
            a.lose(&b).await;
        }
    }
    assert!((5..=9).contains(&attempts), "{attempts} in less than two hours");
}
