//! What a client has left of a limit.

use std::time::Duration;

use super::bucket::{Bucket, Level};
use super::quota::Quota;
use crate::clock::Timestamp;

/// What a client has left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remaining {
    /// Its bucket.
    Bucket(Reading),
    /// What was counted in the present window of a calendar.
    Window(WindowReading),
    /// Its running requests.
    InFlight {
        /// How many there are.
        running: u32,
        /// How many there may be.
        max: u32,
    },
}

/// A bucket at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is filled under.
    pub quota: Quota,
    bucket: Bucket,
    at: Timestamp,
}

/// What was counted in a window, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowReading {
    /// How many tokens there are in each window.
    pub quota: u32,
    /// How many of them are left in this one.
    pub left: u32,
    /// How long until the next window begins.
    pub ends_in: Duration,
    /// How long the window is from begin to end.
    pub length: Duration,
}

impl Remaining {
    /// How much more the client may have at once: whole tokens, or requests.
    pub fn left(&self) -> u32 {
        match self {
            Self::Bucket(reading) => reading.level().tokens,
            Self::Window(reading) => reading.left,
            Self::InFlight { running, max } => max.saturating_sub(*running),
        }
    }
}

impl Reading {
    /// The state of a bucket under this quota at an instant.
    pub(super) fn new(quota: Quota, bucket: Bucket, at: Timestamp) -> Self {
        Self { quota, bucket, at }
    }

    /// The same share of a bucket under another quota.
    pub(super) fn under(&self, quota: Quota) -> Self {
        Self { quota, bucket: self.bucket.under(&self.quota, &quota, self.at), at: self.at }
    }

    /// What the bucket holds. It takes two divisions, so it is computed only when asked for.
    pub fn level(&self) -> Level {
        self.bucket.level(&self.quota, self.at)
    }
}
