//! Instants as people read them, in their own time zone.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};
use liaison_client::api::model::Time;

/// Now, and where: fixed in tests.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self { now: Timestamp::now(), zone: TimeZone::system() }
    }

    fn local(&self, at: Time) -> ZonedDateTime {
        at.to_jiff().to_zoned_datetime(self.zone.clone())
    }

    /// For lists: `14:31` today, `24 Nov` this year, `2025-11-24` before.
    pub(crate) fn brief(&self, at: Time) -> String {
        let (then, now) = (self.local(at), self.now.to_zoned_datetime(self.zone.clone()));
        let form = match (then.date() == now.date(), then.year() == now.year()) {
            (true, _) => "%H:%M",
            (false, true) => "%d %b",
            (false, false) => "%Y-%m-%d",
        };
        then.strftime(form).to_string()
    }

    /// For hops: `14:02:11.204`, with the date if it is not today's.
    pub(crate) fn precise(&self, at: Time) -> String {
        let (then, now) = (self.local(at), self.now.to_zoned_datetime(self.zone.clone()));
        let form = if then.date() == now.date() { "%H:%M:%S.%3f" } else { "%Y-%m-%d %H:%M:%S" };
        then.strftime(form).to_string()
    }

    /// For one message: date, time and offset.
    pub(crate) fn full(&self, at: Time) -> String {
        self.local(at).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// Time until `at`; `None` if it has passed.
    pub(crate) fn until(&self, at: Time) -> Option<Duration> {
        at.to_jiff().duration_since(self.now).try_into().ok()
    }

    /// Time since `at`; zero if it is to come.
    pub(crate) fn since(&self, at: Time) -> Duration {
        self.now.duration_since(at.to_jiff()).try_into().unwrap_or_default()
    }

    /// `--since`: a span back from now (`2d`), a date (from its beginning) or a time.
    ///
    /// # Errors
    /// Says which forms there are.
    pub(crate) fn parse_since(&self, text: &str) -> Result<Time, String> {
        self.parse(text, |date| date.to_zoned_datetime(self.zone.clone()).ok())
    }

    /// `--until`: a span back from now, a date (to its end) or a time.
    ///
    /// # Errors
    /// Says which forms there are.
    pub(crate) fn parse_until(&self, text: &str) -> Result<Time, String> {
        let last = |date: Date| {
            let next = date.tomorrow().ok()?.to_zoned_datetime(self.zone.clone()).ok()?;
            next.checked_sub(jiff::Span::new().milliseconds(1)).ok()
        };
        self.parse(text, last)
    }

    fn parse(&self, text: &str, of_date: impl Fn(Date) -> Option<ZonedDateTime>) -> Result<Time, String> {
        if let Ok(span) = crate::text::parse_span(text) {
            let now = u64::try_from(self.now.as_millisecond()).unwrap_or(0);
            return Ok(Time(liaison_protocol::Timestamp::from_millis(now).before(span)));
        }
        if let Ok(time) = text.parse::<Time>() {
            return Ok(time);
        }
        // A date and a time of day parse as a date alone, too: the more exact form is tried first.
        let has_time = text.contains(':');
        let local = text.parse::<DateTime>().ok().filter(|_| has_time);
        let zoned = local.and_then(|local| local.to_zoned_datetime(self.zone.clone()).ok());
        let date = || text.parse::<Date>().ok().filter(|_| !has_time).and_then(&of_date);
        let millis = zoned.or_else(date).and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok());
        millis.map(|millis| Time(liaison_protocol::Timestamp::from_millis(millis))).ok_or_else(|| {
            let text = crate::text::safe_line(text);
            format!(
                "'{text}' is not a span (2d), a date (2026-11-24) or a time (2026-11-24 14:00, 2026-11-24T14:00:00Z)"
            )
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// 14:32 on 24 November 2026 in Singapore.
    pub(crate) fn clock() -> Clock {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        Clock { now: "2026-11-24T14:32:00+08:00".parse().unwrap(), zone }
    }

    pub(crate) fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn lists_show_the_hour_today_and_the_day_before_that() {
        assert_eq!(clock().brief(at("2026-11-24T06:31:00Z")), "14:31");
        assert_eq!(clock().brief(at("2026-11-23T06:31:00Z")), "23 Nov");
        assert_eq!(clock().brief(at("2025-11-24T06:31:00Z")), "2025-11-24");
    }

    #[test]
    fn hops_show_milliseconds() {
        assert_eq!(clock().precise(at("2026-11-24T06:02:11.204Z")), "14:02:11.204");
        assert_eq!(clock().full(at("2026-11-24T06:02:11.204Z")), "2026-11-24 14:02:11 +08:00");
    }

    #[test]
    fn since_takes_spans_dates_and_times() {
        let since = |text| clock().parse_since(text).map(|time| time.to_string());
        assert_eq!(since("2h").unwrap(), "2026-11-24T04:32:00.000Z");
        assert_eq!(since("2026-11-24").unwrap(), "2026-11-23T16:00:00.000Z");
        assert_eq!(since("2026-11-24T01:00:00Z").unwrap(), "2026-11-24T01:00:00.000Z");
        assert_eq!(since("2026-11-24 23:59").unwrap(), "2026-11-24T15:59:00.000Z");
        assert_eq!(since("2026-11-24T23:59:30").unwrap(), "2026-11-24T15:59:30.000Z");
        let until = |text| clock().parse_until(text).map(|time| time.to_string());
        assert_eq!(until("2026-11-24").unwrap(), "2026-11-24T15:59:59.999Z");
        assert_eq!(until("2026-11-24 23:59").unwrap(), "2026-11-24T15:59:00.000Z");
        for wrong in ["2026-11-24 25:00", "2026-11-31", "2026-11-24 23:"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
        assert!(since("yesterday").unwrap_err().contains("2d"));
    }

    #[test]
    fn spans_to_and_from_now_do_not_go_negative() {
        assert_eq!(clock().until(at("2026-11-24T06:33:00Z")), Some(Duration::from_secs(60)));
        assert_eq!(clock().until(at("2026-11-24T06:31:00Z")), None);
        assert_eq!(clock().since(at("2026-11-24T06:33:00Z")), Duration::ZERO);
    }
}
