//! The other side of TLS, as a client and as an upstream, and the files of `tests/fixtures/tls`.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion, version,
};

use super::upstream::RawUpstream;

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

    /// Its side of a handshake.
    pub(crate) fn start(&self) -> ClientConnection {
        ClientConnection::new(Arc::new(self.config()), self.host()).unwrap()
    }
}

/// A server that speaks TLS and shows this certificate. It asks its clients for one if `asks`.
pub(crate) fn server_config(identity: &str, asks: bool, protocols: &[&str]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = match asks {
        false => WebPkiClientVerifier::no_client_auth(),
        true => {
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider.clone()).build().unwrap()
        }
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(chain(identity), key(identity))
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// An upstream that speaks TLS and HTTP/1.1. It answers with the name that it was asked for, and how many certificates
/// its client has shown.
pub(crate) fn upstream(identity: &'static str, asks: bool) -> RawUpstream {
    let config = server_config(identity, asks, &["http/1.1"]);
    RawUpstream::start(move |exchange| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, exchange.socket.try_clone().unwrap());
        let mut head = Vec::new();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            head.push(byte[0]);
            if head.ends_with(b"\r\n\r\n") {
                head.clear();
                let name = stream.conn.server_name().unwrap_or("nobody").to_owned();
                let shown = stream.conn.peer_certificates().map_or(0, <[_]>::len);
                let body = format!("{name} {shown}");
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    })
}

/// An upstream that speaks TLS, answers with these bytes, and closes: as TLS asks for, or by breaking off.
pub(crate) fn upstream_that_closes(identity: &'static str, answer: String, orderly: bool) -> RawUpstream {
    let config = server_config(identity, false, &["http/1.1"]);
    RawUpstream::start(move |exchange| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        let mut stream = StreamOwned::new(connection, exchange.socket.try_clone().unwrap());
        let mut head = [0; 1024];
        if stream.read(&mut head).is_ok() && stream.write_all(answer.as_bytes()).is_ok() && orderly {
            stream.conn.send_close_notify();
            // The gateway may be gone.
            let _ = stream.flush();
        }
    })
}
