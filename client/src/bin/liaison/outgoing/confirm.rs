//! Asking before what cannot be undone.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use liaison_client::api::model::{Precedence, Tlp};

use crate::failure::Failure;
use crate::text::safe_line;
use liaison_node::exit::Exit;

/// Why a message needs a second look, and the word that confirms it; `None` if it needs none.
pub(crate) fn reason(tlp: Tlp, precedence: Precedence, recipients: usize) -> Option<(String, &'static str)> {
    match (precedence, tlp) {
        (Precedence::Flash, _) => Some(("flash interrupts people".into(), "flash")),
        (_, Tlp::Red) if recipients > 1 => Some((format!("TLP:RED to {recipients} agencies"), "red")),
        _ => None,
    }
}

/// Asks on the terminal, not on standard input, which may be the text.
///
/// # Errors
/// No terminal, or another word.
pub(crate) async fn ask(question: &str, word: &'static str) -> Result<(), Failure> {
    let prompt = format!("{}: type {word} to confirm: ", safe_line(question));
    let answer = tokio::task::spawn_blocking(move || {
        let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        terminal.write_all(prompt.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(terminal).read_line(&mut answer).map(|_| answer)
    });
    let refused = |code, message: String| Failure::new(Exit::Refused, code, message);
    match answer.await {
        Ok(Ok(answer)) if answer.trim() == word => Ok(()),
        Ok(Ok(_)) => Err(refused("not_confirmed", "not confirmed, nothing was sent".into())),
        _ => Err(refused("confirmation_needed", format!("{question}: needs a confirmation, and there is no terminal"))
            .hint("give --yes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flash_and_red_to_several_need_a_second_look() {
        assert_eq!(reason(Tlp::Clear, Precedence::Flash, 1).unwrap().1, "flash");
        assert_eq!(reason(Tlp::Red, Precedence::Routine, 2).unwrap(), ("TLP:RED to 2 agencies".into(), "red"));
        assert_eq!(reason(Tlp::Red, Precedence::Routine, 1), None);
        assert_eq!(reason(Tlp::AmberStrict, Precedence::Immediate, 9), None);
    }
}
