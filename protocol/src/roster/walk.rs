//! From the root keys that somebody has to every roster of a history, whenever the root keys were replaced.
//!
//! ```text
//!  version   1 ──► 2 ──► 3 ══► 4 ──► 5        ══ replaces the root keys: signed by the old ones and the new ones
//!  forward   first keys ──────────────►        each by the roots of the one before
//!  backward  ◄────────── 3 ◄── keys of 4       each is the `prev` of the one behind it, without a gap
//! ```
//!
//! Where versions are missing in between, only the federation's id still leads to the beginning: it is a hash over the first
//! root keys. Those keys have been replaced, and whoever has them now could have signed such rosters since.

use bytes::Bytes;

use super::document::{ROSTER_TYPE, TrustAnchor, federation_id};
use super::dsse::Dsse;
use super::verify::{RosterError, parse};
use super::{Roster, RosterVersion};
use crate::hash::Hash;
use crate::ids::FederationId;
use crate::limits;

/// Rosters of one federation, oldest first, each verified.
#[derive(Clone, Debug)]
pub struct History {
    /// All that were given.
    pub rosters: Vec<Roster>,
    /// Rosters up to this version are vouched for by the federation's first root keys, and by nothing that leads to the
    /// anchor's. `None`: all are vouched for by the anchor.
    pub by_first_roots: Option<RosterVersion>,
}

impl History {
    /// Verifies `signed`, oldest first, with root keys of any time of the federation.
    ///
    /// # Errors
    /// The place in `signed` of the first roster that does not hold, and why.
    // [ROSTER-14] [EVID-3]
    pub fn verify(signed: &[Bytes], anchor: &TrustAnchor) -> Result<Self, (usize, RosterError)> {
        let Some(oldest) = signed.first() else { return Ok(Self { rosters: Vec::new(), by_first_roots: None }) };
        let refused = match Roster::verify_first(oldest, anchor) {
            Ok(first) => return Ok(Self { rosters: forward(vec![first], signed)?, by_first_roots: None }),
            Err(refused) => refused,
        };
        let later = signed.iter().enumerate().skip(1);
        let known = later.filter_map(|(at, bytes)| Some((at, Roster::verify_first(bytes, anchor).ok()?))).next();
        let Some((at, known)) = known else {
            let first = Roster::verify_genesis(oldest, &anchor.federation).map_err(|_| (0, refused))?;
            let rosters = forward(vec![first], signed)?;
            let through = rosters.last().map(Roster::version);
            return Ok(Self { rosters, by_first_roots: through });
        };
        let mut backward = vec![known];
        for bytes in signed.iter().take(at).rev() {
            let Some(before) = backward.last().and_then(|later| Roster::verify_before(bytes, later).ok()) else {
                break;
            };
            backward.push(before);
        }
        let reached = (at + 1).saturating_sub(backward.len());
        if reached == 0 {
            backward.reverse();
            return Ok(Self { rosters: forward(backward, signed)?, by_first_roots: None });
        }
        let first = Roster::verify_genesis(oldest, &anchor.federation).map_err(|_| (0, refused))?;
        let rosters = forward(vec![first], signed)?;
        let through = rosters.get(reached - 1).map(Roster::version);
        Ok(Self { rosters, by_first_roots: through })
    }
}

/// Goes on behind `verified`, which are the first of `signed`.
fn forward(mut verified: Vec<Roster>, signed: &[Bytes]) -> Result<Vec<Roster>, (usize, RosterError)> {
    for (at, bytes) in signed.iter().enumerate().skip(verified.len()) {
        let Some(last) = verified.last() else { break };
        let next = Roster::verify_next(bytes, last).map_err(|error| (at, error))?;
        verified.push(next);
    }
    Ok(verified)
}

impl Roster {
    /// The roster that `later` names as the one before it. Its hash vouches for it; it must be signed by its own roots, too.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn verify_before(bytes: &[u8], later: &Self) -> Result<Self, RosterError> {
        let dsse = Dsse::decode(bytes, ROSTER_TYPE, limits::ROSTER_BYTES_MAX)?;
        if Hash::of(&[&dsse.payload]) != later.document().prev {
            return Err(RosterError::NotBefore { later: later.version() });
        }
        let roster = Self::verify_by_itself(bytes, &dsse, &later.federation())?;
        if roster.version().0.checked_add(1) != Some(later.version().0) {
            return Err(RosterError::NotBefore { later: later.version() });
        }
        Ok(roster)
    }

    /// Version 1 of a federation: its id is a hash over the name and the root keys in it, which sign it.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn verify_genesis(bytes: &[u8], federation: &FederationId) -> Result<Self, RosterError> {
        let dsse = Dsse::decode(bytes, ROSTER_TYPE, limits::ROSTER_BYTES_MAX)?;
        let document = parse(&dsse.payload)?;
        let found = federation_id(&document.name, &document.roots.keys);
        if document.version != RosterVersion(1) || found != *federation {
            return Err(RosterError::Federation { found, expected: *federation });
        }
        Self::verify_by_itself(bytes, &dsse, federation)
    }

    /// By the roots that it names, where something else vouches for these.
    fn verify_by_itself(bytes: &[u8], dsse: &Dsse, federation: &FederationId) -> Result<Self, RosterError> {
        let roots = parse(&dsse.payload)?.roots;
        roots.check()?;
        Self::verify_first(bytes, &TrustAnchor { federation: *federation, roots })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::RootKey;
    use super::super::document::RosterDocument;
    use super::*;
    use crate::testing::federation::{NOW, TestFederation, root_set};
    use crate::testing::rng;

    /// Versions 1 to 6; version 4 replaces the root keys.
    struct Story {
        first: TrustAnchor,
        second: TrustAnchor,
        signed: Vec<Bytes>,
        old: Vec<RootKey>,
    }

    fn next(after: &Roster, by: &[&RootKey], change: impl FnOnce(&mut RosterDocument)) -> Bytes {
        let mut document = RosterDocument::after(after, NOW, NOW.after(Duration::from_secs(86_400)));
        change(&mut document);
        document.sign(by, &mut rng(7)).into()
    }

    impl Story {
        fn new() -> Self {
            let federation = TestFederation::new(3);
            let new = vec![RootKey::generate(&mut rng(40))];
            let roots = root_set(&new, 1);
            let old = federation.roots;
            let first = TrustAnchor { federation: federation.document.federation, roots: root_set(&old, 2) };
            let second = TrustAnchor { federation: first.federation, roots: roots.clone() };
            let mut signed: Vec<Bytes> = vec![federation.document.sign(&[&old[0], &old[1]], &mut rng(9)).into()];
            let mut last = Roster::verify_first(&signed[0], &first).unwrap();
            for version in 2..=6 {
                let by: Vec<&RootKey> = match version {
                    4 => vec![&old[0], &old[1], &new[0]],
                    ..4 => vec![&old[0], &old[1]],
                    _ => vec![&new[0]],
                };
                let bytes = next(&last, &by, |document| {
                    if version == 4 {
                        document.roots = roots.clone();
                    }
                });
                last = Roster::verify_next(&bytes, &last).unwrap();
                signed.push(bytes);
            }
            Self { first, second, signed, old }
        }

        /// Verifies these versions; how many hold, and up to which one only the first roots vouch.
        fn check(&self, versions: &[usize], anchor: &TrustAnchor) -> Result<Option<u64>, usize> {
            let signed: Vec<Bytes> = versions.iter().map(|version| self.signed[version - 1].clone()).collect();
            let history = History::verify(&signed, anchor).map_err(|(at, _)| at)?;
            assert_eq!(history.rosters.len(), versions.len());
            Ok(history.by_first_roots.map(|version| u64::from(version.0)))
        }
    }

    // [ROSTER-14] [EVID-3]
    #[test]
    fn a_history_is_verified_with_the_first_roots_and_with_those_that_replaced_them() {
        let story = Story::new();
        for anchor in [&story.first, &story.second] {
            assert_eq!(story.check(&[1, 2, 3, 4, 5, 6], anchor), Ok(None));
            assert_eq!(story.check(&[4, 5], anchor), Ok(None));
        }
        assert_eq!(story.check(&[1, 4, 6], &story.first), Ok(None));
        assert_eq!(story.check(&[3, 4], &story.second), Ok(None), "an unbroken chain leads back");
        assert_eq!(story.check(&[1, 2], &story.second), Ok(Some(2)), "made before: by the federation's id");
        assert_eq!(story.check(&[1, 3, 4], &story.second), Ok(Some(1)));
        assert_eq!(story.check(&[1, 2, 4], &story.second), Ok(Some(2)), "3 is missing");
        assert_eq!(story.check(&[2, 3], &story.second), Err(0), "neither the beginning nor a way to it");
        assert_eq!(story.check(&[2, 4], &story.second), Err(0));
        assert_eq!(story.check(&[1, 5], &story.first), Err(1), "the change of roots was left out");
    }

    #[test]
    fn neither_another_federation_nor_another_history_holds() {
        let story = Story::new();
        let stranger = TestFederation::new(5).anchor();
        assert!(History::verify(&story.signed, &stranger).is_err());
        let roots_of_another = TrustAnchor { roots: stranger.roots, ..story.first.clone() };
        assert_eq!(story.check(&[1, 2], &roots_of_another), Ok(Some(2)), "the id says where a federation began");
        // Who stole the replaced keys writes history anew: what the new roots vouch for has another hash.
        let two = Roster::verify_next(&story.signed[1], &Roster::verify_first(&story.signed[0], &story.first).unwrap());
        let three = next(&two.unwrap(), &[&story.old[0], &story.old[1]], |document| document.name = "other".into());
        let four = Roster::verify_first(&story.signed[3], &story.second).unwrap();
        assert!(matches!(Roster::verify_before(&three, &four), Err(RosterError::NotBefore { .. })));
        let forged = [story.signed[0].clone(), story.signed[1].clone(), three, story.signed[3].clone()];
        assert!(History::verify(&forged, &story.second).is_err());
    }
}
