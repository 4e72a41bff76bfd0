//! Requests counted by what became of them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::metrics::RouteMetrics;

/// Requests by what became of them: the first four add up to all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Outcomes)]
pub(super) struct RequestCounts {
    /// Answered below 400.
    pub(super) served: u64,
    /// Refused by a limit: once, however many refused it.
    pub(super) refused: u64,
    /// Answered with 400 to 499, but not by a limit.
    pub(super) client_errors: u64,
    /// Answered with 500 or above, but not by a limit.
    pub(super) server_errors: u64,
    /// Not refused, but would have been by a limit that is in dry run.
    pub(super) would_refuse: u64,
}

impl RequestCounts {
    /// What became of the requests of these routes.
    pub(super) fn of(routes: &[RouteMetrics]) -> Self {
        let mut sum = Self::default();
        for route in routes {
            // Read before the statuses, which are counted first: so there are no more of these than of those.
            let refusals = route.refusals.read();
            let (mut client_errors, mut server_errors) = (0, 0);
            for (status, count) in route.requests.by_status() {
                match status {
                    400..=499 => client_errors += count,
                    500.. => server_errors += count,
                    _ => sum.served += count,
                }
            }
            sum.refused += refusals.as_client_errors + refusals.as_server_errors;
            sum.client_errors += client_errors.saturating_sub(refusals.as_client_errors);
            sum.server_errors += server_errors.saturating_sub(refusals.as_server_errors);
            sum.would_refuse += refusals.would_have_been;
        }
        sum
    }

    /// What came after `earlier`. A route that is gone takes its numbers with it: then there is none.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            served: self.served.saturating_sub(earlier.served),
            refused: self.refused.saturating_sub(earlier.refused),
            client_errors: self.client_errors.saturating_sub(earlier.client_errors),
            server_errors: self.server_errors.saturating_sub(earlier.server_errors),
            would_refuse: self.would_refuse.saturating_sub(earlier.would_refuse),
        }
    }
}
