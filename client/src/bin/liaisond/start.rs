//! From a configuration to a daemon that serves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use liaison_client::api::server::{LISTENER, SOCKET_MODE, Streams, Surface};
use liaison_client::clock::SystemClock;
use liaison_client::office::{Office, OfficeParts};
use liaison_client::prekeys::slots::SlotFile;
use liaison_client::random::SystemEntropy;
use liaison_core::roster_state::check_clock;
use liaison_core::{Config, NodeKind};
use liaison_node::exit::Exit;
use liaison_node::http::{SocketFile, bind};
use liaison_node::local::NodeHandle;
use liaison_node::metric::{self, AgencyLabels, FamilyKind, StatusGauges};
use liaison_node::operator::{self, OperatorHandle};
use liaison_node::run::{NodeOptions, Runner, load_roster};
use liaison_node::store::{DiskStore, Lease, OpenError, Store, StoreConfig};
use liaison_node::{clock, local::LocalAgency};
use liaison_protocol::NodeId;
use liaison_protocol::roster::Roster;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::check::check_places;
use crate::config::DaemonConfig;
use crate::failure::{Failure, Finding};
use crate::keys::{Keys, compare};

/// A daemon that is ready to run.
pub(crate) struct Started {
    pub(crate) runner: Runner,
    pub(crate) office: Arc<Office>,
    pub(crate) operator: OperatorHandle,
    pub(crate) home: Vec<NodeId>,
    pub(crate) listener: UnixListener,
    pub(crate) surface: Arc<Surface>,
    pub(crate) socket: SocketFile,
}

/// Everything up to the point where it would answer.
pub(crate) async fn start(config: &DaemonConfig, stop: CancellationToken) -> Result<Started, Failure> {
    check_places(config).map_err(|finding| Failure::findings(&[finding]))?;
    let keys = load_keys(config).await?;
    // The store first: a second daemon with this configuration gives up here, with a word that says so.
    let store = open_store(config).await?;
    let roster = effective_roster(config, &keys, &store)?;
    let home = configured_home(config, &roster)?;
    metric::born_peers(if home.is_empty() { rosters_home(config, &roster) } else { &home });
    let metrics = install_metrics();
    let (operator, operator_requests) = operator::channel();
    let (node, requests) = NodeHandle::new(Arc::clone(&store));
    let (roster_sender, roster_receiver) = watch::channel(roster);
    let signer = Arc::new(keys.signing);
    let slots = open_slots(config).await?;
    let lease = open_lease(config).await?;
    let parts = OfficeParts {
        agency: config.agency.clone(),
        verifying_key: signer.verifying_key(),
        signer: Arc::clone(&signer) as _,
        at_rest: keys.at_rest,
        slots,
        lease: lease.clone(),
        node,
        anchor: keys.anchor,
        roster: roster_receiver,
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        policy: config.policy(),
    };
    let office = tokio::task::spawn_blocking(move || Office::open(parts)).await;
    let office = office.map_err(|error| Failure::new(Exit::Internal, error))?;
    let office = Arc::new(office.map_err(|error| Failure::new(Exit::Io, error))?);
    let options = NodeOptions {
        core: core_config(config, &home),
        listen: None,
        identity: keys.link,
        signer,
        addresses: addresses(config),
        low_water_bytes: config.store.min_free.0,
        lease,
    };
    let agency = Arc::clone(&office) as Arc<dyn LocalAgency>;
    let runner = Runner::start(options, store, roster_sender, Some(agency), requests, operator_requests)
        .map_err(|error| Failure::new(Exit::Io, error))?;
    let (listener, socket) =
        bind(&config.socket, SOCKET_MODE, LISTENER).map_err(|error| Failure::new(Exit::Io, error))?;
    let surface = Arc::new(Surface {
        office: Arc::clone(&office),
        operator: operator.clone(),
        home: home.clone(),
        metrics,
        gauges: Mutex::new(StatusGauges::new(AgencyLabels::Each)),
        stop,
        streams: Streams::default(),
    });
    Ok(Started { runner, office, operator, home, listener, surface, socket })
}

async fn load_keys(config: &DaemonConfig) -> Result<Keys, Failure> {
    let config = config.clone();
    let loaded = tokio::task::spawn_blocking(move || Keys::load(&config)).await;
    loaded.map_err(|error| Failure::new(Exit::Internal, error))?.map_err(|findings| Failure::findings(&findings))
}

async fn open_slots(config: &DaemonConfig) -> Result<SlotFile, Failure> {
    let path = config.slot_file();
    let opened = tokio::task::spawn_blocking(move || SlotFile::open(&path)).await;
    let opened = opened.map_err(|error| Failure::new(Exit::Internal, error))?;
    opened.map_err(|error| Failure::new(Exit::Io, error))
}

async fn open_lease(config: &DaemonConfig) -> Result<Lease, Failure> {
    let path = StoreConfig::new(&config.store.path).lease_file();
    let opened = tokio::task::spawn_blocking(move || Lease::open(&path)).await;
    let opened = opened.map_err(|error| Failure::new(Exit::Internal, error))?;
    opened.map_err(|error| Failure::new(Exit::Io, error))
}

async fn open_store(config: &DaemonConfig) -> Result<Arc<dyn Store>, Failure> {
    // The store's own reserve lies below the mark at which nothing new is taken.
    let free_bytes_min = StoreConfig::FREE_BYTES_MIN.min(config.store.min_free.0);
    let options = StoreConfig { free_bytes_min, ..StoreConfig::new(&config.store.path) };
    let opened = tokio::task::spawn_blocking(move || DiskStore::open(&options)).await;
    let store = opened.map_err(|error| Failure::new(Exit::Internal, error))?.map_err(|error| {
        let exit = match error {
            OpenError::Foreign { .. } | OpenError::Version { .. } => Exit::Config,
            OpenError::Fault(_) | OpenError::Locked { .. } => Exit::Io,
        };
        Failure::new(exit, format!("[store] path: {error}"))
    })?;
    Ok(Arc::new(store))
}

/// The newest roster that the roots vouch for, with this agency and its keys in it.
fn effective_roster(config: &DaemonConfig, keys: &Keys, store: &Arc<dyn Store>) -> Result<Arc<Roster>, Failure> {
    let roster =
        load_roster(&**store, &keys.anchor, &keys.signed_roster).map_err(|error| Failure::new(Exit::Config, error))?;
    let findings = compare(&config.agency, &roster, &keys.link, &keys.signing);
    if let Err(behind) = check_clock(&roster, clock::now(), clock::BUILT) {
        return Err(Failure::findings(&[
            Finding::fail("clock", behind.to_string()).fix("set the clock: timedatectl set-ntp true")
        ]));
    }
    if findings.is_empty() { Ok(roster) } else { Err(Failure::findings(&findings)) }
}

/// Home relays as configured, the preferred one first; empty: those of the roster, which are followed as they change.
fn configured_home(config: &DaemonConfig, roster: &Roster) -> Result<Vec<NodeId>, Failure> {
    if let Some(home) = config.home.iter().find(|home| roster.relay(&home.id).is_none()) {
        let text = format!("[relays] home: {} is not a relay of roster version {}", home.id, roster.version());
        return Err(Failure::findings(&[Finding::fail("relays", text)]));
    }
    Ok(config.home.iter().map(|home| home.id.clone()).collect())
}

fn rosters_home<'a>(config: &DaemonConfig, roster: &'a Roster) -> &'a [NodeId] {
    roster.agency(&config.agency).map_or(&[], |agency| &agency.home)
}

/// Addresses in liaisond.toml, which replace those of the roster.
fn addresses(config: &DaemonConfig) -> BTreeMap<NodeId, Vec<String>> {
    let configured = config.home.iter().filter(|home| !home.addr.is_empty());
    configured.map(|home| (home.id.clone(), home.addr.iter().map(ToString::to_string).collect())).collect()
}

fn core_config(config: &DaemonConfig, home: &[NodeId]) -> Config {
    Config {
        me: NodeId::from(&config.agency),
        kind: NodeKind::Daemon,
        home: home.to_vec(),
        costs: BTreeMap::new(),
        // The outbox is bounded by the disk; relays bound what they take of it.
        agency_bytes_max: u64::MAX,
        flash_reserve_percent: 0,
        agency_rate: None,
        // It spreads retries, and guards nothing: the time will do where the system has no randomness.
        seed: getrandom::u64().unwrap_or_else(|_| clock::now().as_millis()),
    }
}

/// `/metrics` is empty where the process has a recorder already.
fn install_metrics() -> Option<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for family in metric::RELAY {
        if let FamilyKind::Histogram(buckets) = family.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(family.name.into()), buckets).ok()?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok()?;
    metric::describe(metric::RELAY);
    metric::born();
    Some(handle)
}
