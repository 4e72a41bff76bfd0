//! The retry budget: the number of retries is bounded by a share of the requests, so that retries cannot multiply an outage.
//!
//! Every request earns a fifth of a retry, and every second earns ten. Retries that are not spent are kept up to a bound; above it they
//! are lost. It is a token bucket whose clock is the sum of what has been earned: one number says how much of that has been spent or
//! lost.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

/// Everything is counted in hundredths of a retry.
const RETRY: u64 = 100;

/// What a request earns.
const BY_REQUEST: u64 = RETRY / 5;

/// What a millisecond earns: ten retries a second.
const BY_MILLISECOND: u64 = 1;

/// How many retries are kept, or as many as requests are running if that is more: when a server dies, all requests
/// that it had fail at once.
const KEPT: u64 = 100;

/// What there is to spend at the start.
const HEAD_START: u64 = KEPT * RETRY;

/// The retry budget of an upstream.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    requests: AtomicU64,
    spent: AtomicU64,
}

// Relaxed: no other memory depends on either number.

impl RetryBudget {
    /// Notes that a request is sent for the first time.
    pub(super) fn earn(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Spends a retry, if there is one left. `running` is the number of requests that are running.
    pub(super) fn spend(&self, running: u64, now: Timestamp) -> bool {
        let by_requests = self.requests.load(Ordering::Relaxed) * BY_REQUEST;
        let by_time = now.nanos() / 1_000_000 * BY_MILLISECOND;
        // At the start there is something to spend.
        let earned = HEAD_START + by_requests + by_time;
        let lost = earned.saturating_sub(KEPT.max(running) * RETRY);
        let spend = |spent: u64| {
            let spent = spent.max(lost) + RETRY;
            (spent <= earned).then_some(spent)
        };
        self.spent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend_all(budget: &RetryBudget, running: u64, now: Timestamp) -> usize {
        (0..10_000).take_while(|_| budget.spend(running, now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_and_ten_a_second() {
        let (budget, second) = (RetryBudget::default(), Timestamp::from_nanos(1_000_000_000));
        let start = Timestamp::default();
        assert_eq!(spend_all(&budget, 1, start), 100);
        (0..50).for_each(|_| budget.earn());
        assert_eq!(spend_all(&budget, 1, start), 10);
        (0..4).for_each(|_| budget.earn());
        assert_eq!(spend_all(&budget, 1, start), 0, "four fifths are not one");
        budget.earn();
        assert_eq!(spend_all(&budget, 1, start), 1);
        assert_eq!(spend_all(&budget, 1, second), 10);
    }

    #[test]
    fn what_is_not_spent_is_lost() {
        let budget = RetryBudget::default();
        (0..100_000).for_each(|_| budget.earn());
        let now = Timestamp::from_nanos(u64::MAX / 2);
        assert_eq!(spend_all(&budget, 1, now), 100);
    }

    #[test]
    fn all_that_ran_on_a_server_may_be_sent_again() {
        let budget = RetryBudget::default();
        (0..100_000).for_each(|_| budget.earn());
        assert_eq!(spend_all(&budget, 700, Timestamp::default()), 700);
        assert_eq!(spend_all(&budget, 10, Timestamp::default()), 0);
    }

    #[test]
    fn an_outage_is_multiplied_by_no_more_than_a_fifth() {
        let budget = RetryBudget::default();
        let sent_again = (0..10_000).filter(|_| {
            budget.earn();
            budget.spend(5, Timestamp::default())
        });
        // What the first one earns is beyond what is kept.
        assert_eq!(sent_again.count(), 100 + 2000 - 1);
    }
}
