use std::path::Path;
use std::time::Duration;

use liaison_protocol::MessageId;
use liaison_protocol::receipt::{ChainFinding, SignedReceipt, audit};

use crate::api::model::{Direction, MessageState};
use crate::outbox::fact::Fact;
use crate::testing::{Desk, Federation, until};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Sends one message, and gives the delivery receipt that comes back.
async fn receipt(from: &Desk, to: &Desk, subject: &str) -> (MessageId, SignedReceipt) {
    let id = from.send(&[to], subject).await;
    from.exchange(to, || from.is(id, MessageState::Delivered)).await;
    let facts = from.office.facts(id).unwrap();
    let delivered = facts.by_recipient.iter().find_map(|(_, fact)| match fact {
        Fact::Delivered(proven) => Some(proven.receipt.clone()),
        _ => None,
    });
    (id, SignedReceipt::decode(&delivered.unwrap()).unwrap())
}

// [RCPT-4] [RCPT-8]
#[tokio::test]
async fn a_daemon_whose_store_is_put_back_repeats_no_receipt_and_no_cursor() {
    let federation = Federation::new();
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    let mut receipts = vec![receipt(&a, &b, "before").await.1];
    b.stop().await;
    let (store, backup) = (federation.store_folder("ncb.ee"), federation.store_folder("backup"));
    copy(&store, &backup);
    let b = federation.start("ncb.ee").await;
    let (lost, signed) = receipt(&a, &b, "after the backup").await;
    receipts.push(signed);
    let cursor = b.office.last_event().unwrap();
    b.stop().await;
    for round in 0..2 {
        std::fs::remove_dir_all(&store).unwrap();
        copy(&backup, &store);
        let b = federation.start("ncb.ee").await;
        let (id, signed) = receipt(&a, &b, "after it was put back").await;
        receipts.push(signed);
        let seen = b.office.events(cursor, 100).unwrap();
        assert!(seen.iter().any(|event| event.id.is_some_and(|of| of.0 == id)), "round {round}: {seen:?}");
        assert!(b.office.message(lost, Direction::In).is_err(), "what came after the backup is gone");
        b.stop().await;
    }
    let findings = audit(&receipts).unwrap();
    let lie = findings.iter().find(|finding| matches!(finding, ChainFinding::Equivocation(_)));
    assert!(lie.is_none(), "{lie:?}");
}

#[tokio::test]
async fn receipts_that_waited_for_a_key_leave_as_soon_as_it_is_known() {
    let federation = Federation::new();
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    let id = a.send(&[&b], "to an agency that does not know our keys").await;
    a.deliver(&b).await;
    let shelved = || b.queued(&a.me()).is_empty() && b.office.message(id, Direction::In).is_ok();
    until(shelved).await;
    // The receipts are tried, and put aside: the test's clock does not go on by itself.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(shelved());
    b.learn_keys_of(&a).await;
    b.exchange(&a, || a.is(id, MessageState::Delivered)).await;
}
