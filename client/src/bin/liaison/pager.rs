//! Long text on a terminal, a screen at a time.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::out::Out;

/// Prints `text` through `$LIAISON_PAGER`, `$PAGER` or `less` where stdout is a terminal and `text` is longer than
/// the screen; prints it directly otherwise. `cat`, or an empty variable, switches the pager off.
pub(crate) fn page(out: &Out, text: &str) -> Result<(), Failure> {
    let fits = screen_rows().is_none_or(|rows| text.lines().count() < rows);
    let chosen = ["LIAISON_PAGER", "PAGER"].iter().find_map(|name| std::env::var(name).ok());
    let pager = chosen.unwrap_or_else(|| "less".into());
    if fits || pager.is_empty() || pager == "cat" {
        return out.data(text);
    }
    let plain = anstream::AutoStream::choice(&std::io::stdout()) == anstream::ColorChoice::Never;
    let shown = if plain { anstream::adapter::strip_str(text).to_string() } else { text.to_owned() };
    if through(&pager, &shown) { Ok(()) } else { out.data(text) }
}

/// Rows of the terminal that stdout is; `None` where it is none.
fn screen_rows() -> Option<usize> {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_row > 0).then(|| usize::from(size.ws_row))
}

/// False if the pager could not be started. Through the shell, because the variable may carry arguments.
fn through(pager: &str, text: &str) -> bool {
    // LESSSECURE: `less` starts no command and opens no file for someone who reads a stranger's text.
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &format!("exec {pager}")])
        .env("LESS", "FRX")
        .env("LESSSECURE", "1")
        .env("LESSCHARSET", "utf-8");
    let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else { return false };
    if let Some(mut input) = child.stdin.take() {
        // A reader that has seen enough closes the pipe: no failure.
        let _ = input.write_all(text.as_bytes());
    }
    // 127: the shell did not find the pager, and has said so.
    child.wait().is_ok_and(|status| status.code() != Some(127))
}
