//! `liaisond check`: would this daemon start?

use std::path::Path;

use liaison_client::api::server::LISTENER;
use liaison_node::exit::Exit;
use liaison_node::http;

use crate::config::DaemonConfig;
use crate::failure::Finding;
use crate::keys::{check_roster, compare, read_anchor, read_link_identity, read_secrets};

/// Everything that can be found out without starting, in a fixed order.
pub(crate) fn check(file: &Path, config: &DaemonConfig) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("config", file.display())];
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
    if let Some(roster) = &roster {
        findings.push(Finding::ok("roster", format!("version {}, signed", roster.version())));
    }
    let link = read_link_identity(&config.tls).map_err(|finding| findings.push(finding)).ok();
    let secrets = read_secrets(config).map_err(|finding| findings.push(finding)).ok();
    if let (Some(roster), Some(link), Some((signing, _))) = (&roster, &link, &secrets) {
        let compared = compare(&config.agency, roster, link, signing);
        if compared.is_empty() {
            findings.push(Finding::ok("keys", format!("are those that the roster names for {}", config.agency)));
        }
        findings.extend(compared);
        findings.extend(config.home.iter().filter(|home| roster.relay(&home.id).is_none()).map(|home| {
            Finding::fail("relays", format!("{} is not a relay of roster version {}", home.id, roster.version()))
        }));
    }
    findings.push(check_store(config));
    let socket = || Finding::ok("socket", config.socket.display());
    findings.push(check_places(config).map_or_else(|finding| finding, |()| socket()));
    findings
}

/// Whether the API's socket can be made where the configuration wants it. The start asks the same.
pub(crate) fn check_places(config: &DaemonConfig) -> Result<(), Finding> {
    http::check_path(&config.socket, LISTENER).map_err(|error| Finding::fail("socket", error))
}

fn check_store(config: &DaemonConfig) -> Finding {
    let path = &config.store.path;
    // What does not exist yet is made at the start: then the folder above it counts.
    let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or_else(|| Path::new("."));
    let error = |errno: rustix::io::Errno| std::io::Error::from(errno);
    if let Err(errno) = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
        return Finding::fail(
            "store",
            format!("{}: this user cannot write there ({})", existing.display(), error(errno)),
        );
    }
    match rustix::fs::statvfs(existing) {
        Err(errno) => Finding::fail("store", format!("{}: {}", existing.display(), error(errno))),
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let min = config.store.min_free;
            let text = format!("{}: {} MiB free, nothing is taken below {min}", path.display(), free >> 20);
            if free >= min.0 {
                return Finding::ok("store", text);
            }
            Finding::fail("store", text).fix("make room, or lower [store] min_free")
        }
    }
}

/// One line for each, to stdout.
pub(crate) fn report(findings: &[Finding]) -> Exit {
    use std::io::Write as _;
    let lines: String =
        findings.iter().map(|finding| format!("{:<5} {finding}\n", if finding.ok { "ok" } else { "fail" })).collect();
    // A reader that is gone does not change what was found.
    let _ = std::io::stdout().write_all(lines.as_bytes());
    if findings.iter().all(|finding| finding.ok) { Exit::Done } else { Exit::Finding }
}
