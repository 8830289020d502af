//! Asking nodes: through the command lines, as people do, and through the local API, as programs do.

use std::io::{Read, Seek, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Federation, PATIENCE};

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// What it gave.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Ended {
    /// The JSON objects it gave, one a line.
    ///
    /// # Panics
    /// A line is none.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Itself, which succeeded.
    ///
    /// # Panics
    /// It did not.
    #[must_use]
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

/// Runs `command` to its end, which comes within `patience`.
pub(super) fn run(mut command: Command, patience: Duration) -> Ended {
    // Files and not pipes: nobody has to read while it runs.
    let mut stdout = tempfile::tempfile().expect("a temporary file");
    let mut stderr = tempfile::tempfile().expect("a temporary file");
    command.stdin(Stdio::null());
    command.stdout(stdout.try_clone().expect("a file")).stderr(stderr.try_clone().expect("a file"));
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            break status;
        }
        if Instant::now() > deadline {
            // Best effort: the panic says what is wrong.
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end within {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let text = |file: &mut std::fs::File| {
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("what the command said");
        text
    };
    Ended { code: status.code().unwrap_or(-1), stdout: text(&mut stdout), stderr: text(&mut stderr) }
}

impl Federation {
    /// `liaison` at `agency`, whatever comes of it.
    #[must_use]
    pub fn liaison(&self, agency: &str, arguments: &[&str]) -> Ended {
        self.liaison_within(PATIENCE * 2, agency, arguments)
    }

    /// As [`Federation::liaison`], for what takes its time.
    #[must_use]
    pub fn liaison_within(&self, patience: Duration, agency: &str, arguments: &[&str]) -> Ended {
        let mut command = self.program("liaison");
        command.arg("--socket").arg(self.socket(agency)).args(arguments);
        run(command, patience)
    }

    /// `liaison --json` at `agency`, which succeeds: its objects.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn objects(&self, agency: &str, arguments: &[&str]) -> Vec<Value> {
        self.liaison(agency, &[&["--json"], arguments].concat()).success().objects()
    }

    /// `liaison-relay` about the relay `relay`, whatever comes of it.
    #[must_use]
    pub fn relay(&self, relay: &str, arguments: &[&str]) -> Ended {
        run(self.command(relay, arguments), PATIENCE)
    }

    /// GET from the local API of `agency`.
    ///
    /// # Errors
    /// Nobody answers, or not with 200.
    pub fn get(&self, agency: &str, path: &str) -> std::io::Result<Value> {
        match self.ask(agency, &format!("GET {path}"), "", "")? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(std::io::Error::other(format!("{status}: {answer}"))),
        }
    }

    /// POST to the local API of `agency`, under an `Idempotency-Key` if there is one: status and answer.
    ///
    /// # Errors
    /// Nobody answers, or breaks off.
    pub fn post(&self, agency: &str, path: &str, key: Option<&str>, body: &Value) -> std::io::Result<(u16, Value)> {
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = format!("{key}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.ask(agency, &format!("POST {path}"), &headers, &body)
    }

    fn ask(&self, agency: &str, what: &str, headers: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let mut stream = UnixStream::connect(self.socket(agency))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let broken_off = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken_off)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken_off)?;
        Ok((status, if body.is_empty() { Value::Null } else { serde_json::from_str(body)? }))
    }
}
