//! Quantities in words.

use std::time::Duration;

use crate::limit::quota::Quota;

/// A time, exactly: `600 ms`, `1.5 s`, `1 h`.
pub(super) fn duration(time: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [
        (24 * 3_600_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
    ];
    let nanos = time.as_nanos();
    let whole = UNITS.iter().find(|(unit, _)| nanos > 0 && nanos.is_multiple_of(*unit));
    if let Some((unit, name)) = whole {
        return format!("{} {name}", nanos / unit);
    }
    let (unit, digits, name) = match nanos {
        0 => return "0 s".to_owned(),
        1_000_000_000.. => (1_000_000_000, 9, "s"),
        1_000_000.. => (1_000_000, 6, "ms"),
        1000.. => (1000, 3, "µs"),
        _ => (1, 0, "ns"),
    };
    let rest = format!("{:0digits$}", nanos % unit);
    match rest.trim_end_matches('0') {
        "" => format!("{} {name}", nanos / unit),
        rest => format!("{}.{rest} {name}", nanos / unit),
    }
}

/// A time rounded up: `7 h 12 min`; below an hour to the second, and from a day on to the hour.
pub(super) fn minutes(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let two = |first: u64, unit: &str, second: u64, smaller: &str| match (first, second) {
        (0, _) => format!("{second} {smaller}"),
        (_, 0) => format!("{first} {unit}"),
        _ => format!("{first} {unit} {second} {smaller}"),
    };
    if seconds < 3600 {
        return two(seconds / 60, "min", seconds % 60, "s");
    }
    let (minutes, hours) = (seconds.div_ceil(60), seconds.div_ceil(3600));
    match minutes < 24 * 60 {
        true => two(minutes / 60, "h", minutes % 60, "min"),
        false => two(hours / 24, "d", hours % 24, "h"),
    }
}

/// What a quota allows a client whose requests cost so many tokens each: `20 at once, then one every 100 ms`.
pub(super) fn quota(quota: &Quota, cost: u32) -> String {
    let (tokens, period) = quota.refill();
    let at_once = match quota.burst() / cost.max(1) {
        1 => "one".to_owned(),
        count => count.to_string(),
    };
    let common = gcd(tokens, cost);
    // So many requests in so many periods, in lowest terms.
    let (requests, periods) = (tokens / common, cost / common);
    let time = duration(period.saturating_mul(periods));
    match requests {
        1 => format!("{at_once} at once, then one every {time}"),
        _ => format!("{at_once} at once, then {requests} every {time}"),
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_the_minute_is_rounded_up() {
        for (millis, told) in [
            (0, "0 s"),
            (1, "1 s"),
            (61_000, "1 min 1 s"),
            (3_599_001, "1 h"),
            (7 * 3_600_000 + 11 * 60_000 + 1, "7 h 12 min"),
            (24 * 3_600_000, "1 d"),
            (26 * 3_600_000 + 1, "1 d 3 h"),
            (48 * 3_600_000 - 1, "2 d"),
        ] {
            assert_eq!(minutes(Duration::from_millis(millis)), told, "{millis}");
        }
    }

    #[test]
    fn a_rate_is_told_exactly() {
        let second = Duration::from_secs(1);
        for (count, period, burst, cost, told) in [
            (10, second, 20, 1, "20 at once, then one every 100 ms"),
            (100, 60 * second, 100, 1, "100 at once, then one every 600 ms"),
            (3, second, 3, 1, "3 at once, then 3 every 1 s"),
            (1, 3600 * second, 1, 1, "one at once, then one every 1 h"),
            (10, second, 20, 5, "4 at once, then one every 500 ms"),
            (3, second, 7, 2, "3 at once, then 3 every 2 s"),
            (1_000_000, second, 1, 1, "one at once, then one every 1 µs"),
            (2, 3 * second, 2, 1, "2 at once, then one every 1.5 s"),
            (5000, 24 * 3600 * second, 5000, 1, "5000 at once, then one every 17.28 s"),
        ] {
            assert_eq!(quota(&Quota::new(count, period, burst).unwrap(), cost), told);
        }
    }
}
