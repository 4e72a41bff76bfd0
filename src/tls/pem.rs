//! Reading PEM files (RFC 7468), and saying in words what is wrong with one.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Flaw;

pub(super) const ONE_CERTIFICATE: &str =
    "a certificate's file has a PEM block that begins with -----BEGIN CERTIFICATE-----";
const ONE_KEY: &str = "a key's file has a PEM block that begins with -----BEGIN PRIVATE KEY-----";

/// The certificates of a file; at least one.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let flaw = |what: &str, remedy| Flaw { what: format!("{path:?} {what}"), remedy };
    match certificates {
        Ok(certificates) if certificates.is_empty() && has_key(&text) => {
            Err(flaw("has a key and no certificate", "perhaps `cert` and `key` stand in each other's place"))
        }
        Ok(certificates) if certificates.is_empty() => Err(flaw("has no certificate", ONE_CERTIFICATE)),
        Ok(certificates) if certificates.iter().all(is_certificate) => Ok(certificates),
        _ => Err(flaw("has a certificate that is damaged", ONE_CERTIFICATE)),
    }
}

/// The private key of a file.
///
/// # Errors
/// When it cannot be read, or has none.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Flaw> {
    let text = read(path)?;
    let flaw = |what: &str, remedy| Flaw { what: format!("{path:?} {what}"), remedy };
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        if has(&text, b"ENCRYPTED") {
            flaw(
                "is encrypted, and nobody would be there to say the passphrase",
                "write it in the clear: openssl pkey -in FILE -out FILE",
            )
        } else if has_key(&text) {
            flaw("has a key that is damaged", ONE_KEY)
        } else if has(&text, b"-----BEGIN CERTIFICATE") {
            flaw("has a certificate and no key", "perhaps `cert` and `key` stand in each other's place")
        } else {
            flaw("has no key", ONE_KEY)
        }
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Flaw> {
    fs::read(path).map_err(|error| Flaw {
        what: format!("{path:?} cannot be read: {error}"),
        remedy: "a relative path starts where the gateway runs",
    })
}

pub(super) fn is_certificate(certificate: &CertificateDer<'static>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(rest, _)| rest.is_empty())
}

fn has_key(text: &[u8]) -> bool {
    has(text, b"PRIVATE KEY-----")
}

fn has(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let chain = |name: &str| read_chain(&file(name)).unwrap_err().what;
        let key = |name: &str| read_key(&file(name)).unwrap_err().what;
        for (said, part) in [
            (chain("missing.pem"), "cannot be read: No such file"),
            (chain("localhost.key"), "has a key and no certificate"),
            (chain("../config/empty.toml"), "has no certificate"),
            (chain("malformed.pem"), "has a certificate that is damaged"),
            (key("missing.key"), "cannot be read: No such file"),
            (key("localhost.pem"), "has a certificate and no key"),
            (key("encrypted.key"), "is encrypted"),
            (key("../config/empty.toml"), "has no key"),
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
