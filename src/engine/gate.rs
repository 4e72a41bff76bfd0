//! Who is let in by a route: `allow` and `deny`. `deny` wins.

use std::collections::HashSet;

use super::Reply;
use crate::client::ClientId;
use crate::config::{Access, Subject};
use crate::consumer::Consumer;
use crate::networks::Networks;
use http::StatusCode;

/// Whom a route lets in, in the form in which it is looked up.
pub(super) struct Gate {
    /// `None` lets everybody in.
    allow: Option<Callers>,
    deny: Callers,
    /// It names networks or consumers at all.
    is_there: bool,
}

/// Some callers.
#[derive(Default)]
struct Callers {
    networks: Networks,
    consumers: HashSet<String>,
    plans: HashSet<usize>,
}

/// What a caller is told that is not let in.
const NOT_LET_IN: &str = "this route does not let this caller in";

impl Gate {
    /// The gate of a route with this `allow` and `deny`.
    pub(super) fn new(access: &Access) -> Self {
        Self {
            allow: access.allow.as_deref().map(Callers::new),
            deny: Callers::new(&access.deny),
            is_there: access.allow.is_some() || !access.deny.is_empty(),
        }
    }

    /// Refuses a client whose address is enough to tell that it is not let in, before anybody asks who it is.
    ///
    /// # Errors
    /// The answer that it gets.
    #[inline]
    pub(super) fn admit_address(&self, client: &ClientId) -> Result<(), Reply> {
        if !self.is_there {
            return Ok(());
        }
        let only_addresses = |allow: &Callers| allow.consumers.is_empty() && allow.plans.is_empty();
        let is_left_out =
            self.allow.as_ref().is_some_and(|allow| only_addresses(allow) && !allow.has_address(client));
        if self.deny.has_address(client) || is_left_out { Err(not_let_in()) } else { Ok(()) }
    }

    /// Refuses a caller that is not let in. `Ok(false)` means that it could be one that is let in, if it proved who it is.
    ///
    /// # Errors
    /// The answer that it gets.
    #[inline]
    pub(super) fn admit(&self, client: &ClientId, consumer: Option<&Consumer>) -> Result<bool, Reply> {
        if !self.is_there {
            return Ok(true);
        }
        let has = |callers: &Callers| consumer.is_some_and(|consumer| callers.has(consumer));
        if has(&self.deny) {
            return Err(not_let_in());
        }
        match &self.allow {
            None => Ok(true),
            Some(allow) if allow.has_address(client) || has(allow) => Ok(true),
            Some(_) if consumer.is_none() => Ok(false),
            Some(_) => Err(not_let_in()),
        }
    }

    /// Why a caller is let in or not, in words.
    pub(super) fn why(&self, client: &ClientId, consumer: Option<&Consumer>) -> Option<&'static str> {
        if !self.is_there {
            return None;
        }
        let has = |callers: &Callers| consumer.is_some_and(|consumer| callers.has(consumer));
        let deny = &self.deny;
        Some(match &self.allow {
            _ if deny.has_address(client) => "`deny` has its address",
            _ if has(deny) => "`deny` has the consumer or its plan",
            None => "`deny` does not have it",
            Some(allow) if allow.has_address(client) => "`allow` has its address",
            Some(allow) if has(allow) => "`allow` has the consumer or its plan",
            Some(_) => "`allow` does not have it",
        })
    }
}

impl Callers {
    fn new(subjects: &[Subject]) -> Self {
        let (mut networks, mut callers) = (Vec::new(), Self::default());
        for subject in subjects {
            match subject {
                Subject::Network(network) => networks.push(*network),
                Subject::Consumer(name) => drop(callers.consumers.insert(name.clone())),
                Subject::Plan(plan) => drop(callers.plans.insert(*plan)),
            }
        }
        Self { networks: Networks::new(&networks), ..callers }
    }

    fn has_address(&self, client: &ClientId) -> bool {
        !self.networks.is_empty() && client.address().is_some_and(|address| self.networks.contains(address))
    }

    fn has(&self, consumer: &Consumer) -> bool {
        consumer.plan().is_some_and(|plan| self.plans.contains(&plan))
            || self.consumers.contains(consumer.name())
    }
}

fn not_let_in() -> Reply {
    Reply::problem(StatusCode::FORBIDDEN, NOT_LET_IN)
}
