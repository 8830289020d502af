//! Prekeys at rest.

use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::frame::Bundle;
use liaison_protocol::prekey::{BundlePosition, PrekeySecret, SignedBundle};
use liaison_protocol::{Hash, KeyId, PrekeyId, Timestamp, limits};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::calendar::{WINDOW, Window};
use crate::at_rest;
use crate::random::Random;
use crate::shelf::{Place, ReadError, Shelf, decode};

const KIND: u8 = b'k';

/// One private half, under the key of its slot.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyRecord {
    pub(crate) window: Window,
    pub(crate) id: PrekeyId,
    pub(crate) lifetime_s: u32,
    pub(crate) sealed_seed: Vec<u8>,
}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

impl KeyRecord {
    pub(super) fn seal(
        window: Window,
        lifetime: Duration,
        secret: &PrekeySecret,
        key: &[u8; 32],
        random: &mut Random,
    ) -> Self {
        let place = place(window).key;
        let sealed_seed = at_rest::seal(key, &place, secret.seed().as_ref(), random);
        let lifetime_s = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        Self { window, id: secret.prekey_id(), lifetime_s, sealed_seed }
    }

    pub(super) fn open(&self, key: &[u8; 32]) -> Option<PrekeySecret> {
        let plain = at_rest::open(key, &self.place().key, &self.sealed_seed).ok()?;
        let mut seed = Zeroizing::new([0; 32]);
        if plain.len() != seed.len() {
            return None;
        }
        seed.copy_from_slice(&plain);
        Some(PrekeySecret::from_seed(&seed))
    }

    pub(super) fn all(shelf: &Shelf) -> Result<Vec<Self>, ReadError> {
        let records = shelf.scan(Table::Meta, &[KIND]);
        records.map(|record| record.and_then(|(_, value)| decode(Table::Meta, &value))).collect()
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_secs(u64::from(self.lifetime_s))
    }

    pub(super) fn place(&self) -> Place {
        place(self.window)
    }

    pub(super) fn put(&self) -> Op {
        Shelf::put_clear(self.place(), self)
    }
}

fn place(window: Window) -> Place {
    Place::new(Table::Meta, KIND, &[&window.0.to_be_bytes()])
}

/// The bundle that stands.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct BundleRecord {
    pub(crate) epoch: u32,
    pub(crate) seq: u64,
    pub(crate) until: Timestamp,
    pub(crate) lifetime_s: u32,
    pub(crate) frame: Bundle,
}

impl BundleRecord {
    pub(super) fn read(shelf: &Shelf) -> Result<Option<Self>, ReadError> {
        shelf.get_clear(&Self::place())
    }

    /// Whether this bundle offers a key of this window.
    pub(super) fn names(&self, window: Window) -> bool {
        let first = self.until.before(WINDOW * limits::PREKEY_DAYS_AHEAD);
        (first..self.until).contains(&window.not_before())
    }

    /// A bundle that another key signed is no longer taken once that key has ended.
    pub(super) fn is_signed_by(&self, key: KeyId) -> bool {
        SignedBundle::decode(&self.frame.bundle).is_ok_and(|signed| signed.key == key)
    }

    pub(super) const fn position(&self) -> BundlePosition {
        BundlePosition { epoch: self.epoch, seq: self.seq }
    }

    /// SHA-256 of what was signed.
    pub(super) fn hash(&self) -> Option<Hash> {
        SignedBundle::decode(&self.frame.bundle).ok().map(|signed| Hash::of(&[&signed.bundle]))
    }

    pub(super) fn put(&self) -> Op {
        Shelf::put_clear(Self::place(), self)
    }

    fn place() -> Place {
        Place::new(Table::Meta, b'b', &[])
    }
}
