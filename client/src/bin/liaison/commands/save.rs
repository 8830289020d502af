//! `liaison save`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use liaison_client::api::client::Octets;
use liaison_client::api::model::{Message, Part};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use utoipa::ToSchema;

use crate::context::Context;
use crate::failure::Failure;
use crate::names::{numbered, sanitise};
use crate::progress::{Progress, ProgressMode};
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison save @1 -o case1142\n  liaison save 4m7x0q --part 1 -o - | sha256sum")]
pub(crate) struct Args {
    /// The message
    #[arg(value_name = "MSG")]
    message: Selector,
    /// The folder to save into, which must exist ('-': one part, to standard output)
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Only this attachment
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    part: Option<u32>,
    /// Write to standard output even if that is a terminal
    #[arg(long)]
    force: bool,
    /// Save although nothing proves who sent the file
    #[arg(long)]
    unverified: bool,
    /// Progress on stderr
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    progress: ProgressMode,
}

/// One saved attachment.
#[derive(Debug, Serialize, ToSchema)]
struct Saved {
    /// Number of the part.
    n: u32,
    /// As the sender named it.
    name: String,
    /// Where it is.
    path: String,
    /// Its size.
    bytes: u64,
    /// SHA-256, checked, 64 hexadecimal digits.
    sha256: String,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<Saved>()?;
    let message = cx.client.message(&cx.resolve(&args.message)?).await?;
    if !message.verification.verified && !args.unverified {
        return Err(super::read::not_verified(&message));
    }
    let parts = chosen(&message, args.part)?;
    if args.output.as_os_str() == "-" {
        return to_stdout(cx, args, &message, &parts).await;
    }
    if parts.is_empty() {
        cx.out.note(&format!("{} has no attachments", message.id.short()));
    }
    for part in parts {
        let path = to_folder(cx, args, &message, part).await?;
        report(cx, part, &path)?;
    }
    Ok(Exit::Done)
}

/// The parts to save, all of them here.
fn chosen(message: &Message, wanted: Option<u32>) -> Result<Vec<&Part>, Failure> {
    let parts: Vec<_> = message.parts.iter().filter(|part| wanted.is_none_or(|n| part.n == n)).collect();
    let id = message.id.short();
    if let (true, Some(n)) = (parts.is_empty(), wanted) {
        let message = format!("{id} has no attachment {n}, only {}", message.parts.len());
        return Err(Failure::new(Exit::Data, "unknown_part", message));
    }
    match parts.iter().find(|part| part.bytes_here < part.bytes) {
        Some(part) => {
            let text =
                format!("{id}: attachment {} is still arriving ({} of {} bytes)", part.n, part.bytes_here, part.bytes);
            Err(Failure::new(Exit::TryLater, "not_ready", text).hint("the others: --part N"))
        }
        None => Ok(parts),
    }
}

/// Into a temporary file beside its place, checked, then given its name in one step, which no other file has.
async fn to_folder(cx: &Context, args: &Args, message: &Message, part: &Part) -> Result<PathBuf, Failure> {
    let dir = &args.output;
    if !dir.is_dir() {
        let message = format!("{}: no such folder", dir.display());
        return Err(
            Failure::new(Exit::Io, "output_failed", message).hint("make the folder first, or name another with -o")
        );
    }
    let mut file = NamedTempFile::new_in(dir).map_err(|error| Failure::output(dir, &error))?;
    let octets = cx.client.part(&message.id.to_string(), part.n).await?;
    let mut progress = Progress::start(&cx.out, args.progress, &part.name, part.bytes, 0);
    let target = dir.join(sanitise(&part.name));
    copy(octets, part, &mut progress, |piece| file.write_all(piece).map_err(|error| Failure::output(&target, &error)))
        .await?;
    file.as_file().sync_all().map_err(|error| Failure::output(&target, &error))?;
    place(file, dir, &part.name)
}

/// Copies and checks length and hash. What `sink` got is worthless if this fails.
async fn copy(
    mut octets: Octets,
    part: &Part,
    progress: &mut Progress,
    mut sink: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut hash = Sha256::new();
    let mut bytes = 0u64;
    while let Some(piece) = octets.next().await? {
        hash.update(&piece);
        bytes += piece.len() as u64;
        sink(&piece)?;
        progress.at(bytes);
    }
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if bytes == part.bytes && sha256 == part.sha256 {
        return Ok(());
    }
    let message = format!("attachment {}: not what the message announces ({bytes} bytes, SHA-256 {sha256})", part.n);
    Err(Failure::new(Exit::Data, "part_mismatch", message))
}

/// Gives `file` the sanitised name, or the next free number of it. Never replaces a file, never follows a link.
fn place(file: NamedTempFile, dir: &Path, name: &str) -> Result<PathBuf, Failure> {
    const NUMBER_MAX: u32 = 1_000;
    let name = sanitise(name);
    let mut file = file;
    for number in 1..=NUMBER_MAX {
        let target = dir.join(if number == 1 { name.clone() } else { numbered(&name, number) });
        match file.persist_noclobber(&target) {
            Ok(_) => return Ok(target),
            Err(taken) if taken.error.kind() == std::io::ErrorKind::AlreadyExists => file = taken.file,
            Err(failed) => return Err(Failure::output(&target, &failed.error)),
        }
    }
    let message = format!("{}: there are {NUMBER_MAX} files of this name", dir.join(name).display());
    Err(Failure::new(Exit::Io, "output_failed", message))
}

async fn to_stdout(cx: &Context, args: &Args, message: &Message, parts: &[&Part]) -> Result<Exit, Failure> {
    let [part] = parts else {
        return Err(Failure::usage("'-o -' takes one attachment").hint("choose one with --part N"));
    };
    if std::io::stdout().is_terminal() && !args.force {
        return Err(Failure::usage("not to a terminal").hint("redirect the output, or give --force"));
    }
    let octets = cx.client.part(&message.id.to_string(), part.n).await?;
    let mut progress = Progress::start(&cx.out, args.progress, &part.name, part.bytes, 0);
    let mut stdout = std::io::stdout().lock();
    copy(octets, part, &mut progress, |piece| Ok(stdout.write_all(piece)?)).await?;
    stdout.flush()?;
    Ok(Exit::Done)
}

fn report(cx: &Context, part: &Part, path: &Path) -> Result<(), Failure> {
    if cx.out.is_json() {
        return cx.out.object(&Saved {
            n: part.n,
            name: part.name.clone(),
            path: path.to_string_lossy().into_owned(),
            bytes: part.bytes,
            sha256: part.sha256.clone(),
        });
    }
    cx.out.data(&format!("{}\n", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::read::tests::message;

    fn save(dir: &Path, name: &str, octets: &[u8]) -> PathBuf {
        let mut file = NamedTempFile::new_in(dir).unwrap();
        file.write_all(octets).unwrap();
        place(file, dir, name).unwrap()
    }

    #[test]
    fn nothing_is_overwritten_and_nothing_leaves_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("in");
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(outer.path().join("victim"), b"old").unwrap();

        assert_eq!(save(&dir, "hits.csv", b"1"), dir.join("hits.csv"));
        assert_eq!(save(&dir, "hits.csv", b"2"), dir.join("hits.2.csv"));
        assert_eq!(std::fs::read(dir.join("hits.csv")).unwrap(), b"1");

        std::os::unix::fs::symlink(outer.path().join("victim"), dir.join("link")).unwrap();
        assert_eq!(save(&dir, "link", b"3"), dir.join("link.2"));
        assert_eq!(save(&dir, "../victim", b"4").parent().unwrap(), dir);
        assert_eq!(std::fs::read(outer.path().join("victim")).unwrap(), b"old");
    }

    #[test]
    fn a_part_must_exist_and_be_whole() {
        let mut message = message();
        assert_eq!(chosen(&message, None).unwrap().len(), 1);
        assert_eq!(chosen(&message, Some(2)).unwrap_err().exit, 65);
        message.parts[0].bytes_here -= 1;
        assert_eq!(chosen(&message, Some(1)).unwrap_err().exit, 75);
    }
}
