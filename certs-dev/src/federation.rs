//! What was made, and where: for the demo, tests and people's scripts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use liaison_protocol::ids::{AgencyId, NodeId, Region};
use liaison_protocol::roster::{Roster, TrustAnchor};
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, FileError};
use crate::publish::PublishError;

const SUMMARY: &str = "federation.json";

/// A federation on disk. Paths inside are relative to its folder, so that it can be moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federation {
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// What people call it.
    pub name: String,
    /// Its id, in hex.
    pub federation: String,
    /// Relays, region by region.
    pub relays: Vec<RelayFiles>,
    /// Agencies.
    pub agencies: Vec<AgencyFiles>,
}

/// A relay's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayFiles {
    /// Its name.
    pub id: NodeId,
    /// The region that it serves.
    pub region: Region,
    /// Where it listens for links (UDP).
    pub quic: SocketAddr,
    /// Where its operator's page and metrics are (TCP).
    pub admin: SocketAddr,
}

/// An agency's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgencyFiles {
    /// Its name.
    pub id: AgencyId,
    /// Its region.
    pub region: Region,
    /// Its home relays, in order of preference.
    pub home: Vec<NodeId>,
}

impl Federation {
    /// Reads what [`make`](crate::make) left in `folder`.
    ///
    /// # Errors
    /// There is no `federation.json`, or it is not one.
    pub fn load(folder: impl Into<PathBuf>) -> Result<Self, FileError> {
        let folder = folder.into();
        let path = folder.join(SUMMARY);
        let parsed = serde_json::from_slice::<Self>(&files::read(&path)?);
        let federation = parsed.map_err(|error| FileError::new("read", &path)(error.into()))?;
        Ok(Self { folder, ..federation })
    }

    pub(crate) fn save(&self) -> Result<(), FileError> {
        let path = self.folder.join(SUMMARY);
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| FileError::new("write", &path)(error.into()))?;
        text.push(b'\n');
        files::write(&path, &text, Access::Public)
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The signed roster that all nodes read.
    #[must_use]
    pub fn roster_path(&self) -> PathBuf {
        self.folder.join("roster.json")
    }

    /// The public roots that all nodes read.
    #[must_use]
    pub fn roots_path(&self) -> PathBuf {
        self.folder.join("roots.json")
    }

    pub(crate) fn root_keys(&self) -> PathBuf {
        self.folder.join("roots")
    }

    /// The folder of the relay `id`.
    #[must_use]
    pub fn relay_folder(&self, id: &NodeId) -> PathBuf {
        self.folder.join("relays").join(id.as_str())
    }

    /// The configuration of the relay `id`.
    #[must_use]
    pub fn relay_config(&self, id: &NodeId) -> PathBuf {
        self.relay_folder(id).join("relay.toml")
    }

    /// The admin socket of the relay `id`, once it runs.
    #[must_use]
    pub fn relay_socket(&self, id: &NodeId) -> PathBuf {
        self.relay_folder(id).join("relay.sock")
    }

    /// The folder of the agency `id`.
    #[must_use]
    pub fn agency_folder(&self, id: &AgencyId) -> PathBuf {
        self.folder.join("agencies").join(id.as_str())
    }

    /// The configuration of the agency `id`'s daemon.
    #[must_use]
    pub fn agency_config(&self, id: &AgencyId) -> PathBuf {
        self.agency_folder(id).join("liaisond.toml")
    }

    /// The API socket of the agency `id`'s daemon, once it runs.
    #[must_use]
    pub fn agency_socket(&self, id: &AgencyId) -> PathBuf {
        self.agency_folder(id).join("liaisond.sock")
    }

    /// The roster as it is on disk, verified.
    ///
    /// # Errors
    /// A file cannot be read, or does not verify.
    pub fn roster(&self) -> Result<Roster, PublishError> {
        let anchor = TrustAnchor::from_json(&files::read(&self.roots_path())?)?;
        Ok(Roster::verify_first(&files::read(&self.roster_path())?, &anchor)?)
    }
}
