//! TLS with the servers of an upstream, in the form that Pingora's connectors take.
//!
//! The trusted authorities are given with each connection. Those of a connector are fixed when it is made, and making it panics where the
//! system has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::Result;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use crate::address::Address;
use crate::tls::{ClientTls, Identity};

/// A file without authorities for connectors, so that they trust none of their own.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// The TLS settings for the servers of an upstream.
pub(super) struct PeerTls {
    authorities: Arc<CaType>,
    server_name: Option<String>,
    verify: bool,
    identity: Option<Arc<CertKey>>,
    /// A number that keeps apart connections which were made with other settings. Pingora does not compare the authorities when it looks
    /// for a connection to use again.
    group: u64,
}

impl PeerTls {
    pub(super) fn new(config: &ClientTls) -> Self {
        static GROUPS: AtomicU64 = AtomicU64::new(1);
        Self {
            authorities: config
                .authorities
                .iter()
                .map(|authority| WrappedX509::new(authority.to_vec(), parse_x509))
                .collect(),
            server_name: config.server_name.clone(),
            verify: config.verify,
            identity: config.identity.as_ref().map(|identity| Arc::new(cert_key(identity))),
            // Relaxed: it only matters that each number is used once.
            group: GROUPS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// A server that is known by the name `host`.
    pub(super) fn peer(&self, address: &Address, host: &str) -> Result<HttpPeer> {
        // Pingora verifies nothing for a peer without a name.
        let name = self.server_name.as_deref().unwrap_or(host);
        let mut peer = peer_at(address, true, name.to_owned())?;
        peer.group_key = self.group;
        peer.client_cert_key = self.identity.clone();
        peer.options.ca = Some(self.authorities.clone());
        peer.options.verify_cert = self.verify;
        peer.options.verify_hostname = self.verify;
        Ok(peer)
    }
}

/// A server at this address with this name, with TLS or without.
///
/// # Errors
/// When a socket cannot have the path. The configuration refuses such paths.
pub(super) fn peer_at(address: &Address, tls: bool, name: String) -> Result<HttpPeer> {
    match address {
        Address::Network(address) => Ok(HttpPeer::new(address, tls, name)),
        Address::Socket(path) => HttpPeer::new_uds(path, tls, name),
    }
}

fn cert_key(identity: &Identity) -> CertKey {
    let chain = identity.chain().iter().map(|certificate| certificate.to_vec()).collect();
    CertKey::new(chain, identity.key().secret_der().to_vec())
}
