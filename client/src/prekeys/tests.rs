use std::path::{Path, PathBuf};
use std::time::Duration;

use liaison_node::bundles;
use liaison_node::local::{ForeignBundle, OwnEvent};
use liaison_protocol::prekey::{BundlePosition, SignedBundle};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{Hash, Timestamp};
use zeroize::Zeroizing;

use super::calendar::Window;
use crate::api::model::{EventKind, Finding, Level};
use crate::testing::{Desk, Federation, holds, until};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);

async fn top_up(desk: &Desk) -> bool {
    let office = &desk.office;
    let planned = office.keyring.plan(WEEK, &*office.signer, office.witnessed(), office.now()).unwrap();
    let Some(mut top_up) = planned else { return false };
    desk.commit(std::mem::take(&mut top_up.ops)).await;
    office.keyring.confirm(top_up).unwrap();
    true
}

fn published(desk: &Desk) -> bundles::KnownBundle {
    desk.known(&desk.me()).unwrap()
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
    let bundle = published(&a).bundle().clone();
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
    let before = published(&a).bundle().clone();
    a.clock.advance(DAY);
    assert!(top_up(&a).await);
    let after = published(&a).bundle().clone();
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
    let before = published(&a).bundle().clone();
    a.stop().await;
    std::fs::remove_file(federation.slot_file("ncb.sg")).unwrap();
    let a = federation.start_idle("ncb.sg").await;
    assert!(!opens(&a, a.office.now()));
    assert!(top_up(&a).await);
    let after = published(&a).bundle().clone();
    assert!(after.epoch > before.epoch && after.seq == 1);
    assert!(after.keys.iter().all(|key| !before.keys.contains(key)));
    assert!(opens(&a, a.office.now()));
}

fn position(desk: &Desk) -> BundlePosition {
    published(desk).position()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

async fn alarm(desk: &Desk) -> Finding {
    let node = desk.operator.status().await.unwrap();
    desk.office.doctor(&node, &[]).unwrap().into_iter().find(|finding| finding.id == "identity-copy").unwrap()
}

/// Makes a bundle, keeps its store and its slots, lives another day, and stops.
async fn lived_on(federation: &Federation, name: &str) -> (BundlePosition, PathBuf, PathBuf) {
    let a = federation.start_idle(name).await;
    top_up(&a).await;
    a.stop().await;
    let (store, slots) = (federation.store_folder(name), federation.slot_file(name));
    let (old_store, old_slots) = (store.with_extension("old"), slots.with_extension("before"));
    copy(&store, &old_store);
    std::fs::copy(&slots, &old_slots).unwrap();
    let a = federation.start_idle(name).await;
    assert_eq!(alarm(&a).await.level, Level::Ok);
    a.clock.advance(DAY);
    assert!(top_up(&a).await);
    let last = position(&a);
    a.stop().await;
    (last, old_store, old_slots)
}

// Attack 36, [PREKEY-5].
#[tokio::test]
async fn a_store_restored_beside_living_slots_begins_a_new_epoch_and_says_so() {
    let federation = Federation::new();
    let (last, old_store, _) = lived_on(&federation, "ncb.sg").await;
    let store = federation.store_folder("ncb.sg");
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::rename(old_store, &store).unwrap();
    let a = federation.start_idle("ncb.sg").await;
    let found = alarm(&a).await;
    assert!(found.level == Level::Warn && found.text.contains("store is older"), "{found:?}");
    assert!(top_up(&a).await, "though nothing is missing");
    assert!(position(&a).epoch > last.epoch, "{:?}", position(&a));
    assert!(opens(&a, a.office.now()));
    a.stop().await;
    let a = federation.start_idle("ncb.sg").await;
    assert!(!top_up(&a).await, "once");
}

// Attack 36, [PREKEY-5].
#[tokio::test]
async fn slots_restored_beside_a_living_store_begin_a_new_epoch_and_it_says_so() {
    let federation = Federation::new();
    let (last, _, old_slots) = lived_on(&federation, "ncb.sg").await;
    std::fs::rename(old_slots, federation.slot_file("ncb.sg")).unwrap();
    let a = federation.start_idle("ncb.sg").await;
    let found = alarm(&a).await;
    assert!(found.level == Level::Warn && found.text.contains("slot file is older"), "{found:?}");
    assert!(top_up(&a).await);
    assert!(position(&a).epoch > last.epoch, "{:?}", position(&a));
}

// [PREKEY-9]
#[tokio::test]
async fn a_foreign_bundle_is_published_above_with_an_alarm_everywhere() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    until(|| a.known(&a.me()).is_some()).await;
    let (own, now) = (position(&a), a.office.now());
    let theirs = BundlePosition { epoch: own.epoch + 30, seq: 400 };
    let foreign =
        ForeignBundle { position: theirs, issued: now, signer: a.office.signer.key_id(), hash: Hash([1; 32]) };
    a.tell(OwnEvent::ForeignBundle(foreign)).await;
    until(|| position(&a) > theirs).await;
    assert!(opens(&a, now), "with the keys that it holds");
    let found = alarm(&a).await;
    assert!(found.level == Level::Fail && found.text.contains("a second daemon"), "{found:?}");
    let alarms = a.office.status(&a.operator.status().await.unwrap(), &[]).unwrap().alarms;
    assert_eq!(alarms.iter().filter(|alarm| alarm.starts_with("identity-copy: ")).count(), 1, "{alarms:?}");
    let event =
        |events: Vec<crate::api::model::Event>| events.iter().any(|event| event.kind == EventKind::PrekeysForeign);
    until(|| event(a.office.events(0, 100).unwrap())).await;
    // Its own is none of somebody else's.
    let stands = position(&a);
    let signed = SignedBundle::decode(&a.bundle().bundle).unwrap();
    let own = ForeignBundle { position: stands, hash: Hash::of(&[&signed.bundle]), ..foreign };
    assert!(a.office.met_foreign(&own, now).is_empty());
    // The alarm ends with the key that signed it.
    let replaced = federation.roster_with(|roster| {
        let agency = roster.agencies.iter_mut().find(|agency| agency.id == a.me()).unwrap();
        agency.sign_keys[0].public = SigningKey::from_seed(&Zeroizing::new([7; 32])).verifying_key();
    });
    a.follow(&replaced).await;
    assert_eq!(alarm(&a).await.level, Level::Ok);
}

/// Attack 35: what is seized after a key's day is over opens nothing of that day.
#[tokio::test]
async fn a_seized_disk_holds_no_byte_of_an_erased_key() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    top_up(&a).await;
    let today = a.office.now();
    let key_of = |at: Timestamp| {
        let (key, _) = published(&a).select(at).unwrap();
        let secret = a.office.keyring.secret(key.prekey_id()).unwrap();
        let slot = *a.office.keyring.lock().slots.key(Window::holding(at).0).unwrap();
        (secret.seed().clone(), slot)
    };
    let ((spent, spent_slot), (kept, kept_slot)) = (key_of(today), key_of(today.after(DAY * 9)));
    a.clock.advance(DAY * 10);
    let now = a.office.now();
    let ops = a.office.keyring.erase_spent(Some(now), now, now).unwrap();
    a.commit(ops).await;
    a.stop().await;

    // All of it: the slot file, the store's journal and tables, and whatever else lies beside them.
    let image = |bytes: &[u8]| holds(federation.image(), bytes);
    assert!(image(&kept_slot), "the scan finds what is there");
    for piece in spent_slot.chunks(8) {
        assert!(!image(piece), "a piece of the slot is left");
    }
    assert!(!image(spent.as_slice()) && !image(kept.as_slice()), "no private half is anywhere without its slot's key");
}

// [PREKEY-4]
#[tokio::test]
async fn a_clock_that_jumps_again_and_again_neither_fills_the_slots_nor_erases_a_key_of_today() {
    let federation = Federation::new();
    let a = federation.start_idle("ncb.sg").await;
    let today = a.office.now();
    for witness in ["ap-1", "ncb.ee"] {
        a.office.note_witness(&witness.parse().unwrap(), today, today);
    }
    top_up(&a).await;
    let slot_of_today = || a.office.keyring.lock().slots.key(Window::holding(today).0).copied();
    let slot = slot_of_today().unwrap();
    for jump in [40, 400, 100, 700, 250, 1_000, 36, 160] {
        a.clock.advance(DAY * jump);
        let jumped = a.office.now();
        assert!(top_up(&a).await, "{jump}");
        // After a long jump no key of the roster is valid, and nobody could seal to this agency.
        assert!(a.known(&a.me()).is_none() || opens(&a, jumped));
        // The eraser's turn: no relay was drained in a time that nobody has seen.
        let ops = a.office.keyring.erase_spent(Some(today), a.office.witnessed(), jumped).unwrap();
        a.commit(ops).await;
        a.clock.go_back(DAY * jump);
        assert!(top_up(&a).await, "what is published names the days of now again");
        assert!(opens(&a, today) && opens(&a, today.after(DAY * 34)), "{jump}");
        assert_eq!(slot_of_today(), Some(slot), "{jump}");
    }
    let epoch = position(&a).epoch;
    assert!(u64::from(epoch) <= a.office.now().as_millis() / 1000, "no number of a time to come");
    // And not only in memory.
    a.stop().await;
    let a = federation.start_idle("ncb.sg").await;
    assert!(!top_up(&a).await && opens(&a, today));
}
