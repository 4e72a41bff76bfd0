//! What a client's certificate says of its owner (RFC 5280): names, in one form, by which consumers are found.
//!
//! A name is a text with its kind before it: `uri:spiffe://example.org/alice`, `dns:alice.example.org`, `email:alice@example.org`, or
//! `subject:CN=alice,O=Example`. Two names are the same if these texts are. Nothing here verifies a certificate.

use http::HeaderName;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate, X509Name};

/// The field in which a proxy says which certificate a client has shown to it (RFC 9440).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Both fields of that kind: the other one has those who vouch for the certificate.
pub static FIELDS: [HeaderName; 2] = [CLIENT_CERT, HeaderName::from_static("client-cert-chain")];

/// The attributes that a subject may have, with their identifiers (RFC 4519; the last one: RFC 2985).
const ATTRIBUTES: [(&str, &str); 10] = [
    ("CN", "2.5.4.3"),
    ("serialNumber", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("emailAddress", "1.2.840.113549.1.9.1"),
];

/// The kind of a name that a consumer may have as its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// A URI among the alternative names, such as a SPIFFE ID.
    Uri,
    /// A host among the alternative names.
    Dns,
    /// A mail address among the alternative names.
    Email,
    /// The common name of the subject.
    CommonName,
}

/// The names of a certificate's owner, a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    names: String,
}

/// A text that is no certificate, or no name of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl NameKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Uri => "uri:",
            Self::Dns => "dns:",
            Self::Email => "email:",
            Self::CommonName => "cn:",
        }
    }
}

impl ClientCertificate {
    /// Reads a certificate, in DER. Names that cannot be told apart for certain are left out: with control characters, wildcards, and
    /// subjects with attributes that are not known here.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(der: &[u8]) -> Result<Self, Malformed> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Malformed)?;
        if !rest.is_empty() {
            return Err(Malformed);
        }
        let alternative = certificate.subject_alternative_name().map_err(|_| Malformed)?;
        let alternative = alternative.iter().flat_map(|extension| &extension.value.general_names);
        let alternative = alternative.filter_map(|name| match name {
            GeneralName::URI(uri) => Some(format!("uri:{uri}")),
            GeneralName::DNSName(host) => dns(host),
            GeneralName::RFC822Name(address) => email(address),
            _ => None,
        });
        let subject = certificate.subject();
        let common =
            subject.iter_common_name().filter_map(|name| Some(format!("cn:{}", name.as_str().ok()?)));
        let mut names = String::new();
        for name in alternative.chain(subject_of(subject)).chain(common) {
            if !name.contains(|c: char| c.is_control()) {
                names.push_str(&name);
                names.push('\n');
            }
        }
        Ok(Self { names })
    }

    /// The names, a line each.
    pub fn names(&self) -> &str {
        &self.names
    }
}

/// A name that a configuration has, in the form in which certificates have it.
///
/// # Errors
/// When it is none.
pub fn name(text: &str) -> Result<String, Malformed> {
    let name = match text.split_once(':') {
        _ if text.contains(|c: char| c.is_control()) => None,
        Some(("dns", host)) => dns(host),
        Some(("email", address)) => email(address),
        Some(("subject", subject)) => subject_from(subject),
        Some(("uri", uri)) if uri.contains(':') => Some(text.to_owned()),
        Some((scheme, rest)) if !scheme.is_empty() && rest.starts_with("//") => Some(format!("uri:{text}")),
        _ => None,
    };
    name.ok_or(Malformed)
}

/// The name of this kind among `names`, a line each; `None` if there is none, or more than one.
pub fn only(names: &str, kind: NameKind) -> Option<&str> {
    let mut found = names.lines().filter_map(|name| name.strip_prefix(kind.prefix()));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// A host, which is the same in any case.
fn dns(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && !host.contains('*')).then(|| format!("dns:{}", host.to_ascii_lowercase()))
}

/// A mail address. Its host is the same in any case.
fn email(address: &str) -> Option<String> {
    let (mailbox, host) = address.rsplit_once('@')?;
    (!mailbox.is_empty() && !host.is_empty())
        .then(|| format!("email:{mailbox}@{}", host.to_ascii_lowercase()))
}

/// The subject of a certificate.
fn subject_of(subject: &X509Name<'_>) -> Option<String> {
    let attribute = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let identifier = attribute.attr_type().to_id_string();
        let (name, _) = ATTRIBUTES.iter().find(|(_, known)| *known == identifier)?;
        Some((*name, attribute.as_str().ok()?.to_owned()))
    };
    canonical(subject.iter_attributes().map(attribute).collect::<Option<Vec<_>>>()?)
}

/// A subject as a configuration has it: `CN=alice,O=Example`, with `\` before a comma that belongs to a value.
fn subject_from(text: &str) -> Option<String> {
    let mut attributes = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ',' => attributes.push(String::new()),
            '\\' => attributes.last_mut()?.push(chars.next()?),
            c => attributes.last_mut()?.push(c),
        }
    }
    let attribute = |text: &String| {
        let (name, value) = text.trim_start().split_once('=')?;
        let known = ATTRIBUTES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim_end()))?;
        Some((known.0, value.to_owned())).filter(|(_, value)| !value.is_empty())
    };
    canonical(attributes.iter().map(attribute).collect::<Option<Vec<_>>>()?)
}

/// Attributes in one order: programs write them from the first to the last, or the other way round.
fn canonical(mut attributes: Vec<(&str, String)>) -> Option<String> {
    attributes.sort();
    let escaped = |value: &str| value.replace('\\', "\\\\").replace(',', "\\,");
    let texts: Vec<_> = attributes.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
    (!texts.is_empty()).then(|| format!("subject:{}", texts.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::read_chain;
    use crate::tls::tests::file;

    fn names(certificate: &str) -> String {
        let chain = read_chain(&file(certificate)).unwrap();
        ClientCertificate::parse(&chain[0]).unwrap().names().to_owned()
    }

    #[test]
    fn a_certificate_that_openssl_has_made_has_its_names() {
        assert_eq!(
            names("alice.pem"),
            "uri:spiffe://example.org/ns/x/sa/alice\ndns:alice.example.org\nemail:Alice@example.org\n\
             subject:CN=alice,O=Example\\, Inc.\ncn:alice\n"
        );
        assert_eq!(names("client.pem"), "subject:CN=client,O=Tests\ncn:client\n");
        assert_eq!(names("example.pem"), "dns:a.example\nsubject:CN=example\ncn:example\n", "no wildcard");
        let mut longer = read_chain(&file("alice.pem")).unwrap()[0].to_vec();
        longer.push(0);
        assert_eq!(ClientCertificate::parse(&longer), Err(Malformed));
        assert_eq!(ClientCertificate::parse(b""), Err(Malformed));
    }

    #[test]
    fn names_of_a_configuration_have_the_same_form() {
        for (text, form) in [
            ("spiffe://example.org/alice", "uri:spiffe://example.org/alice"),
            ("uri:urn:uuid:f81d4fae", "uri:urn:uuid:f81d4fae"),
            ("dns:Alice.Example.org.", "dns:alice.example.org"),
            ("email:Alice@Example.org", "email:Alice@example.org"),
            ("subject:CN=alice, O=Example\\, Inc.", "subject:CN=alice,O=Example\\, Inc."),
            ("subject:o=Example\\, Inc.,cn=alice", "subject:CN=alice,O=Example\\, Inc."),
            ("subject:CN=a\\\\b", "subject:CN=a\\\\b"),
        ] {
            assert_eq!(name(text).as_deref(), Ok(form), "{text}");
        }
        for wrong in [
            "",
            "alice",
            "cn:alice",
            "dns:",
            "dns:*.example.org",
            "email:alice",
            "email:@a",
            "subject:",
            "subject:alice",
            "subject:CN=",
            "subject:X=a",
            "subject:CN=a,",
            "subject:CN=a\\",
            "uri:alice",
            "://a",
            "dns:a\nb",
        ] {
            assert_eq!(name(wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn one_name_of_a_kind_is_certain() {
        let names = "uri:a:1\ndns:a\ndns:b\ncn:alice\n";
        assert_eq!(only(names, NameKind::Uri), Some("a:1"));
        assert_eq!((only(names, NameKind::Dns), only(names, NameKind::Email)), (None, None));
        assert_eq!(only(names, NameKind::CommonName), Some("alice"));
    }
}
