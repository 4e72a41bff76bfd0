//! Which requests have a line.
//!
//! Of requests without any trouble a share may do. Which ones is decided by the request's name, so that a request which goes through two
//! gateways is in the logs of both, or of neither.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::engine::{Engine, Exchange};
use crate::limit::{Outcome, Report};

/// Whether an exchange has a line.
pub fn is_logged(engine: &Engine, exchange: &Exchange) -> bool {
    exchange.route(engine).is_none_or(|route| route.is_logged)
        && share(engine, exchange).is_none_or(|share| is_within(share, exchange.request_id()))
}

/// The share of exchanges like this one that have a line, if not all have.
pub(super) fn share(engine: &Engine, exchange: &Exchange) -> Option<f64> {
    let share = engine.config().access_log.as_ref()?.sample?;
    let was_in_trouble = exchange.status.is_client_error()
        || exchange.status.is_server_error()
        || exchange.error.is_some()
        || exchange.reports.iter().any(refuses);
    (!was_in_trouble).then_some(share)
}

/// Whether a limit has refused the request, or would have if it were enforced.
fn refuses(report: &Report) -> bool {
    matches!(report.outcome, Outcome::Refused(_) | Outcome::WouldRefuse)
}

/// Whether the request of this name is one of such a share of all names. Every gateway says the same.
fn is_within(share: f64, name: &str) -> bool {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    // A number of 32 bits has an exact `f64`.
    let upper = u32::try_from(hasher.finish() >> 32).unwrap_or(u32::MAX);
    f64::from(upper) < share * (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_all_names_is_within_it() {
        let names = || (0..10_000).map(|n: u32| format!("{n:032x}"));
        for (share, expected) in
            [(0.001, 0..=40), (0.1, 900..=1100), (0.5, 4800..=5200), (0.999, 9960..=10_000)]
        {
            let count = names().filter(|name| is_within(share, name)).count();
            assert!(expected.contains(&count), "{share}: {count}");
        }
        // Who is in a small sample is in a larger one.
        assert!(names().all(|name| !is_within(0.1, &name) || is_within(0.2, &name)));
    }
}
