//! The store of the limits that several gateways share, as the engine uses it.
//!
//! Most requests spend tokens that this gateway holds, and do not come here. A request that has to wait for the store waits at most as long
//! as the configuration says. A store takes time to answer, so this is the one place where the engine reads a clock.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::clock::{Clock, Timestamp};
use crate::limit::key::Fingerprint;
use crate::limit::lease::{Call, Sharing};
use crate::limit::quota::Quota;
use crate::limit::{Attempt, Limit, Next, Reach, Reservation};
use crate::shared_store::{Store, StoreError};

/// The store of shared limits.
pub(super) struct Ledger {
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
}

impl Ledger {
    /// Brings what is known of a client's bucket up to date, if the store answers. Returns the time after that.
    pub(super) async fn look(&self, limit: &Limit, client: Fingerprint, quota: &Quota) -> Timestamp {
        if let Some((leases, terms)) = limit.leases() {
            let sharing = Sharing { terms, gateways: self.store.gateways() };
            if let Some(ask) = leases.ask_how_it_stands(sharing, client, quota, self.clock.now()) {
                self.tell(leases.call(ask), terms.lease_time).await;
            }
        }
        self.clock.now()
    }

    /// Makes a call for which no request waits.
    pub(super) async fn tell(&self, call: Call<'_>, lease_time: Duration) {
        let sent = self.clock.now();
        match self.store.tell(std::slice::from_ref(call.ask())).await {
            Ok(answers) => {
                if let Some(answer) = answers.first() {
                    call.answered(answer, lease_time, sent, self.clock.now());
                }
            }
            Err(StoreError::Down) => call.withdrawn(),
            Err(_) => drop(call),
        }
    }

    /// Brings an attempt to its end that has to wait: `next` is what it needs.
    pub(super) async fn finish<'c>(
        &self,
        mut attempt: Attempt<'_, 'c>,
        mut next: Next<'c>,
        reservation: &mut Reservation,
    ) -> Next<'c> {
        let deadline = self.clock.now().after(self.store.timeout());
        let mut reach = Reach::Up;
        loop {
            match next {
                Next::Decided(_) | Next::Unavailable(..) => return next,
                Next::Ask(asks) => {
                    let sent = self.clock.now();
                    match self.store.ask(&asks, deadline.since(sent)).await {
                        Ok(answers) => attempt.answered(&answers, sent, self.clock.now(), reservation),
                        Err(error) => {
                            attempt.failed(error != StoreError::Down);
                            reach = self.without_an_answer();
                        }
                    }
                }
                Next::Await(leases, client) => {
                    let mut answer = pin!(leases.next_answer(client));
                    answer.as_mut().enable();
                    // The call may have been answered before it was listened for.
                    next = attempt.go_on(reach, self.clock.now(), reservation);
                    if !matches!(&next, Next::Await(_, again) if *again == client) {
                        continue;
                    }
                    if timeout(deadline.since(self.clock.now()), answer).await.is_err() {
                        self.store.waited_in_vain();
                    }
                }
            }
            let now = self.clock.now();
            if reach == Reach::Up && now >= deadline {
                reach = self.without_an_answer();
            }
            next = attempt.go_on(reach, now, reservation);
        }
    }

    /// Whether the store can be asked.
    pub(super) fn reach(&self) -> Reach {
        if self.store.is_up() { Reach::Up } else { Reach::Down }
    }

    /// Whether the store can be asked by a request that has waited in vain.
    fn without_an_answer(&self) -> Reach {
        if self.store.is_up() { Reach::Late } else { Reach::Down }
    }
}
