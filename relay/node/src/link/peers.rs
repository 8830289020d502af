//! What a link asks of the roster.

use std::sync::Arc;

use liaison_protocol::frame::{Hello, VERSION_MAX, VERSION_MIN};
use liaison_protocol::{FederationId, Hash, NodeId, Role, Roster};
use tokio::sync::watch;

/// Who may connect, and what our hello says of the roster. [`Roster`] is the one that nodes use.
pub trait Peers: Send + Sync + 'static {
    /// Which federation this is.
    fn federation(&self) -> FederationId;

    /// SHA-256 of the roster's payload.
    fn hash(&self) -> Hash;

    /// Whose link certificate has this Ed25519 key, and what that node is. `None` refuses the key.
    fn node_by_tls_key(&self, key: &[u8; 32]) -> Option<(NodeId, Role)>;

    /// The roster's version.
    fn version(&self) -> u32;
}

impl Peers for Roster {
    fn federation(&self) -> FederationId {
        self.federation()
    }

    fn hash(&self) -> Hash {
        self.hash()
    }

    fn node_by_tls_key(&self, key: &[u8; 32]) -> Option<(NodeId, Role)> {
        let node = self.node_by_tls_key(key)?;
        Some((node.clone(), self.role(node)?))
    }

    fn version(&self) -> u32 {
        self.version().0
    }
}

/// The roster of the moment. Verifiers and links look at it when they decide, never at a copy.
pub(super) type PeersNow = watch::Receiver<Arc<dyn Peers>>;

/// Our hello, by the roster of the moment.
pub(super) fn hello(me: &NodeId, role: Role, features: &[u16], peers: &PeersNow) -> Hello {
    let peers = peers.borrow();
    Hello {
        version_min: VERSION_MIN,
        version_max: VERSION_MAX,
        federation: peers.federation(),
        node: me.clone(),
        role,
        roster_version: peers.version(),
        roster_hash: peers.hash(),
        features: features.to_vec(),
    }
}
