//! The limits on clients' connections: a new connection is reset, before a byte of it is read, if its client has as many as it may.
//! When all clients together have as many as they may, the connection that has been idle longest is closed, and if none is idle, the
//! new one is reset.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use socket2::SockRef;

use super::open_connections::{self, OpenConnections, Registration};
use crate::concurrency::{Concurrency, Full, Permit};
use crate::engine::Peer;
use crate::gateway::Gateway;
use crate::log_throttle::LogThrottle;
use crate::metrics::ListenerMetrics;

/// The bits of an IPv6 address that name its network: the first 64.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// Limits the number of connections, of each client and of all, on all listeners together.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    /// The limit on all connections where the configuration has none.
    default_max: usize,
    open: Arc<OpenConnections>,
    log_of_all: LogThrottle,
    by_client: Arc<Concurrency>,
    log_of_clients: LogThrottle,
}

/// A connection that was admitted. It counts as its client's until this is dropped, if connections are counted.
#[derive(Debug)]
pub(super) struct Admitted {
    _permit: Option<Permit>,
}

impl ConnectionLimit {
    /// Admits `default_max` connections of all clients where the configuration does not say.
    pub(super) fn new(default_max: usize) -> Self {
        Self {
            default_max,
            open: Arc::default(),
            log_of_all: LogThrottle::default(),
            by_client: Arc::default(),
            log_of_clients: LogThrottle::default(),
        }
    }

    /// Waits for evicted connections to close: see [`OpenConnections::wait_for_evicted`].
    pub(super) async fn wait_for_evicted(&self) {
        self.open.wait_for_evicted().await;
    }

    /// Registers a connection among all, or resets it.
    pub(super) fn register(
        &self,
        socket: &impl AsFd,
        gateway: &Gateway,
        metrics: &ListenerMetrics,
    ) -> Option<Registration> {
        let most = gateway.active().config().server.max_connections.unwrap_or(self.default_max);
        match self.open.register(most, gateway.clock.now()) {
            Ok((registration, false)) => Some(registration),
            Ok((registration, true)) => {
                metrics.displaced.inc();
                if self.log_of_all.may_log(gateway) {
                    warn!(
                        "there are {most} connections: those that wait longest for a request make room for new ones"
                    );
                }
                Some(registration)
            }
            Err(open_connections::Full) => {
                reset(socket);
                metrics.turned_away.inc();
                if self.log_of_all.may_log(gateway) {
                    warn!("there are {most} connections, all with requests: new ones are refused");
                }
                None
            }
        }
    }

    /// Admits a connection of this client, or resets it. A trusted proxy may have any number, since its connections are those of many
    /// clients. Clients whose address is unknown are counted together as one.
    pub(super) fn admit(
        &self,
        socket: &impl AsFd,
        client: Peer,
        gateway: &Gateway,
        metrics: &ListenerMetrics,
    ) -> Option<Admitted> {
        let active = gateway.active();
        let Some(most) = active.config().server.max_connections_per_client else {
            return Some(Admitted { _permit: None });
        };
        let Peer { address: client, is_unknown } = client;
        if !is_unknown && active.engine.trusts(client.ip()) {
            return Some(Admitted { _permit: None });
        }
        match self.by_client.acquire_below(number(client.ip()), most) {
            Ok((permit, _)) => Some(Admitted { _permit: Some(permit) }),
            Err(Full { .. }) => {
                reset(socket);
                metrics.refused.inc();
                if self.log_of_clients.may_log(gateway) {
                    info!(
                        "{client} has {most} connections, and is refused another; for a minute, others are only counted"
                    );
                }
                None
            }
        }
    }
}

/// Has the kernel reset the connection when it is closed, so that it keeps no state of it.
pub(super) fn reset(socket: &impl AsFd) {
    // If the option cannot be set, the connection closes in the ordinary way.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// The number under which a client is counted: that of its IPv4 address, or of its IPv6 network, of which it has all 2^64 addresses.
fn number(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address) & IPV6_NETWORK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_number_of_connections_and_others_when_they_close() {
        let by_client = Arc::new(Concurrency::default());
        let acquire = |client: &str| by_client.acquire_below(number(client.parse().unwrap()), 2).ok();
        let held = [acquire("192.0.2.1").unwrap(), acquire("::ffff:192.0.2.1").unwrap()];
        assert!(acquire("192.0.2.1").is_none());
        assert!(acquire("192.0.2.2").is_some());
        drop(held);
        assert!(acquire("192.0.2.1").is_some());
        assert_eq!(by_client.clients(), 0, "a client without connections takes no memory");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let by_client = Arc::new(Concurrency::default());
        let acquire = |client: &str| by_client.acquire_below(number(client.parse().unwrap()), 1).ok();
        let _held = acquire("2001:db8::1").unwrap();
        assert!(acquire("2001:db8::ffff:0:0:2").is_none());
        assert!(acquire("2001:db8:0:1::1").is_some());
        // An address that ends in the bits of an IPv4 address is not one.
        let _held = acquire("::c000:201").unwrap();
        assert!(acquire("192.0.2.1").is_some());
    }
}
