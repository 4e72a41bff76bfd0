//! Durations (`30s`), sizes (`64KiB`), rates (`600/min`) and quotas (`1000/day`).

use std::time::Duration;

use super::super::problem::{Fault, quoted};
use crate::limit::calendar::{MAX_UTC_OFFSET_MINUTES, Period};

/// What matches a duration that is longer than zero, a size, and a rate.
pub(in super::super) const DURATION: &str = "[0-9]*[1-9][0-9]*(ms|s|m|h|d)";
pub(in super::super) const SIZE: &str = "0|[0-9]+(B|kB|KB|MB|GB|KiB|MiB|GiB)";
pub(in super::super) const RATE: &str = "[0-9]*[1-9][0-9]*/((ms|s|m|h|d|w|sec|second|min|minute|hour|day|week)|\
                                         [0-9]*[1-9][0-9]*(ms|s|m|h|d|w|(sec|second|min|minute|hour|day|week)s?))";

/// What matches a quota, and a distance from UTC.
pub(in super::super) const QUOTA: &str = "[0-9]*[1-9][0-9]*/(hour|day|week|month)";
pub(in super::super) const UTC_OFFSET: &str = "[+-][0-9]{2}:[0-9]{2}";

/// A rate: tokens in each period. It may still be no valid quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Rate {
    pub(in super::super) count: u64,
    pub(in super::super) period: Duration,
}

/// The longest duration. A longer one is most probably a mistake.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A number and a unit. A number that is too large for the type becomes its maximum.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (!digits.is_empty()).then(|| (digits.parse().unwrap_or(u64::MAX), unit))
}

/// The milliseconds in a unit of time.
fn millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    })
}

/// The unit of time that another name for it means.
fn meant_time(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => "s",
        "ms" | "msec" | "millis" | "milliseconds" => "ms",
        "m" | "min" | "mins" | "minute" | "minutes" => "m",
        "h" | "hr" | "hrs" | "hour" | "hours" => "h",
        "d" | "day" | "days" => "d",
        _ => return None,
    })
}

/// Parses a duration: `250ms`, `30s`, `5m`, `1h`, `2d`, or `0`.
pub(in super::super) fn duration(text: &str) -> Result<Duration, Fault> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let number = split(text);
    let Some(duration) =
        number.and_then(|(number, unit)| Some(Duration::from_millis(number.saturating_mul(millis(unit)?))))
    else {
        let fault = Fault::new(format!("{} is not a duration", quoted(text)));
        return Err(match number.and_then(|(number, unit)| Some((number, meant_time(unit)?))) {
            Some((number, unit)) => fault.hint(format!("did you mean \"{number}{unit}\"?")),
            None => fault.hint(
                "write a whole number and one of the units ms, s, m, h and d, such as \"250ms\", \"30s\" or \"5m\"",
            ),
        });
    };
    if duration > LONGEST {
        return Err(
            Fault::new(format!("{} is too long", quoted(text))).hint("a duration is at most \"366d\"")
        );
    }
    Ok(duration)
}

/// The bytes in a unit of size.
fn bytes(unit: &str) -> Option<u64> {
    Some(match unit {
        "B" => 1,
        "KB" | "kB" => 1000,
        "MB" => 1000 * 1000,
        "GB" => 1000 * 1000 * 1000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    })
}

/// The unit of size that another name for it means.
fn meant_size(unit: &str) -> Option<&'static str> {
    Some(match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => "B",
        "k" | "kib" | "ki" => "KiB",
        "m" | "mib" | "mi" => "MiB",
        "g" | "gib" | "gi" => "GiB",
        "kb" => "KB",
        "mb" => "MB",
        "gb" => "GB",
        _ => return None,
    })
}

/// Parses a size: `512B`, `64KiB`, `10KB` (1000 bytes each), or `0`.
pub(in super::super) fn size(text: &str) -> Result<u64, Fault> {
    if text == "0" {
        return Ok(0);
    }
    let number = split(text);
    let Some((number, unit)) = number.and_then(|(number, unit)| Some((number, bytes(unit)?))) else {
        let fault = Fault::new(format!("{} is not a size", quoted(text)));
        return Err(match number.and_then(|(number, unit)| Some((number, meant_size(unit)?))) {
            Some((number, unit)) => fault.hint(format!("did you mean \"{number}{unit}\"?")),
            None => fault.hint(
                "write a whole number and one of the units B, KiB, MiB, GiB, KB, MB and GB, such as \"64KiB\"",
            ),
        });
    };
    number.checked_mul(unit).filter(|&bytes| bytes <= i64::MAX.unsigned_abs()).ok_or_else(|| {
        Fault::new(format!("{} is more than any machine holds", quoted(text))).hint("such as \"10MiB\"")
    })
}

/// Parses a rate: `10/s`, `600/minute`, `3/10s`.
pub(in super::super) fn rate(text: &str) -> Result<Rate, Fault> {
    let (count, period) = text.split_once('/').unwrap_or((text, ""));
    let parsed = match split(count) {
        Some((count, "")) => self::period(period).map(|period| Rate { count, period }),
        _ => None,
    };
    parsed.ok_or_else(|| {
        let fault = Fault::new(format!("{} is not a rate", quoted(text)));
        if period.to_ascii_lowercase().contains("month") || period.to_ascii_lowercase().contains("year") {
            return fault.hint(
                "months and years have no fixed length: count days, such as \"1000/30d\" or \"1000/365d\", \
                 or write quota = \"1000/month\" instead of a rate, which is counted anew on the first",
            );
        }
        match meant_rate(count, period) {
            Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
            None => fault.hint(
                "write a whole number of requests, a slash and a period, such as \"10/s\", \"600/min\" or \"3/10s\"",
            ),
        }
    })
}

/// A period: a unit, perhaps with a number before it, and then perhaps in the plural.
fn period(text: &str) -> Option<Duration> {
    let (number, unit) = match split(text) {
        Some((number, unit)) => {
            (number, unit.strip_suffix('s').filter(|unit| unit.len() > 2).unwrap_or(unit))
        }
        None => (1, text),
    };
    let millis = match unit {
        "sec" | "second" => millis("s")?,
        "min" | "minute" => millis("m")?,
        "hour" => millis("h")?,
        "day" => millis("d")?,
        "w" | "week" => 7 * millis("d")?,
        unit => millis(unit)?,
    };
    Some(Duration::from_millis(number.saturating_mul(millis)))
}

/// The rate that was meant by something like `10`, `10r/s` or `10 / minute`.
fn meant_rate(count: &str, period: &str) -> Option<String> {
    let (count, per) = split(count.trim())?;
    if !matches!(per.trim(), "" | "r" | "req" | "reqs" | "requests") {
        return None;
    }
    let period = period.trim();
    let (number, unit) = match split(period) {
        Some((number, unit)) => (number.to_string(), unit),
        None => (String::new(), period),
    };
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "w" | "wk" | "week" | "weeks" => "week",
        unit => match meant_time(unit)? {
            "m" => "min",
            unit => unit,
        },
    };
    Some(format!("{count}/{number}{unit}"))
}

/// Parses a quota: `1000/day`. Its count may be too large, or zero.
pub(in super::super) fn quota(text: &str) -> Result<(u64, Period), Fault> {
    let (count, unit) = text.split_once('/').unwrap_or((text, ""));
    let count = split(count).filter(|(_, rest)| rest.is_empty()).map(|(count, _)| count);
    let period = Period::ALL.into_iter().find(|period| period.name() == unit);
    if let (Some(count), Some(period)) = (count, period) {
        return Ok((count, period));
    }
    let fault = Fault::new(format!("{} is not a quota", quoted(text)));
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "h" | "hours" | "1h" => Some(Period::Hour),
        "d" | "days" | "1d" => Some(Period::Day),
        "w" | "weeks" | "1w" => Some(Period::Week),
        "mo" | "months" => Some(Period::Month),
        _ => None,
    };
    Err(match (count, meant) {
        (Some(count), Some(meant)) => fault.hint(format!("did you mean \"{count}/{}\"?", meant.name())),
        _ => fault.hint(
            "write a whole number of requests, a slash, and hour, day, week or month, such as \"1000/day\"; \
             for any other time there is `rate`",
        ),
    })
}

/// Parses a distance from UTC: `+02:00`, in minutes.
pub(in super::super) fn utc_offset(text: &str) -> Result<i16, Fault> {
    let parsed = || {
        let (sign, digits) = match text.split_at_checked(1)? {
            ("+", digits) => (1, digits),
            ("-", digits) => (-1, digits),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':')?;
        let number = |digits: &str| match digits.as_bytes() {
            [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Some(i16::from(a - b'0') * 10 + i16::from(b - b'0')),
            _ => None,
        };
        let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
        Some(sign * (hours * 60 + minutes)).filter(|offset| offset.abs() <= MAX_UTC_OFFSET_MINUTES)
    };
    parsed().ok_or_else(|| {
        Fault::new(format!("{} is no distance from UTC", quoted(text))).hint(
            "such as \"+02:00\" or \"-06:00\", at most 14 hours; there is no time zone with summer time",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hint<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().hint.unwrap().into_owned()
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("2d", 172_800_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(hint(duration("30")), "did you mean \"30s\"?");
        assert_eq!(hint(duration("5 Minutes")), "did you mean \"5m\"?");
        for text in ["", "s", "-1s", "1.5s", "1m30s", "10us", "s30", "30ſ"] {
            assert!(hint(duration(text)).contains("\"250ms\""), "{text}");
        }
        assert!(hint(duration("367d")).contains("366d"));
        assert!(hint(duration("99999999999999999999999999d")).contains("366d"));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512B", 512),
            ("10KB", 10_000),
            ("10kB", 10_000),
            ("64KiB", 65_536),
            ("2MiB", 2 << 20),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(hint(size("64k")), "did you mean \"64KiB\"?");
        assert_eq!(hint(size("10 mb")), "did you mean \"10MB\"?");
        assert_eq!(hint(size("100")), "did you mean \"100B\"?");
        for text in ["", "MiB", "-1B", "1.5MiB", "1TiB"] {
            assert!(hint(size(text)).contains("\"64KiB\""), "{text}");
        }
        assert!(size("99999999999GiB").is_err());
    }

    #[test]
    fn rates() {
        for (text, count, millis) in [
            ("10/s", 10, 1000),
            ("10/sec", 10, 1000),
            ("600/min", 600, 60_000),
            ("600/m", 600, 60_000),
            ("3/10s", 3, 10_000),
            ("1000/h", 1000, 3_600_000),
            ("1/2hour", 1, 7_200_000),
            ("5000/day", 5000, 86_400_000),
            ("10/second", 10, 1000),
            ("10/minute", 10, 60_000),
            ("10/hour", 10, 3_600_000),
            ("1/week", 1, 604_800_000),
            ("1/2w", 1, 1_209_600_000),
            ("3/10seconds", 3, 10_000),
            ("5/2weeks", 5, 1_209_600_000),
            ("1/100ms", 1, 100),
            ("0/s", 0, 1000),
            ("1/0s", 1, 0),
        ] {
            assert_eq!(rate(text), Ok(Rate { count, period: Duration::from_millis(millis) }), "{text}");
        }
        for (text, meant) in [
            ("10", "10/s"),
            ("10/", "10/s"),
            ("10r/s", "10/s"),
            ("10 / minute", "10/min"),
            ("10/Minute", "10/min"),
            ("10/minutes", "10/min"),
            ("10/ WEEKS", "10/week"),
            ("5 requests/10 seconds", "5/10s"),
        ] {
            assert_eq!(hint(rate(text)), format!("did you mean \"{meant}\"?"), "{text}");
        }
        for text in ["", "/s", "-1/s", "1.5/s", "ten/s", "1/fortnight", "10/s/s", "1/2ss", "1/2mss"] {
            assert!(hint(rate(text)).contains("\"600/min\""), "{text}");
        }
        for text in ["1000/month", "1/2 months", "1/Year"] {
            assert!(hint(rate(text)).contains("no fixed length"), "{text}");
        }
    }

    #[test]
    fn quotas() {
        for (text, count, period) in [
            ("1000/day", 1000, Period::Day),
            ("5/hour", 5, Period::Hour),
            ("007/week", 7, Period::Week),
            ("0/month", 0, Period::Month),
        ] {
            assert_eq!(quota(text), Ok((count, period)), "{text}");
        }
        for (text, meant) in
            [("10/d", "10/day"), ("10/ Hours", "10/hour"), ("10/1w", "10/week"), ("3/mo", "3/month")]
        {
            assert_eq!(hint(quota(text)), format!("did you mean \"{meant}\"?"), "{text}");
        }
        for text in
            ["", "10", "/day", "-1/day", "10/min", "10/2days", "10/year", "10/day/day", "1.5/day", "10/Day "]
        {
            assert!(hint(quota(text)).contains("\"1000/day\""), "{text}");
        }
    }

    #[test]
    fn distances_from_utc() {
        for (text, minutes) in
            [("+00:00", 0), ("-00:00", 0), ("+02:00", 120), ("-06:30", -390), ("+14:00", 840)]
        {
            assert_eq!(utc_offset(text), Ok(minutes), "{text}");
        }
        for text in [
            "",
            "Z",
            "02:00",
            "+2:00",
            "+0200",
            "+14:01",
            "-15:00",
            "+01:60",
            "+ 1:00",
            "++1:00",
            "\u{e4}1:00",
            "Europe/Berlin",
        ] {
            assert!(hint(utc_offset(text)).contains("\"+02:00\""), "{text}");
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_as_large_as_can_be() {
        let huge = rate("99999999999999999999999/99999999999999999999999d").unwrap();
        assert_eq!(huge, Rate { count: u64::MAX, period: Duration::from_millis(u64::MAX) });
    }
}
