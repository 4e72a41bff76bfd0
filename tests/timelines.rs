//! Token-bucket timelines of other projects' own tests, against this limiter: golang/time, governor, linkerd, nginx
//! and throttled. `tests/cases/token_bucket.json` says where each comes from.

use std::time::Duration;

use gateway::clock::{Clock, Timestamp};
use gateway::limit::quota::{Quota, QuotaError};
use gateway::limit::table::Table;
use serde::Deserialize;

use crate::support::fingerprint::fingerprint;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    id: String,
    rate_per_s: f64,
    rate_exact: Option<String>,
    burst: u64,
    arrivals: Vec<f64>,
    cost: Vec<u32>,
    expected: Vec<bool>,
    remaining_after: Option<Vec<Option<u32>>>,
    retry_after_s: Option<Vec<Option<f64>>>,
    reset_after_s: Option<Vec<Option<f64>>>,
    keys: Option<Vec<String>>,
}

impl Case {
    /// The rate as a fraction: tokens, and the seconds in which they come.
    fn rate(&self) -> (u64, u64) {
        match &self.rate_exact {
            Some(fraction) => {
                let (count, seconds) = fraction.split_once('/').unwrap();
                (count.parse().unwrap(), seconds.parse().unwrap())
            }
            None => {
                let thousandths = self.rate_per_s * 1000.0;
                assert_eq!(thousandths.fract(), 0.0, "{}: this rate needs a fraction", self.id);
                (nanos(thousandths) / 1_000_000_000, 1000)
            }
        }
    }
}

/// Seconds as whole nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of test cases are small")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// What stands at this place, where the source says anything.
fn said<T: Copy>(list: Option<&Vec<Option<T>>>, index: usize) -> Option<T> {
    list.and_then(|list| list[index])
}

#[test]
fn every_timeline_is_decided_as_its_source_says() {
    let text = include_str!("cases/token_bucket.json");
    let cases: Cases = serde_json::from_str(text).unwrap();
    let mut decisions = 0;
    for case in &cases.cases {
        decisions += replay(case);
    }
    // So that a case cannot be lost unnoticed.
    assert_eq!((cases.cases.len(), decisions), (23, 491));
}

/// Runs a case, and says how many decisions it checked.
fn replay(case: &Case) -> usize {
    let id = &case.id;
    let (count, seconds) = case.rate();
    let quota = Quota::new(count, Duration::from_secs(seconds), case.burst);
    if count == 0 {
        assert_eq!(quota, Err(QuotaError::ZeroRate), "{id}: a rate of zero cannot be expressed");
        return 1;
    }
    let table = Table::new(quota.unwrap(), 1000);
    let clock = Clock::manual();
    for (index, (&arrival, &cost)) in case.arrivals.iter().zip(&case.cost).enumerate() {
        clock.advance(Timestamp::from_nanos(nanos(arrival)).since(clock.now()));
        let client = fingerprint(case.keys.as_ref().map_or("", |keys| &keys[index]));
        let answer = table.take(client, cost, clock.now(), || None);
        let level = answer.bucket.level(table.quota(), clock.now());
        assert_eq!(answer.verdict.is_ok(), case.expected[index], "{id}, request {index}");
        if let Some(remaining) = said(case.remaining_after.as_ref(), index) {
            assert_eq!(level.tokens, remaining, "{id}, request {index}");
        }
        if let Some(reset) = said(case.reset_after_s.as_ref(), index) {
            assert_eq!(level.full_in.as_nanos(), u128::from(nanos(reset)), "{id}, request {index}");
        }
        match (answer.verdict, said(case.retry_after_s.as_ref(), index)) {
            (Err(wait), Some(retry)) => {
                assert_eq!(wait.0.as_nanos(), u128::from(nanos(retry)), "{id}, request {index}");
            }
            (verdict, retry) => assert!(retry.is_none() || verdict.is_err(), "{id}, request {index}"),
        }
    }
    case.arrivals.len()
}
