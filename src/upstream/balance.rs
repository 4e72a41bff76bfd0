//! The ways to balance requests over endpoints.
//!
//! Each picks among the endpoints that may have a request (`open`), and does not depend on their order: the requests that an endpoint
//! would have got that is not open are spread over all others by weight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use siphasher::sip::SipHasher13;

use super::endpoint::Endpoint;
use super::round_robin::RoundRobin;
use crate::config;

/// A way to balance over a fixed list of endpoints.
pub(super) enum Balancer {
    /// In turn.
    RoundRobin(RoundRobin),
    /// The endpoint with the fewest requests for its weight. The number is where the search begins, so that equal endpoints take
    /// turns.
    LeastRequests(AtomicUsize),
    /// At random, by weight.
    Random,
    /// The same endpoint for the same key.
    Hash,
}

impl Balancer {
    /// The configured way, over these endpoints.
    pub(super) fn new(how: &config::Balance, endpoints: &[Arc<Endpoint>]) -> Self {
        match how {
            config::Balance::RoundRobin => {
                let weights: Vec<_> = endpoints.iter().map(|endpoint| endpoint.weight).collect();
                Self::RoundRobin(RoundRobin::new(&weights))
            }
            config::Balance::LeastRequests => Self::LeastRequests(AtomicUsize::new(0)),
            config::Balance::Random => Self::Random,
            config::Balance::Hash(_) => Self::Hash,
        }
    }

    /// The endpoint that gets the next request; `None` if none is open.
    pub(super) fn pick<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        key: Option<u128>,
        open: impl Fn(&Endpoint) -> bool,
    ) -> Option<&'a Arc<Endpoint>> {
        match self {
            Self::RoundRobin(members) => {
                members.next(|index| open(&endpoints[index])).map(|index| &endpoints[index])
            }
            Self::LeastRequests(next) => {
                // Relaxed: turns need not be taken in a strict order.
                let start = next.fetch_add(1, Ordering::Relaxed) % endpoints.len().max(1);
                let (before, from_start) = endpoints.split_at(start);
                let open = from_start.iter().chain(before).filter(|endpoint| open(endpoint));
                open.map(|endpoint| (load(endpoint), endpoint))
                    .reduce(|least, other| if is_less(other.0, least.0) { other } else { least })
                    .map(|(_, endpoint)| endpoint)
            }
            Self::Random => random(endpoints, open),
            Self::Hash => rendezvous(endpoints, key, open),
        }
    }
}

/// The requests that an endpoint would have, and its weight.
fn load(endpoint: &Endpoint) -> (u64, u64) {
    (endpoint.running() as u64 + 1, u64::from(endpoint.weight))
}

/// Whether the first load is less for its weight than the second.
fn is_less((running, weight): (u64, u64), (other_running, other_weight): (u64, u64)) -> bool {
    running * other_weight < other_running * weight
}

/// One of the open endpoints at random, by weight.
fn random(endpoints: &[Arc<Endpoint>], open: impl Fn(&Endpoint) -> bool) -> Option<&Arc<Endpoint>> {
    let is_open = |endpoint: &&Arc<Endpoint>| open(endpoint);
    let total: u64 = endpoints.iter().filter(is_open).map(|endpoint| u64::from(endpoint.weight)).sum();
    if total == 0 {
        return None;
    }
    let mut left = rand::random_range(0..total);
    let drawn = endpoints.iter().filter(is_open).find(|endpoint| {
        let weight = u64::from(endpoint.weight);
        let found = left < weight;
        left = left.saturating_sub(weight);
        found
    });
    // An endpoint that was open a moment ago may not be open now.
    drawn.or_else(|| endpoints.iter().find(is_open))
}

/// Weighted rendezvous hashing: every endpoint draws a number for the key, and the lowest for its weight wins. An
/// endpoint that leaves moves only the keys that it had won, and those go to the others by their weight.
fn rendezvous(
    endpoints: &[Arc<Endpoint>],
    key: Option<u128>,
    open: impl Fn(&Endpoint) -> bool,
) -> Option<&Arc<Endpoint>> {
    let key = SipHasher13::new_with_key(&key.unwrap_or(0).to_le_bytes());
    let open = endpoints.iter().filter(|endpoint| open(endpoint));
    let draws = open.map(|endpoint| (draw(&key, endpoint), endpoint));
    draws.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, endpoint)| endpoint)
}

/// An exponentially distributed number whose mean is the reciprocal of the weight. The probability that an endpoint draws the lowest of
/// several such numbers is proportional to its weight.
fn draw(key: &SipHasher13, endpoint: &Endpoint) -> f64 {
    const BITS: u32 = 53;
    let bits = key.hash(&endpoint.identity.to_le_bytes()) >> (u64::BITS - BITS);
    #[expect(clippy::cast_precision_loss, reason = "a number of 53 bits is exact")]
    let uniform = (bits as f64 + 0.5) / (1_u64 << BITS) as f64;
    -uniform.ln() / f64::from(endpoint.weight)
}
