//! One address of a server, and the requests that it has just now.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use siphasher::sip::SipHasher13;

use crate::config::UpstreamServer;

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
}

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
        }
    }

    /// The requests that it has just now.
    pub fn running(&self) -> usize {
        // Relaxed, here and below: the number orders nothing, and is exact all the same.
        self.running.load(Ordering::Relaxed)
    }

    /// Whether it may have another request.
    pub(super) fn has_room(&self) -> bool {
        self.running() < self.max_running
    }

    /// Gives it a request, unless it has as many as it may.
    pub(super) fn hold(self: &Arc<Self>) -> Option<Hold> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        // From here on the request counts; if it must not, dropping this takes it away again.
        let hold = Hold(self.clone());
        (before < self.max_running).then_some(hold)
    }
}

/// A request that an endpoint has, until this is dropped.
#[must_use]
pub struct Hold(Arc<Endpoint>);

impl Deref for Hold {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(max_running: usize) -> Arc<Endpoint> {
        let address = SocketAddr::from(([192, 0, 2, 1], 80));
        Arc::new(Endpoint::new(0, &UpstreamServer::at(address), address, Some(max_running)))
    }

    #[test]
    fn an_endpoint_has_no_more_requests_than_it_may() {
        let endpoint = endpoint(2);
        let (one, two) = (endpoint.hold().unwrap(), endpoint.hold().unwrap());
        assert!(!endpoint.has_room());
        assert!(endpoint.hold().is_none());
        assert_eq!(endpoint.running(), 2);
        drop(one);
        assert!(endpoint.hold().is_some(), "the place of a request that has ended is free");
        drop(two);
        assert_eq!(endpoint.running(), 0);
    }

    #[test]
    fn threads_that_race_for_the_last_place_never_share_it() {
        let endpoint = endpoint(3);
        let inside = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        if let Some(hold) = endpoint.hold() {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(hold);
                        }
                    }
                });
            }
        });
        assert_eq!(endpoint.running(), 0);
    }
}
