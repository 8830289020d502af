//! Where the daemon's records stand in the store, and how they are read and written.
//!
//! A [`Place`] names one record: a table, and a key that starts with a letter for the kind of record. What holds
//! content is encrypted ([`Shelf::put`]); what only says who, when and which (as the queues beside it do), and signed
//! statements, which protect themselves, are not ([`Shelf::put_clear`]).

use std::sync::Arc;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_node::store::{Store, StoreError};
use liaison_protocol::codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::at_rest::{AtRest, Unreadable};
use crate::random::Random;

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) table: Table,
    pub(crate) key: Vec<u8>,
}

impl Place {
    /// `kind` and the parts, one after another. All parts but the last have a fixed length, or end in a zero byte.
    pub(crate) fn new(table: Table, kind: u8, parts: &[&[u8]]) -> Self {
        let mut key = vec![kind];
        parts.iter().for_each(|part| key.extend_from_slice(part));
        Self { table, key }
    }

    pub(crate) fn delete(self) -> Op {
        Op::Delete { table: self.table, key: self.key }
    }

    /// Additional data of the record's encryption.
    fn aad(&self) -> Vec<u8> {
        // The table's name in the source: stable, and checked by the test below.
        [format!("{:?}/", self.table).as_bytes(), &self.key].concat()
    }
}

/// Why a record is not read. The daemon stops serving: what it holds is no longer what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It decrypts, and is not a record of this version.
    #[error("a record of {table:?} is not one of this version")]
    Malformed {
        /// Of which table.
        table: Table,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not decrypt.
    #[error("{table:?}: {source}")]
    Unreadable {
        /// Of which table.
        table: Table,
        /// Why.
        source: Unreadable,
    },
}

/// The store, with the key for what is encrypted in it, and the randomness that encrypts it.
pub(crate) struct Shelf {
    store: Arc<dyn Store>,
    at_rest: AtRest,
    random: Random,
}

impl Shelf {
    pub(crate) const fn new(store: Arc<dyn Store>, at_rest: AtRest, random: Random) -> Self {
        Self { store, at_rest, random }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) const fn at_rest(&self) -> &AtRest {
        &self.at_rest
    }

    pub(crate) fn random(&self) -> Random {
        self.random.clone()
    }

    /// Writes a record, encrypted.
    pub(crate) fn put<T: Serialize>(&self, place: Place, value: &T) -> Op {
        let plain = codec::encode_secret(value);
        self.put_bytes(place, &plain)
    }

    /// Writes octets, encrypted.
    pub(crate) fn put_bytes(&self, place: Place, plain: &[u8]) -> Op {
        let sealed = self.at_rest.seal(&place.aad(), plain, &mut self.random());
        Op::Put { table: place.table, key: place.key, value: sealed.into() }
    }

    /// Writes a record in clear.
    pub(crate) fn put_clear<T: Serialize>(place: Place, value: &T) -> Op {
        Op::Put { table: place.table, key: place.key, value: codec::encode(value).into() }
    }

    pub(crate) fn get<T: Serialize + DeserializeOwned>(&self, place: &Place) -> Result<Option<T>, ReadError> {
        self.get_bytes(place)?.map(|plain| decode(place.table, &plain)).transpose()
    }

    pub(crate) fn get_bytes(&self, place: &Place) -> Result<Option<Zeroizing<Vec<u8>>>, ReadError> {
        let sealed = self.store.get(place.table, &place.key)?;
        sealed.map(|sealed| self.open(place, &sealed)).transpose()
    }

    pub(crate) fn get_clear<T: Serialize + DeserializeOwned>(&self, place: &Place) -> Result<Option<T>, ReadError> {
        let value = self.store.get(place.table, &place.key)?;
        value.map(|value| decode(place.table, &value)).transpose()
    }

    pub(crate) fn has(&self, place: &Place) -> Result<bool, ReadError> {
        Ok(self.store.get(place.table, &place.key)?.is_some())
    }

    /// Decrypts a record that a scan gave.
    pub(crate) fn open_record<T: Serialize + DeserializeOwned>(
        &self,
        table: Table,
        key: Vec<u8>,
        sealed: &[u8],
    ) -> Result<T, ReadError> {
        let plain = self.open(&Place { table, key }, sealed)?;
        decode(table, &plain)
    }

    /// Keys and values under `prefix`, all of them, read in steps.
    pub(crate) fn scan(&self, table: Table, prefix: &[u8]) -> Scan<'_> {
        Scan { shelf: self, table, prefix: prefix.to_vec(), last: None, page: Vec::new().into_iter(), ended: false }
    }

    fn open(&self, place: &Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, ReadError> {
        let unreadable = |source| ReadError::Unreadable { table: place.table, source };
        self.at_rest.open(&place.aad(), sealed).map_err(unreadable)
    }
}

/// Decodes a record in clear.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, ReadError> {
    decoded(bytes).ok_or(ReadError::Malformed { table })
}

/// Only what [`codec::encode`] gives is a record: what has more to say than this version reads is not of this version.
pub(crate) fn decoded<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    codec::decode("record", bytes, usize::MAX).ok()
}

/// Records under a prefix, in order. Holds one page in memory, and sees what is committed meanwhile or not.
pub(crate) struct Scan<'a> {
    shelf: &'a Shelf,
    table: Table,
    prefix: Vec<u8>,
    last: Option<Vec<u8>>,
    page: std::vec::IntoIter<(Vec<u8>, Bytes)>,
    ended: bool,
}

/// Records read at once.
const PAGE: usize = 256;

impl Iterator for Scan<'_> {
    type Item = Result<(Vec<u8>, Bytes), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.page.next() {
            return Some(Ok(record));
        }
        if self.ended {
            return None;
        }
        match self.shelf.store.scan(self.table, &self.prefix, self.last.as_deref(), PAGE) {
            Ok(page) => {
                self.ended = page.len() < PAGE;
                self.last = page.last().map(|(key, _)| key.clone());
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error.into()))
            }
        }
    }
}

/// The number at the end of a key.
pub(crate) fn last_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_one_table_is_none_in_another() {
        let place = |table| Place::new(table, b'm', &[b"id"]).aad();
        assert_eq!(place(Table::Inbox), b"Inbox/mid");
        assert_ne!(place(Table::Inbox), place(Table::Outbox));
    }
}
