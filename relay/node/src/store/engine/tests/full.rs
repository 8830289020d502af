//! Full disks and file size limits.

use std::path::Path;
use std::process::Command;

use super::child::{FAULT, RECOVERED, Said, Task, command, run, verify};
use super::{OnDisk, open};

#[test]
fn a_write_that_the_system_refuses_is_a_fault_and_loses_nothing() {
    let place = OnDisk::new();
    // The signal would kill the child; ignored, the write fails.
    let wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""];
    let said = run(command(&wrapper, Task::CommitInSmallFiles, &place.directory()));
    assert!(said.has(FAULT), "{said:?}");
    assert!(said.durable > 10, "{said:?}");
    let last = verify(&open(&place.directory()).unwrap());
    assert!((said.durable..=said.durable + 1).contains(&last), "{last} is there, {} was said", said.durable);
}

#[test]
fn a_disk_that_ends_is_a_fault_and_loses_nothing() {
    let Some(disk) = SmallDisk::new(100) else { return };
    let said = disk.run(Task::Commit, Some((Task::Verify, 400)));
    assert!(said.has(FAULT), "{said:?}");
    assert!(said.durable > 10, "{said:?}");
    let verified = said.verified.expect("it was opened again");
    assert!((said.durable..=said.durable + 1).contains(&verified), "{verified} is there, {} was said", said.durable);
}

// [CUST-10]
#[test]
fn a_disk_at_its_reserve_refuses_what_adds_and_takes_what_removes() {
    let Some(disk) = SmallDisk::new(240) else { return };
    let said = disk.run(Task::FillAndDrain, None);
    assert!(said.has(RECOVERED), "{said:?}");
}

/// A file system in memory of some MiB, mounted for one child alone: it goes with the child.
struct SmallDisk {
    mib: u32,
    place: OnDisk,
}

impl SmallDisk {
    /// `None`, and a line that says so, where mounting is not allowed.
    fn new(mib: u32) -> Option<Self> {
        let disk = Self { mib, place: OnDisk::new() };
        let works = disk.shell("true").status().is_ok_and(|status| status.success());
        if !works {
            eprintln!("SKIPPED: no file system can be mounted here (unshare, mount): full disks are not tested");
        }
        works.then_some(disk)
    }

    /// Runs a task; then another, after the disk has grown.
    fn run(&self, task: Task, then: Option<(Task, u32)>) -> Said {
        let as_task = |task: Task| {
            let command = command(&[], task, &self.place.directory());
            let mut words = vec![format!("LIAISON_STORE_TEST_TASK={}", task.name())];
            words.extend(
                std::iter::once(command.get_program()).chain(command.get_args()).map(|word| quoted(Path::new(word))),
            );
            words.join(" ")
        };
        let mut script = as_task(task);
        if let Some((task, mib)) = then {
            let mounted = quoted(self.place.0.path());
            script += &format!("; mount -o remount,size={mib}m tmpfs {mounted} && {}", as_task(task));
        }
        let mut shell = self.shell(&script);
        shell.env("LIAISON_STORE_TEST_DIRECTORY", self.place.directory()).stdout(std::process::Stdio::piped());
        run(shell)
    }

    fn shell(&self, script: &str) -> Command {
        let mounted = quoted(self.place.0.path());
        let script = format!("mount -t tmpfs -o size={}m tmpfs {mounted} && {{ {script}; }}", self.mib);
        let mut shell = Command::new("unshare");
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
        shell
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}
