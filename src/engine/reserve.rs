//! The steps that touch buckets: to take what a request costs before it is answered, and to settle what its answer costs.
//!
//! Buckets are in the memory of this process. Another place for buckets is chosen here, limit by limit: `reserve` gets all
//! claims of a request at once, so that a store elsewhere can also grant all of them or none.

use http::{HeaderMap, StatusCode};

use super::{Engine, Reply};
use crate::clock::Timestamp;
use crate::limit::{Claims, CostFault, Refusal, Report, Reservation, fields};

/// What the claims of a request wanted has been taken. Only [`Engine::reserve`] makes one, and nothing is forwarded without one.
pub struct Reserved(());

impl Engine {
    /// Takes what the claims want, all of it or nothing. What each limit made of the request replaces the contents of
    /// `reservation`, also when the request is refused.
    ///
    /// # Errors
    /// The answer to a request that a limit refuses.
    #[expect(clippy::unused_async, reason = "a place of buckets outside this process is waited for")]
    pub async fn reserve(
        &self,
        claims: &Claims<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<Reserved, Reply> {
        let reserved = self.limiter.reserve(claims, now, reservation).map(Reserved);
        reserved.map_err(|refusal| self.refused(refusal, reservation.reports()))
    }

    /// The answer to a request that a limit refuses.
    pub(super) fn refused(&self, Refusal { limit, wait }: Refusal, reports: &[Report]) -> Reply {
        let violated = fields::violated(&self.limiter, reports).map(str::to_owned).collect();
        Reply::refused(self.limiter.limits()[limit].rule().status, wait, violated)
    }

    /// Settles what an admitted request costs where that depends on its answer. `now` is asked for only if there is something to
    /// settle. Returns what is wrong with the costs that the answer names, with the index of the limit.
    pub fn settle(
        &self,
        reservation: &mut Reservation,
        status: StatusCode,
        answer: &HeaderMap,
        now: impl Fn() -> Timestamp,
    ) -> Vec<(usize, CostFault)> {
        self.limiter.settle(reservation, status, answer, now)
    }

    /// Gives back what a request held that is over. What has not been settled is settled as for a request that got no answer.
    pub fn close(&self, reservation: &mut Reservation, now: impl Fn() -> Timestamp) {
        self.limiter.close(reservation, now);
    }
}
