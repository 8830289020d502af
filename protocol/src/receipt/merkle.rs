//! The tree over one batch: RFC 6962 section 2.1 hashing, so that one signature covers many messages.
//!
//! Leaves arrive hashed, with the prefix 0x00 and a label; nodes have the prefix 0x01. Neither passes for the other.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Malformed};
use crate::hash::Hash;
use crate::{bounded, limits};

/// Prefix of a leaf's preimage.
pub(crate) const LEAF: &[u8] = &[0];
/// Prefix of an inner node's preimage.
const NODE: &[u8] = &[1];

/// Hashes of a proof's path at most: the batch has at most 2^20 leaves.
pub const PATH_MAX: usize = limits::RECEIPT_BATCH_MAX.ilog2() as usize;
const _: () = assert!(limits::RECEIPT_BATCH_MAX == 1 << PATH_MAX);
/// Bytes of an encoded proof at most.
pub const PROOF_BYTES_MAX: usize = 5 + 1 + 32 * PATH_MAX;

/// A tree over 1 to [`limits::RECEIPT_BATCH_MAX`] leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleTree {
    /// Leaves first, the root last. A node without a sibling moves up unchanged.
    levels: Vec<Vec<Hash>>,
}

impl MerkleTree {
    /// # Panics
    /// No leaf, or more than [`limits::RECEIPT_BATCH_MAX`]: batches are made by us, and bounded before.
    #[must_use]
    pub fn new(leaves: Vec<Hash>) -> Self {
        assert!((1..=limits::RECEIPT_BATCH_MAX).contains(&leaves.len()), "a batch has 1 to 2^20 leaves");
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            levels.push(level.chunks(2).map(parent).collect());
        }
        Self { levels }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or(Hash::ZERO)
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u32)
    }

    /// The proof that leaf `index` is in the tree.
    #[must_use]
    pub fn proof(&self, index: u32) -> Option<Proof> {
        if index >= self.size() {
            return None;
        }
        let sibling = |(height, level): (usize, &Vec<Hash>)| level.get((index as usize >> height) ^ 1).copied();
        Some(Proof { index, path: self.levels.iter().enumerate().filter_map(sibling).collect() })
    }
}

/// One or two neighbours' parent.
fn parent(pair: &[Hash]) -> Hash {
    match pair {
        [left, right] => node(left, right),
        [alone] => *alone,
        _ => Hash::ZERO,
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[NODE, &left.0, &right.0])
}

/// That one leaf is in a batch: its place, and the siblings on the way to the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The leaf's place, from 0.
    pub index: u32,
    /// Siblings from the leaf upwards.
    #[serde(deserialize_with = "bounded::list::<_, _, PATH_MAX>")]
    pub path: Vec<Hash>,
}

impl Proof {
    /// The root that follows from `leaf` in a tree of `size` leaves, or `None` if the path has another length than
    /// such a tree gives (RFC 9162 section 2.1.3.2).
    // [RCPT-2]
    #[must_use]
    pub fn root(&self, leaf: Hash, size: u32) -> Option<Hash> {
        if self.index >= size {
            return None;
        }
        let (mut position, mut last) = (self.index, size - 1);
        let mut hash = leaf;
        let mut path = self.path.iter();
        while last > 0 {
            if position % 2 == 1 {
                hash = node(path.next()?, &hash);
            } else if position < last {
                hash = node(&hash, path.next()?);
            }
            (position, last) = (position / 2, last / 2);
        }
        path.next().is_none().then_some(hash)
    }

    /// The wire form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// # Errors
    /// [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        codec::decode("proof", bytes, PROOF_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u32) -> Vec<Hash> {
        (0..count).map(|index| Hash::of(&[LEAF, &index.to_be_bytes()])).collect()
    }

    /// RFC 6962 section 2.1, word for word: split at the largest power of two below the length.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [alone] => *alone,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node(&by_definition(left), &by_definition(right))
            }
        }
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        // RFC 6962's test tree of certificate-transparency: leaves "" and "\x00".
        let leaf = |data: &[u8]| Hash::of(&[LEAF, data]);
        let tree = MerkleTree::new(vec![leaf(b""), leaf(b"\0")]);
        assert_eq!(leaf(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(tree.root().to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
        for count in (1..70).chain([127, 128, 129, 1000]) {
            let leaves = leaves(count);
            assert_eq!(MerkleTree::new(leaves.clone()).root(), by_definition(&leaves), "{count} leaves");
        }
    }

    #[test]
    fn every_leaf_has_a_proof_that_holds_for_it_alone() {
        for count in (1..34).chain([64, 65, 1000]) {
            let leaves = leaves(count);
            let tree = MerkleTree::new(leaves.clone());
            assert_eq!(tree.proof(count), None);
            for (index, leaf) in leaves.iter().enumerate() {
                let proof = tree.proof(index as u32).unwrap();
                assert_eq!(Proof::decode(&proof.encode()), Ok(proof.clone()));
                assert_eq!(proof.root(*leaf, count), Some(tree.root()));
                let other = leaves[(index + 1) % leaves.len()];
                assert!(count == 1 || proof.root(other, count) != Some(tree.root()));
                let moved = Proof { index: proof.index ^ 1, ..proof };
                assert!(count == 1 || moved.root(*leaf, count) != Some(tree.root()));
            }
        }
    }

    #[test]
    fn a_path_of_another_length_and_an_inner_node_as_leaf_are_refused() {
        let leaves = leaves(4);
        let tree = MerkleTree::new(leaves.clone());
        let proof = tree.proof(0).unwrap();
        let longer = Proof { path: [proof.path.clone(), vec![Hash::ZERO]].concat(), ..proof.clone() };
        let shorter = Proof { path: proof.path[..1].to_vec(), ..proof.clone() };
        assert_eq!(longer.root(leaves[0], 4), None);
        assert_eq!(shorter.root(leaves[0], 4), None);
        assert_eq!(proof.root(leaves[0], 0), None);
        // The node over leaves 0 and 1 as a leaf of a tree of two: the root comes out, so the size is signed.
        let inner = node(&leaves[0], &leaves[1]);
        let short = Proof { index: 0, path: proof.path[1..].to_vec() };
        assert_eq!(short.root(inner, 2), Some(tree.root()));
        assert_eq!(short.root(inner, 4), None);
    }

    #[test]
    fn a_path_of_21_hashes_does_not_decode() {
        let long = Proof { index: 0, path: vec![Hash::ZERO; PATH_MAX + 1] };
        assert!(Proof::decode(&long.encode()).is_err());
    }
}
