//! What a process takes up, and what a folder does, as Linux tells.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// One look at a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    /// Bytes of memory that are resident.
    pub resident: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Gauge {
    /// Looks at a process of this machine.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(process: u32) -> Result<Self> {
        // proc_pid_status(5)
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
            Ok(value.trim().trim_end_matches(" kB").parse()?)
        };
        let descriptors = match std::fs::read_dir(format!("/proc/{process}/fd")) {
            Ok(open) => open.count() as u64,
            // Programs that hold keys show theirs to root alone: so many have they room for.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => field("FDSize:")?,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { resident: 1024 * field("VmRSS:")?, descriptors, threads: field("Threads:")? })
    }

    /// The greater of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }
}

/// Processor time that a process has used: proc_pid_stat(5), fields 14 and 15, in hundredths of a second.
///
/// # Errors
/// It has ended.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields = behind_name.split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(10 * ticks))
}

/// Bytes that the files in a folder take on disk, at any depth. Files that vanish meanwhile count nothing.
#[must_use]
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        // stat(2): st_blocks counts units of 512 bytes.
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
