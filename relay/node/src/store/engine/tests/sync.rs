//! That a commit is a sync, and that a failed sync is the end. Both need `strace`, and are skipped with a line without.

use std::process::{Command, Stdio};

use super::child::{FAULT, Task, command, read, run, verify};
use super::{OnDisk, open};

fn strace_works() -> bool {
    let mut probe = Command::new("strace");
    probe.args(["-f", "-e", "trace=none", "true"]).stderr(Stdio::null());
    let works = probe.status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("SKIPPED: strace does not work here: syncs are not tested");
    }
    works
}

// [CUST-1]
#[test]
fn no_batch_is_called_durable_before_a_sync_that_follows_its_write() {
    if !strace_works() {
        return;
    }
    let place = OnDisk::new();
    let trace = place.0.path().join("trace");
    let calls = "trace=write,writev,pwrite64,pwritev,fdatasync,fsync";
    let wrapper = ["strace", "-f", "-y", "-e", calls, "-s", "24", "-o", trace.to_str().unwrap()];
    let said = run(command(&wrapper, Task::CommitHundred, &place.directory()));
    assert_eq!(said.durable, 100);

    let (mut unsynced, mut acknowledged) = (false, 0);
    for line in read(&trace).lines() {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        let journal = call.contains(".jnl>");
        // A call that another thread interrupts ends on a line of its own, without the file.
        let ended_sync = call.contains("sync") && call.ends_with("= 0") && (journal || call.contains("resumed>"));
        unsynced = (unsynced || (journal && call.contains("write"))) && !ended_sync;
        if call.starts_with("write(1<") && call.contains("durable ") {
            assert!(!unsynced, "a batch was called durable before its sync: {line}");
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 100);
}

#[test]
fn after_a_failed_sync_the_store_does_nothing_more() {
    if !strace_works() {
        return;
    }
    let place = OnDisk::new();
    let wrapper =
        ["strace", "-f", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=15", "-o", "/dev/null"];
    let said = run(command(&wrapper, Task::CommitHundred, &place.directory()));
    assert!(said.has(FAULT), "{said:?}");
    assert!(said.durable > 5 && said.durable < 15, "{said:?}");
    let last = verify(&open(&place.directory()).unwrap());
    assert!((said.durable..=said.durable + 1).contains(&last), "{last} is there, {} was said", said.durable);
}
