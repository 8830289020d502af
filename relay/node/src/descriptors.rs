//! File descriptors: raised to what the system allows, so that the store always has some, and counted for `doctor`.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than these are worth a warning: the store alone may have 512 files open.
pub const WANTED: u64 = 2048;

/// Raises this process's limit to the highest that it may have. Gives it.
///
/// # Errors
/// As the system says; the limit stays as it was.
pub fn raise() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(limit())
}

/// Descriptors that this process may have at a time.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Descriptors that this process has; `None` where the system does not say.
#[must_use]
pub fn used() -> Option<u64> {
    // One of them lists the folder.
    let listed = std::fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(listed).ok().map(|listed| listed.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        let highest = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(raise().unwrap(), highest);
        let before = used().unwrap();
        let file = std::fs::File::open("/").unwrap();
        assert!(used().unwrap() > 0 && before > 0);
        drop(file);
    }
}
