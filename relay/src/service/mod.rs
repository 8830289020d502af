//! `liaison-relay run`: from a configuration to a node that serves, and down again in order.
//!
//! ```text
//!  keys ─► store ─► roster ─► listeners ─► node ─► READY ─► SIGHUP: reload
//!                                                    └────► SIGTERM, SIGINT: STOPPING, commits finished, links closed
//! ```

mod start;
mod systemd;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use liaison_node::exit::Exit;
use liaison_node::http::Door;
use liaison_node::metric;
use liaison_node::run::RunError;
use liaison_protocol::roster::Roster;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{Surface, serve};
use crate::config::RelayConfig;
use crate::failure::Failure;
use start::Started;

/// How often histograms are sorted, so that their memory stays bounded while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT, then stops in order. A second one ends at once: what was acknowledged is durable
/// either way.
///
/// # Errors
/// What kept the relay from starting, or made it stop by itself.
pub async fn run(file: &Path, config: RelayConfig) -> Result<(), Failure> {
    let mut signals = Signals::install()?;
    let started = start::start(file, config).await?;
    let id = started.id.clone();
    let quic = started.runner.local_addr().map(|address| address.to_string());
    tracing::info!(relay = %id, quic, version = crate::telemetry::VERSION, "serving");
    let Started { runner, surface, doors, _socket: socket, .. } = started;
    let stop = CancellationToken::new();
    let mut helpers = spawn_helpers(&surface, doors, &stop);
    let mut node = std::pin::pin!(runner.run(stop.clone()));
    systemd::ready(&format!("{id} is serving"));
    let ended = loop {
        tokio::select! {
            ended = node.as_mut() => break ended,
            signal = signals.next() => match signal {
                Received::Reload => {
                    systemd::reloading();
                    // Told in log and metrics; a reload that fails changes nothing.
                    let _ = surface.reloader.reload(&surface.operator).await;
                    systemd::ready(&format!("{id} is serving"));
                }
                Received::Stop => {
                    tracing::info!("stopping: commits under way are finished");
                    systemd::stopping();
                    stop.cancel();
                    break tokio::select! {
                        ended = node.as_mut() => ended,
                        () = signals.stop() => return Err(Failure::new(Exit::Interrupted, "interrupted", "stopped at once")),
                    };
                }
            },
        }
    };
    stop.cancel();
    while helpers.join_next().await.is_some() {}
    drop(socket);
    ended.map_err(|error| run_failure(&error))?;
    tracing::info!("stopped");
    Ok(())
}

/// A node that stopped by itself.
fn run_failure(error: &RunError) -> Failure {
    tracing::error!(%error, "the node stopped");
    match error {
        RunError::Store(_) | RunError::Bind(_) => Failure::new(Exit::Io, "node_stopped", error),
        RunError::Local(_) | RunError::Thread(_) => Failure::new(Exit::Internal, "node_stopped", error),
    }
}

/// Everything beside the node; ends with `stop`.
fn spawn_helpers(surface: &Arc<Surface>, doors: Vec<(Door, axum::Router)>, stop: &CancellationToken) -> JoinSet<()> {
    let mut helpers = JoinSet::new();
    for (door, router) in doors {
        helpers.spawn(serve(door, router, stop.clone()));
    }
    helpers.spawn(until_stopped(upkeep(Arc::clone(surface)), stop.clone()));
    helpers.spawn(until_stopped(systemd::watchdog(surface.operator.clone()), stop.clone()));
    helpers
}

async fn until_stopped(task: impl Future<Output = ()>, stop: CancellationToken) {
    tokio::select! {
        () = task => {}
        () = stop.cancelled() => {}
    }
}

/// Keeps metrics bounded, and gives every peer of a new roster its counters.
async fn upkeep(surface: Arc<Surface>) {
    let mut roster = surface.roster.clone();
    let mut ticks = tokio::time::interval(UPKEEP);
    let mut followed = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => surface.exporter.upkeep(),
            changed = roster.changed(), if followed => {
                followed = changed.is_ok();
                born_peers(&roster.borrow_and_update());
            }
        }
    }
}

pub(super) fn born_peers(roster: &Roster) {
    metric::born_peers(roster.relays().map(|relay| &relay.id));
    let agencies: Vec<_> = roster.agencies().map(|agency| (&agency.id).into()).collect();
    metric::born_peers(&agencies);
}

/// What the process is told by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Received {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind)
                .map_err(|error| Failure::new(Exit::Internal, "internal", format!("cannot watch signals: {error}")))
        };
        Ok(Self {
            hangup: install(SignalKind::hangup())?,
            interrupt: install(SignalKind::interrupt())?,
            terminate: install(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.hangup.recv() => Received::Reload,
            _ = self.interrupt.recv() => Received::Stop,
            _ = self.terminate.recv() => Received::Stop,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Received::Stop {}
    }
}
