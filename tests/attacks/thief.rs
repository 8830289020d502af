//! A thief of an agency's signing key, until the roster replaces it; and the innocent form, a second daemon.

use std::time::Duration;

use certs_dev::Federation as Files;
use liaison_node::clock;
use liaison_protocol::codec::{self, Fixed};
use liaison_protocol::frame::{Bundle, ControlFrame};
use liaison_protocol::keyfile::{KdfCost, KeyEntry, KeyRole, Secret, open_keys, seal_keys};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, SignedBundle};
use liaison_protocol::sign::Signer as _;
use liaison_protocol::{AgencyId, Hash, SigningKey, label, limits};
use liaison_tests::fed::{Federation, Plan, eventually};
use liaison_tests::keys::signing_key;
use rand_core::UnwrapErr;

use crate::hostile::Hostile;

const OWNER: &str = "ncb.ee";
const SENDER: &str = "ncb.sg";

/// A bundle of the owner with the thief's key in it, signed without a look at the rules.
fn stolen(files: &Files, signer: &SigningKey, epoch: u32, seq: u64) -> (Bundle, Hash) {
    let now = clock::now();
    let key = PrekeySecret::generate(&mut UnwrapErr(getrandom::SysRng)).public();
    let hours = Duration::from_secs(12 * 3600);
    let entry = PrekeyEntry { id: key.id(), not_before: now.before(hours), not_after: now.after(hours), once: false };
    let bundle = codec::encode(&PrekeyBundle {
        version: PrekeyBundle::VERSION,
        federation: files.roster().unwrap().federation(),
        agency: OWNER.parse().unwrap(),
        epoch,
        seq,
        issued: now,
        max_ttl_s: 7 * 86_400,
        keys: vec![entry],
    });
    let signature = signer.sign(&[label::PREKEYS, &Hash::of(&[&bundle]).0].concat()).unwrap();
    let signed = SignedBundle { bundle: bundle.into(), key: signer.key_id(), signature };
    let keys = vec![Fixed(Box::new(*key.as_bytes()))];
    (Bundle { bundle: signed.encode().into(), keys }, key.id())
}

fn first_key(frame: &Bundle) -> Hash {
    let signed = SignedBundle::decode(&frame.bundle).unwrap();
    let bundle: PrekeyBundle = codec::decode("bundle", &signed.bundle, limits::BUNDLE_BYTES_MAX).unwrap();
    bundle.keys[0].id
}

/// The owner's key file gets another signing key, and the roster names that one alone.
fn replace_key(files: &Files) {
    let folder = files.agency_folder(&OWNER.parse().unwrap());
    let (path, owner) = (folder.join("identity.key"), SigningKey::generate(&mut UnwrapErr(getrandom::SysRng)));
    let passphrase = std::fs::read(folder.join("passphrase")).unwrap();
    let keys = open_keys(passphrase.trim_ascii_end(), &std::fs::read(&path).unwrap()).unwrap();
    let renew = |key: KeyEntry| match key.role {
        KeyRole::Signing => KeyEntry { secret: Secret::from_slice(owner.seed().as_slice()).unwrap(), ..key },
        _ => key,
    };
    let keys: Vec<KeyEntry> = keys.into_iter().map(renew).collect();
    let sealed =
        seal_keys(passphrase.trim_ascii_end(), &keys, KdfCost::MINIMUM, &mut UnwrapErr(getrandom::SysRng)).unwrap();
    std::fs::write(&path, sealed).unwrap();
    let next = files.publish(|roster| {
        let agency = roster.agencies.iter_mut().find(|agency| agency.id.as_str() == OWNER).unwrap();
        agency.sign_keys[0].public = owner.verifying_key();
    });
    next.unwrap();
}

fn waits_for_key(fed: &Federation, id: &str) -> bool {
    fed.trace(SENDER, id)["recipients"][0]["detail"].as_str().unwrap().contains("keys of")
}

// [PREKEY-7] [PREKEY-8]
#[test]
fn a_revoked_key_no_longer_chooses_whom_senders_seal_to_and_its_owner_publishes_again() {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    ["ap-1", "eu-1", SENDER].into_iter().for_each(|node| fed.start_node(node));
    let owner: AgencyId = OWNER.parse().unwrap();
    let mut thief = Hostile::as_node(fed.files(), OWNER);
    thief.connect(fed.files(), "eu-1");
    let key = signing_key(fed.files(), OWNER);
    // The highest numbers there are: refused. The highest that are taken: taken.
    let (last, _) = stolen(fed.files(), &key, u32::MAX, u64::MAX);
    thief.control(ControlFrame::Bundle(last));
    let (now, ahead) = (clock::now().as_millis(), limits::CLOCK_AHEAD_MAX.as_secs());
    let (bundle, theirs) = stolen(fed.files(), &key, u32::try_from(now / 1000 + ahead).unwrap(), now);
    thief.control(ControlFrame::Bundle(bundle));
    thief.bundle_with(&owner, |bundle| (first_key(bundle) == theirs).then_some(()));
    let before = eventually("the thief's key at the sender", || {
        let status = fed.get(SENDER, "/v1/agencies").ok()?;
        let known = status["agencies"].as_array()?.iter().find(|agency| agency["id"] == OWNER)?;
        known["prekeys_until"].as_str()?;
        Some(fed.send(SENDER, OWNER, &["-s", "Before", "--body", "x"]))
    });
    fed.await_state(SENDER, &before, "custody");
    drop(thief);

    replace_key(fed.files());
    ["ap-1", "eu-1"].into_iter().for_each(|relay| drop(fed.relay(relay, &["reload"]).success()));
    eventually("the next roster at the sender", || {
        (fed.get(SENDER, "/v1/status").ok()?["roster"]["version"] == 2).then_some(())
    });
    let after = fed.send(SENDER, OWNER, &["-s", "After", "--body", "x"]);
    assert!(waits_for_key(&fed, &after), "{}", fed.trace(SENDER, &after));

    fed.start_node(OWNER);
    [&after, &before].into_iter().for_each(|id| fed.await_delivered(SENDER, id));
}

fn finding(fed: &Federation, level: &str) -> Option<()> {
    let found = fed.get(OWNER, "/v1/doctor").ok()?;
    let copy = found["findings"].as_array()?.iter().find(|finding| finding["id"] == "identity-copy")?.clone();
    (copy["level"] == level).then_some(())
}

// [PREKEY-9]
#[test]
fn a_second_daemon_with_a_copy_of_the_identity_is_an_alarm_and_the_first_publishes_above_it() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    finding(&fed, "ok").unwrap();
    let own = fed.store_folder(OWNER);
    let files = ["store", "store.slots"].map(|name| own.with_file_name(name));
    let aside = ["store.aside", "slots.aside"].map(|name| own.with_file_name(name));
    let swap = || files.iter().zip(&aside).for_each(|(file, aside)| std::fs::rename(file, aside).unwrap());
    fed.stop(OWNER);
    swap();
    // The copy makes a store of its own, and runs for as long as it takes to publish.
    fed.start_node(OWNER);
    eventually("the copy's prekeys", || fed.get(OWNER, "/v1/status").ok()?["prekeys_until"].as_str().map(|_| ()));
    eventually("the copy's link", || {
        let up = fed.get(OWNER, "/v1/status").ok()?["links"][0]["state"] == "up";
        up.then_some(())
    });
    let to_copy = fed.send(SENDER, OWNER, &["-s", "To whom?", "--body", "x"]);
    fed.await_delivered(SENDER, &to_copy);
    fed.stop(OWNER);
    files
        .iter()
        .for_each(|file| drop(if file.is_dir() { std::fs::remove_dir_all(file) } else { std::fs::remove_file(file) }));
    files.iter().zip(&aside).for_each(|(file, aside)| std::fs::rename(aside, file).unwrap());

    fed.start_node(OWNER);
    eventually("the alarm", || finding(&fed, "fail"));
    assert!(fed.liaison(OWNER, &["status"]).stdout.contains("ALARM"));
    let events = fed.get(OWNER, "/v1/events?after=0&limit=1000").unwrap();
    let foreign = |event: &serde_json::Value| event["kind"] == "prekeys.foreign";
    assert!(events["items"].as_array().unwrap().iter().any(foreign), "{events}");
    let id = fed.send(SENDER, OWNER, &["-s", "To the first", "--body", "x"]);
    fed.await_delivered(SENDER, &id);
}
