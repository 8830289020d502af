//! Quantities and instants in words.

use std::time::Duration;

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
pub(super) use liaison_node::text::safe_line as safe;
use liaison_protocol::Timestamp;

/// `0 B`, `1.2 KiB`, `31 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let fits = |(_, shift): &&(&str, u32)| *shift == 40 || count >> shift < 1024;
    let Some((unit, shift)) = UNITS.iter().find(fits).filter(|_| count >= 1024) else { return format!("{count} B") };
    let tenths = (u128::from(count) * 10) >> shift;
    if tenths < 100 { format!("{}.{} {unit}", tenths / 10, tenths % 10) } else { format!("{} {unit}", tenths / 10) }
}

/// `1 204`: thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Two units at most: `3 m 10 s`, `6 d 23 h`.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0 if duration.is_zero() => return "0 s".into(),
        0 => return format!("{} ms", duration.as_millis()),
        1..60 => return format!("{seconds} s"),
        60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
        3_600..86_400 => ((seconds / 3_600, "h"), (seconds / 60 % 60, "m")),
        _ => ((seconds / 86_400, "d"), (seconds / 3_600 % 24, "h")),
    };
    match small.0 {
        0 => format!("{} {}", large.0, large.1),
        rest => format!("{} {} {rest} {}", large.0, large.1, small.1),
    }
}

/// How long ago; `-` for never.
pub(super) fn age(since: Option<Timestamp>, now: Timestamp) -> String {
    since.map_or_else(|| "-".into(), |since| span(now.since(since)))
}

/// `in 41 s`, or `now`.
pub(super) fn until(at: Timestamp, now: Timestamp) -> String {
    if at <= now { "now".into() } else { format!("in {}", span(at.since(now))) }
}

/// `13:40` today, else `2026-11-23 13:40`; local time.
pub(super) fn clock_time(at: Timestamp, now: Timestamp) -> String {
    let (at, now) = (local(at), local(now));
    let pattern = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    at.strftime(pattern).to_string()
}

/// `2026-11-23 13:40:02.251`, local time.
pub(super) fn moment(at: Timestamp) -> String {
    local(at).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

fn local(at: Timestamp) -> jiff::ZonedDateTime {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    Instant::from_millisecond(millis).unwrap_or(Instant::MAX).to_zoned_datetime(TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short() {
        assert_eq!([bytes(0), bytes(1023), bytes(1229), bytes(31 << 20)], ["0 B", "1023 B", "1.2 KiB", "31 MiB"]);
        assert_eq!([count(0), count(999), count(1204), count(1_000_000)], ["0", "999", "1 204", "1 000 000"]);
        let spans = [0, 4, 190, 3600, 604_799].map(|s| span(Duration::from_secs(s)));
        assert_eq!(spans, ["0 s", "4 s", "3 m 10 s", "1 h", "6 d 23 h"]);
    }
}
