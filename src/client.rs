//! The client of a request: the peer, or the client that trusted proxies name.
//!
//! Only the trusted part of a forwarding chain is believed. From the peer, and then from right to left, the first address that is not a
//! trusted proxy is the client: entries further left were written by clients. If a proxy names something that is no address ("unknown",
//! an obfuscated name), that name is the client's identity. It is never taken for an address: it is not trusted, not exempt, and shares
//! no bucket with a client that has an address.
//!
//! A trusted proxy is the client itself only if it says nothing of a client at all (its health checks, a service inside a trusted
//! network). In all other cases without a known client the proxy's address is not used, because it may be trusted, exempt or
//! overridden, and a client could cause the case:
//!
//! | what the request says | the client |
//! | --- | --- |
//! | both fields, with different clients | none: 400. A client could choose an identity made of both, and a new one for each request |
//! | a field that names no client (empty, an element without `for`) | "unknown" |
//! | something that is no address | that name, without its port, which differs for each connection |
//! | `server.client_ip_header` is configured, and that field is there twice, or is no address | none: 400, for the same reason |
//! | that field is not there, but a forwarding field is | "unknown" |
//! | `UNKNOWN` in the PROXY protocol | unknown behind that proxy; the fields of its requests are not believed either |

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::networks::Networks;

/// RFC 7239.
pub const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
/// The older field, which RFC 7239 replaces.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A client's identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientId {
    /// An address. An IPv4 address that is mapped to IPv6 is kept as IPv4.
    Address(IpAddr),
    /// The name that a trusted proxy gave instead of an address.
    Opaque(String),
}

/// Why a request has no client, although a trusted proxy names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misnamed {
    /// The forwarding fields name different clients.
    Conflict,
    /// The field that names the client is there more than once.
    Twice,
    /// The field that names the client has no address.
    NoAddress,
}

/// What a field of a request names as those before its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The field.
    pub field: HeaderName,
    /// The clients and proxies, the first one first.
    pub entries: Vec<String>,
    /// The index of the entry that is the client; those behind it are trusted proxies. `None` without entries.
    pub taken: Option<usize>,
}

/// The name that a proxy gives if it does not know its client.
const UNKNOWN: &str = "unknown";

impl ClientId {
    /// The unknown clients behind the proxy at this address. They share a bucket with each other, but not with known clients.
    pub fn unknown_behind(proxy: IpAddr) -> Self {
        Self::Opaque(format!("{UNKNOWN} behind {}", proxy.to_canonical()))
    }

    /// The address, if there is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Opaque(_) => None,
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Opaque(name) => write!(f, "{}", name.escape_default()),
        }
    }
}

/// The peers that are trusted to name the client of a request.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Networks,
    /// The field in which they name the client; `None` is `X-Forwarded-For` and `Forwarded`.
    field: Option<HeaderName>,
}

impl TrustedProxies {
    /// Trusts the peers in these networks.
    pub fn new(networks: &[IpNet]) -> Self {
        Self { networks: Networks::new(networks), field: None }
    }

    /// The same, who name the client in this field alone, if there is one.
    #[must_use]
    pub fn naming_clients_in(self, field: Option<HeaderName>) -> Self {
        Self { field, ..self }
    }

    /// Whether a peer at this address is trusted.
    pub fn contains(&self, peer: IpAddr) -> bool {
        self.networks.contains(peer.to_canonical())
    }

    /// The client behind `peer`: the peer itself, or if that is trusted, the client that it names.
    ///
    /// # Errors
    /// When `X-Forwarded-For` and `Forwarded` name different clients: one of the two fields came from the client, and it is not known
    /// which. When the one field that names the client is there twice or has no address: then the client may have written it.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Result<ClientId, Misnamed> {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return Ok(ClientId::Address(peer));
        }
        if let Some(field) = &self.field {
            let spoke_for_somebody =
                || [X_FORWARDED_FOR, FORWARDED].iter().any(|name| headers.contains_key(name));
            return match named_in(field, headers)? {
                Some(client) => Ok(client),
                None if spoke_for_somebody() => Ok(ClientId::Opaque(UNKNOWN.to_owned())),
                None => Ok(ClientId::Address(peer)),
            };
        }
        let named = |name, entries: Vec<Cow<'_, str>>| {
            let unknown = headers.contains_key(name).then(|| ClientId::Opaque(UNKNOWN.to_owned()));
            self.nearest_untrusted(&entries).map(|(_, client)| client).or(unknown)
        };
        let x_forwarded_for = named(X_FORWARDED_FOR, x_forwarded_for(headers));
        let forwarded = named(FORWARDED, forwarded_for(headers));
        match (x_forwarded_for, forwarded) {
            (None, None) => Ok(ClientId::Address(peer)),
            (Some(client), None) | (None, Some(client)) => Ok(client),
            (Some(one), Some(other)) if one == other => Ok(one),
            (Some(_), Some(_)) => Err(Misnamed::Conflict),
        }
    }

    /// What the fields of a request name as those before its peer, each with the entry that [`client`](Self::client) takes.
    pub fn statements(&self, headers: &HeaderMap) -> Vec<Statement> {
        if let Some(field) = &self.field {
            let names_somebody = [field, &X_FORWARDED_FOR, &FORWARDED];
            if !names_somebody.into_iter().any(|name| headers.contains_key(name)) {
                return Vec::new();
            }
            let entries = headers.get_all(field).into_iter();
            let entries = entries
                .map(|value| parse_node(&String::from_utf8_lossy(value.as_bytes().trim_ascii())).to_string());
            let taken = matches!(named_in(field, headers), Ok(Some(_))).then_some(0);
            return vec![Statement { field: field.clone(), entries: entries.collect(), taken }];
        }
        let statement = |field: HeaderName, entries: Vec<Cow<'_, str>>| {
            headers.contains_key(&field).then(|| Statement {
                taken: self.nearest_untrusted(&entries).map(|(at, _)| at),
                entries: entries.iter().map(|entry| parse_node(entry).to_string()).collect(),
                field,
            })
        };
        let both = [
            statement(X_FORWARDED_FOR, x_forwarded_for(headers)),
            statement(FORWARDED, forwarded_for(headers)),
        ];
        both.into_iter().flatten().collect()
    }

    /// The rightmost entry that is no trusted proxy, with its index; the leftmost if all are; `None` without entries.
    fn nearest_untrusted(&self, chain: &[Cow<'_, str>]) -> Option<(usize, ClientId)> {
        let mut nearest = None;
        for (at, entry) in chain.iter().enumerate().rev() {
            let client = parse_node(entry);
            let trusted = client.address().is_some_and(|address| self.contains(address));
            nearest = Some((at, client));
            if !trusted {
                break;
            }
        }
        nearest
    }
}

/// The client that a trusted proxy names in this one field; `None` if the field is not there.
fn named_in(field: &HeaderName, headers: &HeaderMap) -> Result<Option<ClientId>, Misnamed> {
    let mut values = headers.get_all(field).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Misnamed::Twice);
    }
    match parse_node(&String::from_utf8_lossy(value.as_bytes().trim_ascii())) {
        ClientId::Opaque(_) => Err(Misnamed::NoAddress),
        client @ ClientId::Address(_) => Ok(Some(client)),
    }
}

/// The entries of all `X-Forwarded-For` fields, left to right.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    headers
        .get_all(X_FORWARDED_FOR)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&b| b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
        .map(String::from_utf8_lossy)
        .collect()
}

/// The `for` parameters of all elements of all `Forwarded` fields, left to right; of an element that has none,
/// `unknown`.
fn forwarded_for(headers: &HeaderMap) -> Vec<Cow<'_, str>> {
    headers
        .get_all(FORWARDED)
        .into_iter()
        .flat_map(|value| split_unquoted(value.as_bytes(), b','))
        .filter(|element| !element.is_empty())
        .map(|element| {
            split_unquoted(element, b';')
                .into_iter()
                .find_map(|pair| {
                    let (name, value) = pair.split_at_checked(4)?;
                    name.eq_ignore_ascii_case(b"for=").then(|| String::from_utf8_lossy(value))
                })
                .unwrap_or(Cow::Borrowed(UNKNOWN))
        })
        .collect()
}

/// Splits at a separator that stands outside double quotes, and trims the pieces.
fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|&b| {
        let literal = std::mem::take(&mut escaped);
        match b {
            b'\\' if quoted && !literal => escaped = true,
            b'"' if !literal => quoted = !quoted,
            _ => {}
        }
        b == separator && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .collect()
}

/// A node of a forwarding chain: an address, perhaps with a port, brackets or quotes; or something else.
fn parse_node(text: &str) -> ClientId {
    let node = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
    let bare = node.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(node);
    let address = bare.parse::<IpAddr>().ok().or_else(|| node.parse::<SocketAddr>().ok().map(|a| a.ip()));
    address.map_or_else(|| ClientId::Opaque(name_of(node)), |a| ClientId::Address(a.to_canonical()))
}

/// A name that is no address, without its port (RFC 7239, section 6), which differs for each connection of a client.
fn name_of(node: &str) -> String {
    let name = match node.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && !port.is_empty() => name,
        _ => node,
    };
    match name.is_empty() || name.eq_ignore_ascii_case(UNKNOWN) {
        true => UNKNOWN.to_owned(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn trusting(networks: &[&str]) -> TrustedProxies {
        TrustedProxies::new(&networks.iter().map(|n| n.parse().unwrap()).collect::<Vec<_>>())
    }

    fn headers(fields: &[(&HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn client(trusted: &[&str], peer: &str, fields: &[(&HeaderName, &str)]) -> String {
        trusting(trusted).client(peer.parse().unwrap(), &headers(fields)).unwrap().to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        let forged = [(&X_FORWARDED_FOR, "1.1.1.1"), (&FORWARDED, "for=1.1.1.1")];
        assert_eq!(client(&[], "192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(client(&["10.0.0.0/8"], "192.0.2.1", &forged), "192.0.2.1");
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        let trusted = ["10.0.0.0/8", "::1/128"];
        for (fields, expected) in [
            (vec![], "10.0.0.1"),
            (vec![(&X_FORWARDED_FOR, "203.0.113.9")], "203.0.113.9"),
            (vec![(&X_FORWARDED_FOR, "6.6.6.6, 203.0.113.9, 10.1.1.1")], "203.0.113.9"),
            (vec![(&X_FORWARDED_FOR, "6.6.6.6"), (&X_FORWARDED_FOR, "203.0.113.9,10.1.1.1")], "203.0.113.9"),
            (vec![(&X_FORWARDED_FOR, "10.9.9.9, 10.1.1.1")], "10.9.9.9"),
            (vec![(&X_FORWARDED_FOR, "203.0.113.9:4711")], "203.0.113.9"),
            (vec![(&X_FORWARDED_FOR, "[2001:db8::1]:4711")], "2001:db8::1"),
            (vec![(&X_FORWARDED_FOR, "::ffff:203.0.113.9")], "203.0.113.9"),
            (vec![(&X_FORWARDED_FOR, " , ,")], "unknown"),
            (vec![(&X_FORWARDED_FOR, "")], "unknown"),
            (vec![(&FORWARDED, "")], "unknown"),
            (vec![(&FORWARDED, "for=6.6.6.6, For=\"[2001:db8::1]:80\";proto=https")], "2001:db8::1"),
            (vec![(&FORWARDED, "by=x;for=203.0.113.9, for=10.0.0.2")], "203.0.113.9"),
        ] {
            assert_eq!(client(&trusted, "10.0.0.1", &fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_trusted_peer_in_ipv6_clothes_is_recognised() {
        assert_eq!(
            client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &[(&X_FORWARDED_FOR, "203.0.113.9")]),
            "203.0.113.9"
        );
    }

    #[test]
    fn what_is_no_address_is_an_identity_of_its_own() {
        let trusted = trusting(&["10.0.0.0/8"]);
        for (fields, expected) in [
            (vec![(&X_FORWARDED_FOR, "6.6.6.6, unknown")], "unknown"),
            (vec![(&FORWARDED, "for=6.6.6.6, for=\"_a,b\"")], "_a,b"),
            (vec![(&FORWARDED, "for=6.6.6.6, proto=http")], "unknown"),
            (vec![(&X_FORWARDED_FOR, "6.6.6.6, 300.1.1.1")], "300.1.1.1"),
            (vec![(&FORWARDED, "for=\"_hidden:4711\"")], "_hidden"),
            (vec![(&FORWARDED, "for=\"Unknown:_x\"")], "unknown"),
            (vec![(&X_FORWARDED_FOR, "Unknown:1")], "unknown"),
            (vec![(&X_FORWARDED_FOR, "a:b:1")], "a:b:1"),
        ] {
            let found = trusted.client("10.0.0.1".parse().unwrap(), &headers(&fields)).unwrap();
            assert_eq!(found, ClientId::Opaque(expected.to_owned()));
            assert_eq!(found.address(), None);
        }
    }

    #[test]
    fn two_fields_that_disagree_name_nobody() {
        let trusted = trusting(&["10.0.0.0/8"]);
        let asked = |x_forwarded_for: &str, forwarded: &str| {
            let fields = [(&X_FORWARDED_FOR, x_forwarded_for), (&FORWARDED, forwarded)];
            trusted.client("10.0.0.1".parse().unwrap(), &headers(&fields))
        };
        for (x_forwarded_for, forwarded) in [
            ("203.0.113.9", "for=6.6.6.6"),
            ("203.0.113.9", "for=10.0.0.1"),
            ("203.0.113.9", "for=unknown"),
            ("203.0.113.9", ""),
            ("", "for=203.0.113.9"),
        ] {
            assert_eq!(
                asked(x_forwarded_for, forwarded),
                Err(Misnamed::Conflict),
                "{x_forwarded_for} {forwarded}"
            );
        }
        let agreed = asked("203.0.113.9", "for=203.0.113.9").unwrap();
        assert_eq!(agreed, ClientId::Address("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn one_field_names_the_client_where_it_should() {
        let name = HeaderName::from_static("cf-connecting-ip");
        let trusted = trusting(&["10.0.0.0/8"]).naming_clients_in(Some(name.clone()));
        let asked = |peer: &str, fields: &[(&HeaderName, &str)]| {
            trusted.client(peer.parse().unwrap(), &headers(fields)).map(|client| client.to_string())
        };
        let chain = (&X_FORWARDED_FOR, "6.6.6.6");
        for (fields, expected) in [
            (vec![(&name, "203.0.113.9")], Ok("203.0.113.9")),
            (vec![(&name, " 203.0.113.9:4711"), chain, (&FORWARDED, "for=7.7.7.7")], Ok("203.0.113.9")),
            (vec![(&name, "::ffff:203.0.113.9")], Ok("203.0.113.9")),
            (vec![(&name, "10.9.9.9")], Ok("10.9.9.9")),
            (vec![chain], Ok("unknown")),
            (vec![], Ok("10.0.0.1")),
            (vec![(&name, "203.0.113.9"), (&name, "203.0.113.9")], Err(Misnamed::Twice)),
            (vec![(&name, "203.0.113.9, 6.6.6.6")], Err(Misnamed::NoAddress)),
            (vec![(&name, "")], Err(Misnamed::NoAddress)),
            (vec![(&name, "unknown")], Err(Misnamed::NoAddress)),
        ] {
            assert_eq!(asked("10.0.0.1", &fields), expected.map(str::to_owned), "{fields:?}");
        }
        assert_eq!(asked("192.0.2.1", &[(&name, "203.0.113.9")]).unwrap(), "192.0.2.1");
    }

    #[test]
    fn an_opaque_identity_cannot_forge_a_log_line() {
        assert_eq!(ClientId::Opaque("a\n\u{1b}b".into()).to_string(), "a\\n\\u{1b}b");
    }

    proptest! {
        #[test]
        fn no_field_panics_or_makes_an_untrusted_peer_somebody_else(
            forwarded in proptest::collection::vec(any::<u8>(), 0..80),
            x_forwarded_for in "[0-9a-f.:, \"\\[\\]]{0,80}",
        ) {
            let mut fields = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&forwarded) {
                fields.append(FORWARDED, value);
            }
            fields.append(X_FORWARDED_FOR, HeaderValue::from_str(&x_forwarded_for).unwrap());
            let peer: IpAddr = "192.0.2.1".parse().unwrap();
            prop_assert_eq!(trusting(&[]).client(peer, &fields), Ok(ClientId::Address(peer)));
            let _ = trusting(&["0.0.0.0/0"]).client(peer, &fields);
        }
    }
}
