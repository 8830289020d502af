//! File names that others chose.

use liaison_node::text::{is_hostile, is_visible};

/// Longest name that we make, in bytes; file systems end at 255, and a number may be added.
const NAME_BYTES_MAX: usize = 200;

/// A name to save an attachment under: one component, visible, the same on every system. The extension survives.
pub(crate) fn sanitise(name: &str) -> String {
    let replaced: String = name.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    // Leading dots hide, trailing dots and blanks vanish on some systems.
    let trimmed = replaced.trim_matches(|c: char| c == '.' || c.is_whitespace());
    let named = if is_visible(trimmed) { trimmed } else { "attachment" };
    let shortened = shorten(named);
    if is_device(&shortened) { format!("_{shortened}") } else { shortened }
}

/// The same name with a number before its extension, for when the name is taken.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    let (stem, extension) = split(name);
    format!("{stem}.{number}{extension}")
}

fn is_unsafe(c: char) -> bool {
    matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\0') || is_hostile(c)
}

fn shorten(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.into();
    }
    let (stem, extension) = split(name);
    let extension = if extension.len() > 20 { "" } else { extension };
    let room = NAME_BYTES_MAX - extension.len();
    let end = stem.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= room).last().unwrap_or(0);
    format!("{}{extension}", stem.get(..end).unwrap_or_default())
}

/// Stem and extension; the extension keeps its dot.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

/// Names that Windows takes for devices, whatever the extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let numbered =
        |prefix| stem.strip_prefix(prefix).is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") || numbered("COM") || numbered("LPT")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Component, Path};

    #[test]
    fn a_name_stays_inside_its_folder() {
        for hostile in
            ["../../etc/passwd", "/etc/passwd", "..\\..\\x", "..", ".", "", "a/../b", "C:\\x", "~/.ssh/id", "\0"]
        {
            let name = sanitise(hostile);
            let components: Vec<_> = Path::new(&name).components().collect();
            assert!(matches!(components.as_slice(), [Component::Normal(_)]), "{hostile:?} became {name:?}");
        }
        assert_eq!(sanitise("../../etc/passwd"), "_.._etc_passwd");
        assert_eq!(sanitise(".bashrc"), "bashrc");
        assert_eq!(sanitise("..."), "attachment");
    }

    #[test]
    fn a_name_that_nobody_sees_is_none() {
        for unseen in ["\u{200d}", "\u{a0}\u{3000}", "\u{fe0f}", ".\u{2003}."] {
            assert_eq!(sanitise(unseen), "attachment", "{unseen:?}");
        }
        for hidden in ["\u{200b}", "\u{3164}", "\u{ad}"] {
            assert_eq!(sanitise(hidden), "_", "{hidden:?}");
        }
        assert_eq!(sanitise("a\u{200b}.exe"), "a_.exe");
    }

    #[test]
    fn a_name_looks_like_what_it_is() {
        assert_eq!(sanitise("invoice\u{202e}fdp.exe"), "invoice_fdp.exe");
        assert_eq!(sanitise("a\u{1b}[2Jb\n.txt"), "a_[2Jb_.txt");
        assert_eq!(sanitise("report.pdf . "), "report.pdf");
        assert_eq!(sanitise("Übersicht 東京.csv"), "Übersicht 東京.csv");
    }

    #[test]
    fn devices_are_no_names() {
        for device in ["CON", "nul.txt", "com1", "LPT9.csv", "aux . x"] {
            assert!(sanitise(device).starts_with('_'), "{device}");
        }
        assert_eq!(sanitise("console.log"), "console.log");
        assert_eq!(sanitise("com10.txt"), "com10.txt");
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = sanitise(&format!("{}.csv", "東".repeat(300)));
        assert!(name.len() <= NAME_BYTES_MAX && name.ends_with(".csv"));
        assert!(sanitise(&"x".repeat(300)).len() <= NAME_BYTES_MAX);
        assert!(sanitise(&format!("x.{}", "y".repeat(300))).len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        assert_eq!(numbered("hits.csv", 2), "hits.2.csv");
        assert_eq!(numbered("hits", 2), "hits.2");
    }
}
