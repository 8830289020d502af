//! What is secret stays in the processes that need it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_tests::fed::{Federation, Plan};

const SUBJECT: &str = "Zebrafish-subject-81c2";
const TEXT: &str = "Quokka-text-5d07 and nothing else";

fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

/// Every file below.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files(&path, found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(path);
        }
    }
}

/// What must not be seen outside: the passphrase and the seeds of a node, and the content of a message.
fn markers(fed: &Federation) -> Vec<(String, Vec<u8>)> {
    let mut markers = vec![("the subject".to_owned(), SUBJECT.into()), ("the text".to_owned(), TEXT.into())];
    for (node, file) in [("ncb.sg", "identity.key"), ("ncb.ee", "identity.key"), ("ap-1", "sign.key")] {
        let folder = fed.node_folder(node);
        let passphrase = fs::read(folder.join("passphrase")).unwrap();
        let passphrase = passphrase.strip_suffix(b"\n").unwrap_or(&passphrase).to_vec();
        for entry in open_keys(&passphrase, &fs::read(folder.join(file)).unwrap()).unwrap() {
            if matches!(entry.role, KeyRole::AtRest | KeyRole::Signing) {
                markers.push((format!("a seed of {node}"), entry.secret.seed().unwrap().to_vec()));
            }
        }
        markers.push((format!("the passphrase of {node}"), passphrase));
    }
    markers
}

// Attack 69.
#[test]
fn no_secret_is_in_logs_metrics_answers_or_stores_and_no_process_leaves_a_core_file() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", SUBJECT, "--body", TEXT]);
    fed.await_delivered("ncb.sg", &id);
    let markers = markers(&fed);
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for node in fed.nodes() {
        seen.push((format!("the log of {node}"), fed.log_tail(&node, 100_000).into_bytes()));
        let process = fed.process_id(&node).unwrap();
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().nth(4), Some("0"), "{node}: {core}");
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        assert!(status.contains("Umask:\t0077"), "{node}: {status}");
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap();
        seen.push((format!("the command line of {node}"), command));
        let mut stored = Vec::new();
        files(&fed.store_folder(&node), &mut stored);
        for path in stored {
            // The engine may remove a file meanwhile.
            let (Ok(found), Ok(bytes)) = (fs::metadata(&path), fs::read(&path)) else { continue };
            let mode = found.permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
            seen.push((path.display().to_string(), bytes));
        }
    }
    for arguments in [&["status"][..], &["doctor"], &["--json", "status"], &["send", "nobody.here", "--body", TEXT]] {
        let ended = fed.liaison("ncb.sg", arguments);
        seen.push((format!("liaison {arguments:?}"), [ended.stdout, ended.stderr].concat().into_bytes()));
    }
    for arguments in [&["status"][..], &["links"], &["queues"], &["--json", "status"]] {
        let ended = fed.relay("ap-1", arguments);
        seen.push((format!("liaison-relay {arguments:?}"), [ended.stdout, ended.stderr].concat().into_bytes()));
    }
    seen.push(("the daemon's status".into(), fed.get("ncb.sg", "/v1/status").unwrap().to_string().into_bytes()));
    for (place, bytes) in &seen {
        for (what, marker) in &markers {
            assert!(!holds(bytes, marker), "{what} is in {place}");
        }
    }
}
