//! The run loop with the real core, a real disk and real links on 127.0.0.1, between two agencies that the tests play.

mod exchange;
mod fed;
mod forgetting;
mod moves;
mod party;
mod prekeys;
mod restore;
mod roots;
mod store_faults;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use liaison_core::{Config, NodeKind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{NodeOptions, RunError, Runner};
use crate::local::NodeHandle;
use crate::operator::{self, OperatorHandle};
use crate::store::{DiskStore, Lease, Store, StoreConfig};
use fed::Fed;

/// No test waits longer for one thing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder for stores, in memory where there is such a file system: when each call fails is the question here, and not
/// how fast a disk is.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Without a reserve: how full the disk of whoever runs this is, is not the question.
fn open(directory: &Path) -> DiskStore {
    DiskStore::open(&StoreConfig { free_bytes_min: 0, ..StoreConfig::new(directory) }).unwrap()
}

/// A relay that runs.
struct Relay {
    address: String,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Relay {
    /// Reads `store` and runs.
    fn start(fed: &Fed, disk: &Disk, store: Arc<dyn Store>) -> Result<Self, RunError> {
        Ok(Self::start_with_operator(fed, disk, store)?.0)
    }

    /// The same with an operator.
    fn start_with_operator(fed: &Fed, disk: &Disk, store: Arc<dyn Store>) -> Result<(Self, OperatorHandle), RunError> {
        let (_, requests) = NodeHandle::new(Arc::clone(&store));
        let (operator, operated) = operator::channel();
        let (roster, _) = watch::channel(Arc::clone(&fed.roster));
        let runner = Runner::start(options(fed, disk.lease()), store, roster, None, requests, operated)?;
        let address = runner.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        #[expect(clippy::disallowed_methods, reason = "the test awaits its end")]
        let ended = tokio::spawn(runner.run(stop.clone()));
        Ok((Self { address, stop, ended }, operator))
    }
}

fn options(fed: &Fed, lease: Lease) -> NodeOptions {
    NodeOptions {
        core: Config {
            me: fed.relay.clone(),
            kind: NodeKind::Relay,
            home: Vec::new(),
            costs: std::collections::BTreeMap::new(),
            agency_bytes_max: u64::MAX,
            flash_reserve_percent: 0,
            agency_rate: None,
            seed: 1,
        },
        listen: Some(([127, 0, 0, 1], 0).into()),
        identity: fed.link_identity(&fed.relay),
        signer: Arc::clone(&fed.relay_key) as _,
        addresses: std::collections::BTreeMap::new(),
        low_water_bytes: 0,
        lease,
    }
}

/// A store in a folder of its own.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    /// With what a relay knows of an agency that it serves: its keys.
    fn new(fed: &Fed) -> Self {
        let disk = Self { folder: folder() };
        let _durable = disk.open().commit(&[fed.bundle_of_sender()]).unwrap();
        disk
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn open(&self) -> DiskStore {
        open(&self.directory())
    }

    fn lease_file(&self) -> PathBuf {
        StoreConfig::new(self.directory()).lease_file()
    }

    fn lease(&self) -> Lease {
        Lease::open(&self.lease_file()).unwrap()
    }
}

/// The store, once nobody else holds it: workers of a node that has ended may, for a moment.
async fn alone<S>(mut shared: Arc<S>) -> S {
    for _ in 0..1000 {
        shared = match Arc::try_unwrap(shared) {
            Ok(store) => return store,
            Err(shared) => shared,
        };
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("somebody still holds the store");
}
