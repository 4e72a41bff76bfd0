//! Tokens that a running request keeps until its cost is known.

use std::sync::Arc;

use super::lease::Lot;
use super::leases::Leases;
use super::share::Share;
use crate::clock::Timestamp;
use crate::limit::key::Fingerprint;

/// Tokens that a running request keeps. They are put back when this is dropped, unless the cost has been settled.
pub struct KeptTokens {
    leases: Arc<Leases>,
    client: Fingerprint,
    kept: Kept,
}

#[derive(Clone, Copy)]
enum Kept {
    /// Nothing any more.
    Nothing,
    /// Tokens of a lease.
    Held(u32, Lot),
    /// What was charged without the store.
    Alone { share: Share, is_late: bool },
}

impl KeptTokens {
    /// Tokens of this client, which [`Leases::take`] or an answer of the store has kept.
    pub(in crate::limit) fn held(leases: &Arc<Leases>, client: Fingerprint, tokens: u32, lot: Lot) -> Self {
        Self { leases: leases.clone(), client, kept: Kept::Held(tokens, lot) }
    }

    /// What [`Leases::take_alone`] has charged.
    pub(in crate::limit) fn alone(
        leases: &Arc<Leases>,
        client: Fingerprint,
        share: Share,
        is_late: bool,
    ) -> Self {
        Self { leases: leases.clone(), client, kept: Kept::Alone { share, is_late } }
    }

    /// The request costs this much in the end: more or less than what it has kept.
    pub(in crate::limit) fn settle(mut self, cost: u32, now: Timestamp) {
        match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Nothing => {}
            Kept::Held(tokens, lot) => self.leases.settle(self.client, (tokens, lot), cost, now),
            Kept::Alone { share, is_late } => {
                self.leases.settle_alone(self.client, share, cost, is_late, now);
            }
        }
    }
}

impl Drop for KeptTokens {
    fn drop(&mut self) {
        match self.kept {
            Kept::Nothing => {}
            Kept::Held(tokens, lot) => self.leases.put_back_kept(self.client, tokens, lot),
            Kept::Alone { share, is_late } => {
                self.leases.put_back_alone(self.client, share, true, is_late);
            }
        }
    }
}
