//! What a gateway admits of a shared limit while the store does not answer: its share.
//!
//! Of 3 gateways each admits a third of what the limit admits: each request is charged three times to what is known of the bucket. If three
//! times the cost is more than the burst, the request needs a full bucket and leaves a debt, so that the rate is a third all
//! the same.

use crate::limit::quota::Quota;
use crate::limit::reading::Reading;

/// What a request takes from the bucket of one gateway of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limit) struct Share {
    /// The cost of the request.
    pub(super) cost: u32,
    /// The number of gateways.
    pub(super) gateways: u32,
    /// The tokens that the bucket must hold.
    pub(super) needed: u32,
    /// The tokens that are charged, at least as many.
    pub(super) charged: u32,
}

impl Share {
    /// What a request of this cost takes from the bucket of one of so many gateways.
    pub(in crate::limit) fn of(cost: u32, quota: &Quota, gateways: u32) -> Self {
        let gateways = gateways.max(1);
        let charged = cost.saturating_mul(gateways);
        Self { cost, gateways, needed: charged.min(quota.burst()), charged }
    }

    /// What a client is told of its share of a bucket.
    pub(in crate::limit) fn reading(self, whole: Reading) -> Reading {
        match whole.quota.divided(self.gateways) {
            Some(divided) => whole.under(divided),
            None => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_shares_of_all_gateways_are_the_limit() {
        let quota = Quota::new(10, Duration::from_secs(1), 20).unwrap();
        let share = Share::of(1, &quota, 3);
        assert_eq!((share.needed, share.charged), (3, 3));
        let most = Share::of(8, &quota, 3);
        assert_eq!((most.needed, most.charged), (20, 24), "a full bucket, and a debt");
        assert_eq!(Share::of(1, &quota, 0), Share::of(1, &quota, 1));
    }
}
