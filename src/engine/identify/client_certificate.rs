//! The certificate that a client has shown: in its handshake, or to a trusted proxy, which says so in `Client-Cert` (RFC 9440).
//!
//! The handshake has verified it, here or at the proxy. So only its names matter. They stand for the credentials, a line each.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proof::{Credentials, Unproven, only_field};
use crate::client_certificate::{CLIENT_CERT, ClientCertificate, only};
use crate::config::ClientCertificates;
use crate::consumer::{Consumer, Consumers};
use crate::engine::Facts;

/// The names of the certificate of a request; `None` if it has none. Fields that are not believed have been taken away.
///
/// # Errors
/// When a proxy says something else than one certificate.
pub(super) fn find<'a>(facts: &'a Facts<'_>) -> Result<Option<Credentials<'a>>, Unproven> {
    let value = only_field(facts.headers, &CLIENT_CERT, "the request has two fields Client-Cert")?;
    let Some(value) = value else {
        return Ok(facts.certificate.map(|certificate| Credentials(certificate.names().as_bytes().into())));
    };
    const MALFORMED: Unproven =
        Unproven::Ambiguous("Client-Cert has no certificate in base64 between colons");
    // A sequence of bytes (RFC 8941, section 3.3.5).
    let value = value.as_bytes().trim_ascii();
    let encoded = value.strip_prefix(b":").and_then(|rest| rest.strip_suffix(b":")).ok_or(MALFORMED)?;
    let der = STANDARD.decode(encoded).map_err(|_| MALFORMED)?;
    let certificate = ClientCertificate::parse(&der).map_err(|_| MALFORMED)?;
    Ok(Some(Credentials(certificate.names().as_bytes().to_vec().into())))
}

/// The consumer that has one of these names.
///
/// # Errors
/// When nobody has, or two have.
pub(super) fn verify(
    settings: ClientCertificates,
    consumers: &Consumers,
    names: &Credentials<'_>,
) -> Result<Arc<Consumer>, Unproven> {
    let names = str::from_utf8(&names.0).unwrap_or_default();
    let mut known = names.lines().filter_map(|name| consumers.with_certificate(name));
    if let Some(first) = known.next() {
        return match known.all(|other| Arc::ptr_eq(first, other)) {
            true => Ok(first.clone()),
            false => Err(Unproven::Wrong("the certificate has names of two consumers")),
        };
    }
    let own = settings.name_from.and_then(|kind| only(names, kind)).filter(|name| Consumer::is_name(name));
    match own {
        Some(name) => Ok(consumers.known_as(name, None)),
        None => Err(Unproven::Wrong("nobody has this certificate")),
    }
}
