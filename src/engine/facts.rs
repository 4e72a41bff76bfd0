//! What a request says of itself, and which client it is attributed to.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, Method, Version};

use super::{Engine, Reply};
use crate::client::{ClientId, Misnamed, Statement};
use crate::client_certificate::{self, ClientCertificate};
use crate::config::Auth;
use crate::field_names::{self, Names, folds_alike};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of the client, or of the proxy that speaks for a client.
    pub address: SocketAddr,
    /// The address is that of a proxy that speaks for a client which it cannot name.
    pub is_unknown: bool,
}

impl Peer {
    /// The peer at this address.
    pub fn at(address: SocketAddr) -> Self {
        Self { address, is_unknown: false }
    }

    /// A client that the proxy at this address cannot name.
    pub fn unknown_behind(proxy: SocketAddr) -> Self {
        Self { address: proxy, is_unknown: true }
    }
}

/// The client that a request is attributed to, by its connection and, through trusted proxies, by its fields.
#[derive(Clone, Debug)]
pub struct Sender {
    client: ClientId,
    fault: Option<Misnamed>,
    peer_is_trusted: bool,
}

impl Sender {
    /// The client.
    ///
    /// # Errors
    /// When the fields of a trusted proxy name two different clients, or none where they must: the request is refused.
    pub fn client(&self) -> Result<&ClientId, Reply> {
        let detail = match self.fault {
            None => return Ok(&self.client),
            Some(Misnamed::Conflict) => "X-Forwarded-For and Forwarded name different clients",
            Some(Misnamed::Twice) => "the field that names the client is there twice",
            Some(Misnamed::NoAddress) => "the field that names the client has no address",
        };
        Err(Reply::bad_request(detail))
    }

    /// The client as logs name it. Where the fields name two clients, or not one, it is the proxy that sent them.
    pub fn shown(&self) -> &ClientId {
        &self.client
    }

    /// [`shown`](Self::shown), for the record of the exchange.
    pub fn into_shown(self) -> ClientId {
        self.client
    }

    /// Whether the peer is a trusted proxy, whose statements on behalf of clients are believed.
    pub fn peer_is_trusted(&self) -> bool {
        self.peer_is_trusted
    }
}

/// What a request says of itself. Fields that are not sent on have been taken away by the door, so that nothing is decided by
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The client that the request is attributed to.
    pub client: &'a ClientId,
    /// The method.
    pub method: &'a Method,
    /// The version of HTTP that the client speaks.
    pub version: Version,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
    /// Path and query, as the client sent them.
    pub target: &'a [u8],
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The certificate that the client itself has shown in its handshake: see [`Engine::own_certificate`].
    pub certificate: Option<&'a ClientCertificate>,
}

/// The fields of a request that are taken away before anything is decided.
#[derive(Debug, Default)]
pub struct Stripped {
    /// Fields that concern one connection, statements of a peer that is not trusted, and those that the gateway alone makes.
    pub not_forwarded: Names,
    /// Fields whose names some servers take for another field.
    pub dropped: Names,
}

impl Engine {
    /// Whether a peer at this address is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.contains(peer)
    }

    /// Attributes a request with these fields, which came from this peer, to a client.
    pub fn sender(&self, peer: Peer, headers: &HeaderMap) -> Sender {
        let address = peer.address.ip();
        if peer.is_unknown {
            let client = ClientId::unknown_behind(address);
            return Sender { client, fault: None, peer_is_trusted: false };
        }
        let peer_is_trusted = self.trusts(address);
        match self.trusted_proxies.client(address, headers) {
            Ok(client) => Sender { client, fault: None, peer_is_trusted },
            Err(fault) => Sender {
                client: ClientId::Address(address.to_canonical()),
                fault: Some(fault),
                peer_is_trusted,
            },
        }
    }

    /// What the fields of a request name as those before its peer.
    pub fn statements(&self, headers: &HeaderMap) -> Vec<Statement> {
        self.trusted_proxies.statements(headers)
    }

    /// Whether servers take a field of this name for the one in which trusted proxies name the client.
    pub fn names_the_client(&self, name: &HeaderName) -> bool {
        self.config.server.client_ip_header.as_ref().is_some_and(|field| folds_alike(name, field))
    }

    /// Whether only the gateway itself says what is in a field of this name.
    pub fn is_own_statement(&self, name: &HeaderName) -> bool {
        let of = |auth: &Auth| {
            let of_service = auth.forward.iter().flat_map(|forward| &forward.response_headers);
            let own = [&auth.consumer_header, &auth.plan_header].into_iter();
            own.chain(of_service).any(|own| folds_alike(name, own))
        };
        self.config.auth.as_ref().is_some_and(of)
    }

    /// The certificate of a client, where the one with which its connection began is this. That of a trusted proxy which says what its clients
    /// have shown is none of theirs.
    pub fn own_certificate<'a>(
        &self,
        sender: &Sender,
        shown: Option<&'a ClientCertificate>,
    ) -> Option<&'a ClientCertificate> {
        let from_proxy = self.config.auth.as_ref().is_some_and(|auth| auth.client_certificate.from_proxy);
        shown.filter(|_| !(from_proxy && sender.peer_is_trusted))
    }

    /// Whether servers take a field of this name for one in which a proxy says what a client has shown.
    pub fn is_about_a_certificate(&self, name: &HeaderName) -> bool {
        self.config.auth.is_some() && client_certificate::FIELDS.iter().any(|field| folds_alike(name, field))
    }

    /// The fields by which a trusted proxy says what a client has shown, which do not go upstream.
    pub fn certificate_fields(&self) -> &'static [HeaderName] {
        match &self.config.auth {
            Some(auth) if auth.client_certificate.from_proxy => &client_certificate::FIELDS,
            _ => &[],
        }
    }

    /// The fields that a door takes away before it makes the facts of a request.
    ///
    /// # Errors
    /// When `Connection` names a field by which the request is read or counted. The end of such a request is as doubtful as its
    /// fields, so its connection should be closed.
    pub fn stripped(&self, sender: &Sender, headers: &HeaderMap) -> Result<Stripped, Reply> {
        let mut not_forwarded = field_names::named_in_connection(headers).map_err(Reply::bad_request)?;
        if not_forwarded.iter().any(|name| self.names_the_client(name)) {
            return Err(Reply::bad_request(
                "the Connection field names a field that is not the connection's",
            ));
        }
        if !sender.peer_is_trusted {
            not_forwarded.extend(field_names::claims(headers));
            not_forwarded.extend(headers.keys().filter(|name| self.names_the_client(name)).cloned());
        }
        if let Some(auth) = &self.config.auth {
            // Only the gateway itself says who the consumer is, also where it asks nobody.
            not_forwarded.extend(headers.keys().filter(|name| self.is_own_statement(name)).cloned());
            // A certificate that somebody says to have seen. Only a trusted proxy is believed, and only in this spelling.
            let believed = auth.client_certificate.from_proxy && sender.peer_is_trusted;
            let is_believed = |name: &&HeaderName| believed && client_certificate::FIELDS.contains(name);
            let certificates = headers.keys().filter(|name| self.is_about_a_certificate(name));
            not_forwarded.extend(certificates.filter(|name| !is_believed(name)).cloned());
        }
        Ok(Stripped { not_forwarded, dropped: self.field_names.dropped(headers) })
    }
}
