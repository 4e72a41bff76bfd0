//! What became of the requests of a route, as far as its status does not say: whether a limit refused it, or would have.
//!
//! One request can be refused by two limits, so this is not the sum of what limits decide.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

use crate::limit::{Outcome, Report};

/// What became of the requests of a route. Each number only rises.
#[derive(Default)]
pub struct RefusalCounter {
    refused_as_client_errors: AtomicU64,
    refused_as_server_errors: AtomicU64,
    would_refuse: AtomicU64,
}

/// The numbers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Requests that a limit refused with a status below 500.
    pub as_client_errors: u64,
    /// Requests that a limit refused with a status from 500 on.
    pub as_server_errors: u64,
    /// Requests that were let pass, though a limit in dry run would have refused them.
    pub would_have_been: u64,
}

impl RefusalCounter {
    /// Counts a request that was answered with this status, and of which the limits made this.
    pub fn count(&self, status: StatusCode, reports: &[Report]) {
        let some = |of: fn(&Outcome) -> bool| reports.iter().any(|report| of(&report.outcome));
        let counter = if some(|outcome| matches!(outcome, Outcome::Refused(_))) {
            match status.is_server_error() {
                true => &self.refused_as_server_errors,
                false => &self.refused_as_client_errors,
            }
        } else if some(|outcome| matches!(outcome, Outcome::WouldRefuse)) {
            &self.would_refuse
        } else {
            return;
        };
        // Relaxed: nothing else hangs on the number.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers now.
    pub fn read(&self) -> Refusals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Refusals {
            as_client_errors: read(&self.refused_as_client_errors),
            as_server_errors: read(&self.refused_as_server_errors),
            would_have_been: read(&self.would_refuse),
        }
    }
}
