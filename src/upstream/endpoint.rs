//! One address of a server: the requests that it has just now, and how it stands.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use super::standing::{Standing, StandingCell};
use crate::clock::Timestamp;
use crate::config::{Health, Outlier, UpstreamServer};

/// How long an endpoint that has taken no connection is left alone while there are others.
const PAUSE: Duration = Duration::from_secs(1);

/// An address that requests are sent to. All addresses of a name are endpoints of their own.
pub struct Endpoint {
    /// The index of the server in the configuration.
    pub(super) server: usize,
    /// Where it is.
    pub address: SocketAddr,
    /// Its share of the requests, against those of the others.
    pub(super) weight: u32,
    /// At most so many requests at once.
    max_running: usize,
    /// What tells it from the others when a key decides: the same in every gateway.
    pub(super) identity: u64,
    running: AtomicUsize,
    standing: StandingCell,
    /// Whether a request tries it.
    trying: AtomicBool,
    /// Failures in a row.
    failures: AtomicU32,
    /// Health checks in a row that said the contrary of how it stands.
    contrary_checks: AtomicU32,
}

// Atomics are relaxed: each number stands for itself, and none is there to say that another has been written.

impl Endpoint {
    /// An address of a server, which is the one with this index.
    pub(super) fn new(
        server: usize,
        config: &UpstreamServer,
        address: SocketAddr,
        max_running: Option<usize>,
    ) -> Self {
        Self {
            server,
            address,
            weight: config.weight,
            max_running: max_running.unwrap_or(usize::MAX),
            identity: SipHasher13::new().hash(format!("{config} {address}").as_bytes()),
            running: AtomicUsize::new(0),
            standing: StandingCell::new(Standing::Up),
            trying: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            contrary_checks: AtomicU32::new(0),
        }
    }

    /// Takes over how another one stands. What its checks said counts only if it is checked.
    pub(super) fn stand_like(&self, before: &Self, is_checked: bool) {
        match before.standing.load() {
            Standing::Unhealthy if !is_checked => {}
            standing => self.standing.store(standing),
        }
    }

    /// The requests that it has just now.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// How it stands.
    pub fn standing(&self, now: Timestamp) -> Standing {
        match self.standing.load() {
            Standing::Ejected { until } if now >= until => Standing::Trial,
            standing => standing,
        }
    }

    /// Whether it may have another request, but for those that it has.
    pub(super) fn is_open(&self, now: Timestamp) -> bool {
        match self.standing(now) {
            Standing::Up => true,
            Standing::Trial => !self.trying.load(Ordering::Relaxed),
            Standing::Refusing { until } => now >= until && !self.trying.load(Ordering::Relaxed),
            Standing::Ejected { .. } | Standing::Unhealthy => false,
        }
    }

    /// Whether it took no connection the last time.
    pub(super) fn is_refusing(&self) -> bool {
        matches!(self.standing.load(), Standing::Refusing { .. })
    }

    /// Whether it has fewer requests than it may.
    pub(super) fn has_room(&self) -> bool {
        self.running() < self.max_running
    }

    /// Gives it a request, unless it gets none just now.
    pub(super) fn hold(self: &Arc<Self>, now: Timestamp) -> Option<Hold> {
        let trial = match self.standing(now) {
            Standing::Up => false,
            Standing::Refusing { until } if now < until => return None,
            Standing::Trial | Standing::Refusing { .. } if !self.trying.swap(true, Ordering::Relaxed) => true,
            _ => return None,
        };
        self.give_place(trial)
    }

    /// Gives it a request although it took no connection the last time.
    pub(super) fn hold_although_refusing(self: &Arc<Self>) -> Option<Hold> {
        if self.is_refusing() { self.give_place(false) } else { None }
    }

    fn give_place(self: &Arc<Self>, trial: bool) -> Option<Hold> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        // From here on the request counts; if it must not, dropping this takes it away again.
        let hold = Hold { endpoint: self.clone(), trial };
        (before < self.max_running).then_some(hold)
    }

    /// Notes a health check. Whether it changes how the endpoint stands.
    pub(super) fn checked(&self, passed: bool, health: &Health) -> bool {
        let standing = self.standing.load();
        if let (true, Standing::Refusing { .. }) = (passed, standing) {
            // It takes connections. If that is known already, all the better.
            self.standing.change(standing, Standing::Up);
        }
        let unhealthy = standing == Standing::Unhealthy;
        if passed != unhealthy {
            self.contrary_checks.store(0, Ordering::Relaxed);
            return false;
        }
        let (needed, then) = match passed {
            true => (health.healthy_after, Standing::Trial),
            false => (health.unhealthy_after, Standing::Unhealthy),
        };
        let enough = self.contrary_checks.fetch_add(1, Ordering::Relaxed) + 1 >= needed;
        if enough {
            self.contrary_checks.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
            self.standing.store(then);
        }
        enough
    }
}

/// A request that an endpoint has, until this is dropped.
#[must_use]
pub struct Hold {
    endpoint: Arc<Endpoint>,
    /// Whether it is to find out how the endpoint does.
    trial: bool,
}

impl Hold {
    /// Notes that it was answered. Whether that ends a trial.
    pub(super) fn succeeded(&mut self) -> bool {
        // Written only if need be, for all threads read it.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.trial && self.end_trial(Standing::Up)
    }

    /// Notes that it failed. Whether the endpoint is ejected for that.
    pub(super) fn failed(&mut self, outlier: &Outlier, now: Timestamp) -> bool {
        let ejected = Standing::Ejected { until: now.after(outlier.eject_for) };
        let standing = self.standing.load();
        if let (true, Standing::Trial | Standing::Ejected { .. }) = (self.trial, standing) {
            return self.end_trial(ejected);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= outlier.consecutive_failures
            && matches!(standing, Standing::Up | Standing::Refusing { .. })
            && self.standing.change(standing, ejected)
    }

    /// Notes that the endpoint has taken a connection. Whether that ends a trial.
    pub(super) fn connected(&mut self) -> bool {
        match self.standing.load() {
            Standing::Refusing { .. } if self.trial => self.end_trial(Standing::Up),
            refusing @ Standing::Refusing { .. } => {
                self.standing.change(refusing, Standing::Up);
                false
            }
            _ => false,
        }
    }

    /// Notes that the endpoint has taken no connection.
    pub(super) fn refused(&mut self, now: Timestamp) {
        let refusing = Standing::Refusing { until: now.after(PAUSE) };
        match self.standing.load() {
            Standing::Trial if self.trial => drop(self.end_trial(refusing)),
            from @ (Standing::Up | Standing::Refusing { .. }) => drop(self.standing.change(from, refusing)),
            Standing::Trial | Standing::Ejected { .. } | Standing::Unhealthy => {}
        }
    }

    /// Ends the trial that this request is. Whether that changes how the endpoint stands.
    fn end_trial(&mut self, then: Standing) -> bool {
        let changed = match self.standing.load() {
            // One whose time was up when the trial began is still said to be ejected.
            from @ (Standing::Trial | Standing::Refusing { .. } | Standing::Ejected { .. }) => {
                self.standing.change(from, then)
            }
            Standing::Up | Standing::Unhealthy => false,
        };
        self.trial = false;
        self.trying.store(false, Ordering::Relaxed);
        changed
    }
}

impl Deref for Hold {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.endpoint.running.fetch_sub(1, Ordering::Relaxed);
        if self.trial {
            self.endpoint.trying.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_nanos(0);
    const OUTLIER: Outlier = Outlier { consecutive_failures: 3, eject_for: Duration::from_secs(10) };

    fn endpoint(max_running: usize) -> Arc<Endpoint> {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        Arc::new(Endpoint::new(0, &UpstreamServer::at(address), address, Some(max_running)))
    }

    fn seconds(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    /// Lets this many requests fail, and says whether the last one had the endpoint ejected.
    fn fail(endpoint: &Arc<Endpoint>, count: u32, now: Timestamp) -> bool {
        (0..count).fold(false, |_, _| endpoint.hold(now).unwrap().failed(&OUTLIER, now))
    }

    #[test]
    fn an_endpoint_has_no_more_requests_than_it_may() {
        let endpoint = endpoint(2);
        let (one, two) = (endpoint.hold(NOW).unwrap(), endpoint.hold(NOW).unwrap());
        assert!(!endpoint.has_room());
        assert!(endpoint.hold(NOW).is_none());
        assert_eq!(endpoint.running(), 2);
        drop(one);
        assert!(endpoint.hold(NOW).is_some(), "the place of a request that has ended is free");
        drop(two);
        assert_eq!(endpoint.running(), 0);
    }

    #[test]
    fn threads_that_race_for_the_last_place_never_share_it() {
        let endpoint = endpoint(3);
        race(&endpoint, 3, NOW);
        assert_eq!(endpoint.running(), 0);
        fail(&endpoint, 3, NOW);
        race(&endpoint, 1, seconds(10));
        assert_eq!(endpoint.standing(NOW), Standing::Ejected { until: seconds(10) });
    }

    /// Threads that all want a place at once find no more than this many.
    fn race(endpoint: &Arc<Endpoint>, places: usize, now: Timestamp) {
        let inside = AtomicUsize::new(0);
        let run = || {
            for _ in 0..2000 {
                if let Some(hold) = endpoint.hold(now) {
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < places);
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(hold);
                }
            }
        };
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(run))));
    }

    #[test]
    fn failures_in_a_row_eject() {
        let endpoint = endpoint(10);
        assert!(!fail(&endpoint, 2, NOW));
        assert!(!endpoint.hold(NOW).unwrap().succeeded());
        assert!(!fail(&endpoint, 2, NOW), "an answer ends a row");
        assert_eq!(endpoint.standing(NOW), Standing::Up);
        let mut late = endpoint.hold(NOW).unwrap();
        assert!(fail(&endpoint, 1, NOW));
        assert_eq!(endpoint.standing(NOW), Standing::Ejected { until: seconds(10) });
        assert!(!late.failed(&OUTLIER, seconds(1)), "it is ejected already");
        assert!(!endpoint.is_open(seconds(9)));
        assert!(endpoint.hold(seconds(9)).is_none());
    }

    #[test]
    fn whoever_comes_back_is_tried_by_one_request_at_a_time() {
        let endpoint = endpoint(10);
        fail(&endpoint, 3, NOW);
        let now = seconds(10);
        assert_eq!(endpoint.standing(now), Standing::Trial);
        let given_up = endpoint.hold(now).unwrap();
        assert!(!endpoint.is_open(now) && endpoint.hold(now).is_none());
        drop(given_up);
        let mut failing = endpoint.hold(now).expect("a trial that ended without a word proves nothing");
        assert!(failing.failed(&OUTLIER, now), "one failure is enough");
        assert!(!endpoint.is_open(seconds(19)));
        let mut trial = endpoint.hold(seconds(20)).unwrap();
        assert!(trial.succeeded());
        assert_eq!(endpoint.standing(seconds(20)), Standing::Up);
        // The request that was the trial may go on for long.
        fail(&endpoint, 3, seconds(20));
        assert!(endpoint.hold(seconds(30)).is_some());
    }

    #[test]
    fn who_was_asked_before_an_ejection_does_not_end_it() {
        let endpoint = endpoint(10);
        let (mut slow, mut slower) = (endpoint.hold(NOW).unwrap(), endpoint.hold(NOW).unwrap());
        fail(&endpoint, 3, NOW);
        let now = seconds(10);
        let _trial = endpoint.hold(now).unwrap();
        assert!(!slow.succeeded());
        assert!(!slower.failed(&OUTLIER, now));
        assert_eq!(endpoint.standing(now), Standing::Trial);
    }

    #[test]
    fn checks_in_a_row_decide_on_health() {
        let path = "/".to_owned();
        let time = Duration::from_secs(1);
        let health = Health { path, interval: time, timeout: time, unhealthy_after: 3, healthy_after: 2 };
        let endpoint = endpoint(10);
        let check =
            |passed: &[bool]| passed.iter().map(|&p| endpoint.checked(p, &health)).collect::<Vec<_>>();
        assert_eq!(check(&[true, false, false, true, false, false]), [false; 6]);
        assert_eq!(check(&[false, false]), [true, false]);
        assert_eq!(endpoint.standing(NOW), Standing::Unhealthy);
        assert!(endpoint.hold(NOW).is_none());
        assert_eq!(check(&[true, false, true, true]), [false, false, false, true]);
        assert_eq!(endpoint.standing(NOW), Standing::Trial);
        assert!(endpoint.hold(NOW).unwrap().succeeded());
        assert_eq!(endpoint.standing(NOW), Standing::Up);
        endpoint.hold(NOW).unwrap().refused(NOW);
        assert!(!endpoint.checked(true, &health));
        assert_eq!(endpoint.standing(NOW), Standing::Up, "a check that passes has connected");
    }

    #[test]
    fn whoever_takes_no_connection_is_left_alone_for_a_moment() {
        let endpoint = endpoint(10);
        let (mut one, mut two) = (endpoint.hold(NOW).unwrap(), endpoint.hold(NOW).unwrap());
        one.refused(NOW);
        two.refused(NOW);
        assert_eq!(endpoint.standing(NOW), Standing::Refusing { until: seconds(1) });
        assert!(!endpoint.is_open(NOW) && endpoint.hold(NOW).is_none());
        assert!(endpoint.hold_although_refusing().is_some(), "it is better than nobody");
        let mut trial = endpoint.hold(seconds(1)).unwrap();
        assert!(!endpoint.is_open(seconds(1)) && endpoint.hold(seconds(1)).is_none(), "one at a time");
        trial.refused(seconds(2));
        drop(trial);
        assert!(endpoint.hold(seconds(2)).is_none());
        let mut trial = endpoint.hold(seconds(3)).unwrap();
        assert!(trial.connected());
        assert_eq!(endpoint.standing(seconds(3)), Standing::Up);
        assert!(!endpoint.hold(seconds(3)).unwrap().connected());
    }

    #[test]
    fn a_connection_that_nobody_hoped_for_ends_the_refusing() {
        let endpoint = endpoint(10);
        endpoint.hold(NOW).unwrap().refused(NOW);
        assert!(!endpoint.hold_although_refusing().unwrap().connected());
        assert_eq!(endpoint.standing(NOW), Standing::Up);
        assert!(endpoint.hold_although_refusing().is_none());
    }

    #[test]
    fn refusing_counts_as_failing_and_does_not_undo_an_ejection() {
        let endpoint = endpoint(10);
        let refuse = |now| {
            let mut hold = endpoint.hold(now).unwrap();
            let ejected = hold.failed(&OUTLIER, now);
            hold.refused(now);
            ejected
        };
        assert_eq!([refuse(NOW), refuse(seconds(1)), refuse(seconds(2))], [false, false, true]);
        assert_eq!(endpoint.standing(NOW), Standing::Ejected { until: seconds(12) });
        assert!(refuse(seconds(12)), "a trial");
        assert_eq!(endpoint.standing(NOW), Standing::Ejected { until: seconds(22) });
        let mut trial = endpoint.hold(seconds(22)).unwrap();
        assert!(!trial.connected(), "it must answer, too");
        assert!(trial.succeeded());
    }
}
