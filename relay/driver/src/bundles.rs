//! Prekey bundles in the store: one record for each agency, verified before it is written.
//!
//! A record is the frame that carries a bundle ([`Bundle`]): the signed bundle and the public keys that it names by
//! hash, so that a node passes on exactly what it took.

use liaison_core::op::{Op, Table};
use liaison_protocol::codec::{self, Malformed};
use liaison_protocol::frame::Bundle;
use liaison_protocol::prekey::{
    BundleError, BundleOrder, BundlePosition, PrekeyBundle, PrekeyEntry, PrekeyError, PrekeyPublic, SignedBundle,
    VerifiedBundle, recall_bundle, signer_of, verify_bundle,
};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, KeyId, Timestamp, limits};

use crate::store_error::StoreError;
use crate::view::Reads;

const WHAT: &str = "stored prekey bundle";
/// A record, at most: the signed bundle and 64 keys.
const RECORD_BYTES_MAX: usize = 16 * 1024 + limits::PREKEYS_MAX * limits::PREKEY_BYTES;
/// Records read at a time: each has 44 KB.
const PAGE: usize = 32;

/// A bundle that counts: its signer is valid by the roster, and at the time, that it was read or admitted with. Only
/// [`get`], [`each`] and [`admit`] make one, so whoever seals, offers, answers or compares has asked the roster.
/// For use at once: the next roster may end its signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBundle {
    verified: VerifiedBundle,
    frame: Bundle,
}

/// The reason why a bundle from a peer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// Same epoch and number as the one known, other content: two were signed.
    #[error("{} signed two different prekey bundles with one number", .0.bundle().agency)]
    Equivocation(Box<VerifiedBundle>),
    /// A key that is none, or not the one that the bundle names.
    #[error("a prekey of {agency} is not the one that its bundle names")]
    Key {
        /// The agency.
        agency: AgencyId,
    },
    /// It does not verify.
    #[error(transparent)]
    NotVerified(#[from] BundleError),
    /// No newer than the one known.
    #[error("the prekey bundle of {agency} is not newer than the one that is known")]
    NotNewer {
        /// The agency.
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
) -> Result<KnownBundle, AdmitError> {
    let signed = SignedBundle::decode(&frame.bundle)?;
    let verified = verify_bundle(signed, &roster.federation(), roster, now)?;
    let known = KnownBundle { verified, frame: frame.clone() }.newer_than(known, now)?;
    let named = &known.bundle().keys;
    let matches = |(key, entry): (_, &PrekeyEntry)| key_named(key, entry).is_ok();
    if frame.keys.len() != named.len() || !frame.keys.iter().map(|key| key.as_bytes()).zip(named).all(matches) {
        return Err(AdmitError::Key { agency: known.bundle().agency.clone() });
    }
    Ok(known)
}

fn key_named(key: &[u8; limits::PREKEY_BYTES], entry: &PrekeyEntry) -> Result<PrekeyPublic, PrekeyError> {
    let key = PrekeyPublic::from_bytes(key)?;
    if key.id() == entry.id { Ok(key) } else { Err(PrekeyError::NotAKey) }
}

/// A bundle's unverified claim: agency, place, signer and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The agency.
    pub agency: AgencyId,
    /// Its place among the agency's bundles.
    pub position: BundlePosition,
    /// The key that signed it.
    pub signer: KeyId,
    /// The time.
    pub issued: Timestamp,
}

impl Claim {
    /// Reads a frame; `None` if it holds no bundle.
    #[must_use]
    pub fn of(frame: &Bundle) -> Option<Self> {
        let signed = SignedBundle::decode(&frame.bundle).ok()?;
        let bundle: PrekeyBundle = codec::decode(WHAT, &signed.bundle, limits::BUNDLE_BYTES_MAX).ok()?;
        let (position, issued) = (bundle.position(), bundle.issued);
        Some(Self { agency: bundle.agency, position, signer: signed.key, issued })
    }

    /// True if a bundle in the store, which says this, counts under this roster, at this time.
    // [PREKEY-7]
    #[must_use]
    pub fn counts(&self, roster: &Roster, now: Timestamp) -> bool {
        let ahead = self.issued > now.after(limits::CLOCK_AHEAD_MAX);
        !ahead && signer_of(&self.agency, self.signer, self.issued, roster, now).is_some()
    }
}

/// The claims of all bundles in the store.
///
/// # Errors
/// [`StoreError`].
pub fn claims(store: &dyn Reads) -> Result<Vec<Claim>, StoreError> {
    let mut claims = Vec::new();
    records(store, |_, record| {
        let frame = Bundle::decode(WHAT, record, RECORD_BYTES_MAX).ok();
        claims.extend(frame.as_ref().and_then(Claim::of));
    })?;
    Ok(claims)
}

/// Writes a bundle of `agency` that [`admit`] took, or that this agency has made.
#[must_use]
pub fn put(agency: &AgencyId, frame: &Bundle) -> Op {
    Op::Put { table: Table::Bundles, key: agency.as_str().into(), value: frame.encode().into() }
}

/// The agency's bundle, if the bundle counts under this roster and at this time.
///
/// # Errors
/// [`StoreError`]; a record that does not decode, or does not count any more, reads as none, and is replaced by the
/// next bundle that counts.
// [PREKEY-7]
pub fn get(
    store: &dyn Reads,
    agency: &AgencyId,
    roster: &Roster,
    now: Timestamp,
) -> Result<Option<KnownBundle>, StoreError> {
    let record = store.get(Table::Bundles, agency.as_str().as_bytes())?;
    Ok(record.and_then(|record| decode(&record, roster, now).ok()))
}

/// Every bundle that counts, by agency, a few in memory at a time.
///
/// # Errors
/// [`StoreError`].
pub fn each(
    store: &dyn Reads,
    roster: &Roster,
    now: Timestamp,
    mut use_one: impl FnMut(KnownBundle),
) -> Result<(), StoreError> {
    records(store, |_, record| {
        if let Ok(known) = decode(record, roster, now) {
            use_one(known);
        }
    })
}

/// The agencies whose bundles cannot count again under this roster: it does not give their signer to them for the time of
/// issue. A bundle whose signer's time is over reads as none, and is kept: this clock may be wrong.
///
/// # Errors
/// [`StoreError`].
pub fn ended(store: &dyn Reads, roster: &Roster) -> Result<Vec<AgencyId>, StoreError> {
    let mut ended = Vec::new();
    records(store, |key, record| {
        let agency = std::str::from_utf8(key).ok().and_then(|key| key.parse::<AgencyId>().ok());
        let stands = Bundle::decode(WHAT, record, RECORD_BYTES_MAX).is_ok_and(|frame| may_count(&frame, roster));
        ended.extend(agency.filter(|_| !stands));
    })?;
    Ok(ended)
}

/// Forgets the bundle of an agency.
#[must_use]
pub fn delete(agency: &AgencyId) -> Op {
    Op::Delete { table: Table::Bundles, key: agency.as_str().into() }
}

fn may_count(frame: &Bundle, roster: &Roster) -> bool {
    let read = || {
        let signed = SignedBundle::decode(&frame.bundle)?;
        let bundle: PrekeyBundle = codec::decode(WHAT, &signed.bundle, limits::BUNDLE_BYTES_MAX)?;
        Ok::<_, Malformed>(signer_of(&bundle.agency, signed.key, bundle.issued, roster, bundle.issued).is_some())
    };
    read().unwrap_or(false)
}

fn records(store: &dyn Reads, mut use_one: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(Table::Bundles, b"", after.as_deref(), PAGE)?;
        page.iter().for_each(|(key, record)| use_one(key, record));
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.into_iter().next_back().map(|(key, _)| key);
    }
}

fn decode(record: &[u8], roster: &Roster, now: Timestamp) -> Result<KnownBundle, BundleError> {
    let frame = Bundle::decode(WHAT, record, RECORD_BYTES_MAX)?;
    let signed = SignedBundle::decode(&frame.bundle)?;
    let verified = recall_bundle(signed, &roster.federation(), roster, now)?;
    Ok(KnownBundle { verified, frame })
}

impl KnownBundle {
    /// The bundle that the agency signed.
    #[must_use]
    pub const fn bundle(&self) -> &PrekeyBundle {
        self.verified.bundle()
    }

    /// The same with its signature.
    #[must_use]
    pub const fn verified(&self) -> &VerifiedBundle {
        &self.verified
    }

    /// As it goes over links.
    #[must_use]
    pub const fn frame(&self) -> &Bundle {
        &self.frame
    }

    /// Its place among its agency's bundles.
    #[must_use]
    pub const fn position(&self) -> BundlePosition {
        self.bundle().position()
    }

    /// The key that signed it.
    #[must_use]
    pub const fn signer(&self) -> KeyId {
        self.verified.signed().key
    }

    /// True if it counts under this roster, too, and at this time.
    #[must_use]
    pub fn counts(&self, roster: &Roster, now: Timestamp) -> bool {
        let bundle = self.bundle();
        signer_of(&bundle.agency, self.signer(), bundle.issued, roster, now).is_some()
    }

    /// This bundle, if it takes the place of `known`.
    ///
    /// # Errors
    /// [`AdmitError::Equivocation`], [`AdmitError::NotNewer`].
    pub fn newer_than(self, known: Option<&Self>, now: Timestamp) -> Result<Self, AdmitError> {
        // One that this clock took while it was ahead keeps no place: others have not taken it.
        let known = known.filter(|known| known.bundle().issued <= now.after(limits::CLOCK_AHEAD_MAX));
        match known.map_or(BundleOrder::Newer, |known| self.verified.compare(&known.verified)) {
            BundleOrder::Newer => Ok(self),
            BundleOrder::Equivocation => Err(AdmitError::Equivocation(Box::new(self.verified))),
            BundleOrder::Older | BundleOrder::Same => {
                Err(AdmitError::NotNewer { agency: self.bundle().agency.clone() })
            }
        }
    }

    /// The key to seal to at `created`, and the latest expiry under it. `None`: no key is meant for that time.
    #[must_use]
    pub fn select(&self, created: Timestamp) -> Option<(PrekeyPublic, Timestamp)> {
        let entry = self.bundle().select(created)?;
        let place = self.bundle().keys.iter().position(|key| key.id == entry.id)?;
        let key = key_named(self.frame.keys.get(place)?.as_bytes(), entry).ok()?;
        Some((key, self.bundle().expiry_max(entry)))
    }

    /// End of the last window.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.bundle().keys.iter().map(|key| key.not_after).max()
    }
}
