//! The times that logs are written with.

use super::unreadable::Unreadable;
use crate::replay::record::Stamp;

const NANOSECONDS: i64 = 1_000_000_000;
const TIME: &str = "the time";

/// How long a time of Apache and nginx is: `10/Oct/2000:13:55:36 -0700`.
const CLF: usize = 26;

/// Reads times as Apache and nginx write them. It keeps the last one, for many lines are of the same second.
#[derive(Default)]
pub(super) struct ClfStamps {
    last: ([u8; CLF], Stamp),
}

impl ClfStamps {
    /// The time at the beginning of a text, and what follows it.
    pub(super) fn read<'a>(&mut self, text: &'a [u8]) -> Result<(Stamp, &'a [u8]), Unreadable> {
        let (text, rest) = text.split_first_chunk::<CLF>().ok_or(Unreadable::Malformed(TIME))?;
        if *text != self.last.0 {
            self.last = (*text, clf(text)?);
        }
        Ok((self.last.1, rest))
    }
}

fn clf(text: &[u8; CLF]) -> Result<Stamp, Unreadable> {
    const MALFORMED: Unreadable = Unreadable::Malformed(TIME);
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let marks = [text[2], text[6], text[11], text[14], text[17], text[20]];
    if marks != *b"//::: " {
        return Err(MALFORMED);
    }
    let number = |from: usize, to: usize| digits(&text[from..to]).ok_or(MALFORMED);
    let month = MONTHS.iter().zip(1..).find(|(name, _)| text[3..6] == name[..]).ok_or(MALFORMED)?.1;
    let offset = offset(text[21], number(22, 24)?, number(24, 26)?)?;
    let date = (number(7, 11)?, month, number(0, 2)?);
    let seconds = seconds(date, (number(12, 14)?, number(15, 17)?, number(18, 20)?))?;
    stamp(seconds - offset, 0)
}

/// A time as RFC 3339 has it, `2000-10-10T13:55:36.5-07:00`, also without the colon of the offset.
pub(super) fn rfc_3339(text: &[u8]) -> Result<Stamp, Unreadable> {
    const MALFORMED: Unreadable = Unreadable::Malformed(TIME);
    let (text, rest) = text.split_first_chunk::<19>().ok_or(MALFORMED)?;
    let marks = [text[4], text[7], text[13], text[16]];
    if marks != *b"--::" || !b"Tt ".contains(&text[10]) {
        return Err(MALFORMED);
    }
    let number = |from: usize, to: usize| digits(&text[from..to]).ok_or(MALFORMED);
    let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let seconds = seconds(date, (number(11, 13)?, number(14, 16)?, number(17, 19)?))?;
    let (nanoseconds, zone) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest).ok_or(MALFORMED)?,
        None => (0, rest),
    };
    let offset = match *zone {
        [b'Z' | b'z'] => 0,
        [sign, a, b, b':', c, d] | [sign, a, b, c, d] => {
            let (hours, minutes) = (digits(&[a, b]), digits(&[c, d]));
            offset(sign, hours.ok_or(MALFORMED)?, minutes.ok_or(MALFORMED)?)?
        }
        _ => return Err(MALFORMED),
    };
    stamp(seconds - offset, nanoseconds)
}

/// A time in seconds since 1970.
pub(super) fn unix_seconds(seconds: f64) -> Result<Stamp, Unreadable> {
    let whole = seconds.floor();
    // `as` saturates, and takes what is no number for 0.
    let nanoseconds = ((seconds - whole) * 1e9) as i64;
    stamp(whole as i64, nanoseconds)
}

/// Nanoseconds of a fraction of a second, and what follows its digits.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, rest) = text.split_at_checked(length).filter(|(fraction, _)| !fraction.is_empty())?;
    let digit = |place: usize| fraction.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    Some(((0..9).fold(0, |number, place| number * 10 + digit(place)), rest))
}

fn stamp(seconds: i64, nanoseconds: i64) -> Result<Stamp, Unreadable> {
    let stamp = seconds.checked_mul(NANOSECONDS).and_then(|whole| whole.checked_add(nanoseconds));
    stamp.map(Stamp).ok_or(Unreadable::OutOfRange(TIME))
}

/// Seconds since 1970, as if it were UTC, of a year, a month, a day, and an hour, a minute, a second.
fn seconds(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
) -> Result<i64, Unreadable> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    if !(1..=days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return Err(Unreadable::OutOfRange(TIME));
    }
    // Years that begin in March have the leap day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let since_1970 = before + of_year - 719_468;
    Ok(since_1970 * 86_400 + hour * 3600 + minute * 60 + second)
}

/// The seconds that a zone is ahead of UTC.
fn offset(sign: u8, hours: i64, minutes: i64) -> Result<i64, Unreadable> {
    if hours > 23 || minutes > 59 {
        return Err(Unreadable::OutOfRange(TIME));
    }
    match sign {
        b'+' => Ok(hours * 3600 + minutes * 60),
        b'-' => Ok(-(hours * 3600 + minutes * 60)),
        _ => Err(Unreadable::Malformed(TIME)),
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter()
        .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const MALFORMED: Result<i64, Unreadable> = Err(Unreadable::Malformed(TIME));
    const OUT_OF_RANGE: Result<i64, Unreadable> = Err(Unreadable::OutOfRange(TIME));

    #[test]
    fn times_of_apache_and_nginx() {
        let mut stamps = ClfStamps::default();
        for (text, expected) in [
            ("10/Oct/2000:13:55:36 -0700", Ok(971_211_336)),
            ("10/Oct/2000:13:55:36 +0000", Ok(971_186_136)),
            ("01/Jan/1970:05:30:00 +0530", Ok(0)),
            ("31/Dec/1969:23:59:59 +0000", Ok(-1)),
            ("29/Feb/2024:00:00:00 +0000", Ok(1_709_164_800)),
            ("29/Feb/2023:00:00:00 +0000", OUT_OF_RANGE),
            ("00/Oct/2000:13:55:36 -0700", OUT_OF_RANGE),
            ("10/Oct/2000:24:00:00 -0700", OUT_OF_RANGE),
            ("10/Oct/2000:13:60:00 -0700", OUT_OF_RANGE),
            ("30/Jun/2015:23:59:60 +0000", OUT_OF_RANGE),
            ("10/Oct/2000:13:55:36 -2400", OUT_OF_RANGE),
            ("10/Oct/9999:13:55:36 +0000", OUT_OF_RANGE),
            ("10/Oct/0000:13:55:36 +0000", OUT_OF_RANGE),
            ("10/Oct/10000:13:55:36 +000", MALFORMED),
            ("10/oct/2000:13:55:36 -0700", MALFORMED),
            ("10/13./2000:13:55:36 -0700", MALFORMED),
            ("10/Oct/2000:13:55:36  0700", MALFORMED),
            ("10/Oct/2000 13:55:36 -0700", MALFORMED),
            ("+1/Oct/2000:13:55:36 -0700", MALFORMED),
            ("10/Oct/2000:13:55:36 -070", MALFORMED),
            ("", MALFORMED),
        ] {
            for _ in 0..2 {
                let found = stamps.read(text.as_bytes()).map(|(stamp, _)| stamp.0 / NANOSECONDS);
                assert_eq!(found, expected, "{text}");
            }
        }
        let rest = stamps.read(b"10/Oct/2000:13:55:36 -0700] x").unwrap().1;
        assert_eq!(rest, b"] x");
    }

    #[test]
    fn times_of_rfc_3339() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Ok(0)),
            ("1970-01-01t00:00:01.5z", Ok(1_500_000_000)),
            ("1970-01-01 02:00:00.000001+02:00", Ok(1000)),
            ("1969-12-31T22:00:00.123456789999-0200", Ok(123_456_789)),
            ("1970-13-01T00:00:00Z", OUT_OF_RANGE),
            ("1970-00-01T00:00:00Z", OUT_OF_RANGE),
            ("1970-01-01T00:00:60Z", OUT_OF_RANGE),
            ("9999-01-01T00:00:00Z", OUT_OF_RANGE),
            ("1970-01-01T00:00:00.Z", MALFORMED),
            ("1970-01-01T00:00:00", MALFORMED),
            ("1970-01-01T00:00:00+1", MALFORMED),
            ("10000-01-01T00:00:00Z", MALFORMED),
            ("", MALFORMED),
        ] {
            assert_eq!(rfc_3339(text.as_bytes()).map(|stamp| stamp.0), expected, "{text}");
        }
    }

    #[test]
    fn seconds_since_1970() {
        for (seconds, expected) in [
            (0.0, Ok(0)),
            (1.5, Ok(1_500_000_000)),
            (-0.5, Ok(-500_000_000)),
            (1e10, OUT_OF_RANGE),
            (-1e300, OUT_OF_RANGE),
        ] {
            assert_eq!(unix_seconds(seconds).map(|stamp| stamp.0), expected, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_was_written(nanoseconds in any::<i64>()) {
            let time = Timestamp::from_nanosecond(nanoseconds.into()).unwrap();
            prop_assert_eq!(rfc_3339(time.to_string().as_bytes()), Ok(Stamp(nanoseconds)));
        }
    }
}
