//! Where the text comes from.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use super::flags::Content;
use crate::failure::Failure;
use crate::files::{is_stdin, open_regular};
use crate::out::Out;
use liaison_node::exit::Exit;

/// Longest text; the daemon's bound for the whole body is the same, so the largest texts fail there.
const TEXT_BYTES_MAX: usize = liaison_protocol::limits::BODY_PLAIN_BYTES_MAX;

/// When to say that something is waited for.
const NOTICE_AFTER: Duration = Duration::from_secs(2);

/// The text that the flags name: `--body`, `--file`, `-`, or standard input if it is no terminal. `None` if it is one
/// and nothing was given.
pub(crate) async fn text(out: &Out, content: &Content) -> Result<Option<String>, Failure> {
    let attaches_stdin = content.attach.iter().any(|path| is_stdin(path));
    if attaches_stdin && content.body.is_none() && content.file.as_deref().is_none_or(is_stdin) {
        let hint = "give the text with --body or --file";
        return Err(Failure::usage("standard input cannot be both the text and an attachment").hint(hint));
    }
    if !attaches_stdin && (content.body.is_some() || content.file.is_some()) && stdin_has_text() {
        out.note("standard input is not read: the text is that of --body or --file");
    }
    if let Some(body) = &content.body {
        return checked(body.clone().into_bytes(), "--body").map(Some);
    }
    match &content.file {
        Some(path) if !is_stdin(path) => file(path).map(Some),
        Some(_) => stdin(out).await.map(Some),
        None if content.dash() || !std::io::stdin().is_terminal() => stdin(out).await.map(Some),
        None => Ok(None),
    }
}

fn file(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let mut limited = open_regular(path)?.take(TEXT_BYTES_MAX as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| Failure::input(path, &error))?;
    checked(bytes, &path.display().to_string())
}

/// Whether somebody has piped text in. A loop's input (`while read … done < list`) is told of, too: nothing is lost.
fn stdin_has_text() -> bool {
    let stdin = std::io::stdin();
    !stdin.is_terminal() && rustix::io::ioctl_fionread(&stdin).is_ok_and(|waiting| waiting > 0)
}

async fn stdin(out: &Out) -> Result<String, Failure> {
    let reading = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    tokio::pin!(reading);
    let read = tokio::select! {
        biased;
        read = &mut reading => read,
        () = tokio::time::sleep(NOTICE_AFTER) => {
            out.note("reading the text from standard input; end the text with Ctrl-D");
            reading.await
        }
    };
    let failed = |error: &std::io::Error| Failure::input(Path::new("standard input"), error);
    match read {
        Ok(bytes) => checked(bytes.map_err(|error| failed(&error))?, "standard input"),
        Err(error) => Err(failed(&std::io::Error::other(error))),
    }
}

fn checked(bytes: Vec<u8>, source: &str) -> Result<String, Failure> {
    if bytes.len() > TEXT_BYTES_MAX {
        let message = format!("{source}: longer than 1 MiB");
        return Err(
            Failure::new(Exit::Data, "too_large", message).hint("attach the file in place of the text: -a FILE")
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("{source}: not UTF-8 (byte {})", error.utf8_error().valid_up_to());
        Failure::new(Exit::Data, "not_text", message).hint("attach the file in place of the text: -a FILE")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_short_utf8() {
        assert_eq!(checked(b"gr\xc3\xbc\xc3\x9fe".to_vec(), "x").unwrap(), "grüße");
        let failure = checked(b"ab\xff".to_vec(), "note.bin").unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (65, "note.bin: not UTF-8 (byte 2)"));
        assert_eq!(checked(vec![b'a'; TEXT_BYTES_MAX + 1], "x").unwrap_err().code, "too_large");
    }
}
