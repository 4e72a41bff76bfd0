//! Certificates and keys: read from files, checked against each other, and chosen by the name that a client asks for.
//!
//! They are read when the configuration is, so that what is wrong with them is told like any other mistake in it.
//! Nothing here opens a connection.

mod authorities;
mod choice;
mod pem;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use self::choice::ByName;

pub use self::authorities::{Authorities, read_authorities, system_authorities};
pub use self::pem::{Flaw, read_chain, read_key};

/// A certificate with those that vouch for it, and its private key.
#[derive(Clone)]
pub struct Identity {
    path: PathBuf,
    certified: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
    names: Vec<String>,
    expires: i64,
}

/// What a listener shows its clients, and what it asks of them.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificates; at least one. The first is for clients that name no host, or one that no certificate names.
    pub identities: Vec<Identity>,
    /// Who may vouch for clients, at least one; `None` asks them for no certificate.
    pub client_authorities: Option<Authorities>,
    /// Whether a client may show none.
    pub strangers: bool,
}

/// How the servers of an upstream are spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientTls {
    /// Who may vouch for a server; at least one.
    pub authorities: Authorities,
    /// The name that a server's certificate must have; `None` is the host by which it is known.
    pub server_name: Option<String>,
    /// Whether a server must show a certificate that is right.
    pub verify: bool,
    /// What the gateway shows of itself.
    pub identity: Option<Identity>,
}

impl fmt::Debug for ClientTls {
    /// Without the authorities, of whom there may be hundreds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .field("verify", &self.verify)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// How a gateway shakes hands with its clients: one value, which is exchanged as a whole. A connection keeps that
/// with which it began.
pub struct Certificates(ArcSwap<ServerConfig>);

impl Certificates {
    /// What this configuration says.
    ///
    /// # Errors
    /// See [`ServerTls::server_config`].
    pub fn new(tls: &ServerTls) -> Result<Self, rustls::Error> {
        Ok(Self(ArcSwap::from_pointee(tls.server_config()?)))
    }

    /// What another configuration says, from now on.
    ///
    /// # Errors
    /// As for [`new`](Self::new); nothing changes then.
    pub fn reload(&self, tls: &ServerTls) -> Result<(), rustls::Error> {
        self.0.store(Arc::new(tls.server_config()?));
        Ok(())
    }

    /// What is said now.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

impl Identity {
    /// A chain, its own certificate first, and the key that belongs to it.
    ///
    /// # Errors
    /// When the key belongs to another certificate, or is of a kind that is not supported.
    pub fn new(
        path: &Path,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, Flaw> {
        let unreadable = || Flaw { what: "it cannot be read".to_owned(), remedy: pem::ONE_CERTIFICATE };
        let leaf = chain.first().ok_or_else(unreadable)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let names = dns_names(&parsed);
        let expires = parsed.validity().not_after.timestamp();
        let unsupported = || Flaw {
            what: "this key is of a kind that is not supported".to_owned(),
            remedy: "use ECDSA with P-256 or P-384, Ed25519, or RSA with 2048 bits or more",
        };
        // Pingora is given the bytes alone, and must be able to tell what they are.
        PrivateKeyDer::try_from(key.secret_der()).map_err(|_| unsupported())?;
        let certified =
            CertifiedKey::from_der(chain, key.clone_key(), &provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => Flaw {
                    what: format!("this key does not belong to the certificate {path:?}"),
                    remedy: "a certificate's file begins with its own certificate, and goes on with those that vouch for it",
                },
                _ => unsupported(),
            })?;
        Ok(Self { path: path.to_owned(), certified: Arc::new(certified), key: Arc::new(key), names, expires })
    }

    /// The file of the certificate.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificate, and those that vouch for it.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The names of hosts that the certificate is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// When the certificate expires, in seconds since 1970.
    pub fn expires(&self) -> i64 {
        self.expires
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.chain() == other.chain() && self.key == other.key
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    /// Without the key, which belongs in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("path", &self.path)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl ServerTls {
    /// How to speak TLS to clients: versions 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    ///
    /// # Errors
    /// When the system gives no randomness, or the authorities cannot vouch for anybody.
    pub fn server_config(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = provider();
        let clients = match &self.client_authorities {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(authorities) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(authorities.iter().cloned());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                let verifier = if self.strangers { verifier.allow_unauthenticated() } else { verifier };
                verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?
            }
        };
        let names = self.identities.iter().map(|identity| (identity.names.as_slice(), &identity.certified));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(ByName::new(names)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Sessions are resumed without a store that workers would share.
        config.ticketer = ring::Ticketer::new()?;
        Ok(config)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The names of hosts that a certificate is for, in lower case.
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file of the certificates that tests use.
    pub(crate) fn file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
    }

    pub(crate) fn identity(name: &str) -> Identity {
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        Identity::new(&certificate, read_chain(&certificate).unwrap(), read_key(&key).unwrap()).unwrap()
    }

    #[test]
    fn an_identity_knows_its_names_and_when_it_expires() {
        let example = identity("example");
        assert_eq!(example.names, ["a.example", "*.wild.example"]);
        assert!(example.expires() > 4_000_000_000);
        assert!(identity("expired").expires() < example.expires());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (chain, key) = (read_chain(&file("localhost.pem")), read_key(&file("example.key")));
        let flaw = Identity::new(Path::new("a.pem"), chain.unwrap(), key.unwrap()).unwrap_err();
        assert_eq!(flaw.what, "this key does not belong to the certificate \"a.pem\"");
    }

    #[test]
    fn a_key_is_not_in_debug_output() {
        let shown = format!("{:?}", identity("client"));
        assert!(shown.starts_with("Identity { path: ") && shown.len() < 200, "{shown}");
    }

    #[test]
    fn certificates_are_exchanged_as_a_whole() {
        let tls = ServerTls {
            identities: vec![identity("localhost")],
            client_authorities: Some(read_authorities(&file("ca.pem")).unwrap()),
            strangers: false,
        };
        let certificates = Certificates::new(&tls).unwrap();
        let before = certificates.current();
        assert_eq!(before.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        certificates.reload(&tls).unwrap();
        assert!(!Arc::ptr_eq(&before, &certificates.current()));
    }
}
