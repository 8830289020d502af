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
    Op::Put { table: Table::Bundles, key: agency.as_str().into(), value: codec::encode(frame).into() }
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
    let frame: Bundle = codec::decode(WHAT, record, RECORD_BYTES_MAX)?;
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
