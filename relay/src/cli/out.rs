//! Where a command's words go: data to stdout, talk to stderr.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::Failure;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`. Colour never stands alone: the words say the same without it.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() || style == PLAIN { text.into() } else { format!("{style}{text}{style:#}") }
}

/// The two streams. Styles are dropped where stdout is no terminal, or NO_COLOR is set.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// JSON instead of text.
    pub json: bool,
}

impl Out {
    /// Writes `text`, and nothing after it.
    pub(crate) fn data(self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// One object on one line.
    pub(crate) fn object<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        json(&(line(value)? + "\n"))
    }

    /// One object a line; nothing for an empty list.
    pub(crate) fn objects<T: Serialize>(self, values: &[T]) -> Result<(), Failure> {
        let lines = values.iter().map(|value| Ok(line(value)? + "\n")).collect::<Result<String, Failure>>()?;
        json(&lines)
    }

    /// A remark for people, on stderr.
    pub(crate) fn note(self, text: &str) {
        if !self.json {
            self.talk(text);
        }
    }

    /// The last word on stderr.
    pub fn complain(self, failure: &Failure) {
        self.talk(&failure.render(self.json));
    }

    fn talk(self, text: &str) {
        // Nobody is left to tell if that fails.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }
}

/// Writes JSON as it is: it has no styles, and nothing in it is to be taken for one.
fn json(lines: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    Ok(stdout.flush()?)
}

fn line<T: Serialize>(value: &T) -> Result<String, Failure> {
    liaison_node::text::json(value).map_err(|error| Failure::from(io::Error::from(error)))
}
