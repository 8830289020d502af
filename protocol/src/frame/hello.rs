//! The first frame of each side, and what two hellos agree on (SPEC.md, "Hello").

use serde::{Deserialize, Serialize};

use super::{CloseCode, FrameType, Payload, is_ascending};
use crate::bounded::list;
use crate::codec::Malformed;
use crate::hash::Hash;
use crate::ids::{FederationId, NodeId};
use crate::role::Role;

/// Oldest wire version that this implementation speaks.
pub const VERSION_MIN: u16 = 1;
/// Newest wire version that this implementation speaks.
pub const VERSION_MAX: u16 = 1;
/// Features in one hello.
pub const FEATURES_MAX: usize = 64;

/// Who speaks, what it speaks, and which roster it holds. Its layout never changes; what comes later is a feature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Oldest wire version that the sender speaks.
    pub version_min: u16,
    /// Newest wire version that the sender speaks.
    pub version_max: u16,
    /// The federation it belongs to.
    pub federation: FederationId,
    /// Its name in the roster.
    pub node: NodeId,
    /// Its role in the roster.
    pub role: Role,
    /// Version of the roster that it trusts. A difference is no error: whoever is behind asks for the newer one.
    pub roster_version: u32,
    /// SHA-256 of that roster's payload.
    pub roster_hash: Hash,
    /// What it offers beyond the version, strictly ascending, at most [`FEATURES_MAX`].
    #[serde(deserialize_with = "list::<_, _, FEATURES_MAX>")]
    pub features: Vec<u16>,
}

impl Payload for Hello {
    const TYPE: FrameType = FrameType::Hello;

    fn check(&self) -> Result<(), Malformed> {
        let rule = |rule| Err(Malformed::Rule { what: "hello", rule });
        if self.version_min == 0 || self.version_min > self.version_max {
            return rule("version_min is at least 1 and at most version_max");
        }
        if self.features.len() > FEATURES_MAX || !is_ascending(&self.features) {
            return rule("features are strictly ascending, at most 64");
        }
        Ok(())
    }
}

/// What both sides of a link use from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The newest version that both speak.
    pub version: u16,
    /// Features that both offer, ascending.
    pub features: Vec<u16>,
}

/// Why a hello is not acceptable. The link is closed with [`HelloError::close_code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The peer is of another federation: a test node at a production relay, for instance.
    #[error("the peer belongs to federation {theirs}, this node to {ours}")]
    Federation {
        /// Our federation.
        ours: FederationId,
        /// The peer's.
        theirs: FederationId,
    },
    /// The peer's key is registered for another node, or with another role, than it says.
    #[error("the hello says {claimed} ({claimed_role}), the key belongs to {proven} ({proven_role})")]
    Identity {
        /// Who the peer says it is.
        claimed: NodeId,
        /// What it says it is.
        claimed_role: Role,
        /// Whose key it proved.
        proven: NodeId,
        /// That node's role.
        proven_role: Role,
    },
    /// The peer proves to be this very node: a copied key, or a link to oneself.
    #[error("the peer is this node itself, {node}")]
    Ourselves {
        /// Our own name.
        node: NodeId,
    },
    /// The version ranges do not meet.
    #[error(
        "no common version: this node speaks {ours_min} to {ours_max}, the peer ({peer}) {theirs_min} to {theirs_max}"
    )]
    Version {
        /// Our oldest.
        ours_min: u16,
        /// Our newest.
        ours_max: u16,
        /// The peer's name.
        peer: NodeId,
        /// Its oldest.
        theirs_min: u16,
        /// Its newest.
        theirs_max: u16,
    },
}

impl HelloError {
    /// The code that closes the link.
    #[must_use]
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::Federation { .. } => CloseCode::Federation,
            Self::Identity { .. } | Self::Ourselves { .. } => CloseCode::WrongIdentity,
            Self::Version { .. } => CloseCode::Version,
        }
    }
}

/// Compares the peer's hello with ours and with the node whose key the peer proved in the handshake.
///
/// # Errors
/// The first rule that the hello breaks. Identity comes first: what an impostor says matters no further.
// [HELLO-1] [HELLO-2] [HELLO-3] [HELLO-4]
pub fn negotiate(ours: &Hello, theirs: &Hello, proven: &NodeId, proven_role: Role) -> Result<Agreed, HelloError> {
    if theirs.node != *proven || theirs.role != proven_role {
        return Err(HelloError::Identity {
            claimed: theirs.node.clone(),
            claimed_role: theirs.role,
            proven: proven.clone(),
            proven_role,
        });
    }
    if theirs.node == ours.node {
        return Err(HelloError::Ourselves { node: ours.node.clone() });
    }
    if theirs.federation != ours.federation {
        return Err(HelloError::Federation { ours: ours.federation, theirs: theirs.federation });
    }
    let version = ours.version_max.min(theirs.version_max);
    if version < ours.version_min || version < theirs.version_min {
        return Err(HelloError::Version {
            ours_min: ours.version_min,
            ours_max: ours.version_max,
            peer: theirs.node.clone(),
            theirs_min: theirs.version_min,
            theirs_max: theirs.version_max,
        });
    }
    let features = ours.features.iter().filter(|feature| theirs.features.contains(feature)).copied().collect();
    Ok(Agreed { version, features })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(node: &str, versions: (u16, u16), features: &[u16]) -> Hello {
        Hello {
            version_min: versions.0,
            version_max: versions.1,
            federation: FederationId([1; 16]),
            node: node.parse().unwrap(),
            role: Role::Relay,
            roster_version: 4,
            roster_hash: Hash::ZERO,
            features: features.to_vec(),
        }
    }

    fn meet(ours: &Hello, theirs: &Hello) -> Result<Agreed, HelloError> {
        negotiate(ours, theirs, &"eu-1".parse().unwrap(), Role::Relay)
    }

    // [HELLO-3] [HELLO-4]
    #[test]
    fn a_newer_peer_talks_down_to_an_older_one() {
        let (old, new) = (hello("ap-1", (1, 2), &[3, 5]), hello("eu-1", (2, 9), &[1, 3, 7]));
        assert_eq!(meet(&old, &new), Ok(Agreed { version: 2, features: vec![3] }));
    }

    // [HELLO-3]
    #[test]
    fn no_common_version_names_both_ranges() {
        for (ours, theirs) in [((1, 1), (2, 3)), ((4, 5), (2, 3))] {
            let error = meet(&hello("ap-1", ours, &[]), &hello("eu-1", theirs, &[])).unwrap_err();
            assert_eq!(error.close_code(), CloseCode::Version);
            let text = error.to_string();
            assert!(text.contains(&format!("{} to {}", ours.0, ours.1)) && text.contains("2 to 3"), "{text}");
        }
    }

    // [HELLO-4]
    #[test]
    fn a_roster_of_another_version_is_no_error() {
        let mut theirs = hello("eu-1", (1, 1), &[]);
        theirs.roster_version = 99;
        assert!(meet(&hello("ap-1", (1, 1), &[]), &theirs).is_ok());
    }

    // [HELLO-1]
    #[test]
    fn the_name_and_the_role_must_be_those_of_the_key() {
        let ours = hello("ap-1", (1, 1), &[]);
        assert_eq!(meet(&ours, &hello("eu-2", (1, 1), &[])).unwrap_err().close_code(), CloseCode::WrongIdentity);
        let mut agency = hello("eu-1", (1, 1), &[]);
        agency.role = Role::Agency;
        assert_eq!(meet(&ours, &agency).unwrap_err().close_code(), CloseCode::WrongIdentity);
    }

    // [HELLO-1] [HELLO-2]
    #[test]
    fn a_link_to_oneself_and_another_federation_are_refused() {
        let mut ours = hello("eu-1", (1, 1), &[]);
        let theirs = hello("eu-1", (1, 1), &[]);
        assert!(matches!(meet(&ours, &theirs), Err(HelloError::Ourselves { .. })));
        ours.node = "ap-1".parse().unwrap();
        ours.federation = FederationId([2; 16]);
        assert_eq!(meet(&ours, &theirs).unwrap_err().close_code(), CloseCode::Federation);
    }
}
