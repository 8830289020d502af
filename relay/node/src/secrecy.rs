//! Keeps what is secret in memory out of core files, debuggers and other users' files, as far as the system lets a
//! program.
//!
//! What it cannot do: keep memory out of swap where the system bounds locked memory (`LimitMEMLOCK=infinity` in the
//! unit lifts that), and hide anything from root.

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask};

/// Before keys are read. Doing it again changes nothing. Gives what the system refused, in words for a log.
#[must_use = "an operator wants to know what is not protected"]
pub fn protect() -> Vec<String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // What this program makes is its user's business; where others are meant to have access, the code says so.
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let steps = [
        ("this process may leave a core file", setrlimit(Resource::Core, none)),
        (
            "other processes of this user may read this one's memory",
            set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
        ("memory may go to swap", lock()),
    ];
    steps.into_iter().filter_map(|(what, done)| Some(format!("{what}: {}", done.err()?))).collect()
}

/// Locks memory where there is no bound: with one, locked pages would use it up, and allocations would fail. What is
/// not locked is not reported: most systems bound it.
fn lock() -> Result<(), Errno> {
    if getrlimit(Resource::Memlock).current.is_some() {
        return Ok(());
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    // Attack 69.
    #[test]
    fn a_process_that_holds_keys_leaves_no_core_file_and_cannot_be_dumped() {
        assert_eq!(protect(), Vec::<String>::new());
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert!(matches!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable)));
    }
}
