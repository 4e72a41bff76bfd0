//! What one limit made of a request.

use super::bucket::{Bucket, Level, Wait};
use super::quota::Quota;
use crate::clock::Timestamp;

/// What one limit made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The limit's index.
    pub limit: usize,
    /// What it decided.
    pub outcome: Outcome,
    /// The bucket after that; `None` for an exempt client.
    pub bucket: Option<Reading>,
}

/// A bucket at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is filled under.
    pub quota: Quota,
    bucket: Bucket,
    at: Timestamp,
}

impl Reading {
    /// What there is to say of a bucket under this quota.
    pub(super) fn new(quota: Quota, bucket: Bucket, at: Timestamp) -> Self {
        Self { quota, bucket, at }
    }

    /// What the bucket holds. It takes two divisions, so it is worked out only for those who want to know.
    pub fn level(&self) -> Level {
        self.bucket.level(&self.quota, self.at)
    }
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its bucket paid.
    Allowed,
    /// Its bucket holds too little, for so long.
    Refused(Wait),
    /// Its bucket holds too little, and the limit is only being tried out.
    WouldRefuse,
    /// The client is never limited.
    Exempt,
    /// Its bucket would have paid, but another limit refused the request.
    Spared,
}
