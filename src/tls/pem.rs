//! Reading PEM files (RFC 7468), and saying in words what is wrong with one.

use std::fs;
use std::path::Path;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What is wrong with a file, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: &'static str,
}

pub(super) const ONE_CERTIFICATE: &str =
    "a certificate's file has a PEM block that begins with -----BEGIN CERTIFICATE-----";
/// What a certificate's block begins with.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

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
        Ok(certificates) if certificates.is_empty() && count(&text, BEGIN) == 0 => {
            Err(flaw("has no certificate", ONE_CERTIFICATE))
        }
        // A block that was not read at all, such as one that is indented, is missed.
        Ok(certificates)
            if certificates.iter().all(is_certificate) && count(&text, BEGIN) == certificates.len() =>
        {
            Ok(certificates)
        }
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
    let text = fs::read(path).map_err(|error| Flaw {
        what: format!("{path:?} cannot be read: {error}"),
        remedy: "a relative path starts where the gateway runs",
    })?;
    // As Windows writes text unless told otherwise.
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        let what = format!("{path:?} is text in UTF-16");
        return Err(Flaw { what, remedy: "save it as UTF-8 or ASCII" });
    }
    Ok(without_marks(&text))
}

/// A text without marks of its encoding. Editors write one at the beginning, and files that are put together have them in the middle: a
/// block after one would not be seen, so that a chain would lack its first certificate.
fn without_marks(text: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let mut rest = text;
    let mut without = Vec::with_capacity(text.len());
    while let Some(at) = memchr::memmem::find(rest, MARK) {
        without.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK.len()..];
    }
    without.extend_from_slice(rest);
    without
}

pub(super) fn is_certificate(certificate: &CertificateDer<'static>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(rest, _)| rest.is_empty())
}

fn has_key(text: &[u8]) -> bool {
    has(text, b"PRIVATE KEY-----")
}

fn count(text: &[u8], part: &[u8]) -> usize {
    memchr::memmem::find_iter(text, part).count()
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

    /// A file of these bytes.
    fn with(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn files_from_windows_are_read() {
        let (chain, key) = (
            fs::read_to_string(file("localhost.pem")).unwrap(),
            fs::read_to_string(file("localhost.key")).unwrap(),
        );
        let plain = read_chain(&file("localhost.pem")).unwrap();
        for ends in ["\n", "\r\n"] {
            let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', ends));
            let twice = with((marked(&chain) + &marked(&chain)).as_bytes());
            assert_eq!(read_chain(twice.path()).unwrap(), [plain.clone(), plain.clone()].concat());
            let key = with(marked(&key).as_bytes());
            assert_eq!(read_key(key.path()).unwrap(), read_key(&file("localhost.key")).unwrap());
        }
        let wide: Vec<u8> = chain.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = with(&[&[0xff, 0xfe], &*wide].concat());
        assert!(read_chain(wide.path()).unwrap_err().what.ends_with("is text in UTF-16"));
    }

    #[test]
    fn no_certificate_of_a_file_is_passed_over() {
        let chain = fs::read_to_string(file("localhost.pem")).unwrap();
        let indented = with(format!("{chain}{}", chain.replace("-----BEGIN", "  -----BEGIN")).as_bytes());
        match read_chain(indented.path()) {
            Ok(read) => assert_eq!(read.len(), 2),
            Err(flaw) => assert!(flaw.what.ends_with("has a certificate that is damaged"), "{flaw:?}"),
        }
    }
}
