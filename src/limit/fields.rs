//! What a client is told of its limits: `RateLimit-Policy`, `RateLimit`, `Retry-After`, and the older
//! `X-RateLimit-*` fields.
//!
//! The format is that of draft-ietf-httpapi-ratelimit-headers-10. A limit in dry run has no fields, since a client should not slow
//! down for it.

use std::time::Duration;

use super::bucket::Level;
use super::quota::Quota;
use super::{Limiter, Mode, Outcome, Remaining, Report, Rule, WindowReading};

/// The value of a field about one limit is seldom longer.
const USUAL_LENGTH: usize = 48;

/// The rate-limit fields of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The value of `RateLimit-Policy`: the limits that applied; empty sends neither.
    pub policy: String,
    /// The value of `RateLimit`: what is left of each.
    pub state: String,
    /// The `X-RateLimit-*` fields.
    pub legacy: Option<Legacy>,
}

/// The `X-RateLimit-*` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// `X-RateLimit-Limit`: the bucket size, or the quota, of the limit that is nearest to refusing.
    pub limit: u32,
    /// `X-RateLimit-Remaining`: whole tokens left of it.
    pub remaining: u32,
    /// `X-RateLimit-Reset`: whole seconds until its bucket is full, or its window is over.
    pub reset: u64,
}

impl Fields {
    /// The fields for `reports`.
    pub fn of(limiter: &Limiter, reports: &[Report]) -> Self {
        let mut fields = Self::default();
        for report in reports {
            let rule = limiter.limits[report.limit].rule();
            match (report.remaining, rule.mode) {
                (Some(Remaining::Bucket(bucket)), Mode::Enforce) => {
                    fields.add(rule, &bucket.quota, bucket.level());
                }
                (Some(Remaining::Window(window)), Mode::Enforce) => fields.add_window(rule, window),
                (Some(Remaining::InFlight { running, max }), Mode::Enforce) => {
                    fields.add_in_flight(rule, running, max);
                }
                (None, _) | (_, Mode::DryRun) => {}
            }
        }
        fields
    }

    fn add(&mut self, rule: &Rule, quota: &Quota, level: Level) {
        if rule.fields {
            self.describe(rule, quota.burst(), level.tokens);
            push(&mut self.policy, ";w=", whole_seconds(quota.time_to_fill()));
            if let Some(next) = level.next_token {
                push(&mut self.state, ";t=", whole_seconds(next));
            }
        }
        self.add_legacy(rule, quota.burst(), level.tokens, whole_seconds(level.full_in));
    }

    fn add_window(&mut self, rule: &Rule, window: WindowReading) {
        let WindowReading { quota, left, ends_in, length } = window;
        if rule.fields {
            self.describe(rule, quota, left);
            push(&mut self.policy, ";w=", whole_seconds(length));
            push(&mut self.state, ";t=", whole_seconds(ends_in));
        }
        self.add_legacy(rule, quota, left, whole_seconds(ends_in));
    }

    fn add_in_flight(&mut self, rule: &Rule, running: u32, max: u32) {
        let left = max.saturating_sub(running);
        if rule.fields {
            self.describe(rule, max, left);
            self.policy.push_str(";qu=\"concurrent-requests\"");
        }
        self.add_legacy(rule, max, left, 0);
    }

    fn describe(&mut self, rule: &Rule, quota: u32, left: u32) {
        for (text, parameter, number) in [(&mut self.policy, ";q=", quota), (&mut self.state, ";r=", left)] {
            if text.is_empty() {
                text.reserve(USUAL_LENGTH);
            } else {
                text.push_str(", ");
            }
            text.push('"');
            text.push_str(&rule.name);
            text.push('"');
            push(text, parameter, number.into());
        }
    }

    fn add_legacy(&mut self, rule: &Rule, limit: u32, remaining: u32, reset: u64) {
        if rule.legacy_headers && self.legacy.is_none_or(|nearest| remaining < nearest.remaining) {
            self.legacy = Some(Legacy { limit, remaining, reset });
        }
    }
}

/// Adds a parameter and its value.
fn push(text: &mut String, parameter: &str, value: u64) {
    text.push_str(parameter);
    text.push_str(itoa::Buffer::new().format(value));
}

/// The value of `Retry-After`: whole seconds, at least one, and never too few.
pub fn retry_after(wait: Duration) -> u64 {
    whole_seconds(wait).max(1)
}

/// The names of the limits that refused, in their order.
pub fn violated<'a>(limiter: &'a Limiter, reports: &'a [Report]) -> impl Iterator<Item = &'a str> {
    reports
        .iter()
        .filter(|report| matches!(report.outcome, Outcome::Refused(_)))
        .map(|report| limiter.limits[report.limit].rule().name.as_str())
}

/// A duration in whole seconds, rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::limit::Reading;
    use crate::limit::bucket::{Bucket, Wait};
    use crate::limit::key::{Key, KeyPart, MissingKey, Secret};

    fn rule(name: &str, count: u64, burst: u64) -> Rule {
        let key = Key { parts: vec![KeyPart::Global], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
        let quota = Quota::new(count, Duration::from_secs(1), burst).unwrap();
        Rule::new(name.to_owned(), quota, key, 10)
    }

    /// The limit with this index, after so many tokens were taken from a full bucket.
    fn report(limiter: &Limiter, limit: usize, taken: u32) -> Report {
        let (quota, at) = (*limiter.limits[limit].table().unwrap().quota(), Timestamp::default());
        let bucket = Bucket::FULL.take(&quota, at, taken).unwrap();
        Report {
            limit,
            outcome: Outcome::Allowed,
            remaining: Some(Remaining::Bucket(Reading::new(quota, bucket, at))),
            settled: None,
        }
    }

    #[test]
    fn the_fields_of_the_draft() {
        let limiter = Limiter::new(vec![rule("per_client", 10, 20), rule("all", 3, 4)], Secret::random());
        let reports = [report(&limiter, 0, 1), report(&limiter, 1, 0)];
        let fields = Fields::of(&limiter, &reports);
        assert_eq!(fields.policy, r#""per_client";q=20;w=2, "all";q=4;w=2"#);
        assert_eq!(fields.state, r#""per_client";r=19;t=1, "all";r=4"#);
        assert_eq!(fields.legacy, None);
    }

    #[test]
    fn silent_dry_run_and_exempt_limits_are_not_told_of() {
        let silent = Rule { fields: false, ..rule("silent", 1, 1) };
        let trial = Rule { mode: Mode::DryRun, ..rule("trial", 1, 1) };
        let limiter = Limiter::new(vec![silent, trial, rule("exempt", 1, 1)], Secret::random());
        let exempt = Report { limit: 2, outcome: Outcome::Exempt, remaining: None, settled: None };
        let reports = [report(&limiter, 0, 1), report(&limiter, 1, 1), exempt];
        assert_eq!(Fields::of(&limiter, &reports), Fields::default());
    }

    #[test]
    fn the_legacy_fields_tell_of_the_limit_that_is_nearest_to_refusing() {
        let legacy = |name, burst| Rule { legacy_headers: true, ..rule(name, 1, burst) };
        let limiter = Limiter::new(vec![legacy("wide", 9), legacy("narrow", 5)], Secret::random());
        let fields = Fields::of(&limiter, &[report(&limiter, 0, 1), report(&limiter, 1, 2)]);
        assert_eq!(fields.legacy, Some(Legacy { limit: 5, remaining: 3, reset: 2 }));
    }

    #[test]
    fn a_retry_is_never_promised_too_early() {
        assert_eq!(retry_after(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after(Duration::from_secs(1)), 1);
        assert_eq!(retry_after(Duration::from_nanos(1_000_000_001)), 2);
        assert_eq!(retry_after(Duration::ZERO), 1);
    }

    #[test]
    fn the_limits_that_refused_are_named() {
        let limiter = Limiter::new(vec![rule("a", 1, 1), rule("b", 1, 1)], Secret::random());
        let refused = Report { outcome: Outcome::Refused(Wait(Duration::ZERO)), ..report(&limiter, 1, 0) };
        assert_eq!(violated(&limiter, &[report(&limiter, 0, 1), refused]).collect::<Vec<_>>(), ["b"]);
    }
}
