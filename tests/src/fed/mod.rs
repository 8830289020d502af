//! A throw-away federation of the real programs: relays and daemons as processes that tests start, kill and ask.
//!
//! ```no_run
//! use liaison_tests::fed::{Federation, Plan};
//!
//! let fed = Federation::start(&Plan::default());
//! let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Hello", "--body", "Hello"]);
//! fed.await_delivered("ncb.sg", &id);
//! fed.kill("eu-1");   // SIGKILL, and waited for
//! fed.start_node("eu-1");
//! ```
//!
//! Whatever is started is killed by its process id and waited for when the federation is dropped; a panic prints the
//! ends of all logs. Every wait is bounded.

mod ask;
mod binaries;
mod cable;
mod mail;
mod process;
mod wait;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use certs_dev::{Kdf, Options};
use liaison_protocol::{AgencyId, NodeId};
use serde_json::Value;
use tempfile::TempDir;

pub use ask::Ended;
pub use binaries::folder as binaries;
pub use cable::Cable;
pub use process::Process;
pub use wait::{PATIENCE, eventually, eventually_within};

/// What to make and start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Regions: `ap`, `eu`, …
    pub regions: usize,
    /// Relays in each: `eu-1`, `eu-2`, …
    pub relays_per_region: usize,
    /// Agencies: `ncb.sg` (Asia), `ncb.ee` and `ncb.fr` (Europe), …
    pub agencies: usize,
}

impl Default for Plan {
    /// Two relays, three agencies.
    fn default() -> Self {
        Self { regions: 2, relays_per_region: 1, agencies: 3 }
    }
}

/// A federation that runs.
pub struct Federation {
    files: certs_dev::Federation,
    binaries: PathBuf,
    running: Mutex<BTreeMap<String, Process>>,
    environments: Mutex<BTreeMap<String, Vec<(String, String)>>>,
    namespaces: Mutex<BTreeMap<String, String>>,
    // Last: removed when nothing writes to it any more.
    folder: TempDir,
}

impl Federation {
    /// Makes it, starts every node, and waits until every agency has every other's keys.
    ///
    /// # Panics
    /// It does not come up.
    #[must_use]
    pub fn start(plan: &Plan) -> Self {
        let fed = Self::make(plan);
        fed.start_all();
        fed
    }

    /// Starts every node, and waits until every agency has every other's keys.
    ///
    /// # Panics
    /// It does not come up.
    pub fn start_all(&self) {
        self.nodes().iter().for_each(|node| self.launch(node));
        self.nodes().iter().for_each(|node| self.await_answers(node));
        self.await_keys();
    }

    /// Makes it and starts nothing.
    ///
    /// # Panics
    /// It cannot be made, or the programs do not build.
    #[must_use]
    pub fn make(plan: &Plan) -> Self {
        let binaries = binaries();
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("logs")).expect("a folder for logs");
        let &Plan { regions, relays_per_region, agencies } = plan;
        let out = folder.path().join("fed");
        let options = Options { regions, relays_per_region, agencies, kdf: Kdf::Fast, ..Options::new(out) };
        let files = certs_dev::make(&options).expect("a federation");
        Self {
            files,
            binaries,
            running: Mutex::default(),
            environments: Mutex::default(),
            namespaces: Mutex::default(),
            folder,
        }
    }

    /// Its files.
    #[must_use]
    pub const fn files(&self) -> &certs_dev::Federation {
        &self.files
    }

    /// A folder for the test's own files; removed with the federation.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// All nodes, relays first.
    #[must_use]
    pub fn nodes(&self) -> Vec<String> {
        let relays = self.files.relays.iter().map(|relay| relay.id.to_string());
        relays.chain(self.agencies()).collect()
    }

    /// All agencies.
    #[must_use]
    pub fn agencies(&self) -> Vec<String> {
        self.files.agencies.iter().map(|agency| agency.id.to_string()).collect()
    }

    fn is_relay(&self, node: &str) -> bool {
        self.files.relays.iter().any(|relay| relay.id.as_str() == node)
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Panics
    /// It runs already, or does not answer.
    pub fn start_node(&self, node: &str) {
        self.launch(node);
        self.await_answers(node);
    }

    /// Starts a node and does not wait.
    ///
    /// # Panics
    /// It runs already, or its program cannot be run.
    pub fn launch(&self, node: &str) {
        let mut running = self.running();
        assert!(!running.contains_key(node), "{node} runs already");
        running.insert(node.into(), Process::start(self.command(node, &[]), &self.log(node)));
    }

    /// Runs a node's program in the foreground, as somebody would who does not see that it runs already.
    #[must_use]
    pub fn run_again(&self, node: &str) -> Ended {
        ask::run(self.command(node, &[]), PATIENCE)
    }

    /// SIGKILL: no warning, and nothing is finished. Returns when the process is gone.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&self, node: &str) {
        let process = self.running().remove(node);
        drop(process.unwrap_or_else(|| panic!("{node} does not run")));
    }

    /// Destroys the disk of a relay that does not run: its store is gone, its keys and configuration are not.
    ///
    /// # Panics
    /// It runs, or has no store.
    pub fn destroy_store(&self, node: &str) {
        assert!(!self.runs(node), "{node} runs");
        std::fs::remove_dir_all(self.store_folder(node)).expect("a store");
    }

    /// What `node` finds in its environment at its next start, beside what everybody does.
    pub fn set_environment(&self, node: &str, variables: Vec<(String, String)>) {
        self.environments.lock().unwrap_or_else(PoisonError::into_inner).insert(node.into(), variables);
    }

    /// Adds `text` to the configuration of a relay. Before it is started.
    ///
    /// # Panics
    /// It is no relay, or the configuration cannot be written.
    pub fn configure(&self, relay: &str, text: &str) {
        let config = self.files.relay_config(&self::relay(relay));
        let before = std::fs::read_to_string(&config).expect("a configuration");
        std::fs::write(&config, before + text).expect("a configuration");
    }

    /// Adds `text` to the configuration of an agency's daemon. Before it is started.
    ///
    /// # Panics
    /// It is no agency, or the configuration cannot be written.
    pub fn configure_agency(&self, agency: &str, text: &str) {
        let config = self.files.agency_config(&self::agency(agency));
        let before = std::fs::read_to_string(&config).expect("a configuration");
        std::fs::write(&config, before + text).expect("a configuration");
    }

    /// Starts `node` in this network namespace from now on.
    pub fn set_namespace(&self, node: &str, namespace: &str) {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner).insert(node.into(), namespace.into());
    }

    /// The relay listens on all addresses of its machine: those of IPv6, too, if `unspecified` is of it. Before it is started.
    ///
    /// # Panics
    /// It is no relay, or the configuration cannot be written.
    pub fn listen_everywhere(&self, node: &str, unspecified: IpAddr) {
        let (config, address) = (self.files.relay_config(&relay(node)), self.quic_address(node));
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let everywhere = format!("quic = \"{}\"", SocketAddr::new(unspecified, address.port()));
        let text = text.replace(&format!("quic = \"{address}\""), &everywhere);
        assert!(text.contains(&everywhere), "{text}");
        std::fs::write(&config, text).expect("a configuration");
    }

    /// The folder of a node's store.
    #[must_use]
    pub fn store_folder(&self, node: &str) -> PathBuf {
        self.node_folder(node).join("store")
    }

    /// The folder of a node's own files.
    #[must_use]
    pub fn node_folder(&self, node: &str) -> PathBuf {
        if self.is_relay(node) {
            self.files.relay_folder(&relay(node))
        } else {
            self.files.agency_folder(&agency(node))
        }
    }

    /// Waits until a node has ended by itself; the exit code.
    ///
    /// # Panics
    /// It was not started, or does not end.
    pub fn await_end(&self, node: &str) -> Option<i32> {
        eventually(&format!("the end of {node}"), || (!self.runs(node)).then_some(()));
        let process = self.running().remove(node);
        process.unwrap_or_else(|| panic!("{node} was not started")).exit_code()
    }

    /// SIGTERM; the exit code.
    ///
    /// # Panics
    /// It does not run, or does not stop.
    pub fn stop(&self, node: &str) -> Option<i32> {
        let process = self.running().remove(node);
        process.unwrap_or_else(|| panic!("{node} does not run")).stop(PATIENCE)
    }

    /// SIGHUP.
    ///
    /// # Panics
    /// It does not run.
    pub fn reload(&self, node: &str) {
        self.running().get(node).unwrap_or_else(|| panic!("{node} does not run")).hang_up();
    }

    /// SIGSTOP: the process is there, and does nothing.
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self, node: &str) {
        self.running().get(node).unwrap_or_else(|| panic!("{node} does not run")).pause();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self, node: &str) {
        self.running().get(node).unwrap_or_else(|| panic!("{node} does not run")).resume();
    }

    /// Lays a cable over which the relay `from` dials the relay `to`. Before they are started.
    ///
    /// # Panics
    /// One of them is no relay, or the configuration cannot be written.
    #[must_use]
    pub fn lay_cable(&self, from: &str, to: &str) -> Cable {
        let cable = Cable::to(self.quic_address(to));
        self.redirect(from, to, cable.address());
        cable
    }

    /// Where a relay listens for links.
    ///
    /// # Panics
    /// It is no relay.
    #[must_use]
    pub fn quic_address(&self, relay: &str) -> SocketAddr {
        self.files.relays.iter().find(|files| files.id.as_str() == relay).expect("a relay").quic
    }

    /// The relay `from` dials the relay `to` at this address. Before it is started.
    ///
    /// # Panics
    /// `from` is no relay, or the configuration cannot be written.
    pub fn redirect(&self, from: &str, to: &str, address: SocketAddr) {
        self.configure(from, &format!("\n[[peer]]\nid = \"{to}\"\naddr = \"{address}\"\n"));
    }

    /// The agency dials its home relay at this address. Before it is started.
    ///
    /// # Panics
    /// It is no home relay of this agency, or the configuration cannot be written.
    pub fn redirect_home(&self, agency: &str, relay: &str, address: SocketAddr) {
        let config = self.files.agency_config(&self::agency(agency));
        let text = std::fs::read_to_string(&config).expect("a configuration");
        let line = |relay: &str, address: SocketAddr| format!("{{ id = \"{relay}\", addr = \"{address}\" }}");
        let files = self.files.agencies.iter().find(|files| files.id.as_str() == agency).expect("an agency");
        let text = if text.contains("[relays]") {
            text
        } else {
            let home: Vec<String> =
                files.home.iter().map(|home| line(home.as_str(), self.quic_address(home.as_str()))).collect();
            text.replace("\n[store]", &format!("\n[relays]\nhome = [{}]\n\n[store]", home.join(", ")))
        };
        let (old, new) = (line(relay, self.quic_address(relay)), line(relay, address));
        assert!(text.contains(&old), "{text}");
        std::fs::write(&config, text.replace(&old, &new)).expect("a configuration");
    }

    /// The process of a node that runs.
    #[must_use]
    pub fn process_id(&self, node: &str) -> Option<u32> {
        self.running().get_mut(node).and_then(|process| process.is_alive().then(|| process.id()))
    }

    /// Whether the process is there.
    #[must_use]
    pub fn runs(&self, node: &str) -> bool {
        self.running().get_mut(node).is_some_and(Process::is_alive)
    }

    /// The end of a node's log.
    #[must_use]
    pub fn log_tail(&self, node: &str, lines: usize) -> String {
        let text = std::fs::read(self.log(node)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, node: &str) -> PathBuf {
        self.folder.path().join("logs").join(format!("{node}.log"))
    }

    fn socket(&self, node: &str) -> PathBuf {
        if self.is_relay(node) {
            self.files.relay_socket(&relay(node))
        } else {
            self.files.agency_socket(&agency(node))
        }
    }

    /// The node's own program; a relay's with `arguments`, or `run`.
    fn command(&self, node: &str, arguments: &[&str]) -> std::process::Command {
        let (program, config) = if self.is_relay(node) {
            ("liaison-relay", self.files.relay_config(&relay(node)))
        } else {
            ("liaisond", self.files.agency_config(&agency(node)))
        };
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut command = match namespaces.get(node) {
            None => self.program(program),
            Some(namespace) => {
                let mut command = self.program_at(Path::new("ip"));
                command.args(["netns", "exec", namespace]).arg(self.binaries.join(program));
                command
            }
        };
        let environments = self.environments.lock().unwrap_or_else(PoisonError::into_inner);
        command.envs(environments.get(node).into_iter().flatten().map(|(name, value)| (name, value)));
        command.arg("--config").arg(config);
        match (arguments, self.is_relay(node)) {
            ([], true) => command.arg("run"),
            _ => command.args(arguments),
        };
        command
    }

    /// A program whose home is the scratch folder.
    fn program(&self, name: &str) -> std::process::Command {
        self.program_at(&self.binaries.join(name))
    }

    fn program_at(&self, path: &Path) -> std::process::Command {
        let mut command = std::process::Command::new(path);
        for variable in FOREIGN {
            command.env_remove(variable);
        }
        command.env("HOME", self.scratch()).current_dir(self.scratch());
        command
    }

    /// Until it answers on its socket.
    fn await_answers(&self, node: &str) {
        let socket = self.socket(node);
        eventually(&format!("an answer of {node}"), || {
            assert!(self.runs(node), "{node} ended at its start:\n{}", self.log_tail(node, 20));
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
    }

    /// Until every agency that runs has the keys of all others.
    fn await_keys(&self) {
        for agency in self.agencies() {
            eventually(&format!("everybody's keys at {agency}"), || {
                let known = self.get(&agency, "/v1/agencies").ok()?;
                let ready = |view: &Value| view["me"] == true || view["prekeys_until"].is_string();
                known["agencies"].as_array()?.iter().all(ready).then_some(())
            });
        }
    }
}

/// What would lead the programs to this machine's own files.
const FOREIGN: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    "RUST_LOG",
    "LIAISON_RELAY_CONFIG",
    "LIAISON_RELAY_SOCKET",
    "LIAISON_SOCKET",
    "LIAISON_PROFILE",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
];

fn relay(node: &str) -> NodeId {
    node.parse().expect("a node's name")
}

fn agency(node: &str) -> AgencyId {
    node.parse().expect("an agency's name")
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.running().clear();
        if std::thread::panicking() {
            for node in self.nodes() {
                eprintln!("-- {node}:\n{}", self.log_tail(&node, 25));
            }
        }
    }
}
