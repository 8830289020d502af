//! Foreign text on its way to a terminal: subjects, names, details, everything that somebody else chose.
//!
//! A control character moves the cursor or ends the line; a direction override shows `fdp.exe` as `exe.pdf`; a character
//! without a width hides. In text each becomes U+FFFD, where everybody sees it. In JSON each is written as `\u`, so that
//! a program reads what was written and a terminal shows it.

use serde::Serialize;

/// One line of foreign text: every character that drives a terminal or hides becomes U+FFFD.
#[must_use]
pub fn safe_line(text: &str) -> String {
    text.chars().map(|c| if is_hostile(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Foreign text of several lines: as [`safe_line`], but line feeds and tabs stay, and CRLF becomes LF.
#[must_use]
pub fn safe_text(text: &str) -> String {
    let kept = |c: char| if is_hostile(c) && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.replace("\r\n", "\n").chars().map(kept).collect()
}

/// A value as JSON on one line, safe to show.
///
/// # Errors
/// The value does not serialise.
pub fn json<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|encoded| escaped(&encoded))
}

/// JSON that is safe to show: outside of its strings JSON has none of these characters, so that each may be escaped
/// wherever it stands.
fn escaped(encoded: &str) -> String {
    let mut safe = String::with_capacity(encoded.len());
    for c in encoded.chars() {
        if is_hostile(c) || is_joiner(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Characters that drive a terminal or hide: controls (C0, DEL, C1), separators of lines and paragraphs, and what Unicode
/// calls default-ignorable, direction marks and overrides among it. Joiners and variation selectors are not: Persian,
/// Indian scripts and emoji need them.
#[must_use]
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The joiners: harmless between letters, and invisible alone.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether anything of `text` can be seen.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    let unseen = |c: char| {
        is_hostile(c)
            || is_joiner(c)
            || c.is_whitespace()
            || matches!(c, '\u{2800}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}')
    };
    !text.chars().all(unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(safe_line("a\u{1b}]0;x\u{7}b\r\nc"), "a\u{fffd}]0;x\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(safe_line("invoice\u{202e}fdp.exe"), "invoice\u{fffd}fdp.exe");
        assert_eq!(safe_line("\u{9b}31m\u{7f}"), "\u{fffd}31m\u{fffd}");
        assert_eq!(safe_line("ad\u{200b}min\u{2066}\u{200f}"), "ad\u{fffd}min\u{fffd}\u{fffd}");
        assert_eq!(safe_line("Köln 東京 👩‍💻 می‌خواهم ❤️"), "Köln 東京 👩‍💻 می‌خواهم ❤️");
        assert_eq!(safe_text("a\r\n\tb\rc"), "a\n\tb\u{fffd}c");
    }

    #[test]
    fn json_shows_what_it_hides_and_says_the_same() {
        let hostile: String = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_hostile(*c)).collect();
        let encoded = json(&hostile).unwrap();
        assert!(encoded.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(serde_json::from_str::<String>(&encoded).unwrap(), hostile);
        let one = json("x\u{9b}\u{7f}\u{202e}\u{e0041}\u{200d}é\n").unwrap();
        assert_eq!(one, r#""x\u009b\u007f\u202e\udb40\udc41\u200dé\n""#);
        assert_eq!(serde_json::from_str::<String>(&one).unwrap(), "x\u{9b}\u{7f}\u{202e}\u{e0041}\u{200d}é\n");
    }

    #[test]
    fn what_nobody_sees_is_not_visible() {
        for unseen in ["", " ", "\u{200b}", "\u{200d}\u{fe0f}", "\u{3164}", "\u{2800}\u{a0}", "\u{e0041}"] {
            assert!(!is_visible(unseen), "{unseen:?}");
        }
        assert!(is_visible("\u{200b}a") && is_visible("東"));
    }
}
