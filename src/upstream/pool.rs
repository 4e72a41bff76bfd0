//! The endpoints of an upstream, at the addresses that its servers' names resolve to, and how they are balanced.
//!
//! A pool does not change: when a name has other addresses, a new pool takes the place of the old one, and the two share the endpoints
//! that stay.

use std::sync::Arc;
use std::time::Duration;

use super::assignment::Assignment;
use super::balance::Balancer;
use super::endpoint::Endpoint;
use super::server_health::ServerHealth;
use crate::address::Address;
use crate::clock::Timestamp;
use crate::config;
use crate::sticky::Stickiness;

/// How often an endpoint is picked for a request, when other requests take the last place of the endpoint that was picked.
const PATIENCE: usize = 4;

/// Endpoints, in the order of the servers.
pub(super) struct Pool {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    balancer: Balancer,
}

/// Why a request finds no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// No server can be used, and none can be before this time is over.
    Unusable(Duration),
    /// The servers that can be used have as many requests as they may.
    Full,
    /// The process has no connections left for requests.
    Scarce,
}

impl Pool {
    /// A pool over these endpoints.
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>, balance: &config::Balance) -> Self {
        Self { balancer: Balancer::new(balance, &endpoints), endpoints }
    }

    /// Assigns a request to an endpoint that has not been `tried`.
    pub(super) fn choose(
        &self,
        key: Option<u128>,
        tried: &[Address],
        now: Timestamp,
    ) -> Result<Assignment, NoServer> {
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.address);
        let open = |endpoint: &Endpoint| untried(endpoint) && endpoint.is_open(now);
        let refusing = |endpoint: &Endpoint| untried(endpoint) && endpoint.is_refusing();
        let assignment = self.place(key, open, |endpoint| endpoint.assign(now));
        // An endpoint that took no connection a moment ago is better than none.
        assignment.or_else(|| self.place(key, refusing, Endpoint::assign_although_refusing)).ok_or_else(
            || match self.endpoints.iter().any(|endpoint| open(endpoint) || refusing(endpoint)) {
                true => NoServer::Full,
                false => NoServer::Unusable(self.wait(now)),
            },
        )
    }

    /// Assigns a request to the endpoint that it asks for, if that has not been `tried` and may have it.
    pub(super) fn stick(&self, sticky: Stickiness, tried: &[Address], now: Timestamp) -> Option<Assignment> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.sticky == Some(sticky))?;
        let may = !tried.contains(&endpoint.address) && endpoint.is_open(now) && endpoint.has_room();
        if may { endpoint.assign(now) } else { None }
    }

    /// Assigns a request to one of the endpoints that `may` have it.
    fn place(
        &self,
        key: Option<u128>,
        may: impl Fn(&Endpoint) -> bool,
        assign: impl Fn(&Arc<Endpoint>) -> Option<Assignment>,
    ) -> Option<Assignment> {
        let may = |endpoint: &Endpoint| may(endpoint) && endpoint.has_room();
        let mut picks = (0..PATIENCE).map_while(|_| self.balancer.pick(&self.endpoints, key, may));
        picks.find_map(assign)
    }

    /// How long it is until the first ejected endpoint gets a trial.
    fn wait(&self, now: Timestamp) -> Duration {
        let waits = self.endpoints.iter().filter_map(|endpoint| match endpoint.health(now) {
            ServerHealth::Ejected { until } => Some(until.since(now)),
            _ => None,
        });
        waits.min().unwrap_or_default()
    }

    /// The addresses of the server with this index.
    pub(super) fn addresses(&self, server: usize) -> impl Iterator<Item = Address> {
        let of_server = self.endpoints.iter().filter(move |endpoint| endpoint.server == server);
        of_server.map(|endpoint| endpoint.address.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::Bounds;
    use super::*;
    use crate::limit::key::{Key, KeyPart, fingerprint_of};
    use config::{Balance, UpstreamServer};
    use std::net::SocketAddr;

    const NOW: Timestamp = Timestamp::from_nanos(0);
    const NOBODY: &[Address] = &[];

    fn endpoints(weights: &[u32], max_running: Option<usize>) -> Vec<Arc<Endpoint>> {
        let endpoint = |(index, weight): (usize, &u32)| {
            let address = SocketAddr::from(([192, 0, 2, u8::try_from(index).unwrap()], 80));
            let server = UpstreamServer { weight: *weight, ..UpstreamServer::at(address) };
            Arc::new(Endpoint::new(
                index,
                &server,
                address.into(),
                Bounds { requests: max_running, connects: None },
                |_| None,
            ))
        };
        weights.iter().enumerate().map(endpoint).collect()
    }

    fn pool(balance: &Balance, weights: &[u32]) -> Pool {
        Pool::new(endpoints(weights, None), balance)
    }

    fn by_key() -> Balance {
        Balance::Hash(Key::of(vec![KeyPart::Path]))
    }

    fn server_for(pool: &Pool, key: u64, tried: &[Address]) -> usize {
        pool.choose(Some(fingerprint_of(key).bits()), tried, NOW).unwrap().server
    }

    /// How many of `count` requests each endpoint gets when one ends before the next begins.
    fn counts(pool: &Pool, count: u64, tried: &[Address]) -> Vec<u64> {
        let mut counts = vec![0; pool.endpoints.len()];
        (0..count).for_each(|key| counts[server_for(pool, key, tried)] += 1);
        counts
    }

    #[track_caller]
    fn about(counts: &[u64], expected: &[u64]) {
        let near = |(count, expected): (&u64, &u64)| count.abs_diff(*expected) <= 50 + expected / 20;
        assert!(counts.iter().zip(expected).all(near), "{counts:?} is not about {expected:?}");
    }

    #[test]
    fn in_turn_each_gets_exactly_its_share() {
        let pool = pool(&Balance::RoundRobin, &[5, 3, 2]);
        assert_eq!(counts(&pool, 1000, NOBODY), [500, 300, 200]);
        assert_eq!(counts(&pool, 1000, &[pool.endpoints[0].address.clone()]), [0, 600, 400]);
    }

    #[test]
    fn requests_that_run_are_shared_by_weight() {
        let pool = pool(&Balance::LeastRequests, &[2, 1, 1]);
        let mut running: Vec<_> = (0..400).map(|_| pool.choose(None, NOBODY, NOW).unwrap()).collect();
        let load = || pool.endpoints.iter().map(|endpoint| endpoint.running()).collect::<Vec<_>>();
        assert_eq!(load(), [200, 100, 100]);
        running.retain(|assigned| assigned.server != 2);
        assert_eq!(load(), [200, 100, 0]);
        running.extend((0..100).map(|_| pool.choose(None, NOBODY, NOW).unwrap()));
        assert_eq!(load(), [200, 100, 100], "whoever has the fewest gets the next");
    }

    #[test]
    fn equals_with_nothing_to_do_take_turns() {
        assert_eq!(counts(&pool(&Balance::LeastRequests, &[1, 1, 1]), 300, NOBODY), [100, 100, 100]);
    }

    #[test]
    fn chance_keeps_to_the_weights() {
        let pool = pool(&Balance::Random, &[3, 1, 1]);
        // So many that what is allowed here is eight standard deviations.
        about(&counts(&pool, 100_000, NOBODY), &[60_000, 20_000, 20_000]);
        about(&counts(&pool, 100_000, &[pool.endpoints[0].address.clone()]), &[0, 50_000, 50_000]);
    }

    #[test]
    fn a_key_stays_where_it_is() {
        let pool = pool(&by_key(), &[3, 1, 1]);
        about(&counts(&pool, 10_000, NOBODY), &[6000, 2000, 2000]);
        for key in 0..100 {
            assert_eq!(server_for(&pool, key, NOBODY), server_for(&pool, key, NOBODY));
        }
        // The same in every gateway, and in the next version: who is moved loses what its server knew of it.
        const PINNED: [usize; 12] = [0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0, 0];
        assert_eq!((0..12).map(|key| server_for(&pool, key, NOBODY)).collect::<Vec<_>>(), PINNED);
    }

    #[test]
    fn an_endpoint_that_leaves_moves_its_own_keys_alone() {
        let all = endpoints(&[1, 2, 1, 1], None);
        let before = Pool::new(all.clone(), &by_key());
        let after = Pool::new([&all[..1], &all[2..]].concat(), &by_key());
        let mut moved = [0; 4];
        for key in 0..10_000 {
            let (was, is) = (server_for(&before, key, NOBODY), server_for(&after, key, NOBODY));
            match was {
                1 => moved[is] += 1,
                _ => assert_eq!(was, is),
            }
            let tried = [all[1].address.clone()];
            assert_eq!(server_for(&before, key, &tried), is, "out of use for a moment is the same as gone");
        }
        about(&moved, &[1333, 0, 1333, 1333]);
    }

    #[test]
    fn a_pool_that_is_full_says_so() {
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Random, by_key()] {
            let pool = Pool::new(endpoints(&[1, 1], Some(1)), &balance);
            let choose =
                |tried: &[_]| pool.choose(None, tried, NOW).map(|assigned| (assigned.server, assigned));
            let (one, two) = (choose(NOBODY).unwrap(), choose(NOBODY).unwrap());
            assert_ne!(one.0, two.0, "another server is tried when one is full");
            assert_eq!(choose(NOBODY).map(drop), Err(NoServer::Full));
            drop(one);
            assert!(choose(NOBODY).is_ok());
            let everybody: Vec<_> = pool.addresses(0).chain(pool.addresses(1)).collect();
            assert_eq!(choose(&everybody).map(drop), Err(NoServer::Unusable(Duration::ZERO)));
        }
        assert_eq!(
            pool(&Balance::Random, &[]).choose(None, NOBODY, NOW).map(drop),
            Err(NoServer::Unusable(Duration::ZERO))
        );
    }

    #[test]
    fn an_endpoint_on_trial_gets_one_request_and_an_ejected_one_none() {
        let outlier = config::Outlier { consecutive_failures: 1, eject_for: Duration::from_secs(10) };
        for balance in [Balance::RoundRobin, Balance::LeastRequests, Balance::Random, by_key()] {
            let pool = pool(&balance, &[1, 1]);
            let eject = |server: usize| pool.endpoints[server].assign(NOW).unwrap().failed(&outlier, NOW);
            assert!(eject(0));
            assert_eq!(counts(&pool, 100, NOBODY), [0, 100]);
            let then = NOW.after(outlier.eject_for);
            let running: Vec<_> = (0..100)
                .map(|key| pool.choose(Some(fingerprint_of(key).bits()), NOBODY, then).unwrap())
                .collect();
            assert_eq!(running.iter().filter(|assigned| assigned.server == 0).count(), 1);
            drop(running);
            assert!(eject(1));
            let half = NOW.after(Duration::from_secs(4));
            let wait = NoServer::Unusable(Duration::from_secs(6));
            assert_eq!(pool.choose(None, NOBODY, half).map(drop), Err(wait));
        }
    }

    #[test]
    fn one_that_takes_no_connection_is_asked_when_there_is_nobody_else() {
        let pool = pool(&Balance::RoundRobin, &[1, 1]);
        pool.endpoints[0].assign(NOW).unwrap().refused(NOW);
        assert_eq!(counts(&pool, 10, NOBODY), [0, 10]);
        pool.endpoints[1].assign(NOW).unwrap().refused(NOW);
        assert_eq!(counts(&pool, 10, NOBODY), [5, 5]);
        assert_eq!(counts(&pool, 10, &[pool.endpoints[0].address.clone()]), [0, 10]);
    }
}
