//! A throw-away federation: its folder, its processes, and their end.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use liaison_client::api::client::Client;
use liaison_node::exit::Exit;
use liaison_protocol::{AgencyId, NodeId};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use super::programs::Programs;
use crate::failure::Failure;
use crate::text::safe_line;

/// Room that the demo needs: what its relays want to keep free, and 200 MiB for stores, logs and attachment.
const DISK_BYTES_MIN: u64 = 512 * 1024 * 1024;
/// A Unix socket's path ends at 107 bytes; ours adds up to 40 to the folder's.
const FOLDER_BYTES_MAX: usize = 60;
/// A process that was asked to stop is killed after this.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What certs-dev writes about what it made.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) relays: Vec<RelayFiles>,
    pub(super) agencies: Vec<AgencyFiles>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct RelayFiles {
    pub(super) id: NodeId,
    pub(super) region: String,
    pub(super) quic: SocketAddr,
    pub(super) admin: SocketAddr,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct AgencyFiles {
    pub(super) id: AgencyId,
    pub(super) home: Vec<NodeId>,
}

/// The folder with everything in it, and the processes that run there.
///
/// However it ends, nothing is left: dropping it kills what still runs, by its id, and removes the folder.
pub(super) struct Federation {
    pub(super) programs: Programs,
    pub(super) summary: Summary,
    // Declared before the folder: processes end before their files go.
    processes: Processes,
    folder: TempDir,
}

impl Federation {
    /// Makes keys, roster and configuration. Starts nothing.
    pub(super) fn make(programs: Programs) -> Result<Self, Failure> {
        let folder = new_folder()?;
        check_disk(folder.path())?;
        make_keys(&programs, &folder.path().join("federation"))?;
        let path = folder.path().join("federation/federation.json");
        let text = std::fs::read(&path).map_err(|error| Failure::input(&path, &error))?;
        let summary = serde_json::from_slice(&text)
            .map_err(|error| Failure::new(Exit::Internal, "internal", format!("{}: {error}", path.display())))?;
        Ok(Self { programs, summary, processes: Processes::default(), folder })
    }

    /// The folder that goes with the demo.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join("federation").join(inside)
    }

    pub(super) fn node_folder(&self, node: &str) -> PathBuf {
        let kind = if self.is_relay(node) { "relays" } else { "agencies" };
        self.path(kind).join(node)
    }

    fn is_relay(&self, node: &str) -> bool {
        self.summary.relays.iter().any(|relay| relay.id.as_str() == node)
    }

    /// Asks an agency's daemon.
    pub(super) fn client(&self, agency: &str) -> Client {
        Client::new(self.socket(agency))
    }

    pub(super) fn socket(&self, agency: &str) -> PathBuf {
        self.node_folder(agency).join("liaisond.sock")
    }

    fn log(&self, node: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.log"))
    }

    /// Starts a relay or a daemon.
    pub(super) fn start(&mut self, node: &str) -> Result<(), Failure> {
        let (program, config) = if self.is_relay(node) {
            (&self.programs.relay, "relay.toml")
        } else {
            (&self.programs.daemon, "liaisond.toml")
        };
        let mut command = Command::new(program);
        command.arg("--config").arg(self.node_folder(node).join(config));
        if self.is_relay(node) {
            command.arg("run");
        }
        self.processes.start(node, command, &self.log(node))
    }

    /// SIGKILL: no chance to write anything.
    pub(super) fn kill(&mut self, node: &str) {
        self.processes.kill(node);
    }

    /// SIGTERM, and the status with which it ended.
    pub(super) async fn stop(&mut self, node: &str) -> Result<(), Failure> {
        let status = self.processes.stop(node).await;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.ended(node, status)),
            None => Ok(()),
        }
    }

    pub(super) fn running(&self) -> Vec<(String, u32)> {
        self.processes.0.iter().map(|(name, child)| (name.clone(), child.id())).collect()
    }

    /// Fails if any process has ended by itself.
    pub(super) fn check_alive(&mut self) -> Result<(), Failure> {
        match self.processes.first_ended() {
            Some((node, status)) => Err(self.ended(&node, status)),
            None => Ok(()),
        }
    }

    /// What a program that should run said last.
    fn ended(&self, node: &str, status: ExitStatus) -> Failure {
        let log = std::fs::read_to_string(self.log(node)).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no output");
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        };
        let exit = status.code().and_then(|code| Exit::from_code(u8::try_from(code).ok()?)).unwrap_or(Exit::Internal);
        let exit = if exit == Exit::Done { Exit::Finding } else { exit };
        Failure::new(exit, "demo_process_ended", format!("demo: {node} ended ({how}): {}", safe_line(last)))
    }

    /// This program, as an analyst of `agency` would run it. Its memory stays in the folder.
    pub(super) fn liaison(&self, agency: &str, words: &[&str]) -> Result<Output, Failure> {
        let home = self.folder.path().join("home");
        let mut command = Command::new(&self.programs.liaison);
        command.args(words).stdin(Stdio::null()).current_dir(self.folder.path());
        command.env("HOME", &home).env("XDG_STATE_HOME", home.join(agency)).env("XDG_CONFIG_HOME", &home);
        for name in ["LIAISON_PROFILE", "LIAISON_TLP", "LIAISON_PRECEDENCE", "LIAISON_EXPIRES", "LIAISON_COLOR"] {
            command.env_remove(name);
        }
        let output = command.env("LIAISON_SOCKET", self.socket(agency)).output();
        let output = output.map_err(|error| Failure::input(&self.programs.liaison, &error))?;
        check_output(output, &format!("liaison {}", words.first().copied().unwrap_or_default()))
    }

    /// The operator's side of a relay.
    pub(super) fn relay(&self, relay: &str, words: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.programs.relay);
        command.arg("--config").arg(self.node_folder(relay).join("relay.toml")).args(words).stdin(Stdio::null());
        let output = command.output().map_err(|error| Failure::input(&self.programs.relay, &error))?;
        check_output(output, &format!("liaison-relay {}", words.join(" ")))
    }

    /// Ends everything in peace.
    ///
    /// # Errors
    /// A process that does not end well, or a folder that cannot be removed.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        for (node, _) in self.running() {
            self.stop(&node).await?;
        }
        let path = self.folder.path().to_owned();
        self.folder.close().map_err(|error| Failure::output(&path, &error))
    }

    /// Leaves everything as it is.
    pub(super) fn keep(mut self) {
        self.processes.0.clear();
        self.folder.disable_cleanup(true);
    }
}

fn new_folder() -> Result<TempDir, Failure> {
    let usual = std::env::temp_dir();
    let parent = if usual.as_os_str().len() > FOLDER_BYTES_MAX - 24 { PathBuf::from("/tmp") } else { usual };
    let made = tempfile::Builder::new().prefix("liaison-demo-").tempdir_in(&parent);
    made.map_err(|error| Failure::output(&parent, &error))
}

fn check_disk(folder: &Path) -> Result<(), Failure> {
    let free = rustix::fs::statvfs(folder).map_err(|error| Failure::output(folder, &error.into()))?;
    if free.f_bavail.saturating_mul(free.f_frsize) >= DISK_BYTES_MIN {
        return Ok(());
    }
    let message = format!("demo: disk full (needs 512 MiB at {})", folder.display());
    Err(Failure::new(Exit::Io, "disk_full", message).hint("name another place: TMPDIR=… liaison demo"))
}

/// Runs certs-dev.
pub(super) fn make_keys(programs: &Programs, folder: &Path) -> Result<(), Failure> {
    let mut command = Command::new(&programs.certs_dev);
    command.arg(folder).args(["--regions", "2", "--relays-per-region", "1", "--agencies", "3", "--fast-kdf"]);
    let output = command.stdin(Stdio::null()).output().map_err(|error| Failure::input(&programs.certs_dev, &error))?;
    check_output(output, "certs-dev").map(drop)
}

fn check_output(output: Output, what: &str) -> Result<Output, Failure> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = format!("demo: {what} failed ({}): {}", output.status, safe_line(said.trim()));
    Err(Failure::new(Exit::Finding, "demo_failed", message))
}

/// The running ones, by name. Each is alone in its process group: Ctrl-C in the terminal reaches this program, and
/// this program ends them.
#[derive(Default)]
struct Processes(BTreeMap<String, Child>);

impl Processes {
    fn start(&mut self, name: &str, mut command: Command, log: &Path) -> Result<(), Failure> {
        let file = File::options().create(true).append(true).open(log).map_err(|error| Failure::output(log, &error))?;
        let copy = file.try_clone().map_err(|error| Failure::output(log, &error))?;
        command.stdin(Stdio::null()).stdout(file).stderr(copy).process_group(0);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(|error| Failure::input(&program, &error))?;
        self.0.insert(name.to_owned(), child);
        Ok(())
    }

    fn kill(&mut self, name: &str) {
        if let Some(child) = self.0.remove(name) {
            kill(child);
        }
    }

    async fn stop(&mut self, name: &str) -> Option<ExitStatus> {
        let mut child = self.0.remove(name)?;
        // Gone already is as good.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let deadline = Instant::now() + STOP_PATIENCE;
        while Instant::now() < deadline {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(_) => break,
            }
        }
        kill(child);
        Some(ExitStatus::from_raw(Signal::KILL.as_raw()))
    }

    fn first_ended(&mut self) -> Option<(String, ExitStatus)> {
        let (name, status) =
            self.0.iter_mut().find_map(|(name, child)| Some((name.clone(), child.try_wait().ok().flatten()?)))?;
        self.0.remove(&name);
        Some((name, status))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in std::mem::take(&mut self.0).into_values() {
            kill(child);
        }
    }
}

/// By its id, and reaped: no zombie, no stranger that got the id since.
fn kill(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}
