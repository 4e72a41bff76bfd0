//! What a client is told of its limits: `RateLimit-Policy`, `RateLimit`, `Retry-After`, and the older
//! `X-RateLimit-*` fields.
//!
//! The format is that of draft-ietf-httpapi-ratelimit-headers-10. A limit that is only being tried out is not
//! told of: a client should not slow down for it.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderName;

use super::{Limiter, Mode, Outcome, Report, Rule};

/// `RateLimit-Policy`: the limits that applied.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`: what is left of each.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The bucket size of the limit that is nearest to refusing.
pub const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
/// Whole tokens left of it.
pub const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
/// Whole seconds until its bucket is full.
pub const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The rate-limit fields of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The value of [`RATELIMIT_POLICY`]; empty sends neither.
    pub policy: String,
    /// The value of [`RATELIMIT`].
    pub state: String,
    /// The `X-RateLimit-*` fields.
    pub legacy: Option<Legacy>,
}

/// The `X-RateLimit-*` fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// [`X_RATELIMIT_LIMIT`]
    pub limit: u32,
    /// [`X_RATELIMIT_REMAINING`]
    pub remaining: u32,
    /// [`X_RATELIMIT_RESET`]
    pub reset: u64,
}

impl Fields {
    /// The fields that tell of `reports`.
    pub fn of(limiter: &Limiter, reports: &[Report]) -> Self {
        let mut fields = Self::default();
        for report in reports {
            let rule = limiter.limits[report.limit].rule();
            if let (Some(level), Mode::Enforce) = (report.level, rule.mode) {
                fields.add(rule, level);
            }
        }
        fields
    }

    fn add(&mut self, rule: &Rule, level: super::Level) {
        if rule.fields {
            let separator = if self.policy.is_empty() { "" } else { ", " };
            let (name, burst) = (&rule.name, rule.quota.burst());
            let window = whole_seconds(rule.quota.time_to_fill());
            // Writing to a String cannot fail.
            let _ = write!(self.policy, "{separator}\"{name}\";q={burst};w={window}");
            let _ = write!(self.state, "{separator}\"{name}\";r={}", level.tokens);
            if let Some(next) = level.next_token {
                let _ = write!(self.state, ";t={}", whole_seconds(next));
            }
        }
        if rule.legacy_headers && self.legacy.is_none_or(|nearest| level.tokens < nearest.remaining) {
            self.legacy = Some(Legacy {
                limit: rule.quota.burst(),
                remaining: level.tokens,
                reset: whole_seconds(level.full_in),
            });
        }
    }
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
