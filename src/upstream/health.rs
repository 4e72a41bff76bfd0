//! Health checks: every address is checked at intervals, whether or not there are requests for it.
//!
//! A check (`probe.rs`) connects as requests do, on a connection of its own, and passes when the server answers in time as the
//! configuration says.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use log::{info, warn};
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::{Error, ErrorType, Result};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Upstream;
use super::cause::{is_local, reason};
use super::check_schedule::CheckSchedule;
use super::endpoint::Endpoint;
use super::probe::{self, Answer};
use super::tls::NO_AUTHORITIES;
use crate::clock::{Clock, Timestamp};
use crate::config::{Health, ServerAddress};

/// The size of the connector's pool. Each check has a connection of its own, so nothing is taken from it.
const SPARE: usize = 1;

/// How soon a new address of a server is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often it is logged that the gateway cannot make its checks, in seconds.
const CHECKS_WARNED_EVERY: u64 = 60;

impl Upstream {
    /// Checks its servers at the times of a [`CheckSchedule`], if checks are configured. It never ends then.
    pub(super) async fn keep_checked(&self) {
        let Some(health) = &self.config.health else { return };
        let mut options = ConnectorOptions::new(SPARE);
        options.ca_file = Some(NO_AUTHORITIES.to_owned());
        let connector = Arc::new(Connector::new(Some(options)));
        let clock = Clock::monotonic();
        let mut schedule = CheckSchedule::new(health.interval);
        let mut checks = JoinSet::new();
        loop {
            let now = clock.now();
            let pool = self.pool.load_full();
            let due = schedule.due(pool.endpoints.iter().map(|endpoint| endpoint.identity), now);
            for endpoint in pool.endpoints.iter().filter(|endpoint| due.contains(&endpoint.identity)) {
                checks.spawn(self.check(&connector, endpoint, health));
            }
            // A server may have a new address meanwhile.
            let pause = schedule.pause(now).min(LOOK_AGAIN);
            tokio::select! {
                Some(check) = checks.join_next() => {
                    // The panic of a check has been logged.
                    let Ok((endpoint, outcome)) = check else {
                        schedule.reschedule_lost(clock.now());
                        continue;
                    };
                    let now = clock.now();
                    schedule.done(endpoint.identity, now, rand::random());
                    self.note_check(&endpoint, outcome, health, now);
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// Checks an endpoint once.
    fn check(
        &self,
        connector: &Arc<Connector>,
        endpoint: &Arc<Endpoint>,
        health: &Health,
    ) -> impl Future<Output = (Arc<Endpoint>, Result<Answer>)> + use<> {
        let (connector, endpoint, health) = (connector.clone(), endpoint.clone(), health.clone());
        let peer = self.peer_of(&endpoint, health.timeout);
        let server = &self.config.servers[endpoint.server];
        let host = health.host.clone().unwrap_or_else(|| match &server.address {
            ServerAddress::Network { .. } => server.to_string(),
            ServerAddress::Socket(_) => server.host().to_owned(),
        });
        async move {
            let check = async {
                let mut peer = peer?;
                // Each check has its connection to itself.
                peer.options.max_h2_streams = 1;
                probe::ask(&connector, &peer, &host, &health).await
            };
            let outcome = timeout(health.timeout, check)
                .await
                .unwrap_or_else(|_| Err(Error::explain(ErrorType::ReadTimedout, "no answer in time")));
            (endpoint, outcome)
        }
    }

    fn note_check(&self, endpoint: &Endpoint, outcome: Result<Answer>, health: &Health, now: Timestamp) {
        let fault = match outcome {
            Ok(answer) => answer.fault(health),
            // The check could not be made, so it says nothing of the server's health.
            Err(error) if is_local(&error) && endpoint.can_be_reached() => {
                let second = now.nanos() / 1_000_000_000;
                // Relaxed: a line too many does no harm.
                if second >= self.checks_warned.load(Ordering::Relaxed) {
                    self.checks_warned.store(second + CHECKS_WARNED_EVERY, Ordering::Relaxed);
                    let (name, reason) = (self.name(), reason(&error));
                    warn!("upstream {name:?}: its servers cannot be checked just now: {reason}");
                }
                return;
            }
            Err(error) => Some(reason(&error)),
        };
        if let Some(fault) = &fault {
            endpoint.note_error(|| format!("health check: {fault}"));
        }
        if endpoint.checked(fault.is_none(), health) {
            let (name, address) = (self.name(), &endpoint.address);
            match fault {
                Some(fault) => warn!("upstream {name:?}, server {address}: unhealthy: {fault}"),
                None => info!("upstream {name:?}, server {address}: healthy again, to be tried"),
            }
        }
    }
}
