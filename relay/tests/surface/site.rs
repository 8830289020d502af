//! A federation on disk, and relays that run on it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use certs_dev::{Federation, Kdf, Options, make};
use liaison_protocol::NodeId;
use tempfile::TempDir;

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) federation: Federation,
    pub(crate) id: NodeId,
    folder: TempDir,
}

impl Site {
    /// One relay, `ap-1`, that has nobody to link with, or more.
    pub(crate) fn new(regions: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { regions, agencies: 2, kdf: Kdf::Fast, ..Options::new(folder.path().join("fed")) };
        Self { federation: make(&options).unwrap(), id: "ap-1".parse().unwrap(), folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.federation.relay_folder(&self.id).join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.federation.relay_config(&self.id)
    }

    /// Replaces `from`, which is there, in relay.toml.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(self.config(), text.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn append(&self, text: &str) {
        let before = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), before + text).unwrap();
    }

    pub(crate) fn quic(&self) -> SocketAddr {
        self.federation.relays[0].quic
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.federation.relays[0].admin
    }

    /// A name outside the federation's folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.config());
        command
    }

    pub(crate) fn relay(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command().args(arguments).output().unwrap())
    }

    /// Starts `run` and waits until it answers.
    pub(crate) fn start(&self) -> Running {
        self.start_with(&mut self.command())
    }

    pub(crate) fn start_with(&self, command: &mut Command) -> Running {
        let child = command.arg("run").stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running { child: Some(child) };
        let deadline = Instant::now() + PATIENCE;
        while self.relay(&["links"]).code != 0 {
            if running.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                panic!("the relay did not start: {:?}", running.wait());
            }
            assert!(Instant::now() < deadline, "the relay does not answer");
            std::thread::sleep(Duration::from_millis(30));
        }
        running
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_liaison-relay"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LIAISON_RELAY_CONFIG", "LIAISON_RELAY_SOCKET"] {
        command.env_remove(name);
    }
    command
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A relay's process; killed when dropped.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGTERM, and what it left.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> Ended {
        Ended::from(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `seen` gives something.
pub(crate) fn eventually<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = seen() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// `GET path` by hand: status and body.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
    write!(stream, "GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { body.into() };
    (status, body)
}

fn unchunk(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}
