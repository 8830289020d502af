//! A message as text: `Name: value` lines, a blank line, the body. Read by `send -t`, written and read by `compose`.

use std::fmt::Write;
use std::path::PathBuf;

use liaison_client::api::model::Id;

use super::Draft;
use crate::failure::Failure;
use crate::suggest;
use crate::text::parse_span;
use liaison_node::exit::Exit;

const NAMES: [&str; 10] =
    ["To", "Info", "Subject", "Tlp", "Precedence", "Expires", "Handling", "Type", "In-Reply-To", "Attach"];

/// Reads a draft. Lines of the head that start with `#` are remarks; a line that starts with a blank continues the
/// one before; a name may come again where a list is meant; an empty value is as good as none.
///
/// # Errors
/// The line and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Draft, Failure> {
    let mut draft = Draft::default();
    let mut fields: Vec<(usize, String, String)> = Vec::new();
    // Editors on some systems begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut rest = text.as_str();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = after;
        if line.is_empty() {
            break;
        }
        match (line.starts_with('#'), line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, ..) => {}
            (_, true, Some((.., value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                let (name, value) = line.split_once(':').ok_or_else(|| {
                    wrong(number, &format!("'{line}' is no 'Name: value'")).hint("a blank line ends the head")
                })?;
                fields.push((number, name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    draft.text = rest.to_owned();
    for (line, name, value) in fields.into_iter().filter(|(.., value)| !value.is_empty()) {
        set(&mut draft, line, &name, &value)?;
    }
    Ok(draft)
}

fn set(draft: &mut Draft, line: usize, name: &str, value: &str) -> Result<(), Failure> {
    let list = || value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty());
    let lower = value.to_ascii_lowercase();
    match name.to_ascii_lowercase().as_str() {
        "to" => draft.to.extend(list()),
        "info" | "cc" => draft.info.extend(list()),
        "subject" => draft.subject = value.into(),
        "tlp" | "x-liaison-tlp" => draft.tlp = Some(word(line, lower.trim_start_matches("tlp:"))?),
        "precedence" | "x-liaison-precedence" => draft.precedence = Some(word(line, &lower)?),
        "expires" => draft.expires = Some(parse_span(&lower).map_err(|error| wrong(line, &error))?),
        "handling" => draft.handling.extend(list()),
        "type" => draft.content_type = Some(word(line, &lower)?),
        "in-reply-to" => draft.in_reply_to = Some(word::<Id>(line, &lower)?),
        "attach" => draft.attach.push(PathBuf::from(value)),
        _ => {
            let near = suggest::near(name, NAMES);
            let hint = suggest::question(&near).unwrap_or_else(|| format!("names: {}", NAMES.join(", ")));
            return Err(wrong(line, &format!("unknown name '{name}'")).hint(hint));
        }
    }
    Ok(())
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(line: usize, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|error: T::Err| wrong(line, &error.to_string()))
}

fn wrong(line: usize, message: &str) -> Failure {
    Failure::new(Exit::Data, "bad_headers", format!("line {line}: {message}"))
}

/// Writes a draft such that [`parse`] reads the same; every name is there, to be filled in.
pub(crate) fn format(draft: &Draft) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name}: {value}");
    };
    line("To", &draft.to.join(", "));
    line("Info", &draft.info.join(", "));
    line("Subject", &draft.subject);
    line("Tlp", draft.tlp.map_or("", |tlp| tlp.as_str()));
    line("Precedence", draft.precedence.map_or("", |precedence| precedence.as_str()));
    line("Expires", &draft.expires.map_or_else(String::new, |span| format!("{}s", span.as_secs())));
    line("Handling", &draft.handling.join(", "));
    if let Some(content_type) = draft.content_type {
        line("Type", content_type.as_str());
    }
    if let Some(id) = draft.in_reply_to {
        line("In-Reply-To", &id.to_string());
    }
    for path in &draft.attach {
        line("Attach", &path.to_string_lossy());
    }
    out + "\n" + &draft.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use liaison_client::api::model::{ContentType, Precedence, Tlp};
    use std::time::Duration;

    fn full() -> Draft {
        Draft {
            to: vec!["ncb.ee".into(), "ncb.fr".into()],
            info: vec!["igci.interpol".into()],
            subject: "Case 1142: sinkhole hits".into(),
            text: "# not a remark\n\nTo: nobody\n".into(),
            tlp: Some(Tlp::AmberStrict),
            handling: vec!["5x5x5:A1".into()],
            precedence: Some(Precedence::Flash),
            expires: Some(Duration::from_secs(86_400)),
            content_type: Some(ContentType::Stix),
            in_reply_to: Some("0".repeat(52).parse().unwrap()),
            attach: vec!["/tmp/a b.csv".into()],
            carry: Vec::new(),
        }
    }

    #[test]
    fn a_draft_round_trips_as_text() {
        assert_eq!(parse(&format(&full())).unwrap(), full());
        assert_eq!(parse(&format(&Draft::default())).unwrap(), Draft::default());
    }

    #[test]
    fn heads_from_mail_tools_are_read() {
        let draft =
            parse("# remark\r\nto: ncb.ee,\r\n  ncb.fr\r\nX-Liaison-TLP: TLP:RED\r\nSUBJECT: a: b\r\n\r\nhi\r\n");
        let draft = draft.unwrap();
        assert_eq!(draft.to, ["ncb.ee", "ncb.fr"]);
        assert_eq!((draft.tlp, draft.subject.as_str(), draft.text.as_str()), (Some(Tlp::Red), "a: b", "hi\n"));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_name() {
        assert_eq!(parse("\u{feff}To: ncb.ee\n\nhi").unwrap().to, ["ncb.ee"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let failure = parse("To: ncb.ee\nSubjct: x\n\n").unwrap_err();
        assert_eq!(failure.message, "line 2: unknown name 'Subjct'");
        assert_eq!(failure.hint.unwrap(), "did you mean 'Subject'?");
        assert_eq!(parse("Tlp: white\n").unwrap_err().exit, 65);
        assert!(parse("hello\n").unwrap_err().message.contains("line 1"));
    }
}
