//! Prekey bundles in the store: one record for each agency, verified before it is written.
//!
//! A record is the frame that carries a bundle ([`Bundle`]): the signed bundle and the public keys that it names by
//! hash, so that a node passes on exactly what it took.

use liaison_core::op::{Op, Table};
use liaison_protocol::codec::{self, Malformed};
use liaison_protocol::frame::Bundle;
use liaison_protocol::prekey::{
    BundleError, PrekeyBundle, PrekeyEntry, PrekeyError, PrekeyPublic, SignedBundle, VerifiedBundle, verify_bundle,
};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Timestamp, limits};

use crate::store::{Store, StoreError};

const WHAT: &str = "stored prekey bundle";
/// A record, at most: the signed bundle and 64 keys.
const RECORD_BYTES_MAX: usize = 16 * 1024 + limits::PREKEYS_MAX * limits::PREKEY_BYTES;

/// A bundle in the store, read back.
#[derive(Clone, Debug)]
pub struct KnownBundle {
    /// What its agency signed.
    pub bundle: PrekeyBundle,
    /// As it goes over links.
    pub frame: Bundle,
}

/// Why a bundle from a peer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// Same epoch and number as the one known, other content: two were signed.
    #[error("{agency} signed two different prekey bundles with one number")]
    Equivocation {
        /// Whose.
        agency: AgencyId,
    },
    /// A key that is none, or not the one that the bundle names.
    #[error("a prekey of {agency} is not the one that its bundle names")]
    Key {
        /// Whose.
        agency: AgencyId,
    },
    /// It does not verify.
    #[error(transparent)]
    NotVerified(#[from] BundleError),
    /// No newer than the one known.
    #[error("the prekey bundle of {agency} is not newer than the one that is known")]
    NotNewer {
        /// Whose.
        agency: AgencyId,
    },
}

impl From<Malformed> for AdmitError {
    fn from(malformed: Malformed) -> Self {
        Self::NotVerified(BundleError::Malformed(malformed))
    }
}

/// Checks a bundle that came from a peer against the one known of its agency: signature, roster, order, and every key
/// by hash. Costly for its 35 keys: for a worker.
///
/// # Errors
/// [`AdmitError`].
pub fn admit(
    frame: &Bundle,
    known: Option<&KnownBundle>,
    roster: &Roster,
    now: Timestamp,
) -> Result<VerifiedBundle, AdmitError> {
    let signed = SignedBundle::decode(&frame.bundle)?;
    let verified = verify_bundle(signed, &roster.federation(), roster, now)?;
    let agency = || verified.bundle().agency.clone();
    if let Some(known) = known {
        // What is in the store was verified when it was written; its signer may have left the roster since.
        let position = |bundle: &PrekeyBundle| (bundle.epoch, bundle.seq);
        let order = position(verified.bundle()).cmp(&position(&known.bundle));
        if order == std::cmp::Ordering::Equal && *verified.bundle() != known.bundle {
            return Err(AdmitError::Equivocation { agency: agency() });
        }
        if order != std::cmp::Ordering::Greater {
            return Err(AdmitError::NotNewer { agency: agency() });
        }
    }
    let named = &verified.bundle().keys;
    let matches = |(key, entry): (_, &PrekeyEntry)| key_named(key, entry).is_ok();
    if frame.keys.len() != named.len() || !frame.keys.iter().map(|key| key.as_bytes()).zip(named).all(matches) {
        return Err(AdmitError::Key { agency: agency() });
    }
    Ok(verified)
}

fn key_named(key: &[u8; limits::PREKEY_BYTES], entry: &PrekeyEntry) -> Result<PrekeyPublic, PrekeyError> {
    let key = PrekeyPublic::from_bytes(key)?;
    if key.id() == entry.id { Ok(key) } else { Err(PrekeyError::NotAKey) }
}

/// Writes a bundle of `agency` that [`admit`] took, or that this agency has made.
#[must_use]
pub fn put(agency: &AgencyId, frame: &Bundle) -> Op {
    Op::Put { table: Table::Bundles, key: agency.as_str().into(), value: frame.encode().into() }
}

/// What is known of an agency's prekeys.
///
/// # Errors
/// [`StoreError`]; a record that does not decode reads as none, and is replaced by the next bundle.
pub fn get(store: &dyn Store, agency: &AgencyId) -> Result<Option<KnownBundle>, StoreError> {
    Ok(store.get(Table::Bundles, agency.as_str().as_bytes())?.and_then(|record| decode(&record).ok()))
}

/// Every bundle known, by agency, at most `limit` after `after`.
///
/// # Errors
/// [`StoreError`].
pub fn list(store: &dyn Store, after: Option<&AgencyId>, limit: usize) -> Result<Vec<KnownBundle>, StoreError> {
    let after = after.map(|agency| agency.as_str().as_bytes());
    let records = store.scan(Table::Bundles, b"", after, limit)?;
    Ok(records.iter().filter_map(|(_, record)| decode(record).ok()).collect())
}

fn decode(record: &[u8]) -> Result<KnownBundle, Malformed> {
    let frame = Bundle::decode(WHAT, record, RECORD_BYTES_MAX)?;
    let signed = SignedBundle::decode(&frame.bundle)?;
    let bundle = codec::decode(WHAT, &signed.bundle, limits::BUNDLE_BYTES_MAX)?;
    Ok(KnownBundle { bundle, frame })
}

impl KnownBundle {
    /// The key to seal to at `created`, and the latest expiry under it. `None`: no key is meant for that time.
    #[must_use]
    pub fn select(&self, created: Timestamp) -> Option<(PrekeyPublic, Timestamp)> {
        let entry = self.bundle.select(created)?;
        let place = self.bundle.keys.iter().position(|key| key.id == entry.id)?;
        let key = key_named(self.frame.keys.get(place)?.as_bytes(), entry).ok()?;
        Some((key, self.bundle.expiry_max(entry)))
    }

    /// End of the last window.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.bundle.keys.iter().map(|key| key.not_after).max()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use certs_dev::{Federation, Kdf, Options};
    use liaison_protocol::FederationId;
    use liaison_protocol::codec::Fixed;
    use liaison_protocol::keyfile::{KeyRole, open_keys};
    use liaison_protocol::prekey::{PrekeySecret, sign_bundle};
    use liaison_protocol::sign::SigningKey;
    use rand_core::UnwrapErr;

    use super::*;
    use crate::clock;

    /// An agency of a federation, and one of its prekeys.
    struct Fixture {
        _folder: tempfile::TempDir,
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
            Self { roster: made.roster().unwrap(), agency, signer, key, now: clock::now(), _folder: folder }
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
            let known = known.map(|(epoch, seq)| {
                let bundle = self.bundle(epoch, seq);
                KnownBundle { frame: self.frame(&bundle), bundle }
            });
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
        let equivocation = AdmitError::Equivocation { agency: fixture.agency.clone() };
        assert_eq!(fixture.admit(&fixture.frame(&other), Some((5, 7))), Err(equivocation));
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
}
