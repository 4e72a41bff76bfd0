//! TLS with the servers of an upstream, as Pingora's connectors want to be told of it.
//!
//! Whom to trust is said with each connection: what a connector would trust by itself is fixed when it is made, and
//! reading that makes it panic where a system has nothing to read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::Result;
use pingora::protocols::tls::CaType;
use pingora::upstreams::peer::HttpPeer;
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};

use crate::address::Address;
use crate::tls::{ClientTls, Identity};

/// A file that holds no authorities, for connectors: they trust nobody by themselves.
pub const NO_AUTHORITIES: &str = "/dev/null";

/// How the servers of an upstream are spoken to.
pub(super) struct PeerTls {
    authorities: Arc<CaType>,
    server_name: Option<String>,
    verify: bool,
    identity: Option<Arc<CertKey>>,
    /// Connections that were made in another way are not to be used again here, and their authorities are not
    /// among that by which Pingora tells connections apart.
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
            // Relaxed: only that each is given out once matters.
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

/// A server at this address, spoken to with TLS or in the clear, known by this name.
///
/// # Errors
/// When the path is none that a socket can have. The configuration has none such.
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
