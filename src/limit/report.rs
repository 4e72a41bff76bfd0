//! What the limits decided about a request, and the permits that it holds.

use smallvec::SmallVec;

use super::bucket::Wait;
use super::key::{Fingerprint, Origin};
use super::lease::KeptTokens;
use super::reading::Remaining;
use crate::clock::Timestamp;
use crate::concurrency::Permit;

/// What the limits decided about a request, and its permits, by which it counts among the running requests until this is
/// dropped.
#[derive(Default)]
pub struct Reservation {
    pub(super) reports: Vec<Report>,
    pub(super) permits: SmallVec<[Permit; 2]>,
    pub(super) reserved: SmallVec<[Reserved; 1]>,
}

/// A cost that is reserved until the request is answered, and then charged.
pub(super) struct Reserved {
    /// The limit's index.
    pub(super) limit: usize,
    pub(super) client: Fingerprint,
    /// The plan of its consumer.
    pub(super) plan: Option<usize>,
    pub(super) hold: Hold,
}

/// How a cost is reserved.
pub(super) enum Hold {
    /// In a bucket of this process, until the permit is dropped.
    Bucket {
        /// Where the request came from.
        origin: Option<Origin>,
        permit: Permit,
    },
    /// In a window, until the permit is dropped.
    Window {
        /// The time of the bucket when it was reserved.
        at: Timestamp,
        /// Where the request came from.
        origin: Option<Origin>,
        permit: Permit,
    },
    /// In a bucket that several gateways share.
    Shared(KeptTokens),
}

impl Reservation {
    /// What each limit that applied decided.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The same, when no permit is held any more.
    pub fn into_reports(self) -> Vec<Report> {
        self.reports
    }

    /// Whether the request holds a permit, or a cost is reserved for it: then it matters when it ends.
    pub fn holds(&self) -> bool {
        !self.permits.is_empty() || !self.reserved.is_empty()
    }

    /// Drops the permits.
    #[inline(always)]
    pub(super) fn release(&mut self) {
        // Most requests have none.
        if !self.permits.is_empty() || !self.reserved.is_empty() {
            self.permits.clear();
            self.reserved.clear();
        }
    }
}

/// What one limit decided about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The limit's index.
    pub limit: usize,
    /// What it decided.
    pub outcome: Outcome,
    /// What the client has left after that; `None` for a client that is never limited.
    pub remaining: Option<Remaining>,
    /// What the request cost in the end, if the limit charges by the answer and there has been one.
    pub settled: Option<u32>,
}

impl Report {
    /// Whether the limit refused the request.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.outcome, Outcome::Refused(_))
    }
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client had as much left as the request takes.
    Allowed,
    /// The client had too little left, and will have enough after this time. It is zero if the limit counts running requests, since
    /// it is not known when one ends.
    Refused(Wait),
    /// The client had too little left, and the limit is in dry run.
    WouldRefuse,
    /// The client is never limited.
    Exempt,
    /// The client had enough left, but another limit refused the request.
    Spared,
}
