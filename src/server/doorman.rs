//! Who may connect: a client that has as many connections as it may is turned away before a byte of it is read. When there are
//! as many as there may be of all clients together, whoever waits longest for a request makes room, and if nobody waits, the new
//! one is turned away.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use socket2::SockRef;

use super::connection::Serving;
use super::room::{self, Room, Seat};
use crate::crowd::{Crowd, Full, Slot};
use crate::metrics::ProxyProtocolError;
use crate::proxy::connection::Peer;
use crate::quiet::Quiet;

/// What is left of an IPv6 address: its first 64 bits.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// Lets clients in, and knows how many connections each has on all listeners together.
#[derive(Debug)]
pub(super) struct Doorman {
    /// So many connections may there be of all clients, where the configuration does not say.
    most: usize,
    room: Arc<Room>,
    full: Quiet,
    crowd: Arc<Crowd>,
    crowded: Quiet,
    /// Of the PROXY protocol.
    pub(super) unintroduced: Quiet,
}

/// A connection was let in; it counts as long as this lives, if connections are counted.
#[derive(Debug)]
pub(super) struct Entry {
    _place: Option<Slot>,
}

impl Doorman {
    /// One that lets in so many connections where the configuration does not say.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            room: Arc::default(),
            full: Quiet::default(),
            crowd: Arc::default(),
            crowded: Quiet::default(),
            unintroduced: Quiet::default(),
        }
    }

    /// Lets in a connection that was accepted, or resets it. Where the PROXY protocol is spoken, only trusted proxies get in.
    pub(super) fn receive(
        &self,
        socket: &impl AsFd,
        peer: SocketAddr,
        serving: &Serving,
    ) -> Option<(Entry, Seat)> {
        if serving.proxy_protocol && !serving.gateway.live().trusted_proxies.contains(peer.ip()) {
            reset(socket);
            serving.count_proxy_protocol_error(ProxyProtocolError::Untrusted, peer);
            return None;
        }
        let entry = self.admit(socket, Peer::at(peer), serving)?;
        Some((entry, self.seat(socket, serving)?))
    }

    /// Waits until those have closed who have made room: see [`Room::settle`].
    pub(super) async fn settle(&self) {
        self.room.settle().await;
    }

    /// A place among all connections, or none.
    fn seat(&self, socket: &impl AsFd, serving: &Serving) -> Option<Seat> {
        let most = serving.gateway.live().config.server.max_connections.unwrap_or(self.most);
        match self.room.enter(most, serving.gateway.clock.now()) {
            Ok((seat, false)) => Some(seat),
            Ok((seat, true)) => {
                serving.metrics.displaced.inc();
                if self.full.is_over(&serving.gateway) {
                    warn!(
                        "there are {most} connections: those that wait longest for a request make room for new ones"
                    );
                }
                Some(seat)
            }
            Err(room::Full) => {
                reset(socket);
                serving.metrics.turned_away.inc();
                if self.full.is_over(&serving.gateway) {
                    warn!("there are {most} connections, all with requests: new ones are refused");
                }
                None
            }
        }
    }

    /// Lets in a connection of this client, or resets it. A trusted proxy may have as many as it likes: they are other
    /// people's. Those whom one cannot name share what a client may have: else nobody would count them.
    pub(super) fn admit(&self, socket: &impl AsFd, client: Peer, serving: &Serving) -> Option<Entry> {
        let live = serving.gateway.live();
        let Some(most) = live.config.server.max_connections_per_client else {
            return Some(Entry { _place: None });
        };
        let Peer { address: client, is_unknown } = client;
        if !is_unknown && live.trusted_proxies.contains(client.ip()) {
            return Some(Entry { _place: None });
        }
        match self.crowd.enter_below(number(client.ip()), most) {
            Ok((place, _)) => Some(Entry { _place: Some(place) }),
            Err(Full { .. }) => {
                reset(socket);
                serving.metrics.refused.inc();
                if self.crowded.is_over(&serving.gateway) {
                    info!(
                        "{client} has {most} connections, and is refused another; for a minute, others are only counted"
                    );
                }
                None
            }
        }
    }
}

/// Has the connection reset when it is closed: so nothing is kept of it, not even that it was there.
fn reset(socket: &impl AsFd) {
    // One that cannot be set closes in the ordinary way.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// A client's number: of its IPv4 address, or of its network of IPv6, since whoever has one address there has 2^64.
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
    fn a_client_has_so_many_places_and_gets_them_back() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter_below(number(client.parse().unwrap()), 2).ok();
        let held = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        assert_eq!(crowd.clients(), 0, "nobody who has left is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter_below(number(client.parse().unwrap()), 1).ok();
        let _held = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:0:0:2").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        // An address that ends in the bits of an IPv4 address is not one.
        let _held = enter("::c000:201").unwrap();
        assert!(enter("192.0.2.1").is_some());
    }
}
