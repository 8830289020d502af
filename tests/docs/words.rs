//! What programs say to people is plain English: every line that they can print, read from their sources and their help.
//!
//! One place per program: its folders below. A line that a program prints is a string of its source with at least three
//! words. What only programmers read is left out: tests, comments, reasons of exceptions, and `expect`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use liaison_tests::fed::binaries;

use super::root;

/// Each program, and the folders or files that hold what it says.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("liaison", &["client/src/bin/liaison", "client/src/api"]),
    ("liaisond", &["client/src"]),
    (
        "liaison-relay",
        &["relay/src", "relay/driver/src", "relay/node/src/config", "relay/node/src/http", "relay/node/src/secrecy.rs"],
    ),
];
/// Files whose strings nobody reads: those of tests, and the phrases of libraries that are replaced.
const NOT_SHOWN: [&str; 7] = ["room.rs", "tests", "testing", "store_faults", "hostile", "records", "plain.rs"];
/// Words without a thing that they name, or that only programmers know.
const VAGUE: [&str; 8] = ["it", "whoever", "whatever", "whichever", "somebody", "anybody", "nobody", "someone"];
const PHRASES: [&str; 5] = ["that one", "this one", "the other one", "none is known", "those of"];
const OF_RUST: [&str; 16] = [
    "Option",
    "Vec",
    "struct",
    "enum",
    "unwrap",
    "serde",
    "usize",
    "u64",
    "u32",
    "impl",
    "tokio",
    "panic",
    "variant",
    "deserialize",
    "deserialise",
    "mutex",
];
/// Words of a sentence, at most.
const SENTENCE_WORDS_MAX: usize = 25;

/// What is wrong with a line, by the rules above.
fn fault(line: &str) -> Option<String> {
    let words: Vec<&str> =
        line.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '_')).filter(|word| !word.is_empty()).collect();
    let lower: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    if let Some(word) = lower.iter().find(|word| VAGUE.contains(&word.as_str())) {
        return Some(format!("'{word}' names nothing"));
    }
    let spaced = format!(" {} ", lower.join(" "));
    if let Some(phrase) = PHRASES.iter().find(|phrase| spaced.contains(&format!(" {phrase} "))) {
        return Some(format!("'{phrase}' names nothing"));
    }
    if let Some(word) = words.iter().find(|word| OF_RUST.contains(word)) {
        return Some(format!("'{word}' is a word for programmers"));
    }
    let sentences = line.split(['.', ';', ':', '?', '\n', '(', ')']);
    if let Some(long) = sentences.map(str::split_whitespace).map(Iterator::count).find(|n| *n > SENTENCE_WORDS_MAX) {
        return Some(format!("a sentence of {long} words"));
    }
    let ends_well = !line.trim_end().ends_with([',', ';']);
    (!ends_well).then(|| "it breaks off".into())
}

/// A string of the source, and the line where it begins.
struct Said {
    line: usize,
    text: String,
}

/// The strings of Rust source, without those of tests and of what only programmers read.
fn strings(source: &str) -> Vec<Said> {
    let source = without_tests(source);
    let mut said = Vec::new();
    let mut rest = source.as_str();
    let mut line = 1;
    // Code before the string under the eye, for what the string is for.
    let mut before = String::new();
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if let Some((text, after)) = string(rest) {
            let for_programmers = ["expect(", "reason = ", "assert!(", "unreachable!(", "trace!(", "debug!("];
            let code = before.trim_end();
            if !for_programmers.iter().any(|end| code.ends_with(end)) {
                said.push(Said { line, text: unfolded(text) });
            }
            line += text.matches('\n').count();
            before.clear();
            rest = after;
        } else if let Some(after) = character(rest) {
            rest = after;
        } else {
            line += usize::from(c == '\n');
            before.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    said
}

/// A string at the beginning of `source`, and what comes after.
fn string(source: &str) -> Option<(&str, &str)> {
    if let Some(raw) = source.strip_prefix("r#\"") {
        let end = raw.find("\"#")?;
        return Some((&raw[..end], &raw[end + 2..]));
    }
    let text = source.strip_prefix('"')?;
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&text[..end], &text[end + 1..]))
}

/// What comes after a character at the beginning of `source`; a lifetime is none.
fn character(source: &str) -> Option<&str> {
    let inside = source.strip_prefix('\'')?;
    let escape = usize::from(inside.starts_with('\\'));
    let rest = inside.get(escape..)?;
    let end = if escape == 1 { rest.find('\'')? } else { rest.chars().next()?.len_utf8() };
    rest.get(end..)?.strip_prefix('\'')
}

/// A backslash at the end of a line joins the next line.
fn unfolded(text: &str) -> String {
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    let joined = parts.fold(first, |joined, part| joined + part.trim_start());
    joined.replace("\\n", "\n").replace("\\\"", "\"")
}

/// The source without items that only tests have; the lines keep their numbers.
fn without_tests(source: &str) -> String {
    let mut kept = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
        } else {
            let indent = &line[..line.len() - line.trim_start().len()];
            let closing = format!("{indent}}}");
            for inside in lines.by_ref() {
                kept.push('\n');
                if inside.ends_with(';') || inside.starts_with(&closing) {
                    break;
                }
            }
        }
        kept.push('\n');
    }
    kept
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| sources(entry, found));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

fn is_prose(text: &str) -> bool {
    text.contains(' ') && text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count() >= 3
}

#[test]
fn every_line_that_a_program_can_print_is_plain() {
    let mut faults = Vec::new();
    for (program, places) in PROGRAMS {
        let mut files = Vec::new();
        places.iter().for_each(|place| sources(&root().join(place), &mut files));
        let mut lines = 0;
        for file in files {
            let name = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            if NOT_SHOWN.iter().any(|part| name.contains(part)) {
                continue;
            }
            for Said { line, text } in strings(&fs::read_to_string(&file).unwrap()) {
                // An example or a sample of JSON is no sentence.
                for said in text.split('\n').filter(|said| is_prose(said) && !said.starts_with("  ")) {
                    lines += 1;
                    faults.extend(fault(said).map(|fault| format!("{name}:{line}: {fault}: {said}")));
                }
            }
        }
        assert!(lines > 50, "{program}: only {lines} lines found");
    }
    faults.sort();
    faults.dedup();
    assert!(faults.is_empty(), "{} lines:\n{}", faults.len(), faults.join("\n"));
}

/// The help of a program or of a command: the texts, without the names and examples.
fn help(program: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new(binaries().join(program)).args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut texts: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(&format!("  {program}"))) {
        // Names and their texts stand in two columns; a text goes on in the second.
        let (name, said) = line.trim_start().split_once("  ").unwrap_or_else(|| ("", line.trim_start()));
        match texts.last_mut() {
            Some(last) if line.starts_with("                ") && name.is_empty() => *last += &format!(" {said}"),
            _ => texts.push(said.trim().to_owned()),
        }
    }
    texts
}

fn commands(program: &str) -> Vec<String> {
    let output = Command::new(binaries().join(program)).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let listed = text.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<String> = listed
        .filter(|line| !line.starts_with("     "))
        .filter_map(|line| line.split_whitespace().next())
        .map(String::from)
        .collect();
    assert!(!names.is_empty(), "{program} lists no commands");
    names
}

#[test]
fn the_help_of_every_command_is_plain() {
    let mut faults = Vec::new();
    for program in ["liaison", "liaisond", "liaison-relay"] {
        let mut asked = vec![vec!["--help".to_owned()]];
        asked.extend(
            commands(program).into_iter().filter(|name| name != "help").map(|name| vec![name, "--help".into()]),
        );
        for words in asked {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            for text in help(program, &words).iter().filter(|text| is_prose(text)) {
                faults.extend(fault(text).map(|fault| format!("{program} {}: {fault}: {text}", words.join(" "))));
            }
        }
    }
    assert!(faults.is_empty(), "{} lines:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_rules_find_what_they_are_for() {
    for (said, found) in [
        ("all delivered", false),
        ("held at eu-1 until the next hand-over", false),
        ("waits for a prekey of ncb.jp: none is known that it could open with", true),
        ("invalid type: string, expected struct Submission", true),
        ("whoever holds the message has it", true),
        ("expired: attachment one,", true),
    ] {
        assert_eq!(fault(said).is_some(), found, "{said}: {:?}", fault(said));
    }
    let source = "fn f() { // \"a comment it has\"\n let c = '\"'; x.expect(\"it holds by construction\"); g(\"one \\\n  two three\"); }\n\
                  #[cfg(test)]\nmod tests {\n    const X: &str = \"it is a test\";\n}\n";
    let found: Vec<(usize, String)> = strings(source).into_iter().map(|said| (said.line, said.text)).collect();
    assert_eq!(found, [(2, "one two three".to_owned())]);
}
