//! The windows of a quota: hours, days, weeks or months, by a clock at a fixed distance from UTC.
//!
//! Windows are numbered from 1970 on, so that two processes, and two gateways, give the same window the same number. Nothing here reads a
//! clock.

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

const HOUR: u64 = 3600 * 1_000_000_000;
const DAY: u64 = 24 * HOUR;

/// From Monday, 1969-12-29, to 1970-01-01.
const FROM_MONDAY: u64 = 3 * DAY;

/// The farthest that a clock may be from UTC: no place on earth is farther.
pub const MAX_UTC_OFFSET_MINUTES: i16 = 14 * 60;

/// When the windows of a quota begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// How long a window is.
    pub period: Period,
    /// How many minutes the clock by which windows begin is ahead of UTC: at most [`MAX_UTC_OFFSET_MINUTES`] in either direction.
    pub utc_offset_minutes: i16,
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// It begins with the hour.
    Hour,
    /// It begins at 00:00.
    Day,
    /// It begins on Monday at 00:00.
    Week,
    /// It begins on the first of the month at 00:00.
    Month,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Calendar {
    /// The number of the window at this time, in nanoseconds since 1970.
    pub(super) fn window_at(&self, wall: u64) -> u64 {
        let local = self.local(wall);
        match self.period {
            Period::Hour => local / HOUR,
            Period::Day => local / DAY,
            Period::Week => local.saturating_add(FROM_MONDAY) / (7 * DAY),
            Period::Month => month_at(local),
        }
    }

    /// When the window with this number begins, in nanoseconds since 1970; the first begins at the latest then.
    pub(super) fn begin_of(&self, window: u64) -> u64 {
        self.utc(match self.period {
            Period::Hour => window.saturating_mul(HOUR),
            Period::Day => window.saturating_mul(DAY),
            Period::Week => window.saturating_mul(7 * DAY).saturating_sub(FROM_MONDAY),
            Period::Month => begin_of_month(window),
        })
    }

    /// `1000 a day, counted anew at 00:00 UTC`, for this many.
    pub fn in_words(&self, count: u32) -> String {
        let clock = Clock(self.utc_offset_minutes);
        match self.period {
            // Whole hours away from UTC, an hour begins when it does there.
            Period::Hour if self.utc_offset_minutes % 60 == 0 => {
                format!("{count} an hour, counted anew on the hour")
            }
            Period::Hour => format!("{count} an hour, counted anew on the hour at {clock}"),
            Period::Day => format!("{count} a day, counted anew at 00:00 {clock}"),
            Period::Week => format!("{count} a week, counted anew on Monday at 00:00 {clock}"),
            Period::Month => format!("{count} a month, counted anew on the first at 00:00 {clock}"),
        }
    }

    /// The time by the clock of the calendar.
    fn local(&self, wall: u64) -> u64 {
        let (by, ahead) = self.offset();
        if ahead { wall.saturating_add(by) } else { wall.saturating_sub(by) }
    }

    fn utc(&self, local: u64) -> u64 {
        let (by, ahead) = self.offset();
        if ahead { local.saturating_sub(by) } else { local.saturating_add(by) }
    }

    /// How far its clock is from UTC, in nanoseconds, and whether it is ahead.
    fn offset(&self) -> (u64, bool) {
        let by = Duration::from_secs(60) * u32::from(self.utc_offset_minutes.unsigned_abs());
        (u64::try_from(by.as_nanos()).unwrap_or(0), self.utc_offset_minutes >= 0)
    }
}

/// How many months have passed since January 1970 at this time.
fn month_at(local: u64) -> u64 {
    let date =
        jiff::Timestamp::from_nanosecond(local.into()).map(|time| Offset::UTC.to_datetime(time).date());
    let Ok(date) = date else { return u64::MAX };
    let months = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1;
    u64::try_from(months).unwrap_or(0)
}

/// When a month begins, counted from January 1970. A month beyond all years never does.
fn begin_of_month(months: u64) -> u64 {
    let begin = || {
        let year = i16::try_from(1970 + months / 12).ok()?;
        let date = Date::new(year, i8::try_from(months % 12 + 1).ok()?, 1).ok()?;
        let time = Offset::UTC.to_timestamp(DateTime::from(date)).ok()?;
        u64::try_from(time.as_nanosecond()).ok()
    };
    begin().unwrap_or(u64::MAX)
}

/// A clock, by its distance from UTC: `UTC`, or `UTC+05:30`.
struct Clock(i16);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("UTC"),
            minutes => {
                let (sign, minutes) = (if minutes < 0 { '-' } else { '+' }, minutes.unsigned_abs());
                write!(f, "UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(time: &str) -> u64 {
        u64::try_from(time.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap()
    }

    fn calendar(period: Period, utc_offset_minutes: i16) -> Calendar {
        Calendar { period, utc_offset_minutes }
    }

    /// When the window at a time begins, and when the next one does.
    fn window(calendar: Calendar, time: &str) -> [String; 2] {
        let window = calendar.window_at(at(time));
        [window, window + 1].map(|window| {
            jiff::Timestamp::from_nanosecond(calendar.begin_of(window).into()).unwrap().to_string()
        })
    }

    #[test]
    fn windows_begin_and_end_by_the_calendar() {
        for (period, offset, time, begin, end) in [
            (Period::Hour, 0, "2026-03-01T10:59:59.9Z", "2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z"),
            (Period::Hour, 330, "2026-03-01T10:00:00Z", "2026-03-01T09:30:00Z", "2026-03-01T10:30:00Z"),
            (Period::Day, 0, "2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Period::Day, -360, "2026-03-01T05:59:59Z", "2026-02-28T06:00:00Z", "2026-03-01T06:00:00Z"),
            (Period::Day, 120, "2026-03-01T22:00:00Z", "2026-03-01T22:00:00Z", "2026-03-02T22:00:00Z"),
            // 2026-03-01 is a Sunday.
            (Period::Week, 0, "2026-03-01T23:59:59Z", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"),
            (Period::Week, 60, "2026-03-01T23:00:00Z", "2026-03-01T23:00:00Z", "2026-03-08T23:00:00Z"),
            (Period::Month, 0, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (Period::Month, 120, "2026-12-31T22:00:00Z", "2026-12-31T22:00:00Z", "2027-01-31T22:00:00Z"),
        ] {
            let calendar = calendar(period, offset);
            assert_eq!(window(calendar, time), [begin, end], "{calendar:?} {time}");
        }
    }

    #[test]
    fn a_calendar_in_words() {
        for (period, offset, words) in [
            (Period::Hour, 60, "5 an hour, counted anew on the hour"),
            (Period::Hour, -210, "5 an hour, counted anew on the hour at UTC-03:30"),
            (Period::Day, 0, "5 a day, counted anew at 00:00 UTC"),
            (Period::Week, 120, "5 a week, counted anew on Monday at 00:00 UTC+02:00"),
            (Period::Month, -360, "5 a month, counted anew on the first at 00:00 UTC-06:00"),
        ] {
            assert_eq!(calendar(period, offset).in_words(5), words);
        }
    }

    fn calendars() -> impl Strategy<Value = Calendar> {
        let offsets = -MAX_UTC_OFFSET_MINUTES..=MAX_UTC_OFFSET_MINUTES;
        (prop::sample::select(Period::ALL.to_vec()), offsets)
            .prop_map(|(period, offset)| calendar(period, offset))
    }

    proptest! {
        #[test]
        fn every_time_is_in_the_window_that_has_begun_and_is_not_over(
            calendar in calendars(),
            // From two months after 1970 on until 2262.
            wall in 60 * DAY..(1 << 63),
        ) {
            let window = calendar.window_at(wall);
            prop_assert!(calendar.begin_of(window) <= wall && wall < calendar.begin_of(window + 1));
            prop_assert_eq!(calendar.window_at(calendar.begin_of(window)), window);
            prop_assert_eq!(calendar.window_at(calendar.begin_of(window) - 1), window - 1);
        }

        #[test]
        fn no_time_makes_it_panic(calendar in calendars(), wall in any::<u64>(), window in any::<u64>()) {
            calendar.begin_of(calendar.window_at(wall).saturating_add(1));
            calendar.begin_of(window);
        }
    }
}
