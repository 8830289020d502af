use std::time::Duration;

use liaison_node::bundles;
use liaison_protocol::Timestamp;

use super::calendar::Window;
use crate::testing::{Desk, Federation};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

async fn top_up(desk: &Desk) -> bool {
    let office = &desk.office;
    let planned = office.keyring.plan(WEEK, &*office.signer, office.now()).unwrap();
    let Some(mut top_up) = planned else { return false };
    desk.commit(std::mem::take(&mut top_up.ops)).await;
    office.keyring.confirm(top_up);
    true
}

fn published(desk: &Desk) -> bundles::KnownBundle {
    bundles::get(&**desk.office.node.store(), &desk.me()).unwrap().unwrap()
}

fn opens(desk: &Desk, at: Timestamp) -> bool {
    let (key, _) = published(desk).select(at).unwrap();
    desk.office.keyring.secret(key.prekey_id()).is_some()
}

#[tokio::test]
async fn keys_for_thirty_five_days_are_published_and_kept() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    assert!(top_up(&a).await && !top_up(&a).await);
    let now = a.office.now();
    let bundle = published(&a).bundle;
    assert_eq!((bundle.keys.len(), bundle.seq), (35, 1));
    a.stop().await;
    let a = federation.start_idle("ncb.sg").await;
    assert!(!top_up(&a).await, "nothing is to be made after a restart");
    assert!(opens(&a, now) && opens(&a, now.after(DAY * 34)));
}

#[tokio::test]
async fn each_day_adds_a_key_to_the_same_epoch() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    top_up(&a).await;
    let before = published(&a).bundle;
    a.clock.advance(DAY);
    assert!(top_up(&a).await);
    let after = published(&a).bundle;
    assert_eq!((after.epoch, after.seq, after.keys.len()), (before.epoch, 2, 35));
    assert_eq!(after.keys[..34], before.keys[1..]);
}

#[tokio::test]
async fn a_spent_key_opens_nothing_any_more_and_leaves_no_slot() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    top_up(&a).await;
    let today = a.office.now();
    let (key, _) = published(&a).select(today).unwrap();
    a.clock.advance(DAY * 10);
    let now = a.office.now();
    let kept = a.office.keyring.erase_spent(None, now, now).unwrap();
    assert!(kept.is_empty(), "an undrained relay keeps it");
    let ops = a.office.keyring.erase_spent(Some(now), now, now).unwrap();
    assert!(!ops.is_empty());
    a.commit(ops).await;
    assert!(a.office.keyring.secret(key.prekey_id()).is_none());
    a.stop().await;
    let slots = super::slots::SlotFile::open(&federation.slot_file("ncb.sg")).unwrap();
    assert!(slots.key(Window::holding(today).0).is_none());
}

#[tokio::test]
async fn lost_slots_begin_a_new_epoch_with_new_keys() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    top_up(&a).await;
    let before = published(&a).bundle;
    a.stop().await;
    std::fs::remove_file(federation.slot_file("ncb.sg")).unwrap();
    let a = federation.start_idle("ncb.sg").await;
    assert!(!opens(&a, a.office.now()));
    assert!(top_up(&a).await);
    let after = published(&a).bundle;
    assert!(after.epoch > before.epoch && after.seq == 1);
    assert!(after.keys.iter().all(|key| !before.keys.contains(key)));
    assert!(opens(&a, a.office.now()));
}
