//! What becomes of a request, and of all of them.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use smallvec::SmallVec;

use crate::consumer::Consumer;
use crate::limit::key::Fingerprint;

/// Indices of limits.
pub(super) type Indices = SmallVec<[usize; 2]>;

/// Limits, by their indices, and the client that each counts for a request.
pub(super) type Buckets = SmallVec<[(usize, Fingerprint); 2]>;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub struct Fate {
    /// The index of its route.
    pub route: Option<usize>,
    /// What the gateway does with it.
    pub verdict: Verdict,
    /// The indices of the limits that refused it.
    pub refused_by: Indices,
    /// The indices of the limits in dry run that would have refused it.
    pub would_refuse: Indices,
    /// What limits count it for. They do not depend on the time.
    pub buckets: Buckets,
    /// The consumer that has proved to be calling.
    pub consumer: Option<Arc<Consumer>>,
}

/// What the gateway does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to an upstream, or gets the answer of its route.
    Admitted,
    /// A limit refuses it, and the client is told to wait so long.
    Refused(Duration),
    /// It has no route.
    WithoutRoute,
    /// No limit is asked about it.
    NotAsked,
}

/// What became of all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All of them.
    pub requests: u64,
    /// Those that every limit admitted, or that no limit counts.
    pub admitted: u64,
    /// Those that a limit refused.
    pub refused: u64,
    /// Those that were admitted although a limit in dry run would have refused them.
    pub would_refuse: u64,
    /// Those for which there is no route.
    pub without_route: u64,
    /// Those that were answered before any limit was asked: preflights, heads that cannot be used.
    pub not_asked: u64,
}

impl Fate {
    /// That of a request about which no limit has been asked.
    pub(super) fn new(verdict: Verdict, route: Option<usize>) -> Self {
        Self {
            route,
            verdict,
            refused_by: Indices::new(),
            would_refuse: Indices::new(),
            buckets: Buckets::new(),
            consumer: None,
        }
    }
}

impl Totals {
    /// Counts a request. `would_refuse`: a limit in dry run would have refused it.
    pub(super) fn count(&mut self, verdict: Verdict, would_refuse: bool) {
        self.requests += 1;
        match verdict {
            Verdict::Admitted => {
                self.admitted += 1;
                self.would_refuse += u64::from(would_refuse);
            }
            Verdict::Refused(_) => self.refused += 1,
            Verdict::WithoutRoute => self.without_route += 1,
            Verdict::NotAsked => self.not_asked += 1,
        }
    }
}
