//! Who may connect: a client that has as many connections as it may is turned away before a byte of it is read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::info;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::connection::Serving;
use super::crowd::{Crowd, Place};
use super::quiet::Quiet;
use crate::metrics::ProxyProtocolError;

/// Lets clients in, and knows how many connections each has on all listeners together.
#[derive(Debug, Default)]
pub(super) struct Doorman {
    crowd: Arc<Crowd>,
    crowded: Quiet,
    /// Of the PROXY protocol.
    pub(super) unintroduced: Quiet,
}

/// A connection was let in; it counts as long as this lives, if connections are counted.
#[derive(Debug)]
pub(super) struct Entry {
    _place: Option<Place>,
}

impl Doorman {
    /// Lets in a connection that was accepted, or resets it. Where the PROXY protocol is spoken, only trusted proxies get in.
    pub(super) fn receive(&self, socket: &TcpStream, peer: SocketAddr, serving: &Serving) -> Option<Entry> {
        if serving.proxy_protocol && !serving.gateway.live().trusted_proxies.contains(peer.ip()) {
            reset(socket);
            serving.count_proxy_protocol_error(ProxyProtocolError::Untrusted, peer);
            return None;
        }
        self.admit(socket, peer, serving)
    }

    /// Lets in a connection of this client, or resets it. A trusted proxy may have as many as it likes: they are other
    /// people's.
    pub(super) fn admit(&self, socket: &TcpStream, client: SocketAddr, serving: &Serving) -> Option<Entry> {
        let live = serving.gateway.live();
        let Some(most) = live.config.server.max_connections_per_client else {
            return Some(Entry { _place: None });
        };
        if live.trusted_proxies.contains(client.ip()) {
            return Some(Entry { _place: None });
        }
        let place = self.crowd.enter(client.ip(), most);
        if place.is_none() {
            reset(socket);
            serving.metrics.refused.inc();
            if self.crowded.is_over(&serving.gateway) {
                info!(
                    "{client} has {most} connections, and is refused another; for a minute, others are only counted"
                );
            }
        }
        place.map(|place| Entry { _place: Some(place) })
    }
}

/// Has the connection reset when it is closed: so nothing is kept of it, not even that it was there.
fn reset(socket: &TcpStream) {
    // One that cannot be set closes in the ordinary way.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
