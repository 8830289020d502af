//! Files that the user names: opened without ever blocking, and read only where they are regular.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::failure::Failure;
use liaison_node::exit::Exit;

/// Whether `path` names standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-" || path.as_os_str() == "/dev/stdin"
}

/// Opens a regular file. Opening a pipe or a device could block for ever; such files are refused.
///
/// # Errors
/// Names the file and why it cannot be read.
pub(crate) fn open_regular(path: &Path) -> Result<File, Failure> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = opened.map_err(|error| Failure::input(path, &error))?;
    let kind = file.metadata().map_err(|error| Failure::input(path, &error))?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = if kind.is_dir() { "a folder" } else { "a pipe or a device" };
    let message = format!("{}: {what}, not a file", path.display());
    Err(Failure::new(Exit::NoInput, "input_unreadable", message))
}

/// Reads a whole regular file of at most `bytes_max` bytes, or standard input where `path` names it.
///
/// # Errors
/// As [`open_regular`]; a longer file is refused.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if is_stdin(path) {
        std::io::stdin().lock().take(bytes_max + 1).read_to_end(&mut bytes)
    } else {
        open_regular(path)?.take(bytes_max + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| Failure::input(path, &error))?;
    if bytes.len() as u64 > bytes_max {
        let limit = crate::text::bytes(bytes_max);
        return Err(Failure::new(Exit::Data, "too_large", format!("{}: longer than {limit}", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_folders_and_devices_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [&pipe, dir.path(), Path::new("/dev/null"), Path::new("/nowhere/at/all")] {
            assert_eq!(open_regular(path).err().unwrap().exit, 66, "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"four").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"four");
        assert_eq!(read(&path, 3).unwrap_err().code, "too_large");
    }
}
