//! A quota as the script of the store has it.

use crate::limit::quota::Quota;

/// The script counts exactly with periods below this.
const LONGEST_PERIOD: u64 = 1 << 46;

/// `tokens` in `period` microseconds, and at most `burst`: the n, p and b of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Below 2^28.
    pub tokens: u64,
    /// From 1 to 2^46 - 1.
    pub period: u64,
    /// From 1 to 10^9.
    pub burst: u64,
}

impl From<Quota> for Terms {
    /// A rate whose period has 2^46 microseconds or more in lowest terms is rounded down to one token in a whole number of them.
    fn from(quota: Quota) -> Self {
        let (tokens, time) = quota.refill();
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        let tokens = u64::from(tokens) * 1000;
        let common = gcd(tokens, nanos);
        let (tokens, period) = (tokens / common, nanos / common);
        let burst = quota.burst().into();
        match period < LONGEST_PERIOD {
            true => Self { tokens, period, burst },
            false => Self { tokens: 1, period: period.div_ceil(tokens), burst },
        }
    }
}

/// The greatest common divisor, by Euclid's algorithm.
fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::quota::MAX_PERIOD;

    #[test]
    fn a_rate_is_in_lowest_terms_and_never_faster() {
        const SECOND: Duration = Duration::from_secs(1);
        for (count, period, terms) in [
            (10, SECOND, (1, 100_000)),
            (3, SECOND, (3, 1_000_000)),
            (1_000_000_000, SECOND, (1000, 1)),
            (1, MAX_PERIOD, (1, 31_622_400_000_000)),
            (1, MAX_PERIOD - Duration::from_nanos(1), (1, 31_622_400_000_000)),
            (1, Duration::from_nanos(1), (1000, 1)),
        ] {
            let terms_of = Terms::from(Quota::new(count, period, 1).unwrap());
            assert_eq!((terms_of.tokens, terms_of.period), terms, "{count} in {period:?}");
        }
        for (count, period) in
            [(262_143, SECOND), (300_007, SECOND), (999_999_937, MAX_PERIOD), (262_143, MAX_PERIOD - SECOND)]
        {
            let quota = Quota::new(count, period - Duration::from_nanos(1), 1).unwrap();
            let (exact, time) = quota.refill();
            let terms = Terms::from(quota);
            assert!(terms.tokens < 1 << 28 && terms.period < LONGEST_PERIOD, "{terms:?}");
            let (slow, fast) = (
                u128::from(terms.tokens) * time.as_nanos(),
                u128::from(exact) * u128::from(terms.period) * 1000,
            );
            assert!(slow <= fast && slow * 1_000_000 >= fast * 999_990, "{terms:?} for {quota:?}");
        }
    }
}
