//! The metrics of a listener.

use prometheus::{IntCounter, IntGauge};

use super::families::Families;
use crate::config::Listener;

/// Why a TLS handshake failed: the `kind` of `gateway_tls_handshake_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// It took too long.
    Timeout,
    /// The client went away.
    Closed,
    /// The client showed no certificate, or one that nobody vouches for.
    ClientCertificate,
    /// The client did not like what it was shown.
    Refused,
    /// There is no version, suite, kind of key or protocol that both sides know.
    Incompatible,
    /// What the client sent is not TLS.
    Malformed,
}

impl HandshakeError {
    const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Closed,
        Self::ClientCertificate,
        Self::Refused,
        Self::Incompatible,
        Self::Malformed,
    ];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "refused",
            Self::Incompatible => "incompatible",
            Self::Malformed => "malformed",
        }
    }
}

/// Why a connection did not begin as the PROXY protocol has it: the `kind` of `gateway_proxy_protocol_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocolError {
    /// Whoever connected is no trusted proxy.
    Untrusted,
    /// It took too long.
    Timeout,
    /// The proxy went away.
    Closed,
    /// What came is no PROXY header.
    Malformed,
}

impl ProxyProtocolError {
    const ALL: [Self; 4] = [Self::Untrusted, Self::Timeout, Self::Closed, Self::Malformed];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
        }
    }
}

/// The metrics of a listener.
pub struct ListenerMetrics {
    /// `gateway_connections`
    pub connections: IntGauge,
    /// `gateway_connections_refused_total`
    pub refused: IntCounter,
    /// `gateway_connections_displaced_total`
    pub displaced: IntCounter,
    /// `gateway_connections_turned_away_total`
    pub turned_away: IntCounter,
    /// Empty where no TLS is spoken.
    handshake_errors: Vec<IntCounter>,
    /// Empty where the PROXY protocol is not spoken.
    proxy_protocol_errors: Vec<IntCounter>,
}

impl ListenerMetrics {
    /// Those of the listener on this address.
    pub(super) fn new(families: &Families, address: &str, listener: &Listener) -> Self {
        let handshakes = |kind: HandshakeError| {
            families.listeners.handshake_errors.with_label_values(&[address, kind.label()])
        };
        let headers = |kind: ProxyProtocolError| {
            families.listeners.proxy_protocol_errors.with_label_values(&[address, kind.label()])
        };
        let (tls, proxy) = (listener.tls, listener.proxy_protocol);
        Self {
            connections: families.listeners.connections.with_label_values(&[address]),
            refused: families.listeners.connections_refused.with_label_values(&[address]),
            displaced: families.listeners.connections_displaced.with_label_values(&[address]),
            turned_away: families.listeners.connections_turned_away.with_label_values(&[address]),
            handshake_errors: HandshakeError::ALL.into_iter().filter(|_| tls).map(handshakes).collect(),
            proxy_protocol_errors: ProxyProtocolError::ALL
                .into_iter()
                .filter(|_| proxy)
                .map(headers)
                .collect(),
        }
    }

    /// Counts a handshake that failed.
    pub fn count_handshake_error(&self, error: HandshakeError) {
        if let Some(counter) = self.handshake_errors.get(error as usize) {
            counter.inc();
        }
    }

    /// Counts a connection that did not begin as it must.
    pub fn count_proxy_protocol_error(&self, error: ProxyProtocolError) {
        if let Some(counter) = self.proxy_protocol_errors.get(error as usize) {
            counter.inc();
        }
    }
}
