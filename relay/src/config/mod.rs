//! `relay.toml`: one struct for each table, checked as it is read.
//!
//! Read with [`liaison_node::config::Reader`], not with serde: an operator gets every mistake of the file at once, each
//! with its line and key.

mod tables;

use std::path::{Path, PathBuf};

use liaison_node::config::{self, ConfigError, Reader, Size};
use liaison_protocol::NodeId;
use liaison_protocol::ids::Region;

pub use liaison_node::config::Address;
pub use tables::{
    Engine, IdentityConfig, LimitsConfig, ListenConfig, LogFilter, LogFormat, PeerConfig, SocketMode, StoreConfig,
    TelemetryConfig, TlsConfig,
};

/// Everything that a relay is told. Paths are absolute or relative to the current folder; the file's own relative
/// paths started from its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// `id`: this relay's name in the roster. Required.
    pub id: NodeId,
    /// `region`: the region that it serves, as in the roster. Required.
    pub region: Region,
    /// `roster`: the signed roster, JSON. Required. Read at the start and at every reload.
    pub roster: PathBuf,
    /// `roots`: the federation's root keys and threshold, JSON. Required. Trust begins here.
    pub roots: PathBuf,
    /// `[identity]`
    pub identity: IdentityConfig,
    /// `[listen]`
    pub listen: ListenConfig,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[[peer]]`: addresses and costs where the roster's do not do. Relays of the roster need no entry.
    pub peers: Vec<PeerConfig>,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
}

impl RelayConfig {
    /// Reads `file`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        config::load(file, Self::read)
    }

    /// Reads `text` as the content of `file`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        config::parse(file, text, Self::read)
    }

    /// The admin socket that `file` names, whatever else is wrong with it: an operator in the middle of an edit must
    /// still reach the relay that runs.
    ///
    /// # Errors
    /// It cannot be read, or is not TOML.
    pub fn admin_socket(file: &Path) -> Result<PathBuf, ConfigError> {
        let mut found = None;
        let loaded = config::load(file, |root| {
            found = root.table("listen", |listen| Some(tables::read_admin_socket(listen)));
            found.clone()
        });
        match (loaded, found) {
            (Ok(socket), _) | (Err(_), Some(socket)) => Ok(socket),
            (Err(error), None) => Err(error),
        }
    }

    fn read(root: &mut Reader<'_>) -> Option<Self> {
        let id = root.required::<NodeId>("id");
        let region = root.required::<Region>("region");
        let roster = root.required_path("roster");
        let roots = root.required_path("roots");
        let identity = root.table("identity", IdentityConfig::read);
        let listen = root.table("listen", ListenConfig::read);
        let tls = root.table("tls", TlsConfig::read);
        let store = root.table("store", StoreConfig::read);
        let limits = root.table("limits", LimitsConfig::read);
        let peers = root.tables("peer", PeerConfig::read);
        let telemetry = root.table("telemetry", TelemetryConfig::read);
        if let Some(me) = &id {
            check_peers(root, me, &peers);
        }
        Some(Self {
            id: id?,
            region: region?,
            roster: roster?,
            roots: roots?,
            identity: identity?,
            listen: listen?,
            tls: tls?,
            store: store?,
            limits: limits?,
            peers,
            telemetry: telemetry?,
        })
    }

    /// Keys whose values differ from `running` and take effect only at a restart, as `[table] key`.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> Vec<&'static str> {
        let changes = [
            ("id", self.id != running.id),
            ("region", self.region != running.region),
            ("roster", self.roster != running.roster),
            ("roots", self.roots != running.roots),
            ("[identity]", self.identity != running.identity),
            ("[listen]", self.listen != running.listen),
            ("[tls]", self.tls != running.tls),
            ("[store]", self.store != running.store),
            ("[limits]", self.limits != running.limits),
            ("[[peer]]", self.peers != running.peers),
            ("[telemetry] format", self.telemetry.format != running.telemetry.format),
            ("[telemetry] agency_labels", self.telemetry.agency_labels != running.telemetry.agency_labels),
        ];
        changes.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

fn check_peers(root: &Reader<'_>, me: &NodeId, peers: &[PeerConfig]) {
    for (index, peer) in peers.iter().enumerate() {
        if peer.id == *me {
            root.refuse("peer", format!("'{me}' is this relay itself"));
        }
        if peers.iter().take(index).any(|earlier| earlier.id == peer.id) {
            root.refuse("peer", format!("'{}' has two entries; put all its addresses into one", peer.id));
        }
    }
}

/// Bytes in words: `31 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

#[cfg(test)]
mod tests;
