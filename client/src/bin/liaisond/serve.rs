//! Serving, and stopping in order: no new requests, tasks ended, commits finished, links closed.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use liaison_client::api::server;
use liaison_client::daemon::{TaskFailed, run_tasks};
use liaison_node::config::read_public;
use liaison_node::exit::Exit;
use liaison_node::operator::OperatorHandle;
use liaison_node::run::RunError;
use sd_notify::{NotifyState, notify};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::DaemonConfig;
use crate::failure::Failure;
use crate::keys::ROSTER_FILE_BYTES_MAX;
use crate::start::{Started, start};

/// Requests and tasks under way are waited for so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Histograms are sorted so often, so that their memory stays bounded while nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT. A second one ends at once: what was answered is durable either way.
pub(crate) async fn serve(config: DaemonConfig) -> Result<(), Failure> {
    let mut signals = Signals::install()?;
    let (stop_serving, stop_node) = (CancellationToken::new(), CancellationToken::new());
    let Started { runner, office, operator, home, listener, surface, socket } =
        start(&config, stop_serving.clone()).await?;
    let mut node = Box::pin(runner.run(stop_node.clone()));
    let mut tasks = Box::pin(run_tasks(office, operator.clone(), home, stop_serving.clone()));
    let mut helpers = JoinSet::new();
    if let Some(metrics) = surface.metrics.clone() {
        helpers.spawn(until(stop_serving.clone(), async move {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        }));
    }
    helpers.spawn(until(stop_serving.clone(), watchdog(operator.clone())));
    helpers.spawn(server::serve(listener, surface));
    tracing::info!(agency = %config.agency, socket = %config.socket.display(), "serving");
    say(&[NotifyState::Ready, NotifyState::Status(&format!("{} is serving", config.agency))]);

    let ended = loop {
        tokio::select! {
            ended = node.as_mut() => break Ended::Node(ended),
            ended = tasks.as_mut() => break Ended::Tasks(ended),
            signal = signals.next() => match signal {
                Received::Reload => reload(&config, &operator).await,
                Received::Stop => break Ended::Asked,
            },
        }
    };
    say(&[NotifyState::Stopping]);
    tracing::info!("stopping: what is under way is finished");
    stop_serving.cancel();
    let quiet = async {
        while helpers.join_next().await.is_some() {}
        if !matches!(ended, Ended::Tasks(_)) {
            drop(tasks.await);
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, quiet) => {}
        () = signals.stop() => return Err(Failure::new(Exit::Interrupted, "stopped at once")),
    }
    stop_node.cancel();
    drop(socket);
    let node = match ended {
        Ended::Node(ended) => ended,
        Ended::Tasks(Err(failed)) => {
            drop(node.await);
            return Err(Failure::new(Exit::Io, failed));
        }
        Ended::Tasks(Ok(())) | Ended::Asked => node.await,
    };
    node.map_err(|error| Failure::new(Exit::Io, error))?;
    tracing::info!("stopped");
    Ok(())
}

enum Ended {
    Asked,
    Node(Result<(), RunError>),
    Tasks(Result<(), TaskFailed>),
}

/// The roster file is read again; everything else needs a restart.
async fn reload(config: &DaemonConfig, operator: &OperatorHandle) {
    let path = config.roster.clone();
    let read = tokio::task::spawn_blocking(move || read_public(&path, ROSTER_FILE_BYTES_MAX)).await;
    let bytes: Bytes = match read {
        Ok(Ok(bytes)) => bytes.into(),
        Ok(Err(error)) => return tracing::error!(%error, "the roster file was not read again"),
        Err(error) => return tracing::error!(%error, "the roster file was not read again"),
    };
    match operator.reload_roster(bytes).await {
        Ok(reload) => tracing::info!(from = %reload.from, to = %reload.to, "roster file read again"),
        Err(error) => tracing::error!(%error, "the roster file was not taken"),
    }
}

async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = task => {}
        () = stop.cancelled() => {}
    }
}

/// Says, as often as systemd wants it, that the run loop answers.
async fn watchdog(operator: OperatorHandle) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let period = (period / 2).max(Duration::from_millis(100));
    loop {
        tokio::time::sleep(period).await;
        if tokio::time::timeout(period, operator.status()).await.is_ok_and(|status| status.is_ok()) {
            say(&[NotifyState::Watchdog]);
        }
    }
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

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
        let install =
            |kind| signal(kind).map_err(|error| Failure::new(Exit::Internal, format!("cannot watch signals: {error}")));
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
        while !matches!(self.next().await, Received::Stop) {}
    }
}
