//! A request that an endpoint has, and what its outcome says of the endpoint.

use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::lanes::Lane;
use super::share::Taken;
use super::standing::Standing;
use crate::clock::Timestamp;
use crate::config::Outlier;

/// How long an endpoint that has taken no connection is left alone while there are others.
const PAUSE: Duration = Duration::from_secs(1);

/// A request that an endpoint has, until this is dropped.
#[must_use]
pub struct Hold {
    endpoint: Arc<Endpoint>,
    /// Whether it is to find out how the endpoint does.
    trial: bool,
    /// Its turn to be connected, until it is.
    turn: Option<OwnedSemaphorePermit>,
    /// Which of the HTTP/2 connections carries it, where that is spoken.
    lane: Option<Lane>,
    /// Its part of the process's descriptors, where it has a connection to itself.
    _taken: Option<Taken>,
}

impl Hold {
    /// A request that has been counted.
    pub(super) fn new(endpoint: Arc<Endpoint>, trial: bool) -> Self {
        let taken = endpoint.lanes.is_none().then(Taken::one);
        Self { endpoint, trial, turn: None, lane: None, _taken: taken }
    }

    /// Notes that it has a connection.
    pub(super) fn note_connection(&mut self) {
        self.lane.iter_mut().for_each(Lane::note_connection);
        self.turn = None;
    }

    /// Waits for its turn to be connected, also when it has been before. False if others are being connected for longer than
    /// `patience`. Where HTTP/2 is spoken, the client decides on whose connection it goes.
    ///
    /// A burst of requests after a start has its turns one after the other, within milliseconds. Those that wait for a server
    /// which takes no connections have no socket for it meanwhile.
    pub async fn connect(&mut self, client: impl Hash, patience: Duration) -> bool {
        if let (None, Some(turns)) = (&self.turn, &self.endpoint.turns) {
            self.turn = match turns.clone().try_acquire_owned() {
                Ok(turn) => Some(turn),
                // It is never closed, so the only error is that it takes too long.
                Err(_) => match timeout(patience, turns.clone().acquire_owned()).await {
                    Ok(turn) => turn.ok(),
                    Err(_) => return false,
                },
            };
        }
        self.lane = self.endpoint.lanes.as_ref().map(|lanes| lanes.enter(client));
        true
    }

    /// Notes that its answer has come to its end.
    pub fn note_end(&mut self) {
        self.lane.iter_mut().for_each(Lane::done);
    }

    /// The number of its connection, where there are several.
    pub(super) fn connection_number(&self) -> Option<u64> {
        self.lane.as_ref().map(Lane::number)
    }

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
