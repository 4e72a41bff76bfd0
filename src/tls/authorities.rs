//! Who may vouch for others: the authorities of a file, or of the system.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::pem::{Flaw, ONE_CERTIFICATE, is_certificate, read_chain};

/// Certificates of those who vouch for others.
pub type Authorities = Arc<[CertificateDer<'static>]>;

/// The authorities of a file.
///
/// # Errors
/// When the file cannot be read, or one of its certificates cannot be an authority's.
pub fn read_authorities(path: &Path) -> Result<Authorities, Flaw> {
    let certificates = read_chain(path)?;
    if certificates.iter().all(is_authority) {
        return Ok(certificates.into());
    }
    Err(Flaw {
        what: format!("{path:?} has a certificate that cannot be an authority's"),
        remedy: ONE_CERTIFICATE,
    })
}

/// The authorities that the system trusts, as far as they can be used.
///
/// # Errors
/// When there are none.
pub fn system_authorities() -> Result<Authorities, Flaw> {
    let flaw = |what: String| Flaw {
        what,
        remedy: "install them (ca-certificates), or name a file of authorities with `ca`",
    };
    let found = rustls_native_certs::load_native_certs()
        .map_err(|error| flaw(format!("the system's certificate authorities cannot be read: {error}")))?;
    let usable: Authorities = found.into_iter().filter(is_authority).collect();
    match usable.is_empty() {
        true => Err(flaw("the system has no certificate authorities".to_owned())),
        false => Ok(usable),
    }
}

fn is_authority(certificate: &CertificateDer<'static>) -> bool {
    is_certificate(certificate) && RootCertStore::empty().add(certificate.clone()).is_ok()
}
