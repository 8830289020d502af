//! One line through the system: an agency, its relay, the other relay, the other agency.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use certs_dev::{Kdf, Options, make};
use liaison_core::op::{Op, Table};
use liaison_node::local::{LocalAgency, NodeHandle, OwnEvent, Received};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::open::open;
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::roster::Roster;
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{AgencyId, MessageId, Timestamp};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agency::parts;
use crate::gauge::{self, Gauge};

/// See the module.
pub struct Line {
    pub(super) text_bytes: usize,
    pub(super) roster: Arc<Roster>,
    pub(super) sender: AgencyId,
    pub(super) recipient: AgencyId,
    pub(super) signer: Arc<SigningKey>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) outbox: NodeHandle,
    pub(super) delivered: Mutex<mpsc::UnboundedReceiver<(MessageId, Instant)>>,
    nodes: Vec<JoinHandle<Result<(), liaison_node::run::RunError>>>,
    stop: CancellationToken,
    relays: Vec<Child>,
    binary: PathBuf,
    relay_configs: Vec<PathBuf>,
    /// An agency whose daemon never runs: what is sent to it stays queued at its relay.
    pub(super) absent: AgencyId,
    _folder: TempDir,
}

/// The receiving agency: opens, or only takes; tells when a message is durable.
pub(super) struct Inbox {
    me: AgencyId,
    pub(super) prekey: PrekeySecret,
    pub(super) opens: Mutex<bool>,
    durable: mpsc::UnboundedSender<(MessageId, Instant)>,
}

impl LocalAgency for Inbox {
    fn receive(&self, envelope: &VerifiedEnvelope, _index: u16, _now: Timestamp) -> Received {
        let opens = *self.opens.lock().unwrap_or_else(PoisonError::into_inner);
        if opens && let Err(error) = open(envelope, &self.me, &self.prekey) {
            return Received::Refuse { reason: error.reason(), detail: error.to_string(), ops: Vec::new() };
        }
        let (key, value) = (envelope.id().0.0.to_vec(), envelope.envelope().body.clone());
        Received::Deliver { ops: vec![Op::Put { table: Table::Inbox, key, value }], chain: None }
    }

    fn committed(&self, id: MessageId) {
        // The benchmark may have ended.
        let _ = self.durable.send((id, Instant::now()));
    }

    fn dropped(&self, _id: MessageId) {}

    fn progress(&self, _event: OwnEvent, _now: Timestamp) -> Vec<Op> {
        Vec::new()
    }
}

impl Line {
    /// Starts everything and waits until the line is up.
    pub async fn start(text_bytes: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options { kdf: Kdf::Fast, ..Options::new(folder.path().join("federation")) };
        let federation = make(&options)?;
        let roster = Arc::new(federation.roster()?);
        let binary = build_relay()?;
        let relay_configs: Vec<PathBuf> =
            federation.relays.iter().map(|relay| federation.relay_config(&relay.id)).collect();
        let relays = relay_configs.iter().map(|config| start_relay(&binary, config)).collect::<Result<Vec<_>>>()?;
        let [sender, recipient, absent] = [0, 1, 2].map(|at| &federation.agencies[at]);
        let (durable, delivered) = mpsc::unbounded_channel();
        let prekey = PrekeySecret::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
        let inbox = Arc::new(Inbox { me: recipient.id.clone(), prekey, opens: Mutex::new(true), durable });
        let stop = CancellationToken::new();
        let store = |agency: &AgencyId| federation.agency_folder(agency).join("bench-store");
        let from = parts(&federation, &roster, &sender.id, &store(&sender.id), None)?;
        let to = parts(&federation, &roster, &recipient.id, &store(&recipient.id), Some(inbox.clone()))?;
        let (outbox, signer) = (from.handle.clone(), from.signer.clone());
        #[expect(clippy::disallowed_methods, reason = "the line keeps both handles until it stops")]
        let nodes = [from.runner, to.runner].map(|runner| tokio::spawn(runner.run(stop.clone()))).into();
        let line = Self {
            text_bytes,
            roster,
            sender: sender.id.clone(),
            recipient: recipient.id.clone(),
            signer,
            inbox,
            outbox,
            delivered: Mutex::new(delivered),
            nodes,
            stop,
            relays,
            binary,
            relay_configs,
            absent: absent.id.clone(),
            _folder: folder,
        };
        super::measure::first(&line, Duration::from_secs(30)).await.context("the line did not come up")?;
        Ok(line)
    }

    /// Processor time used so far: by this process, which is both agencies, and by the relays.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let ids = self.relays.iter().map(Child::id).chain([std::process::id()]);
        ids.map(gauge::cpu_time).sum()
    }

    /// Kills the relay of the recipient's region.
    pub(super) fn kill_last_relay(&mut self) -> Result<()> {
        let relay = self.relays.last_mut().context("a relay")?;
        relay.kill()?;
        relay.wait()?;
        Ok(())
    }

    /// Starts it again, from its own disk.
    pub(super) fn start_last_relay(&mut self) -> Result<()> {
        let relay = self.relays.last_mut().context("a relay")?;
        let config = self.relay_configs.last().context("its configuration")?;
        *relay = start_relay(&self.binary, config)?;
        Ok(())
    }

    /// Bytes of memory that each relay has resident, most first.
    pub(super) fn resident(&self) -> Result<Vec<u64>> {
        let mut resident =
            self.relays.iter().map(|relay| Ok(Gauge::of(relay.id())?.resident)).collect::<Result<Vec<_>>>()?;
        resident.sort_unstable_by_key(|bytes| std::cmp::Reverse(*bytes));
        Ok(resident)
    }

    /// Ends all processes.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        for node in std::mem::take(&mut self.nodes) {
            node.await??;
        }
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
        for relay in &mut self.relays {
            // It may have ended by itself; then there is nothing to end.
            drop(relay.kill());
            drop(relay.wait());
        }
    }
}

fn build_relay() -> Result<PathBuf> {
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "-p", "liaison-relay"]).args(release.then_some("--release"));
    if !cargo.status()?.success() {
        bail!("liaison-relay does not build");
    }
    let here = std::env::current_exe()?;
    Ok(here.parent().context("a target folder")?.join("liaison-relay"))
}

fn start_relay(binary: &Path, config: &Path) -> Result<Child> {
    let mut command = Command::new(binary);
    command.arg("--config").arg(config).arg("run");
    Ok(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?)
}
