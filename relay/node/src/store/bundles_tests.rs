//! Prekey bundles in a real store.

use std::path::Path;
use std::time::Duration;

use certs_dev::{Federation, Kdf, Options};
use liaison_protocol::FederationId;
use liaison_protocol::codec::Fixed;
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeyPublic, PrekeySecret, sign_bundle};
use liaison_protocol::sign::SigningKey;
use rand_core::UnwrapErr;

use liaison_driver::bundles::*;
use liaison_protocol::frame::Bundle;

use crate::store::{DiskStore, Store as _, StoreConfig};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Timestamp};

/// An agency of a federation, and one of its prekeys.
struct Fixture {
    _folder: tempfile::TempDir,
    made: Federation,
    roster: Roster,
    agency: AgencyId,
    signer: SigningKey,
    key: PrekeyPublic,
    now: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path().join("fed"));
        (options.regions, options.agencies, options.kdf) = (1, 1, Kdf::Fast);
        let made: Federation = certs_dev::make(&options).unwrap();
        let agency = made.agencies[0].id.clone();
        let signer = signing_key(&made.agency_folder(&agency));
        let key = PrekeySecret::generate(&mut UnwrapErr(getrandom::SysRng)).public();
        Self { roster: made.roster().unwrap(), made, agency, signer, key, now: crate::clock::now(), _folder: folder }
    }

    fn bundle(&self, epoch: u32, seq: u64) -> PrekeyBundle {
        let entry = PrekeyEntry {
            id: self.key.id(),
            not_before: self.now.before(Duration::from_secs(3600)),
            not_after: self.now.after(Duration::from_secs(3600)),
            once: false,
        };
        PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.roster.federation(),
            agency: self.agency.clone(),
            epoch,
            seq,
            issued: self.now,
            max_ttl_s: 86_400,
            keys: vec![entry],
        }
    }

    fn frame(&self, bundle: &PrekeyBundle) -> Bundle {
        let signed = sign_bundle(bundle, &self.signer).unwrap();
        Bundle { bundle: signed.encode().into(), keys: vec![Fixed(Box::new(*self.key.as_bytes()))] }
    }

    /// What a node answers that knows `known`, as (epoch, number).
    fn admit(&self, frame: &Bundle, known: Option<(u32, u64)>) -> Result<(), AdmitError> {
        let known = known
            .map(|(epoch, seq)| admit(&self.frame(&self.bundle(epoch, seq)), None, &self.roster, self.now).unwrap());
        admit(frame, known.as_ref(), &self.roster, self.now).map(drop)
    }
}

fn signing_key(folder: &Path) -> SigningKey {
    let read = |name| std::fs::read(folder.join(name)).unwrap();
    let keys = open_keys(read("passphrase").trim_ascii_end(), &read("identity.key")).unwrap();
    let key = keys.iter().find(|key| key.role == KeyRole::Signing).unwrap();
    SigningKey::from_seed(&key.secret.seed().unwrap())
}

#[test]
fn only_a_newer_bundle_is_taken_and_a_higher_epoch_is_newer_whatever_its_number() {
    let fixture = Fixture::new();
    let frame = fixture.frame(&fixture.bundle(5, 7));
    for older in [None, Some((5, 6)), Some((4, 9))] {
        assert_eq!(fixture.admit(&frame, older), Ok(()), "{older:?}");
    }
    for known in [(5, 7), (5, 8), (6, 1)] {
        let not_newer = AdmitError::NotNewer { agency: fixture.agency.clone() };
        assert_eq!(fixture.admit(&frame, Some(known)), Err(not_newer), "{known:?}");
    }
}

#[test]
fn two_bundles_of_one_number_are_equivocation() {
    let fixture = Fixture::new();
    let other = PrekeyBundle { max_ttl_s: 7200, ..fixture.bundle(5, 7) };
    let answer = fixture.admit(&fixture.frame(&other), Some((5, 7)));
    assert!(matches!(answer, Err(AdmitError::Equivocation(second)) if *second.bundle() == other));
}

#[test]
fn foreign_and_future_bundles_and_those_signed_by_another_are_refused() {
    let fixture = Fixture::new();
    let foreign = PrekeyBundle { federation: FederationId([7; 16]), ..fixture.bundle(1, 1) };
    let unknown = PrekeyBundle { agency: "ncb.zz".parse().unwrap(), ..fixture.bundle(1, 1) };
    let future = PrekeyBundle { issued: fixture.now.after(Duration::from_secs(3600)), ..fixture.bundle(1, 1) };
    for refused in [foreign, unknown, future] {
        let answer = fixture.admit(&fixture.frame(&refused), None);
        assert!(matches!(answer, Err(AdmitError::NotVerified(_))), "{answer:?}");
    }
    let mut frame = fixture.frame(&fixture.bundle(1, 1));
    let mut octets = frame.bundle.to_vec();
    *octets.last_mut().unwrap() ^= 1;
    frame.bundle = octets.into();
    assert!(matches!(fixture.admit(&frame, None), Err(AdmitError::NotVerified(_))));
}

// Attack 30, [PREKEY-7]: the thief's bundle is kept, and the roster replaces the key.
#[test]
fn a_bundle_whose_signer_has_ended_reads_as_none_and_keeps_no_place() {
    let fixture = Fixture::new();
    let thief = fixture.frame(&fixture.bundle(u32::try_from(fixture.now.as_millis() / 1000).unwrap(), 9));
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(&StoreConfig { free_bytes_min: 0, ..StoreConfig::new(folder.path()) }).unwrap();
    let _durable = store.commit(&[put(&fixture.agency, &thief)]).unwrap();
    let read = |roster: &Roster| get(&store, &fixture.agency, roster, fixture.now).unwrap();
    let count = |roster: &Roster| {
        let mut count = 0;
        each(&store, roster, fixture.now, |_| count += 1).unwrap();
        (count, ended(&store, roster).unwrap().len())
    };
    assert!(read(&fixture.roster).is_some());
    assert_eq!(count(&fixture.roster), (1, 0));

    let owner = SigningKey::from_seed(&zeroize::Zeroizing::new([7; 32]));
    let replaced = fixture.made.publish(|roster| {
        let agency = roster.agencies.iter_mut().find(|agency| agency.id == fixture.agency).unwrap();
        agency.sign_keys[0].public = owner.verifying_key();
    });
    let replaced = replaced.unwrap();
    assert!(read(&replaced).is_none());
    assert_eq!(count(&replaced), (0, 1));
    let next = Bundle { bundle: sign_bundle(&fixture.bundle(1, 1), &owner).unwrap().encode().into(), ..thief };
    assert!(admit(&next, read(&replaced).as_ref(), &replaced, fixture.now).is_ok(), "the owner's next is the highest");
}

#[test]
fn keys_beside_a_bundle_are_those_that_it_names_no_more_and_no_fewer() {
    let fixture = Fixture::new();
    let good = fixture.frame(&fixture.bundle(1, 1));
    let another = PrekeySecret::generate(&mut UnwrapErr(getrandom::SysRng)).public();
    let another = Fixed(Box::new(*another.as_bytes()));
    let own = good.keys[0].clone();
    for keys in [Vec::new(), vec![another], vec![own.clone(), own]] {
        let frame = Bundle { keys, ..good.clone() };
        let refused = AdmitError::Key { agency: fixture.agency.clone() };
        assert_eq!(fixture.admit(&frame, None), Err(refused));
    }
}
