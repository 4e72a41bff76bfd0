//! The steps that touch buckets: to take what a request costs before it is answered, and to settle what its answer costs.
//!
//! Buckets are in the memory of this process, and those of shared limits in a store. `reserve` gets all claims of a request at once, so
//! that all of them are granted or none.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode};

use super::{Engine, Reply};
use crate::clock::Timestamp;
use crate::limit::lease::{Ask, Leases, Sharing};
use crate::limit::{Attempt, Claims, CostFault, Limit, Next, Refusal, Report, Reservation, fields};

/// How many calls are made to the store at a time for which no request waits.
const CALLS_AT_A_TIME: usize = 64;

/// What the claims of a request wanted has been taken. Only [`Engine::reserve`] makes one, and nothing is forwarded without one.
pub struct Reserved(());

impl Engine {
    /// Takes what the claims want, all of it or nothing. What each limit made of the request replaces the contents of
    /// `reservation`, also when the request is refused.
    ///
    /// # Errors
    /// The answer to a request that a limit refuses.
    pub async fn reserve(
        &self,
        claims: &Claims<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<Reserved, Reply> {
        let reserved = match &self.ledger {
            Some(ledger) if claims.are_shared() => {
                let mut attempt = Attempt::new(&self.limiter, claims, ledger.store.gateways());
                match attempt.go_on(ledger.reach(), now, reservation) {
                    next @ (Next::Ask(_) | Next::Await(..)) => {
                        // In a box, so that requests which do not wait carry no room for it.
                        match Box::pin(ledger.finish(attempt, next, reservation)).await {
                            Next::Decided(reserved) => reserved,
                            Next::Unavailable(limit, wait) => return Err(self.unavailable(limit, wait)),
                            Next::Ask(_) | Next::Await(..) => return Err(Reply::internal()),
                        }
                    }
                    Next::Decided(reserved) => reserved,
                    Next::Unavailable(limit, wait) => return Err(self.unavailable(limit, wait)),
                }
            }
            _ => self.limiter.reserve(claims, now, reservation),
        };
        reserved.map(Reserved).map_err(|refusal| self.refused(refusal, reservation.reports()))
    }

    /// The answer to a request that a shared limit refuses since its store does not answer.
    fn unavailable(&self, limit: usize, wait: Duration) -> Reply {
        let name = &self.limiter.limits()[limit].rule().name;
        Reply::unavailable(&format!("the limit {name:?} cannot be counted at the moment"), wait)
    }

    /// The answer to a request that a limit refuses.
    pub(super) fn refused(&self, Refusal { limit, wait }: Refusal, reports: &[Report]) -> Reply {
        let violated = fields::violated(&self.limiter, reports).map(str::to_owned).collect();
        Reply::refused(self.limiter.limits()[limit].rule().status, wait, violated)
    }

    /// Makes the calls to the store of shared limits for which no request waits: so that later requests need not wait, to give tokens
    /// back that are not used, and to tell of debts. One `part` of so many `parts` of the leases is looked at; `None` looks only
    /// at those that cannot wait.
    pub async fn tend_leases(&self, part: Option<(usize, usize)>) {
        self.tend(|leases, sharing, now| {
            let mut asks = leases.urgent(sharing, now);
            if let Some((part, parts)) = part {
                asks.extend(leases.due(sharing, part, parts, now));
            }
            asks
        })
        .await;
    }

    /// Gives back all tokens of shared limits that no running request keeps.
    pub async fn give_leases_back(&self) {
        self.tend(Leases::give_all_back).await;
    }

    /// Makes the calls that `asks` says for each shared limit.
    async fn tend(&self, asks: impl Fn(&Leases, Sharing<'_>, Timestamp) -> Vec<Ask>) {
        let Some(ledger) = &self.ledger else { return };
        let (gateways, now) = (ledger.store.gateways(), ledger.clock.now());
        let mut calls = Vec::new();
        for (leases, terms) in self.limiter.limits().iter().filter_map(Limit::leases) {
            for ask in asks(leases, Sharing { terms, gateways }, now) {
                calls.push(ledger.tell(leases.call(ask), terms.lease_time));
            }
        }
        stream::iter(calls).for_each_concurrent(CALLS_AT_A_TIME, |call| call).await;
    }

    /// Forgets what is known here of buckets that any gateway has reset.
    pub fn note_resets(&self) {
        let Some(ledger) = &self.ledger else { return };
        for (name, client) in ledger.store.resets() {
            if let Some((leases, _)) = self.limit(&name).and_then(Limit::leases) {
                leases.forget(client);
            }
        }
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
