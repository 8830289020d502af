//! Everything between a configuration and a node that is ready to run. Nothing is served before all of it is there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use liaison_core::{Config, NodeKind};
use liaison_node::descriptors;
use liaison_node::exit::Exit;
use liaison_node::http::{Door, SocketFile, bind};
use liaison_node::link::BindError;
use liaison_node::local::NodeHandle;
use liaison_node::metric::AgencyLabels;
use liaison_node::run::{NodeOptions, RunError, Runner, load_roster};
use liaison_node::store::{DiskStore, Lease, OpenError, Store, StoreConfig};
use liaison_node::{clock, operator, secrecy};
use liaison_protocol::NodeId;
use liaison_protocol::roster::Roster;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{LISTENER, Surface, Token};
use crate::check::unbindable;
use crate::config::RelayConfig;
use crate::failure::Failure;
use crate::finding::{Finding, Level};
use crate::keys::{Keys, compare};
use crate::reload::Reloader;
use crate::telemetry::{Exporter, init_logs};

/// A relay that is ready to run.
pub(super) struct Started {
    pub(super) id: NodeId,
    pub(super) runner: Runner,
    pub(super) surface: Arc<Surface>,
    pub(super) doors: Vec<(Door, Router)>,
    /// Dropped last: it removes the socket.
    pub(super) _socket: SocketFile,
}

/// # Errors
/// What is in the way, each with what to do about it.
pub(super) async fn start(file: &Path, config: RelayConfig) -> Result<Started, Failure> {
    let logs = init_logs(&config.telemetry).map_err(|error| internal(&error))?;
    secrecy::protect().iter().for_each(|exposed| tracing::warn!("{exposed}"));
    raise_descriptors();
    let keys = load_keys(&config).await?;
    let labels = if config.telemetry.agency_labels { AgencyLabels::Each } else { AgencyLabels::Summed };
    let exporter = Exporter::install(labels).map_err(|error| internal(&error))?;
    let token = config.listen.admin_token.as_ref().map(Token::read).transpose();
    let token = token.map_err(|error| Failure::findings(&[Finding::fail("admin-token", error)]))?;
    // The socket first: a second relay with this configuration gives up here, with a word that says so.
    let (socket_listener, socket) = bind(&config.listen.admin_socket, config.listen.admin_socket_mode.bits(), LISTENER)
        .map_err(|error| Failure::new(Exit::Io, "admin_socket", error))?;
    let tcp_listener = match config.listen.admin {
        Some(address) => Some(bind_tcp(address).await?),
        None => None,
    };
    let store = open_store(&config).await?;
    let lease = open_lease(&config).await?;
    let roster = effective_roster(&config, &keys, &store)?;
    super::born_peers(&roster);
    let (operator, operator_requests) = operator::channel();
    // A relay has no agency: nobody holds the other end.
    let (_, requests) = NodeHandle::new(Arc::clone(&store));
    let (roster_sender, roster_receiver) = watch::channel(Arc::clone(&roster));
    let options = node_options(&config, keys, lease);
    let runner = Runner::start(options, store, roster_sender, None, requests, operator_requests)
        .map_err(|error| start_failure(&error))?;
    let reloader = Reloader::new(file.into(), config.clone(), logs);
    let surface = Arc::new(Surface { operator, exporter, reloader, roster: roster_receiver });
    let mut doors = vec![(Door::Unix(socket_listener), surface.socket_router())];
    doors.extend(tcp_listener.map(|listener| (Door::Tcp(listener), surface.tcp_router(token))));
    Ok(Started { id: config.id, runner, surface, doors, _socket: socket })
}

fn raise_descriptors() {
    match descriptors::raise() {
        Ok(limit) if limit < descriptors::WANTED => {
            tracing::warn!(limit, "few file descriptors; raise LimitNOFILE of the service");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of file descriptors is not raised"),
    }
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Internal, "internal", error)
}

async fn load_keys(config: &RelayConfig) -> Result<Keys, Failure> {
    let config = config.clone();
    let loaded = tokio::task::spawn_blocking(move || Keys::load(&config)).await;
    loaded.map_err(|error| internal(&error))?.map_err(|findings| Failure::findings(&findings))
}

async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| bind_failure("admin", "TCP", address, &error))
}

fn bind_failure(key: &str, kind: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    let finding = unbindable(key, kind, address, error);
    let text = format!("[listen] {key}: {}", finding.text);
    finding.fix.into_iter().fold(Failure::new(Exit::Io, "cannot_listen", text), Failure::hint)
}

async fn open_store(config: &RelayConfig) -> Result<Arc<dyn Store>, Failure> {
    let low_water = config.store.low_water.0;
    // The store's own reserve lies below the mark at which custody is refused.
    let free_bytes_min = StoreConfig::FREE_BYTES_MIN.min(low_water);
    let options = StoreConfig { free_bytes_min, ..StoreConfig::new(&config.store.path) };
    let opened = tokio::task::spawn_blocking(move || DiskStore::open(&options)).await;
    let store = opened.map_err(|error| internal(&error))?.map_err(|error| {
        let exit = match error {
            OpenError::Foreign { .. } | OpenError::Version { .. } => Exit::Config,
            OpenError::Fault(_) | OpenError::Locked { .. } => Exit::Io,
        };
        Failure::new(exit, "store_unusable", format!("[store] path: {error}"))
    })?;
    Ok(Arc::new(store))
}

/// The store's lock is held: no other relay writes this file.
async fn open_lease(config: &RelayConfig) -> Result<Lease, Failure> {
    let path = StoreConfig::new(&config.store.path).lease_file();
    let opened = tokio::task::spawn_blocking(move || Lease::open(&path)).await;
    let opened = opened.map_err(|error| internal(&error))?;
    opened.map_err(|error| Failure::new(Exit::Io, "store_unusable", format!("[store] path: {error}")))
}

/// The newest roster that the roots vouch for, and whether this relay may run by it. One that has ended does not keep
/// it from starting: what is held is still delivered.
fn effective_roster(config: &RelayConfig, keys: &Keys, store: &Arc<dyn Store>) -> Result<Arc<Roster>, Failure> {
    let roster = load_roster(&**store, &keys.anchor, &keys.signed_roster)
        .map_err(|error| Failure::new(Exit::Config, "roster_unusable", error))?;
    let findings = compare(config, &roster, Some(&keys.link), Some(&keys.signing), clock::now());
    let fatal =
        |finding: &&Finding| finding.level == Level::Fail && finding.id != "roster" && finding.id != "keys-expiry";
    let fatal: Vec<_> = findings.iter().filter(fatal).cloned().collect();
    for finding in findings.iter().filter(|finding| finding.level != Level::Ok) {
        tracing::warn!(check = finding.id, fix = finding.fix, "{}", finding.text);
    }
    if fatal.is_empty() { Ok(roster) } else { Err(Failure::findings(&fatal)) }
}

fn node_options(config: &RelayConfig, keys: Keys, lease: Lease) -> NodeOptions {
    let costs: BTreeMap<_, _> = config.peers.iter().map(|peer| (peer.id.clone(), peer.cost)).collect();
    NodeOptions {
        core: Config {
            me: config.id.clone(),
            kind: NodeKind::Relay,
            home: Vec::new(),
            costs,
            agency_bytes_max: config.limits.per_agency_bytes.0,
            flash_reserve_percent: config.limits.flash_reserve.0,
            agency_rate: config.limits.per_agency_rate.and_then(|rate| u32::try_from(rate.0).ok()),
            // It spreads retries, and guards nothing: the time will do where the system has no randomness.
            seed: getrandom::u64().unwrap_or_else(|_| clock::now().as_millis()),
        },
        listen: Some(config.listen.quic),
        identity: keys.link,
        signer: Arc::new(keys.signing),
        addresses: addresses(config),
        low_water_bytes: config.store.low_water.0,
        lease,
    }
}

/// Addresses in relay.toml, which replace those of the roster.
fn addresses(config: &RelayConfig) -> BTreeMap<NodeId, Vec<String>> {
    let configured = config.peers.iter().filter(|peer| !peer.addr.is_empty());
    configured.map(|peer| (peer.id.clone(), peer.addr.iter().map(ToString::to_string).collect())).collect()
}

fn start_failure(error: &RunError) -> Failure {
    match error {
        RunError::Bind(BindError::Socket { address, error }) => bind_failure("quic", "UDP", *address, error),
        RunError::Bind(_) | RunError::Store(_) => Failure::new(Exit::Io, "cannot_start", error),
        RunError::Local(_) | RunError::Thread(_) => internal(error),
    }
}
