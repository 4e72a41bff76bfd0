//! Which certificate a client is shown: by the name of the host that it asks for (SNI, RFC 6066, section 3).

use std::collections::HashMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Certificates by the names in them. A name beats a wildcard; of two certificates with one name the first is taken
/// whose kind of key the client understands.
#[derive(Debug)]
pub(super) struct ByName {
    /// In the order of the configuration.
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<usize>>,
    /// Below these names, by one label.
    wildcards: HashMap<String, Vec<usize>>,
}

impl ByName {
    pub(super) fn new<'a>(identities: impl Iterator<Item = (&'a [String], &'a Arc<CertifiedKey>)>) -> Self {
        let mut by_name = Self { all: Vec::new(), exact: HashMap::new(), wildcards: HashMap::new() };
        for (index, (names, certified)) in identities.enumerate() {
            by_name.all.push(certified.clone());
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcards, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_default().push(index);
            }
        }
        by_name
    }

    /// The certificate for a name in lower case, or for a client that gives none.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let usable = |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(schemes).is_some();
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = name.and_then(|name| self.wildcards.get(name.split_once('.')?.1));
        let named = exact.into_iter().chain(wildcard).flatten().filter_map(|&index| self.all.get(index));
        named.chain(&self.all).find(usable)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has put the name into lower case.
        self.find(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::identity;
    use super::*;

    #[test]
    fn a_name_beats_a_wildcard_beats_the_first() {
        let all = [identity("localhost"), identity("example")];
        let mut names = [all[0].names.clone(), all[1].names.clone()];
        names[0].push("b.wild.example".to_owned());
        let by_name = ByName::new(names.iter().map(Vec::as_slice).zip(all.iter().map(|i| &i.certified)));
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        for (name, index) in [
            (Some("localhost"), 0),
            (Some("a.example"), 1),
            (Some("x.wild.example"), 1),
            (Some("b.wild.example"), 0),
            (Some("wild.example"), 0),
            (Some("x.y.wild.example"), 0),
            (Some("other"), 0),
            (None, 0),
        ] {
            let found = by_name.find(name, &schemes).unwrap();
            assert!(Arc::ptr_eq(found, &by_name.all[index]), "{name:?}");
        }
        assert!(by_name.find(Some("localhost"), &[SignatureScheme::RSA_PSS_SHA256]).is_none());
    }
}
