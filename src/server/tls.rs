//! TLS on a listener: the handshake, under a deadline.
//!
//! What a client can make it cost is bounded by that deadline and by rustls, which reads at most 64 KiB of a message
//! and shakes hands once a connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use log::info;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::Serving;
use crate::metrics::HandshakeError;
use crate::tls::{Certificates, ServerTls};

/// A line about failed handshakes is logged at most so often: anybody can cause one.
const PAUSE: Duration = Duration::from_secs(60);

/// Shakes hands with clients.
pub(super) struct Acceptor {
    certificates: Arc<Certificates>,
    /// The second in which a failure may be logged again, on the gateway's clock.
    quiet_until: AtomicU64,
}

impl Acceptor {
    /// Shows these certificates.
    pub(super) fn new(certificates: Arc<Certificates>) -> Self {
        Self { certificates, quiet_until: AtomicU64::new(0) }
    }

    /// Shows what another configuration says, from the next connection on.
    ///
    /// # Errors
    /// See [`Certificates::reload`].
    pub(super) fn reload(&self, tls: &ServerTls) -> Result<(), rustls::Error> {
        self.certificates.reload(tls)
    }

    /// Shakes hands within `header_timeout`; `None` if that fails, which is counted.
    pub(super) async fn accept(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        serving: &Serving,
    ) -> Option<TlsStream<TcpStream>> {
        let gateway = &serving.gateway;
        let patience = gateway.live().config.server.header_timeout;
        let acceptor = TlsAcceptor::from(self.certificates.current());
        let kind = match timeout(patience, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => kind(&error),
            Err(_) => HandshakeError::Timeout,
        };
        serving.metrics.count_handshake_error(kind);
        let second = gateway.clock.now().since(gateway.started).as_secs();
        // Relaxed: one line more or less does no harm.
        if second >= self.quiet_until.load(Ordering::Relaxed) {
            self.quiet_until.store(second + PAUSE.as_secs(), Ordering::Relaxed);
            info!(
                "a TLS handshake of {peer} failed: {}; for a minute, others are only counted",
                kind.label()
            );
        }
        None
    }
}

/// Why a handshake failed.
fn kind(error: &io::Error) -> HandshakeError {
    use rustls::Error;
    match error.get_ref().and_then(|error| error.downcast_ref::<Error>()) {
        None => HandshakeError::Closed,
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => {
            HandshakeError::ClientCertificate
        }
        Some(Error::AlertReceived(_)) => HandshakeError::Refused,
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol | Error::General(_)) => {
            HandshakeError::Incompatible
        }
        Some(_) => HandshakeError::Malformed,
    }
}
