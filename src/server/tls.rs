//! TLS on a listener: the handshake, under a deadline.
//!
//! Its cost is bounded by that deadline and by rustls, which reads at most 64 KiB of a message and allows one handshake for each
//! connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use log::{info, warn};
use pingora::server::ShutdownWatch;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::drain::until_draining;
use super::tcp::Tcp;
use crate::clock::wall_clock;
use crate::gateway::Gateway;
use crate::log_throttle::LogThrottle;
use crate::metrics::{HandshakeError, ListenerMetrics, Metrics};
use crate::tls::{Certificates, ServerTls};

/// How long a handshake that has begun may still take when the listener drains.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Makes TLS handshakes with clients.
pub(super) struct Acceptor {
    certificates: Arc<Certificates>,
    log_throttle: LogThrottle,
}

impl Acceptor {
    /// Shows the certificates of this configuration, and tells of them in the metrics and the log.
    ///
    /// # Errors
    /// See [`Certificates::new`].
    pub(super) fn new(tls: &ServerTls, metrics: &Metrics) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Certificates::new(tls)?);
        tell_of(tls, metrics);
        Ok(Self { certificates, log_throttle: LogThrottle::default() })
    }

    /// Shows the certificates of another configuration from the next connection on, and tells of them.
    ///
    /// # Errors
    /// See [`Certificates::reload`].
    pub(super) fn reload(&self, tls: &ServerTls, metrics: &Metrics) -> Result<(), rustls::Error> {
        self.certificates.reload(tls)?;
        tell_of(tls, metrics);
        Ok(())
    }

    /// Makes a handshake within `header_timeout`, unless `draining` says that the listener drains. A failure is counted.
    pub(super) async fn accept(
        &self,
        socket: Tcp,
        peer: SocketAddr,
        gateway: &Gateway,
        metrics: &ListenerMetrics,
        draining: ShutdownWatch,
    ) -> Shaken {
        let patience = gateway.active().config().server.header_timeout;
        let acceptor = TlsAcceptor::from(self.certificates.current());
        let drained = async {
            until_draining(draining).await;
            sleep(LAST_CALL).await;
        };
        let mut plain = None;
        let shaking = async {
            // A TLS message never begins with a letter, and an HTTP request always does.
            if socket.first_byte().await?.is_ascii_uppercase() {
                plain = Some(socket);
                return Ok(None);
            }
            acceptor.accept(socket).await.map(Some)
        };
        let kind = tokio::select! {
            biased;
            shaken = shaking => match shaken {
                Ok(Some(stream)) => return Shaken::Hands(Box::new(stream)),
                Ok(None) => HandshakeError::Malformed,
                Err(error) => kind(&error),
            },
            () = sleep(patience) => HandshakeError::Timeout,
            () = drained => return Shaken::Nothing,
        };
        metrics.count_handshake_error(kind);
        if self.log_throttle.may_log(gateway) {
            info!(
                "a TLS handshake of {peer} failed: {}; for a minute, others are only counted",
                kind.label()
            );
        }
        plain.map_or(Shaken::Nothing, Shaken::PlainHttp)
    }
}

/// The result of a handshake.
pub(super) enum Shaken {
    /// The connection is encrypted.
    Hands(Box<TlsStream<Tcp>>),
    /// The client speaks HTTP without TLS.
    PlainHttp(Tcp),
    /// The handshake has failed, and cannot be answered.
    Nothing,
}

/// Shows when the certificates expire in the metrics, and logs those that have expired.
fn tell_of(tls: &ServerTls, metrics: &Metrics) {
    metrics.show_certificates(&tls.identities);
    let now = wall_clock().as_second();
    for identity in tls.identities.iter().filter(|identity| identity.expires() < now) {
        warn!("the certificate {} has expired: clients will refuse it", identity.path().display());
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
