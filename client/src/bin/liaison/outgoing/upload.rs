//! Attachments on their way to the daemon, resumed where an earlier call was interrupted.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use liaison_client::api::client::{Client, ClientError};
use liaison_client::api::model::{AttachmentRef, NewUpload, Upload};

use super::Carried;
use crate::context::Context;
use crate::failure::Failure;
use crate::files::{is_stdin, open_regular};
use crate::progress::{Progress, ProgressMode};
use liaison_node::exit::Exit;

/// Octets of one request. The daemon takes 4 MiB; a quarter keeps progress lively and memory small.
const PIECE_BYTES: usize = 1024 * 1024;

/// A file to attach, opened before anything is sent: what cannot be read stops the whole message.
pub(crate) struct Source {
    path: PathBuf,
    file: File,
    opened: Metadata,
    name: String,
}

impl Source {
    /// The file at `path`, or standard input, which is first copied to a file without a name: an upload announces its
    /// size.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if is_stdin(path) {
            return Self::from_stdin();
        }
        let file = open_regular(path)?;
        let opened = file.metadata().map_err(|error| Failure::input(path, &error))?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok(Self { path: path.into(), file, opened, name })
    }

    fn from_stdin() -> Result<Self, Failure> {
        let path = PathBuf::from("standard input");
        let failed = |error: std::io::Error| Failure::input(Path::new("standard input"), &error);
        let mut file = tempfile::tempfile().map_err(failed)?;
        std::io::copy(&mut std::io::stdin().lock(), &mut file).map_err(failed)?;
        let opened = file.metadata().map_err(failed)?;
        Ok(Self { path, file, opened, name: "stdin".into() })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.opened.len()
    }

    /// The name that the recipient sees.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same file, untouched, has the same key.
    pub(crate) fn key(&self) -> String {
        let m = &self.opened;
        format!("{}:{}:{}:{}.{:09}", m.dev(), m.ino(), m.len(), m.mtime(), m.mtime_nsec())
    }

    /// The file must not change under our hands: neither side could tell which version it has.
    fn check_unchanged(&self) -> Result<(), Failure> {
        let now = self.file.metadata().map_err(|error| Failure::input(&self.path, &error))?;
        let same = |m: &Metadata| (m.len(), m.mtime(), m.mtime_nsec());
        if same(&now) == same(&self.opened) {
            return self.check_end();
        }
        let message = format!("{}: changed during the upload; nothing was sent", self.path.display());
        Err(Failure::new(Exit::Data, "input_changed", message)
            .hint("send a copy, or wait until the file's writer is done"))
    }

    /// Files of the system (`/proc`) have more in them than their size says.
    fn check_end(&self) -> Result<(), Failure> {
        use std::os::unix::fs::FileExt;
        match self.file.read_at(&mut [0], self.bytes()) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let message = format!("{}: longer than its size says; nothing was sent", self.path.display());
                Err(Failure::new(Exit::Data, "input_changed", message).hint("send a copy of the file"))
            }
            Err(error) => Err(Failure::input(&self.path, &error)),
        }
    }
}

/// Uploads `source` and names it for the submission. The key is for [`forget`], once the message is in the outbox.
pub(crate) async fn file(
    cx: &Context,
    mode: ProgressMode,
    mut source: Source,
) -> Result<(AttachmentRef, String), Failure> {
    let key = source.key();
    let upload = resume_or_start(cx, &key, &source.name, source.bytes()).await?;
    let mut progress = Progress::start(&cx.out, mode, &source.name, source.bytes(), upload.offset);
    let mut offset = upload.offset;
    seek(&mut source, offset)?;
    while offset < source.bytes() {
        let piece = read_piece(&mut source, offset)?;
        offset = append(&cx.client, &upload.id, offset, piece).await?;
        progress.at(offset);
    }
    source.check_unchanged()?;
    Ok((AttachmentRef { upload: upload.id, name: source.name }, key))
}

/// Sends an attachment of a message that the daemon holds on as one of another: octet by octet, nothing on disk here.
pub(crate) async fn carried(cx: &Context, mode: ProgressMode, carried: &Carried) -> Result<AttachmentRef, Failure> {
    let part = &carried.part;
    let request = NewUpload { name: part.name.clone(), total_len: part.bytes };
    let upload = cx.client.new_upload(&request).await?;
    let mut octets = cx.client.part(&carried.message.to_string(), part.n).await?;
    let mut progress = Progress::start(&cx.out, mode, &part.name, part.bytes, 0);
    let mut offset = 0;
    let mut pending = Vec::with_capacity(PIECE_BYTES);
    loop {
        let next = octets.next().await?;
        let ended = next.is_none();
        pending.extend_from_slice(&next.unwrap_or_default());
        if pending.len() >= PIECE_BYTES || (ended && !pending.is_empty()) {
            offset = append(&cx.client, &upload.id, offset, std::mem::take(&mut pending).into()).await?;
            progress.at(offset);
        }
        if ended {
            return Ok(AttachmentRef { upload: upload.id, name: part.name.clone() });
        }
    }
}

/// The message is in the outbox: its uploads are used up.
pub(crate) fn forget(cx: &Context, keys: &[String]) {
    for key in keys {
        cx.state().forget_upload(key);
    }
}

async fn resume_or_start(cx: &Context, key: &str, name: &str, total_len: u64) -> Result<Upload, Failure> {
    let known = cx.state().upload(key).map(str::to_owned);
    if let Some(id) = known {
        match cx.client.upload(&id).await {
            Ok(upload) if upload.total_len == total_len && upload.offset <= total_len => return Ok(upload),
            // Used up, timed out or another daemon's: begin anew.
            Ok(_) | Err(ClientError::Problem(_)) => cx.state().forget_upload(key),
            Err(error) => return Err(error.into()),
        }
    }
    let upload = cx.client.new_upload(&NewUpload { name: name.into(), total_len }).await?;
    cx.state().remember_upload(key.into(), upload.id.clone());
    Ok(upload)
}

async fn append(client: &Client, id: &str, offset: u64, piece: Bytes) -> Result<u64, Failure> {
    let end = offset + piece.len() as u64;
    let upload = client.append(id, offset, piece).await?;
    if upload.offset == end {
        return Ok(end);
    }
    let message = format!("the daemon has {} octets of an upload in place of {end}", upload.offset);
    Err(Failure::new(Exit::Internal, "upload_confused", message))
}

fn seek(source: &mut Source, offset: u64) -> Result<(), Failure> {
    use std::io::{Seek, SeekFrom};
    source.file.seek(SeekFrom::Start(offset)).map(drop).map_err(|error| Failure::input(&source.path, &error))
}

/// Up to a piece, never more than was announced, and less only at the end.
fn read_piece(source: &mut Source, offset: u64) -> Result<Bytes, Failure> {
    let left = source.bytes().saturating_sub(offset).min(PIECE_BYTES as u64);
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let read = (&mut source.file).take(left).read_to_end(&mut piece);
    read.map_err(|error| Failure::input(&source.path, &error))?;
    if piece.is_empty() {
        source.check_unchanged()?;
    }
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hits.csv");
        std::fs::write(&path, b"one").unwrap();
        let source = Source::open(&path).unwrap();
        assert_eq!((source.name.as_str(), source.bytes()), ("hits.csv", 3));
        source.check_unchanged().unwrap();
        std::fs::write(&path, b"longer").unwrap();
        assert_eq!(source.check_unchanged().unwrap_err().code, "input_changed");
    }

    #[test]
    fn a_shrunken_file_ends_the_upload_in_place_of_spinning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hits.csv");
        std::fs::write(&path, b"one").unwrap();
        let mut source = Source::open(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert_eq!(read_piece(&mut source, 0).unwrap_err().code, "input_changed");
    }

    #[test]
    fn folders_and_devices_are_no_attachments() {
        for path in ["/", "/dev/null", "/nowhere/at/all"] {
            assert_eq!(Source::open(Path::new(path)).err().unwrap().exit, 66, "{path}");
        }
    }

    #[test]
    fn a_file_that_is_longer_than_it_says_is_refused() {
        let source = Source::open(Path::new("/proc/version")).unwrap();
        assert_eq!((source.bytes(), source.check_unchanged().unwrap_err().code.as_str()), (0, "input_changed"));
    }
}
