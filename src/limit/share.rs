//! A shared limit while the store does not answer: each gateway enforces its share.
//!
//! Of 3 gateways each admits a third of what the limit admits: the bucket of this process has the quota of the limit, and each request is
//! charged three times. If three times the cost is more than the burst, the request needs a full bucket and leaves a debt, so that
//! the rate is a third all the same.

use super::Claim;
use super::client_state::{Asked, BucketRef, ClientState, Held, SharedRef};
use super::key::Inputs;
use super::quota::Quota;
use super::report::{Hold, Reading, Remaining, Reservation};
use super::table::{Answer, Place};
use crate::clock::Timestamp;

/// What a request takes from the bucket of one gateway of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The number of gateways.
    gateways: u32,
    /// The tokens that the bucket must hold.
    pub(super) needed: u32,
    /// The tokens that are charged, at least as many.
    pub(super) charged: u32,
}

/// What a request of this cost takes from the bucket of one of so many gateways.
pub(super) fn of(cost: u32, quota: &Quota, gateways: u32) -> Share {
    let charged = cost.saturating_mul(gateways);
    Share { gateways, needed: charged.min(quota.burst()), charged }
}

/// Takes the share of a claim from the bucket of this process, or reserves it. Returns where tokens were taken. What is charged beyond
/// the needed tokens is still to be charged then.
pub(super) fn take(
    claim: &Claim<'_>,
    shared: SharedRef<'_>,
    share: Share,
    inputs: &Inputs<'_>,
    now: Timestamp,
    reservation: &mut Reservation,
) -> (Asked, Option<Place>) {
    match shared.alone() {
        ClientState::Held(held @ Held::Reserved(..)) => {
            let origin = claim.limit.origin(inputs.client);
            let (asked, permit) = held.acquire(claim.client, share.needed, now, origin);
            if let Some(permit) = permit {
                let hold = Hold::Bucket { origin, permit, times: share.gateways };
                reservation.reserved.push(claim.reserved(inputs, hold));
            }
            (share.asked(asked, now), None)
        }
        _ => {
            let origin = || claim.limit.origin(inputs.client);
            let (quota, Answer { verdict, bucket, place }) =
                BucketRef::take(shared.home, claim.client, share.needed, now, origin);
            let asked = share.asked(Asked::bucket(verdict, *quota, bucket, now), now);
            (asked, verdict.is_ok().then_some(place))
        }
    }
}

impl Share {
    /// What a client is told of its share.
    fn asked(self, asked: Asked, now: Timestamp) -> Asked {
        let Remaining::Bucket(reading) = asked.remaining else { return asked };
        let divided = reading.quota.divided(self.gateways);
        let remaining = divided.map_or(asked.remaining, |divided| {
            Remaining::Bucket(Reading::new(
                divided,
                reading.bucket().under(&reading.quota, &divided, now),
                now,
            ))
        });
        Asked { remaining, ..asked }
    }
}
