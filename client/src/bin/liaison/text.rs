//! Text for terminals: measured, and numbers in human sizes.

use std::time::Duration;

pub(crate) use liaison_node::text::{safe_line, safe_text};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns that `text` takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// `text` filled up with spaces to `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// `text` cut to `columns`, the last of them an ellipsis if something was cut.
pub(crate) fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        out.push(c);
    }
    out + "…"
}

/// `0 B`, `999 B`, `1.2 KiB`, `31 MiB`: two digits where that says something.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("PiB", 50)];
    let fits = |(_, shift): &&(&str, u32)| *shift == 50 || count >> shift < 1024;
    let Some((unit, shift)) = UNITS.iter().find(fits).filter(|_| count >= 1024) else { return format!("{count} B") };
    let size = 1u128 << shift;
    let tenths = (u128::from(count) * 10 + size / 2) / size;
    if tenths < 100 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

/// A span in its two largest units: `6d 23h`, `3m 10s`, `42s`, `380ms`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    let (large, small) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds / 60 % 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds / 3_600 % 24, "h")),
    };
    if small.0 == 0 {
        format!("{}{}", large.0, large.1)
    } else {
        format!("{}{} {}{}", large.0, large.1, small.0, small.1)
    }
}

/// A span as people type it: a number and `s`, `m`, `h`, `d` or `w`, several joined (`1h30m`).
///
/// # Errors
/// Says what a span looks like.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{}' is not a span: write 30s, 15m, 2h, 7d or 1w", safe_line(text));
    let mut total = 0u64;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let scale = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        total = count.checked_mul(scale).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        digits.clear();
    }
    if digits.is_empty() && !text.is_empty() { Ok(Duration::from_secs(total)) } else { Err(wrong()) }
}

/// `1 message`, `2 messages`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_what_a_terminal_shows() {
        assert_eq!(pad("東京", 6), "東京  ");
        assert_eq!(truncate("Case 1142", 9), "Case 1142");
        assert_eq!(truncate("Case 1142", 6), "Case …");
        assert_eq!(truncate("東京東京", 6), "東京…");
    }

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(1_258_291), "1.2 MiB");
        assert_eq!(bytes(31 << 20), "31 MiB");
        assert_eq!(bytes(u64::MAX), "16384 PiB");
        assert_eq!(span(Duration::from_secs(604_799)), "6d 23h");
        assert_eq!(span(Duration::from_secs(190)), "3m 10s");
        assert_eq!(span(Duration::from_secs(86_400)), "1d");
        assert_eq!(span(Duration::from_millis(380)), "380ms");
        assert_eq!(span(Duration::ZERO), "0s");
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(parse_span("7d").unwrap(), Duration::from_secs(604_800));
        assert_eq!(parse_span("1h30m").unwrap(), Duration::from_secs(5_400));
        for bad in ["", "7", "d", "-1d", "7 d", "7y", "99999999999999999999d", "9999999999999999w"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
