//! The endpoint that was chosen for a request, and what the request's outcome says of it.

use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::connection_count::CountedConnection;
use super::endpoint::{Endpoint, is_below};
use super::http2_connections::Http2Stream;
use super::server_health::ServerHealth;
use crate::clock::Timestamp;
use crate::config::Outlier;

/// How long an endpoint that has taken no connection gets no request while there are others.
const PAUSE: Duration = Duration::from_secs(1);

/// The endpoint that was chosen for a request. The request counts as running there until this is dropped.
#[must_use]
pub struct Assignment {
    endpoint: Arc<Endpoint>,
    /// Whether the request is a trial: it finds out whether the endpoint answers again.
    trial: bool,
    /// The permit to connect, until the request has a connection.
    connecting: Option<OwnedSemaphorePermit>,
    /// Its stream on one of the HTTP/2 connections, where HTTP/2 is spoken.
    stream: Option<Http2Stream>,
    /// Its connection, counted among all to upstreams, where HTTP/2 is not spoken.
    _counted: Option<CountedConnection>,
}

impl Endpoint {
    /// Assigns a request to the endpoint, unless it gets none just now.
    pub(super) fn assign(self: &Arc<Self>, now: Timestamp) -> Option<Assignment> {
        let trial = match self.health(now) {
            ServerHealth::Up => false,
            ServerHealth::Refusing { until } if now < until => return None,
            ServerHealth::Trial | ServerHealth::Refusing { .. }
                if !self.trying.swap(true, Ordering::Relaxed) =>
            {
                true
            }
            _ => return None,
        };
        self.count(trial)
    }

    /// Assigns a request to the endpoint although it did not take the last connection.
    pub(super) fn assign_although_refusing(self: &Arc<Self>) -> Option<Assignment> {
        if self.is_refusing() { self.count(false) } else { None }
    }

    fn count(self: &Arc<Self>, trial: bool) -> Option<Assignment> {
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        // The request is counted from here on; dropping the assignment takes it away again.
        let assignment = Assignment::new(self.clone(), trial);
        is_below(running, self.max_running).then_some(assignment)
    }
}

impl Assignment {
    /// Assigns a request that `endpoint` counts already.
    fn new(endpoint: Arc<Endpoint>, trial: bool) -> Self {
        let counted = endpoint.http2.is_none().then(CountedConnection::one);
        Self { endpoint, trial, connecting: None, stream: None, _counted: counted }
    }

    /// Notes that the request has a connection.
    pub(super) fn note_connection(&mut self) {
        self.stream.iter_mut().for_each(Http2Stream::note_connection);
        self.connecting = None;
    }

    /// Waits for a permit to connect, also when the request has been connected before. Returns false if there is none within
    /// `patience`. Where HTTP/2 is spoken, the client decides which connection is used.
    ///
    /// The requests of a burst after a start get their permits within milliseconds. Requests for a server that takes no connections
    /// have no socket while they wait here.
    pub async fn connect(&mut self, client: impl Hash, patience: Duration) -> bool {
        if let (None, Some(connecting)) = (&self.connecting, &self.endpoint.connecting) {
            self.connecting = match connecting.clone().try_acquire_owned() {
                Ok(permit) => Some(permit),
                // The semaphore is never closed, so the only error is that it takes too long.
                Err(_) => match timeout(patience, connecting.clone().acquire_owned()).await {
                    Ok(permit) => permit.ok(),
                    Err(_) => return false,
                },
            };
        }
        self.stream = self.endpoint.http2.as_ref().map(|connections| connections.choose(client));
        true
    }

    /// Notes that the request is being answered.
    pub fn note_answer(&mut self) {
        self.stream.iter_mut().for_each(Http2Stream::note_answer);
    }

    /// Notes that the answer has come to its end.
    pub fn note_end(&mut self) {
        self.stream.iter_mut().for_each(Http2Stream::done);
    }

    /// The number of its connection, where HTTP/2 is spoken.
    pub(super) fn connection_number(&self) -> Option<u64> {
        self.stream.as_ref().map(Http2Stream::number)
    }

    /// Notes that the request was answered. Returns whether that ends a trial.
    pub(super) fn succeeded(&mut self) -> bool {
        // It is written only if it changes, since all threads read it.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        self.trial && self.end_trial(ServerHealth::Up)
    }

    /// Notes that the request failed. Returns whether the endpoint is ejected for that.
    pub(super) fn failed(&mut self, outlier: &Outlier, now: Timestamp) -> bool {
        let ejected = ServerHealth::Ejected { until: now.after(outlier.eject_for) };
        let health = self.health.load();
        if let (true, ServerHealth::Trial | ServerHealth::Ejected { .. }) = (self.trial, health) {
            return self.end_trial(ejected);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures >= outlier.consecutive_failures
            && matches!(health, ServerHealth::Up | ServerHealth::Refusing { .. })
            && self.health.change(health, ejected)
    }

    /// Notes that the endpoint has taken a connection. Returns whether that ends a trial.
    pub(super) fn connected(&mut self) -> bool {
        match self.health.load() {
            ServerHealth::Refusing { .. } if self.trial => self.end_trial(ServerHealth::Up),
            refusing @ ServerHealth::Refusing { .. } => {
                self.health.change(refusing, ServerHealth::Up);
                false
            }
            _ => false,
        }
    }

    /// Notes that the endpoint has taken no connection.
    pub(super) fn refused(&mut self, now: Timestamp) {
        let refusing = ServerHealth::Refusing { until: now.after(PAUSE) };
        match self.health.load() {
            ServerHealth::Trial if self.trial => _ = self.end_trial(refusing),
            from @ (ServerHealth::Up | ServerHealth::Refusing { .. }) => {
                _ = self.health.change(from, refusing);
            }
            ServerHealth::Trial | ServerHealth::Ejected { .. } | ServerHealth::Unhealthy => {}
        }
    }

    /// Ends the trial that this request is. Returns whether that changes the endpoint's health.
    fn end_trial(&mut self, then: ServerHealth) -> bool {
        let changed = match self.health.load() {
            // An endpoint whose time was up when the trial began is stored as ejected still.
            from @ (ServerHealth::Trial | ServerHealth::Refusing { .. } | ServerHealth::Ejected { .. }) => {
                self.health.change(from, then)
            }
            ServerHealth::Up | ServerHealth::Unhealthy => false,
        };
        self.trial = false;
        self.trying.store(false, Ordering::Relaxed);
        changed
    }
}

impl Deref for Assignment {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.endpoint
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.endpoint.running.fetch_sub(1, Ordering::Relaxed);
        if self.trial {
            self.endpoint.trying.store(false, Ordering::Relaxed);
        }
    }
}
