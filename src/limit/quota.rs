//! A quota: how many tokens a bucket holds, and how fast they come back.
//!
//! A quota keeps its rate as a fraction in lowest terms, so that a bucket's arithmetic is exact for every
//! rate, also for one such as three a second whose interval is no whole number of nanoseconds. A rate whose fraction
//! has a larger numerator than a table has room for (it takes more than 262144 tokens and a period that does not
//! divide, such as 300007 a second) is rounded down by less than four millionths. A quota without tokens or without refill cannot be
//! expressed.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::clock::Timestamp;

/// The most tokens a bucket may hold, and the most that a rate may name.
pub const MAX_TOKENS: u32 = 1_000_000_000;

/// The longest period of a rate.
pub const MAX_PERIOD: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The longest that an empty bucket may take to fill: 36 years.
pub const MAX_TIME_TO_FILL: Duration = Duration::from_nanos(1 << 60);

/// Up to this many ticks in a nanosecond a rate is kept exactly.
const MAX_TICKS_PER_NANO: u64 = 1 << 18;

/// The same for a bucket that is counted anew in each window of a calendar: more than any rate has, which tells the two apart.
const TICKS_PER_NANO_OF_WINDOWS: u32 = 1 << 19;

/// The time of such a bucket stands still within a window, and goes on by so many nanoseconds from one window to the next: more than
/// the tokens that can be counted in one.
const WINDOW_NANOS_SHIFT: u32 = 31;

/// The ticks in a window.
const WINDOW_TICKS_SHIFT: u32 = WINDOW_NANOS_SHIFT + TICKS_PER_NANO_OF_WINDOWS.trailing_zeros();

/// The latest time, in ticks, that a bucket can be full at: 73 years after the start in the finest of ticks.
pub(super) const MAX_TICKS: u128 = (1 << 79) - 1;

/// A rate (`count` tokens each `period`, refilled continuously) and a bucket size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    burst: NonZeroU32,
    /// The rate in lowest terms is `ticks_per_nano / ticks_per_token` tokens a nanosecond: a bucket counts
    /// time in ticks, of which there are whole numbers in a token and in a nanosecond.
    ticks_per_nano: NonZeroU32,
    ticks_per_token: NonZeroU64,
}

/// Why a rate and a burst do not make a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaError {
    /// The rate has no tokens: no bucket would ever be refilled.
    ZeroRate,
    /// The bucket holds no token: no request would be admitted.
    ZeroBurst,
    /// The period of the rate is zero.
    ZeroPeriod,
    /// The period is longer than [`MAX_PERIOD`].
    PeriodTooLong,
    /// An empty bucket would take longer than [`MAX_TIME_TO_FILL`] to fill.
    TooSlow,
    /// More than [`MAX_TOKENS`] in the rate or the burst, or more than one token a nanosecond.
    TooMany,
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroRate => "a rate of zero would never admit anybody again",
            Self::ZeroBurst => "a burst of zero would never admit anybody",
            Self::ZeroPeriod => "a rate needs a period longer than zero",
            Self::PeriodTooLong => "the period of a rate is at most 366 days",
            Self::TooSlow => "at this rate the bucket would take more than 36 years to fill",
            Self::TooMany => {
                "a rate or burst is at most 1000000000 tokens, and a rate at most 1000000000 a second"
            }
        })
    }
}

impl std::error::Error for QuotaError {}

impl Quota {
    /// A quota of `count` tokens each `period`, in a bucket that holds `burst`.
    ///
    /// # Errors
    /// When the rate or the burst is zero or absurd: see [`QuotaError`].
    pub fn new(count: u64, period: Duration, burst: u64) -> Result<Self, QuotaError> {
        if period > MAX_PERIOD {
            return Err(QuotaError::PeriodTooLong);
        }
        let period = u64::try_from(period.as_nanos()).map_err(|_| QuotaError::PeriodTooLong)?;
        let period = NonZeroU64::new(period).ok_or(QuotaError::ZeroPeriod)?;
        let count = NonZeroU64::new(count).ok_or(QuotaError::ZeroRate)?;
        let tokens = |n: u64| u32::try_from(n).ok().filter(|&n| n <= MAX_TOKENS).ok_or(QuotaError::TooMany);
        let burst = NonZeroU32::new(tokens(burst)?).ok_or(QuotaError::ZeroBurst)?;
        if tokens(count.get()).is_err() || count > period {
            return Err(QuotaError::TooMany);
        }
        let common = gcd(count.get(), period.get());
        let (mut per_nano, mut per_token) = (count.get() / common, period.get() / common);
        if per_nano > MAX_TICKS_PER_NANO {
            // Rounded so that the rate is never more than the configured one.
            let exact = u128::from(period.get()) * u128::from(MAX_TICKS_PER_NANO);
            per_token = u64::try_from(exact.div_ceil(u128::from(count.get()))).unwrap_or(u64::MAX);
            per_nano = MAX_TICKS_PER_NANO;
        }
        let ticks_per_nano = u32::try_from(per_nano).ok().and_then(NonZeroU32::new);
        let quota = match (ticks_per_nano, NonZeroU64::new(per_token)) {
            (Some(ticks_per_nano), Some(ticks_per_token)) => Self { burst, ticks_per_nano, ticks_per_token },
            _ => return Err(QuotaError::TooMany),
        };
        match quota.time_to_fill() > MAX_TIME_TO_FILL {
            true => Err(QuotaError::TooSlow),
            false => Ok(quota),
        }
    }

    /// A quota of `count` tokens in each window of a calendar.
    ///
    /// Its bucket has a time of its own, which stands still within a window and then goes on by more than any bucket lacks: see
    /// `window_time`. So nothing comes back within the window, and everything at its end. When the bucket will be full tells
    /// the window and the count in it: the first is the number of whole windows, and the second the rest.
    ///
    /// # Errors
    /// When the count is zero, or more than [`MAX_TOKENS`].
    pub fn by_window(count: u64) -> Result<Self, QuotaError> {
        let burst =
            u32::try_from(count).ok().filter(|&count| count <= MAX_TOKENS).ok_or(QuotaError::TooMany)?;
        let burst = NonZeroU32::new(burst).ok_or(QuotaError::ZeroBurst)?;
        Ok(Self::of_windows(burst))
    }

    const fn of_windows(burst: NonZeroU32) -> Self {
        const PER_NANO: NonZeroU32 = NonZeroU32::new(TICKS_PER_NANO_OF_WINDOWS).expect("not zero");
        const PER_TOKEN: NonZeroU64 = NonZeroU64::new(TICKS_PER_NANO_OF_WINDOWS as u64).expect("not zero");
        Self { burst, ticks_per_nano: PER_NANO, ticks_per_token: PER_TOKEN }
    }

    /// Whether its buckets are counted anew in each window of a calendar.
    pub fn is_by_window(&self) -> bool {
        self.ticks_per_nano.get() == TICKS_PER_NANO_OF_WINDOWS
    }

    /// The beginning of the window that a time in ticks is in, in ticks.
    pub(super) fn window_begin(ticks: u128) -> u128 {
        ticks >> WINDOW_TICKS_SHIFT << WINDOW_TICKS_SHIFT
    }

    /// The number of the window that a time in ticks is in.
    pub(super) fn window_number(ticks: u128) -> u64 {
        u64::try_from(ticks >> WINDOW_TICKS_SHIFT).unwrap_or(u64::MAX)
    }

    /// Its parts: the burst, the ticks in a nanosecond, the ticks in a token.
    pub(super) fn parts(&self) -> (u32, u32, u64) {
        (self.burst.get(), self.ticks_per_nano.get(), self.ticks_per_token.get())
    }

    /// The quota of these [`parts`](Self::parts); `None` if they make no quota.
    pub(super) fn from_parts((burst, ticks_per_nano, ticks_per_token): (u64, u64, u64)) -> Option<Self> {
        let burst = NonZeroU32::new(u32::try_from(burst).ok().filter(|&burst| burst <= MAX_TOKENS)?)?;
        let by_window = Self::of_windows(burst);
        if by_window.parts() == (burst.get(), u32::try_from(ticks_per_nano).ok()?, ticks_per_token) {
            return Some(by_window);
        }
        let quota = Self {
            burst,
            ticks_per_nano: NonZeroU32::new(
                u32::try_from(ticks_per_nano).ok().filter(|_| ticks_per_nano <= MAX_TICKS_PER_NANO)?,
            )?,
            ticks_per_token: NonZeroU64::new(ticks_per_token)?,
        };
        (quota.time_to_fill() <= MAX_TIME_TO_FILL).then_some(quota)
    }

    /// The most tokens the bucket holds.
    pub fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// How many tokens are refilled in a second.
    pub fn tokens_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let per_token = self.ticks_per_token.get() as f64;
        f64::from(self.ticks_per_nano.get()) / per_token * 1e9
    }

    /// How many tokens come back in how long, in the least whole numbers: `(1, 600ms)` for 100 a minute, `(3, 1s)` for three a second.
    pub fn refill(&self) -> (u32, Duration) {
        (self.ticks_per_nano.get(), Duration::from_nanos(self.ticks_per_token.get()))
    }

    /// How long an empty bucket takes to fill, rounded up to a nanosecond.
    pub fn time_to_fill(&self) -> Duration {
        self.duration(self.capacity())
    }

    /// `now`, in this quota's ticks.
    pub(super) fn ticks_at(&self, now: Timestamp) -> u128 {
        (u128::from(now.nanos()) * u128::from(self.ticks_per_nano.get())).min(MAX_TICKS)
    }

    /// The ticks in which `tokens` tokens are refilled.
    pub(super) fn ticks_for(&self, tokens: u32) -> u128 {
        u128::from(self.ticks_per_token.get()) * u128::from(tokens)
    }

    /// The ticks in which an empty bucket is refilled.
    pub(super) fn capacity(&self) -> u128 {
        self.ticks_for(self.burst.get())
    }

    /// The most ticks that may be missing in a bucket. What is owed in a window ends with it.
    pub(super) fn most_owed(&self) -> u128 {
        if self.is_by_window() {
            return (1 << WINDOW_TICKS_SHIFT) - 1;
        }
        MAX_TIME_TO_FILL.as_nanos() * u128::from(self.ticks_per_nano.get())
    }

    /// The whole tokens that are refilled in `ticks`. Never more than the burst.
    pub(super) fn whole_tokens(&self, ticks: u128) -> u32 {
        let tokens = divide(ticks, self.ticks_per_token.get());
        u32::try_from(tokens).unwrap_or(u32::MAX).min(self.burst.get())
    }

    /// The tokens that are refilled in `ticks`, rounded up.
    pub(super) fn tokens_rounded_up(&self, ticks: u128) -> u32 {
        let per_token = self.ticks_per_token.get();
        u32::try_from(divide(ticks + u128::from(per_token - 1), per_token)).unwrap_or(u32::MAX)
    }

    /// This rate times `factor`, in a bucket that holds one token.
    ///
    /// # Errors
    /// When the rate becomes absurd: see [`QuotaError`].
    pub fn rate_times(&self, (times, parts): (u64, u64)) -> Result<Self, QuotaError> {
        let count = u64::from(self.ticks_per_nano.get()).checked_mul(times).ok_or(QuotaError::TooMany)?;
        let nanos = self.ticks_per_token.get().checked_mul(parts).ok_or(QuotaError::PeriodTooLong)?;
        let common = gcd(count, nanos).max(1);
        Self::new(count / common, Duration::from_nanos(nanos / common), 1)
    }

    /// The share of one of `parts` equal parts: the rate and the burst divided, the burst rounded down to a whole token, and at
    /// least one; `None` if there is no such quota.
    pub(super) fn divided(&self, parts: u32) -> Option<Self> {
        let burst = (self.burst.get() / parts.max(1)).max(1);
        self.rate_times((1, parts.max(1).into())).ok()?.with_burst(burst).ok()
    }

    /// This rate, in a bucket that holds `burst` tokens.
    ///
    /// # Errors
    /// When there is no such bucket: see [`QuotaError`].
    pub fn with_burst(&self, burst: u32) -> Result<Self, QuotaError> {
        Self::new(
            self.ticks_per_nano.get().into(),
            Duration::from_nanos(self.ticks_per_token.get()),
            burst.into(),
        )
    }

    /// The rate as the configuration spells it: in tokens a second, minute, hour or day, whichever is the shortest that gives a whole number;
    /// otherwise rounded, in the shortest that gives at least one.
    pub fn rate_in_words(&self) -> String {
        const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3600), ("d", 86400)];
        let (per_nano, per_token) =
            (u128::from(self.ticks_per_nano.get()), u128::from(self.ticks_per_token.get()));
        let ticks = |seconds: u64| per_nano * u128::from(seconds) * 1_000_000_000;
        if let Some((unit, seconds)) = UNITS.iter().find(|(_, seconds)| ticks(*seconds) % per_token == 0) {
            return format!("{}/{unit}", ticks(*seconds) / per_token);
        }
        let (unit, seconds) =
            UNITS.iter().find(|(_, seconds)| ticks(*seconds) > per_token).unwrap_or(&UNITS[3]);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let tokens = self.tokens_per_second() * *seconds as f64;
        format!("{tokens:.2}/{unit}")
    }

    /// How long `ticks` last, rounded up to a nanosecond.
    #[inline(never)]
    pub(super) fn duration(&self, ticks: u128) -> Duration {
        let per_nano = self.ticks_per_nano.get();
        let nanos = divide(ticks + u128::from(per_nano - 1), per_nano.into());
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The time of buckets that are counted anew in each window, in the window with this number.
pub(super) fn window_time(number: u64) -> Timestamp {
    Timestamp::from_nanos(number.min(MAX_WINDOW) << WINDOW_NANOS_SHIFT)
}

/// The number of the window in which buckets that are counted anew in each have this time.
pub(super) fn window_at(time: Timestamp) -> u64 {
    time.nanos() >> WINDOW_NANOS_SHIFT
}

/// The number of the last window: the hours of more than 61000 years.
pub(super) const MAX_WINDOW: u64 = (1 << 29) - 1;

/// A division that is fast for small numbers, as nearly all are.
fn divide(dividend: u128, divisor: u64) -> u128 {
    u64::try_from(dividend).map_or_else(|_| dividend / u128::from(divisor), |small| (small / divisor).into())
}

/// The greatest common divisor, by Euclid's algorithm.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_cannot_work_cannot_be_expressed() {
        assert_eq!(Quota::new(0, SECOND, 1), Err(QuotaError::ZeroRate));
        assert_eq!(Quota::new(1, SECOND, 0), Err(QuotaError::ZeroBurst));
        assert_eq!(Quota::new(1, Duration::ZERO, 1), Err(QuotaError::ZeroPeriod));
        assert_eq!(Quota::new(1, Duration::MAX, 1), Err(QuotaError::PeriodTooLong));
        assert_eq!(Quota::new(u64::MAX, MAX_PERIOD, 1), Err(QuotaError::TooMany));
        assert_eq!(Quota::new(1, SECOND, u64::MAX), Err(QuotaError::TooMany));
        assert_eq!(Quota::new(2, Duration::from_nanos(1), 1), Err(QuotaError::TooMany));
    }

    #[test]
    fn an_interval_that_is_no_whole_number_of_nanoseconds_is_kept_exactly() {
        let three_a_second = Quota::new(3, SECOND, 3).unwrap();
        assert_eq!(
            three_a_second.ticks_for(3),
            three_a_second.ticks_at(Timestamp::from_nanos(1_000_000_000))
        );
    }

    #[test]
    fn the_time_to_fill_is_burst_over_rate_rounded_up() {
        assert_eq!(Quota::new(10, SECOND, 20).unwrap().time_to_fill(), 2 * SECOND);
        assert_eq!(Quota::new(3, SECOND, 1).unwrap().time_to_fill(), Duration::from_nanos(333_333_334));
    }

    #[test]
    fn a_rate_that_is_too_fine_is_rounded_down_by_a_hair() {
        for (count, period) in [(300_007, SECOND), (999_999_937, SECOND), (999_999_937, MAX_PERIOD)] {
            let quota = Quota::new(count, period, 1).unwrap();
            let (nanos, count) = (period.as_nanos(), u128::from(count));
            let (per_nano, per_token) =
                (u128::from(quota.ticks_per_nano.get()), u128::from(quota.ticks_per_token.get()));
            // per_nano / per_token tokens a nanosecond, against count / nanos.
            assert!(per_nano * nanos <= count * per_token, "{quota:?} is faster than {count} in {period:?}");
            assert!(per_nano * nanos * 262_144 > count * per_token * 262_143, "{quota:?}");
        }
        let exact = Quota::new(262_144, SECOND, 1).unwrap();
        assert_eq!(exact.ticks_at(Timestamp::from_nanos(1_000_000_000)), exact.ticks_for(262_144));
    }

    #[test]
    fn a_rate_is_spelled_in_the_shortest_unit_that_is_whole() {
        for (count, seconds, text) in [
            (10, 1, "10/s"),
            (90, 60, "90/min"),
            (600, 60, "10/s"),
            (1, 3600, "1/h"),
            (1, 86400, "1/d"),
            (1, 2, "30/min"),
            (1, 7 * 86400, "0.14/d"),
            (1, 3601, "23.99/d"),
        ] {
            let quota = Quota::new(count, Duration::from_secs(seconds), 1).unwrap();
            assert_eq!(quota.rate_in_words(), text);
        }
    }

    #[test]
    fn a_multiple_of_a_rate_is_exact() {
        let quota = Quota::new(10, SECOND, 20).unwrap();
        assert_eq!(quota.rate_times((3, 4)), Quota::new(15, 2 * SECOND, 1));
        assert_eq!(quota.rate_times((2, 1)), Quota::new(20, SECOND, 1));
        assert_eq!(quota.rate_times((u64::MAX, 1)), Err(QuotaError::TooMany));
        assert!(Quota::new(1, MAX_PERIOD, 1).unwrap().rate_times((1, 2)).is_err());
    }

    #[test]
    fn the_largest_quota_fits_a_slot() {
        for (count, period, burst) in
            [(1, SECOND, MAX_TOKENS), (1, MAX_PERIOD, 36), (999_999_937, MAX_PERIOD, MAX_TOKENS)]
        {
            let quota = Quota::new(count, period, u64::from(burst)).unwrap();
            let after_36_years = Timestamp::from_nanos(1 << 60);
            assert!(quota.ticks_at(after_36_years) + quota.capacity() <= MAX_TICKS, "{quota:?}");
        }
        assert_eq!(Quota::new(1, MAX_PERIOD, 37), Err(QuotaError::TooSlow));
    }
}
