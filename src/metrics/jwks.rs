//! The metrics of the keys that are fetched for verifying tokens. They are read when they are shown, and there are none where no keys are
//! fetched.

use prometheus::proto::{MetricFamily, MetricType};

use super::read::{counter, family, gauge};
use crate::jwt::{KeySet, Remote};

/// The metrics of these keys.
#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
pub(super) fn families(remote: &Remote) -> Vec<MetricFamily> {
    let numbers = remote.numbers();
    let keys = remote.keys().as_deref().map_or(0, KeySet::count);
    vec![
        family(
            "gateway_jwks_fetches_total",
            "Times that the keys of tokens were fetched, or could not be.",
            MetricType::COUNTER,
            vec![
                counter(&[("result", "failed")], numbers.failed),
                counter(&[("result", "fetched")], numbers.fetched),
            ],
        ),
        family(
            "gateway_jwks_fetched_timestamp_seconds",
            "When the keys of tokens were fetched for the last time; 0 before the first.",
            MetricType::GAUGE,
            vec![gauge(numbers.last_fetched.unwrap_or(0) as f64)],
        ),
        family(
            "gateway_jwks_keys",
            "Keys of tokens that are in force.",
            MetricType::GAUGE,
            vec![gauge(keys as f64)],
        ),
    ]
}
