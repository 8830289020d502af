//! What a batch will change, before it is written: reads through it see the batch's earlier operations.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::spaces::{Space, Spaces, corrupt, failed};
use super::values::Wrong;
use crate::store::StoreError;

/// One change a key: the engine gives all of a batch the same sequence number, so a key may be in it once.
pub(super) struct Stage<'a> {
    spaces: &'a Spaces,
    changes: BTreeMap<Space, BTreeMap<Vec<u8>, Option<Bytes>>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(spaces: &'a Spaces) -> Self {
        Self { spaces, changes: BTreeMap::new() }
    }

    pub(super) fn put(&mut self, space: Space, key: Vec<u8>, value: impl Into<Bytes>) {
        self.changes.entry(space).or_default().insert(key, Some(value.into()));
    }

    pub(super) fn remove(&mut self, space: Space, key: Vec<u8>) {
        self.changes.entry(space).or_default().insert(key, None);
    }

    /// What `decode` makes of the value at `key`.
    pub(super) fn get<T>(
        &self,
        space: Space,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Result<T, Wrong>,
    ) -> Result<Option<T>, StoreError> {
        let value = match self.change(space, key) {
            Some(change) => change.as_deref().map(decode),
            None => {
                let found = self.spaces.keyspace(space).get(key).map_err(|error| failed("reading", &error))?;
                found.as_deref().map(decode)
            }
        };
        value.transpose().map_err(|what| corrupt(space, key, what))
    }

    /// Whether `key` has a value; reads no more of it than that.
    pub(super) fn contains(&self, space: Space, key: &[u8]) -> Result<bool, StoreError> {
        match self.change(space, key) {
            Some(change) => Ok(change.is_some()),
            None => self.spaces.keyspace(space).contains_key(key).map_err(|error| failed("reading", &error)),
        }
    }

    /// Bytes of the value at `key`; zero without one.
    pub(super) fn size_of(&self, space: Space, key: &[u8]) -> Result<u64, StoreError> {
        match self.change(space, key) {
            Some(change) => Ok(change.as_ref().map_or(0, |value| value.len() as u64)),
            None => {
                let size = self.spaces.keyspace(space).size_of(key).map_err(|error| failed("reading", &error))?;
                Ok(size.map_or(0, u64::from))
            }
        }
    }

    /// Whether `wanted` says so of any value whose key begins with `prefix`.
    pub(super) fn any(
        &self,
        space: Space,
        prefix: &[u8],
        wanted: impl Fn(&[u8]) -> Result<bool, Wrong>,
    ) -> Result<bool, StoreError> {
        let check = |key: &[u8], value: &[u8]| wanted(value).map_err(|what| corrupt(space, key, what));
        let changed = self.changes.get(&space).into_iter().flat_map(|changes| changes.range(prefix.to_vec()..));
        for (key, change) in changed.take_while(|(key, _)| key.starts_with(prefix)) {
            if change.as_deref().map_or(Ok(false), |value| check(key, value))? {
                return Ok(true);
            }
        }
        for guard in self.spaces.keyspace(space).prefix(prefix) {
            let (key, value) = guard.into_inner().map_err(|error| failed("reading", &error))?;
            if self.change(space, &key).is_none() && check(&key, &value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the changes and returns once they are durable. `beat`: see [`Spaces::beat`].
    pub(super) fn write(self, beat: bool) -> Result<(), fjall::Error> {
        let mut batch = self.spaces.batch(self.changes.values().map(BTreeMap::len).sum());
        if beat {
            self.spaces.beat(&mut batch);
        }
        for (space, changes) in self.changes {
            let keyspace = self.spaces.keyspace(space);
            for (key, change) in changes {
                match change {
                    Some(value) => batch.insert(keyspace, key, value.as_ref()),
                    None => batch.remove(keyspace, key),
                }
            }
        }
        batch.commit()
    }

    fn change(&self, space: Space, key: &[u8]) -> Option<&Option<Bytes>> {
        self.changes.get(&space)?.get(key)
    }
}
