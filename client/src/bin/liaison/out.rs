//! Where a command's words go: data to stdout, talk to stderr.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use liaison_client::api::model::Tlp;
use serde::Serialize;
use serde_json::Value;
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::failure::Failure;
use crate::text::safe_line;
use liaison_node::text::json;

pub(crate) const PLAIN: Style = Style::new();
pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`. Colour never stands alone: the words say the same without it.
pub(crate) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// The colour of a TLP mark (FIRST, TLP 2.0).
pub(crate) const fn tlp_style(tlp: Tlp) -> Style {
    match tlp {
        Tlp::Clear => PLAIN,
        Tlp::Green => GOOD,
        Tlp::Amber | Tlp::AmberStrict => WARN,
        Tlp::Red => BAD,
    }
}

/// What `--json` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    /// Whole objects, or the named fields of each.
    Json(Option<Vec<String>>),
}

/// The two streams, and how much to say on them.
#[derive(Clone, Debug)]
pub(crate) struct Out {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

impl Out {
    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json(_))
    }

    /// Writes `text`, which may carry styles, and nothing after it. Styles are dropped where they have no place.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = anstream::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// One JSON object on one line, fields picked.
    pub(crate) fn object<T: Serialize + PartialSchema>(&self, value: &T) -> Result<(), Failure> {
        let line = match &self.format {
            Format::Json(Some(fields)) => serde_json::to_value(value).and_then(|all| pick(&all, fields)),
            _ => json(value),
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all((line.map_err(io::Error::from)? + "\n").as_bytes())?;
        Ok(stdout.flush()?)
    }

    /// Refuses `--json=FIELDS` that `T` does not have, before anything is asked or done.
    pub(crate) fn check_fields<T: PartialSchema>(&self) -> Result<(), Failure> {
        let Format::Json(Some(wanted)) = &self.format else { return Ok(()) };
        let known = field_names(&T::schema());
        match wanted.iter().find(|name| !known.contains(name)) {
            Some(name) => Err(Failure::usage(format!("unknown field '{name}' in --json"))
                .hint(format!("fields: {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// A remark for people: `! text` on stderr, unless `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.talk(&format!("! {}", safe_line(text)));
        }
    }

    /// A remark that only `--verbose` wants.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// A line on stderr. Nobody is left to tell if that fails.
    pub(crate) fn talk(&self, text: &str) {
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }
}

/// The named fields in the order of their naming. Absent ones are null, so that every line has the same columns.
fn pick(all: &Value, fields: &[String]) -> serde_json::Result<String> {
    let field = |name: &String| {
        let value = all.get(name).unwrap_or(&Value::Null);
        Ok(format!("{}:{}", json(name)?, json(value)?))
    };
    let fields = fields.iter().map(field).collect::<serde_json::Result<Vec<_>>>()?;
    Ok(format!("{{{}}}", fields.join(",")))
}

fn field_names(schema: &RefOr<Schema>) -> Vec<String> {
    match schema {
        RefOr::T(Schema::Object(object)) => object.properties.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Columns of the terminal that stdout is; `None` where it is none.
pub(crate) fn terminal_columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;
    use liaison_client::api::model::{Finding, Level, MessageSummary};

    #[test]
    fn fields_are_those_of_the_answers_schema() {
        let out = |fields: &str| Out {
            format: Format::Json(Some(fields.split(',').map(Into::into).collect())),
            quiet: false,
            verbose: false,
        };
        out("id,from,subject").check_fields::<MessageSummary>().unwrap();
        let failure = out("id,form").check_fields::<MessageSummary>().unwrap_err();
        assert_eq!((failure.exit, failure.message.as_str()), (2, "unknown field 'form' in --json"));
        assert!(failure.hint.unwrap().contains("precedence"));
    }

    #[test]
    fn absent_fields_are_null() {
        let finding = Finding { id: "clock".into(), level: Level::Ok, text: "fine".into(), fix: None };
        let line = pick(&serde_json::to_value(finding).unwrap(), &["level".into(), "id".into(), "fix".into()]);
        assert_eq!(line.unwrap(), r#"{"level":"ok","id":"clock","fix":null}"#);
    }
}
