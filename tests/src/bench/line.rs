//! One line through the system: an agency, its relay, the other relay, the other agency.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use certs_dev::{Federation, Kdf, Options, make};
use liaison_core::op::{Op, Table};
use liaison_core::{Config, NodeKind};
use liaison_node::link::LinkIdentity;
use liaison_node::local::{LocalAgency, NodeHandle, OwnEvent, Received};
use liaison_node::operator;
use liaison_node::run::{NodeOptions, Peer, Runner};
use liaison_node::store::{DiskStore, Store, StoreConfig};
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::open::open;
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::roster::Roster;
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{AgencyId, MessageId, Timestamp};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

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
        let (from, signer) = node(&federation, &roster, &sender.id, None)?;
        let agency: Arc<dyn LocalAgency> = inbox.clone();
        let (to, _) = node(&federation, &roster, &recipient.id, Some(agency))?;
        let outbox = from.handle.clone();
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
        ids.map(cpu_time).sum()
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
        let mut resident = self.relays.iter().map(|relay| resident(relay.id())).collect::<Result<Vec<_>>>()?;
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

/// proc_pid_stat(5): fields 14 and 15, in hundredths of a second.
fn cpu_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields = behind_name.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks))
}

/// proc_pid_status(5): `VmRSS`, in KiB.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(1024 * line.trim().trim_end_matches(" kB").parse::<u64>()?)
}

struct StartedNode {
    handle: NodeHandle,
    runner: Runner,
}

fn node(
    federation: &Federation,
    roster: &Arc<Roster>,
    agency: &AgencyId,
    local: Option<Arc<dyn LocalAgency>>,
) -> Result<(StartedNode, Arc<SigningKey>)> {
    let folder = federation.agency_folder(agency);
    let signer = Arc::new(signing_key(&folder)?);
    let identity = LinkIdentity::from_pem(
        &std::fs::read(folder.join("link.cert.pem"))?,
        &std::fs::read(folder.join("link.key.pem"))?,
    )?;
    let store: Arc<dyn Store> = Arc::new(DiskStore::open(&StoreConfig::new(folder.join("bench-store")))?);
    let home = roster.agency(agency).context("a made agency")?.home.clone();
    let peers = home.iter().filter_map(|id| roster.relay(id));
    let options = NodeOptions {
        core: Config {
            me: agency.into(),
            kind: NodeKind::Daemon,
            home: home.clone(),
            costs: std::collections::BTreeMap::new(),
            agency_bytes_max: u64::MAX,
            flash_reserve_percent: 0,
            agency_rate: None,
            seed: 1,
        },
        listen: None,
        identity,
        signer: signer.clone(),
        peers: peers.map(|relay| Peer { id: relay.id.clone(), addresses: relay.addresses.clone() }).collect(),
        low_water_bytes: 0,
    };
    let (handle, requests) = NodeHandle::new(store.clone());
    let (_, operator) = operator::channel();
    let runner = Runner::start(options, store, watch::Sender::new(roster.clone()), local, requests, operator)?;
    Ok((StartedNode { handle, runner }, signer))
}

fn signing_key(folder: &Path) -> Result<SigningKey> {
    let passphrase = std::fs::read_to_string(folder.join("passphrase"))?;
    let keys = open_keys(passphrase.trim_end().as_bytes(), &std::fs::read(folder.join("identity.key"))?)?;
    let key = keys.iter().find(|key| key.role == KeyRole::Signing).context("a signing key in identity.key")?;
    let seed: [u8; 32] = key.secret.as_bytes().try_into().context("a seed of 32 bytes")?;
    Ok(SigningKey::from_seed(&Zeroizing::new(seed)))
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
