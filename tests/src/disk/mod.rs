//! Disks that fail, power that is cut and kills at any step, under the real programs.
//!
//! ```text
//!  program ── write, fsync, rename … ──► preload/disk.c ──► kernel
//!                                            └──► log: what undoes each change, and what each sync covered
//!  killed ──► Disk::cut_power: undoes what no sync covered, but for a torn, seeded part of it ──► the disk as it is found
//! ```
//!
//! Stricter than file systems are: a new file is there after a power cut only if its directory was synced.

mod log;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

pub use log::Loss;

use crate::draw::Draw;

/// The folder of one program, with a disk under it that keeps only what was synced.
#[derive(Debug)]
pub struct Disk {
    root: PathBuf,
    log: TempDir,
}

impl Disk {
    /// A disk for everything below `root`. What is there counts as synced.
    ///
    /// # Panics
    /// There is no room for a log, or `root` has no absolute path.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        let root = root.canonicalize().expect("a folder");
        // On the same file system, so that removed files can be kept under another name.
        let log = tempfile::tempdir_in(root.parent().expect("a parent folder")).expect("a folder for the log");
        Self { root, log }
    }

    /// What a program must be started with. `plan` says when the disk fails (`preload/disk.c`).
    #[must_use]
    pub fn environment(&self, plan: &str) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        vec![
            ("LD_PRELOAD".into(), text(library())),
            ("LIAISON_DISK_ROOT".into(), text(&self.root)),
            ("LIAISON_DISK_LOG".into(), text(self.log.path())),
            ("LIAISON_DISK_PLAN".into(), plan.into()),
        ]
    }

    /// What a power cut leaves, once the program has been killed. Without a seed everything that was not synced is
    /// gone; with one, some of it had reached the disk.
    ///
    /// # Panics
    /// The log is not one, or the folder cannot be written.
    pub fn cut_power(&self, seed: Option<u64>) -> Loss {
        let mut draw = seed.map(Draw::new);
        let loss = log::undo(&self.root, self.log.path(), draw.as_mut());
        self.keep_all();
        loss
    }

    /// The program has been killed, and the power is on: all that it wrote is there, synced or not.
    ///
    /// # Panics
    /// The log cannot be removed.
    pub fn keep_all(&self) {
        for entry in fs::read_dir(self.log.path()).expect("a folder").flatten() {
            fs::remove_file(entry.path()).expect("a file of ours");
        }
    }

    /// Kills the program just before its `nth` step from now on: a write, a sync, or a send over a socket.
    ///
    /// # Panics
    /// The plan cannot be written.
    pub fn kill_at_step(&self, nth: u64) {
        let (draft, plan) = (self.log.path().join("plan.new"), self.log.path().join("plan"));
        fs::write(&draft, format!("step@{nth}=CUT")).and_then(|()| fs::rename(&draft, plan)).expect("a file of ours");
    }

    /// Syncs that succeeded, and that failed, since the start or the last power cut.
    ///
    /// # Panics
    /// The log is not one.
    #[must_use]
    pub fn syncs(&self) -> (usize, usize) {
        log::syncs(self.log.path())
    }
}

/// The preload library, compiled once a process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let library = folder.path().join("disk.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/disk.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
        assert!(cc.status().expect("a C compiler, cc").success(), "the preload library does not compile");
        (folder, library)
    });
    library
}
