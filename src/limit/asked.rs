//! The answer of a limit to whether a request may pass.

use super::bucket::{Bucket, Wait};
use super::quota::Quota;
use super::reading::{Reading, Remaining};
use crate::clock::Timestamp;

/// The answer to whether a request may pass.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Whether there was enough left, and if not, how long until there is.
    pub(super) verdict: Result<(), Wait>,
    /// What is left now.
    pub(super) remaining: Remaining,
}

impl Asked {
    /// Of a bucket under this quota.
    #[inline]
    pub(super) fn bucket(verdict: Result<(), Wait>, quota: Quota, bucket: Bucket, now: Timestamp) -> Self {
        Self { verdict, remaining: Remaining::Bucket(Reading::new(quota, bucket, now)) }
    }

    /// With so many running requests, of at most `max`.
    pub(super) fn running(verdict: Result<(), Wait>, running: u32, max: u32) -> Self {
        Self { verdict, remaining: Remaining::InFlight { running, max } }
    }
}
