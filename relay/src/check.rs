//! `liaison-relay check`: would this relay start, and serve?

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use liaison_node::clock;
use liaison_node::status::NodeStatus;

use crate::admin::Token;
use crate::admin::client::{Client, ClientError};
use crate::config::{RelayConfig, StoreConfig, size};
use crate::finding::Finding;
use crate::keys::{check_roster, compare, read_anchor, read_link_identity, read_signing_key};

/// Everything that can be found out without starting, in a fixed order.
pub async fn check(config: &RelayConfig) -> Vec<Finding> {
    let running = is_running(config).await;
    let owned = config.clone();
    let offline = tokio::task::spawn_blocking(move || check_files(&owned)).await;
    let mut findings = offline.unwrap_or_else(|error| vec![Finding::fail("check", error)]);
    findings.push(check_store(&config.store));
    if running {
        findings.push(Finding::ok("ports", "held by this relay, which runs"));
        return findings;
    }
    findings.push(check_udp(config.listen.quic));
    findings.extend(config.listen.admin.map(check_tcp));
    findings.push(check_socket(&config.listen.admin_socket).await);
    findings
}

/// Whether the relay that answers on the admin socket is this one.
async fn is_running(config: &RelayConfig) -> bool {
    let status = Client::new(&config.listen.admin_socket).get::<NodeStatus>("/v1/status").await;
    status.is_ok_and(|status| status.id == config.id)
}

fn check_files(config: &RelayConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let roster = match read_anchor(&config.roots) {
        Ok(anchor) => {
            let (threshold, keys) = (anchor.roots.threshold, anchor.roots.keys.len());
            findings.push(Finding::ok("roots", format!("{threshold} of {keys} root keys must sign")));
            check_roster(&config.roster, &anchor).map_err(|finding| findings.push(finding)).ok()
        }
        Err(finding) => {
            findings.push(finding);
            None
        }
    };
    let link = read_link_identity(&config.tls).map_err(|finding| findings.push(finding)).ok();
    let signing = read_signing_key(&config.identity, &config.id).map_err(|finding| findings.push(finding)).ok();
    if let Some(roster) = roster {
        findings.extend(compare(config, &roster, link.as_ref(), signing.as_ref(), clock::now()));
    }
    if let Some(token) = &config.listen.admin_token {
        findings.push(match Token::read(token) {
            Ok(_) => Finding::ok("admin-token", "readable"),
            Err(error) => Finding::fail("admin-token", error),
        });
    }
    if let Some(admin) = config.listen.admin.filter(|admin| !admin.ip().is_loopback()) {
        let text = format!("[listen] admin = \"{admin}\" is plain HTTP: the token can be read on the way");
        findings.push(Finding::warn("admin", text).fix("listen on 127.0.0.1, behind a proxy that speaks TLS"));
    }
    findings
}

fn check_store(config: &StoreConfig) -> Finding {
    let path = &config.path;
    // What does not exist yet is made at the start: then the folder above it counts.
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or_else(|| Path::new("."));
    if !existing.is_dir() {
        return Finding::fail("store", format!("{}: not a folder", existing.display()));
    }
    if let Err(errno) = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        let text = format!("{}: this user cannot write there ({})", existing.display(), io::Error::from(errno));
        return Finding::fail("store", text);
    }
    let free = match rustix::fs::statvfs(existing) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(errno) => return Finding::fail("store", format!("{}: {}", existing.display(), io::Error::from(errno))),
    };
    let low = config.low_water;
    let text = format!("{}: {} free, custody is refused below {low}", path.display(), rounded(free));
    if free < low.0 {
        return Finding::fail("store", text).fix("make room, or lower [store] low_water");
    }
    if free / 2 < low.0 {
        return Finding::warn("store", text);
    }
    Finding::ok("store", text)
}

fn rounded(bytes: u64) -> String {
    let unit = [40, 30, 20, 10].into_iter().find(|shift| bytes >> shift >= 10).unwrap_or(0);
    size(bytes >> unit << unit)
}

fn check_udp(address: SocketAddr) -> Finding {
    match UdpSocket::bind(address) {
        Ok(_) => Finding::ok("quic", format!("UDP {address} can be listened at")),
        Err(error) => unbindable("quic", "UDP", address, &error),
    }
}

fn check_tcp(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok("admin", format!("TCP {address} can be listened at")),
        Err(error) => unbindable("admin", "TCP", address, &error),
    }
}

/// An address that cannot be listened at, in words.
pub(crate) fn unbindable(key: &str, kind: &str, address: SocketAddr, error: &io::Error) -> Finding {
    let (text, fix) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("{kind} {address} is in use by another process"),
            format!("stop that program (ss -lnp | grep {}), or set another [listen] {key}", address.port()),
        ),
        io::ErrorKind::AddrNotAvailable => {
            (format!("{} is not an address of this machine", address.ip()), format!("set another [listen] {key}"))
        }
        io::ErrorKind::PermissionDenied => (
            format!("this user may not listen at {kind} {address}"),
            "use a port above 1023, or AmbientCapabilities=CAP_NET_BIND_SERVICE".into(),
        ),
        _ => (format!("{kind} {address}: {error}"), format!("set another [listen] {key}")),
    };
    Finding::fail(key, text).fix(fix)
}

async fn check_socket(path: &Path) -> Finding {
    match Client::new(path).get::<NodeStatus>("/v1/status").await {
        Ok(status) => Finding::fail("admin-socket", format!("{}: {} listens here", path.display(), status.id)),
        Err(ClientError::Unreachable { .. }) => {
            let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
            match rustix::fs::access(folder, rustix::fs::Access::WRITE_OK) {
                Ok(()) => Finding::ok("admin-socket", path.display()),
                Err(errno) => {
                    Finding::fail("admin-socket", format!("{}: {}", folder.display(), io::Error::from(errno)))
                }
            }
        }
        Err(error) => Finding::fail("admin-socket", error),
    }
}
