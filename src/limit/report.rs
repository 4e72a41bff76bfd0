//! What the limits made of a request, and what it holds of them.

use smallvec::SmallVec;

use super::bucket::{Bucket, Level, Wait};
use super::key::{Fingerprint, Origin};
use super::quota::Quota;
use crate::clock::Timestamp;
use crate::crowd::Slot;

/// What the limits made of a request, and what it holds of them: its places among the requests that are running at a
/// time are free again when this is dropped.
#[derive(Default)]
pub struct Tally {
    pub(super) reports: Vec<Report>,
    pub(super) slots: SmallVec<[Slot; 2]>,
    pub(super) reserved: SmallVec<[Reserved; 1]>,
}

/// A cost that is to be settled when the request is answered, and is set aside until then.
pub(super) struct Reserved {
    /// The limit's index.
    pub(super) limit: usize,
    pub(super) client: Fingerprint,
    /// Where the request came from.
    pub(super) origin: Option<Origin>,
    /// While it is held, the cost is set aside.
    pub(super) slot: Slot,
}

impl Tally {
    /// What each limit that applied made of it.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The request leaves the places that it took.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        // Most requests take none.
        if !self.slots.is_empty() || !self.reserved.is_empty() {
            self.slots.clear();
            self.reserved.clear();
        }
    }
}

/// What one limit made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The limit's index.
    pub limit: usize,
    /// What it decided.
    pub outcome: Outcome,
    /// How the client stands after that; `None` for one that is never limited.
    pub standing: Option<Standing>,
}

impl Report {
    /// Whether the limit refused the request.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_))
    }
}

/// How a client stands with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its bucket.
    Bucket(Reading),
    /// Its requests at this time.
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

impl Standing {
    /// How much more the client may have at once: whole tokens, or requests.
    pub fn left(&self) -> u32 {
        match self {
            Self::Bucket(reading) => reading.level().tokens,
            Self::InFlight { running, max } => max.saturating_sub(*running),
        }
    }
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
    /// It had as much left as the request takes.
    Allowed,
    /// It had not, and will have after so long. How long a request still runs nobody knows: then it is zero.
    Refused(Wait),
    /// It had not, and the limit is only being tried out.
    WouldRefuse,
    /// The client is never limited.
    Exempt,
    /// It had, but another limit refused the request.
    Spared,
}
