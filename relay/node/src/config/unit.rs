//! Quantities with units: `20GiB`, `7d`, `5%`, `200/s`. A bare number is refused, so that nobody guesses its unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a quantity is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// The number before the unit is missing or not a whole number.
    #[error("'{text}' is not a whole number with a unit, write for example \"{example}\"")]
    Number {
        /// What was written.
        text: String,
        /// A value of this kind.
        example: &'static str,
    },
    /// Larger than can be counted.
    #[error("'{text}' is too large")]
    TooLarge {
        /// What was written.
        text: String,
    },
    /// The unit is missing or not one of this kind's.
    #[error("'{text}' needs a unit, one of {units}: write for example \"{example}\"")]
    Unit {
        /// What was written.
        text: String,
        /// The units of this kind.
        units: &'static str,
        /// A value of this kind.
        example: &'static str,
    },
}

struct Kind {
    units: &'static [(&'static str, u64)],
    named: &'static str,
    example: &'static str,
}

const SIZE: Kind = Kind {
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)],
    named: "B, KiB, MiB, GiB, TiB",
    example: "20GiB",
};

const SPAN: Kind = Kind {
    units: &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
    named: "ms, s, m, h, d",
    example: "30s",
};

const RATE: Kind = Kind { units: &[("/s", 1)], named: "/s", example: "200/s" };

const SHARE: Kind = Kind { units: &[("%", 1)], named: "%", example: "5%" };

fn parse(text: &str, kind: &Kind) -> Result<u64, ParseUnitError> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() || unit.starts_with('.') {
        return Err(ParseUnitError::Number { text: text.into(), example: kind.example });
    }
    let Some((_, factor)) = kind.units.iter().find(|(name, _)| *name == unit.trim_start()) else {
        return Err(ParseUnitError::Unit { text: text.into(), units: kind.named, example: kind.example });
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    number.ok_or_else(|| ParseUnitError::TooLarge { text: text.into() })
}

/// Writes `value` with the largest unit that divides it.
fn write(f: &mut fmt::Formatter<'_>, value: u64, kind: &Kind) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value.is_multiple_of(*factor) && (value > 0 || *factor == 1);
    let (unit, factor) = kind.units.iter().rev().find(fits).copied().unwrap_or(("", 1));
    write!(f, "{}{unit}", value / factor)
}

/// Bytes: `20GiB`; units B, KiB, MiB, GiB, TiB (powers of 1,024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SIZE).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZE)
    }
}

/// A span of time: `30s`; units ms, s, m, h, d.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// `n` milliseconds.
    #[must_use]
    pub const fn millis(n: u64) -> Self {
        Self(Duration::from_millis(n))
    }

    /// `n` seconds.
    #[must_use]
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// `n` days of 24 hours.
    #[must_use]
    pub const fn days(n: u64) -> Self {
        Self(Duration::from_secs(n * 86_400))
    }
}

impl FromStr for Span {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SPAN).map(|millis| Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPAN)
    }
}

/// A share of a whole: `5%`. Whole percents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u8);

impl Share {
    /// This share of `whole`, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

impl FromStr for Share {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = parse(text, &SHARE)?;
        u8::try_from(percent).map(Self).map_err(|_| ParseUnitError::TooLarge { text: text.into() })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0.into(), &SHARE)
    }
}

/// So many a second: `200/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &RATE).map(Self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_with_their_unit() {
        for text in ["0B", "512B", "3KiB", "20GiB", "1TiB", "1025KiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for text in ["0ms", "30s", "7d", "90m", "36h", "250ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("5%".parse::<Share>().unwrap().of(1_000), 50);
        assert_eq!("200/s".parse::<Rate>(), Ok(Rate(200)));
        assert_eq!("20 GiB".parse::<Size>(), Ok(Size(20 << 30)));
    }

    #[test]
    fn a_wrong_quantity_says_what_to_write() {
        let say = |text: &str| text.parse::<Size>().unwrap_err().to_string();
        assert_eq!(say("20"), "'20' needs a unit, one of B, KiB, MiB, GiB, TiB: write for example \"20GiB\"");
        assert_eq!(say("20GB"), "'20GB' needs a unit, one of B, KiB, MiB, GiB, TiB: write for example \"20GiB\"");
        assert_eq!(say("1.5GiB"), "'1.5GiB' is not a whole number with a unit, write for example \"20GiB\"");
        assert_eq!(say("-1B"), "'-1B' is not a whole number with a unit, write for example \"20GiB\"");
        assert_eq!(say("99999999999TiB"), "'99999999999TiB' is too large");
        assert_eq!(say(""), "'' is not a whole number with a unit, write for example \"20GiB\"");
        assert_eq!("300%".parse::<Share>().unwrap_err().to_string(), "'300%' is too large");
    }
}
