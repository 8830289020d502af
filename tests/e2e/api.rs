//! The local API under fire: requests made from its own OpenAPI document, valid and not, by the thousand.
//!
//! Needs schemathesis (tests/python/requirements.txt). Where it is missing the test says so and passes; with
//! `LIAISON_REQUIRE_PYTHON` set it fails instead.

use std::env;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use liaison_tests::fed::{Federation, Plan};

/// Requests for each operation and phase, about.
const EXAMPLES: &str = "25";

/// `None`, after saying so, if it is not there.
fn schemathesis() -> Option<PathBuf> {
    let found = Command::new("schemathesis").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some("schemathesis".into());
    }
    assert!(env::var_os("LIAISON_REQUIRE_PYTHON").is_none(), "schemathesis is missing");
    // Not `eprintln!`: the harness shows that only when a test fails.
    let line = "skipped: no schemathesis (see tests/python/requirements.txt)\n";
    io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// The daemon listens on a Unix socket only, and schemathesis speaks TCP only.
struct Bridge {
    address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

impl Bridge {
    fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, stopped) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            for client in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(daemon)) = (client, UnixStream::connect(&socket)) else { continue };
                let (client_back, daemon_back) = (client.try_clone().unwrap(), daemon.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = io::copy(&mut &client, &mut &daemon);
                    let _ = daemon.shutdown(std::net::Shutdown::Write);
                });
                thread::spawn(move || {
                    let _ = io::copy(&mut &daemon_back, &mut &client_back);
                    let _ = client_back.shutdown(std::net::Shutdown::Both);
                });
            }
        });
        Self { address, stopped }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes it.
        let _ = std::net::TcpStream::connect(self.address);
    }
}

#[test]
fn the_api_keeps_to_its_document_whatever_is_asked() {
    let Some(program) = schemathesis() else { return };
    let fed = Federation::start(&Plan::default());
    // So that there is something to list and to look at.
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "One", "--body", "x"]);
    fed.await_delivered("ncb.sg", &id);
    let bridge = Bridge::to(fed.files().agency_socket(&"ncb.sg".parse().unwrap()));
    let url = format!("http://{}", bridge.address);
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/schemathesis.toml");
    let output = Command::new(program)
        .current_dir(fed.scratch())
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{url}/v1/openapi.json"), "--url", &url, "--no-color"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--request-timeout", "30"])
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    // And the daemon goes on as if nothing had been.
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Two", "--body", "x"]);
    fed.await_delivered("ncb.sg", &id);
    assert!(!fed.log_tail("ncb.sg", usize::MAX).contains("panicked"));
}
