//! Tokens that a running request keeps until its cost is known.

use std::sync::Arc;

use super::leases::Leases;
use crate::clock::Timestamp;
use crate::limit::key::Fingerprint;

/// Tokens that a running request keeps. They are put back when this is dropped, unless the cost has been settled.
pub struct KeptTokens {
    leases: Arc<Leases>,
    client: Fingerprint,
    tokens: u32,
}

impl KeptTokens {
    /// Tokens of this client, which [`Leases::take`] or an answer of the store has kept.
    pub(in crate::limit) fn new(leases: &Arc<Leases>, client: Fingerprint, tokens: u32) -> Self {
        Self { leases: leases.clone(), client, tokens }
    }

    /// The request costs this much in the end: more or less than what it has kept.
    pub(in crate::limit) fn settle(mut self, cost: u32, now: Timestamp) {
        let kept = std::mem::take(&mut self.tokens);
        self.leases.settle(self.client, kept, cost, now);
    }
}

impl Drop for KeptTokens {
    fn drop(&mut self) {
        if self.tokens > 0 {
            self.leases.put_back(self.client, self.tokens, true);
        }
    }
}
