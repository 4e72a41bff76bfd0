//! Tries that cost something only if they fail: the limit is asked before a try, and charged when the try has failed.
//!
//! Most tries take no time in which another request of the same worker could begin one, so at most as many tries as there are workers are
//! made beyond what the limit allows. Where tries take time, whoever makes them has those of one client made one after another.

use super::bucket::Wait;
use super::client_state::ClientState;
use super::key::Inputs;
use super::{Claimed, Limiter, Outcome, Refusal, Reservation};
use crate::clock::Timestamp;

/// The name of the limit that a rate in `server.auth_failures` makes.
pub const AUTH_FAILURES: &str = "auth_failures";

impl Limiter {
    /// Whether the limit with this index lets a client try. Nothing is taken. A refusal is reported in `reservation`.
    ///
    /// # Errors
    /// When the client has too little left.
    pub fn before_try(
        &self,
        limit: usize,
        inputs: &Inputs<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<(), Refusal> {
        let Ok(Claimed::Client(claim)) = self.claim(limit, inputs) else { return Ok(()) };
        let report = claim.report(claim.look(inputs, now));
        if report.outcome == Outcome::Allowed {
            return Ok(());
        }
        reservation.reports.push(report);
        let begin = reservation.reports.len() - 1;
        self.conclude(&[claim], Some(inputs), now, &mut reservation.reports[begin..])
    }

    /// How long a client has to wait before it may try; `None` if it may.
    pub fn wait_before_try(&self, limit: usize, inputs: &Inputs<'_>, now: Timestamp) -> Option<Refusal> {
        let Ok(Claimed::Client(claim)) = self.claim(limit, inputs) else { return None };
        match claim.report(claim.look(inputs, now)).outcome {
            Outcome::Refused(Wait(wait)) => Some(Refusal { limit, wait }),
            _ => None,
        }
    }

    /// Charges a client for a try that has failed.
    pub fn failed_try(&self, limit: usize, inputs: &Inputs<'_>, now: Timestamp) {
        let Ok(Claimed::Client(claim)) = self.claim(limit, inputs) else { return };
        let (cost, origin) = (claim.limit.cost(), || claim.limit.origin(inputs.client));
        match claim.state {
            ClientState::Bucket(bucket) => bucket.owe(claim.client, cost, now, origin()),
            ClientState::Window(window) => window.owe(claim.client, cost, now, origin()),
            // Such a limit is not one on failures.
            ClientState::Held(_) | ClientState::Shared(_) => {}
        }
    }
}
