//! The client's side of TLS, and the files of `tests/fixtures/tls`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

/// A file of `tests/fixtures/tls`.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// The setting of `[server]` that has these certificates, in this order.
pub(crate) fn certificates(names: &[&str]) -> String {
    let entry = |name: &&str| {
        format!("{{ cert = {:?}, key = {:?} }}", file(&format!("{name}.pem")), file(&format!("{name}.key")))
    };
    format!("tls.certificates = [{}]", names.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// The certificates of a file.
pub(crate) fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file(&format!("{name}.pem"))).unwrap().map(Result::unwrap).collect()
}

/// The key in a file.
pub(crate) fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).unwrap()
}

/// The authority of the tests.
pub(crate) fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca"));
    roots
}

/// A client that has yet to connect. It trusts the authority of the tests.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    host: &'static str,
    identity: Option<&'static str>,
    protocols: &'static [&'static str],
    version: Option<&'static SupportedProtocolVersion>,
}

impl Client {
    /// One that asks for this host.
    pub(crate) fn new(host: &'static str) -> Self {
        Self { host, identity: None, protocols: &[], version: None }
    }

    /// One that shows a certificate, too.
    pub(crate) fn showing(self, identity: &'static str) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// One that says which protocols it speaks (ALPN).
    pub(crate) fn speaking(self, protocols: &'static [&'static str]) -> Self {
        Self { protocols, ..self }
    }

    /// One that knows this version of TLS only.
    pub(crate) fn of_version(self, version: &'static SupportedProtocolVersion) -> Self {
        Self { version: Some(version), ..self }
    }

    /// How it shakes hands.
    pub(crate) fn config(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(
                &self.version.map_or(vec![&version::TLS13, &version::TLS12], |only| vec![only]),
            )
            .unwrap()
            .with_root_certificates(roots());
        let mut config = match self.identity {
            None => config.with_no_client_auth(),
            Some(name) => config.with_client_auth_cert(chain(name), key(name)).unwrap(),
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// The host it asks for.
    pub(crate) fn host(&self) -> ServerName<'static> {
        self.host.try_into().unwrap()
    }

    pub(super) fn start(&self) -> ClientConnection {
        ClientConnection::new(Arc::new(self.config()), self.host()).unwrap()
    }
}
