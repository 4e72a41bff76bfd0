//! The key of a limit: which bucket a request takes from. A key makes a hash of a request's inputs.
//!
//! A key is a list of parts, each an input of the request. The hash is keyed with a random secret (SipHash-1-3, 128 bits), so that no
//! client can find two requests that share a bucket.

mod inputs;
mod origin;
mod part;
mod reading;
mod sip;
pub mod text;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use siphasher::sip128::SipHasher13;
use smallvec::SmallVec;

pub use self::inputs::{Caller, Inputs, NoValue};
pub use self::origin::Origin;
pub use self::part::KeyPart;
use crate::client::ClientId;

/// The key of a limit: there is one bucket for each combination of values of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The parts; at least one.
    pub parts: Vec<KeyPart>,
    /// What happens when a part is not there.
    pub missing: MissingKey,
    /// How many leading bits of an IPv6 client address count, 1 to 128.
    pub ipv6_prefix: u8,
}

/// What happens to a request that lacks a part of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The client's address stands in for the part.
    #[default]
    ClientIp,
    /// The request is answered with 400.
    Reject,
    /// All requests that lack the part share a bucket.
    Shared,
}

/// A key's value for one request, hashed. Buckets are found by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// The fingerprint that has these bits.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits of the hash, uniformly distributed.
    pub fn bits(self) -> u128 {
        self.0
    }
}

/// The secret under which keys are hashed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl Secret {
    /// A secret from the operating system's random numbers.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// A secret that is the same in every gateway, for hashes on which all gateways must agree. It is for hashes by which a client
    /// gains nothing if it can predict them.
    pub const fn shared() -> Self {
        Self([0; 16])
    }

    /// The secret that follows from a text of the configuration. It is the same in every gateway that has the text.
    pub fn of_text(text: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let mut bytes = [0; 16];
        for (byte, of_digest) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *of_digest;
        }
        Self(bytes)
    }

    /// The secret that has these bytes.
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, for a snapshot.
    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    fn hash(&self, value: &[u8]) -> Fingerprint {
        Fingerprint(SipHasher13::new_with_key(&self.0).hash(value).as_u128())
    }

    /// The hash of eight bytes, in half the time.
    #[inline]
    fn hash_word(&self, value: [u8; 8]) -> Fingerprint {
        Fingerprint(sip::of_word(u128::from_le_bytes(self.0), u64::from_le_bytes(value)))
    }
}

/// A key's value as bytes, different for different values. Few are longer than this.
type Encoded = SmallVec<[u8; 64]>;

// The kinds of a part, written before its value, so that no value of one kind can pass for another.
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const OPAQUE_CLIENT: u8 = 3;
const TEXT: u8 = 4;
const MISSING: u8 = 5;
const GLOBAL: u8 = 6;

impl fmt::Display for Key {
    /// What a request must carry, in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " and " }, part.in_words())?;
        }
        Ok(())
    }
}

impl Key {
    /// A key of these parts, with the defaults of the other settings.
    pub fn of(parts: Vec<KeyPart>) -> Self {
        Self { parts, missing: MissingKey::default(), ipv6_prefix: 64 }
    }

    /// The fingerprint of this key's value in a request.
    ///
    /// # Errors
    /// [`NoValue`] when a part is not there and [`MissingKey::Reject`] is set, or has several values.
    #[inline(always)]
    pub fn fingerprint(&self, inputs: &Inputs<'_>, secret: &Secret) -> Result<Fingerprint, NoValue> {
        // A fast path for the key of nearly all limits.
        if let ([KeyPart::ClientIp], ClientId::Address(IpAddr::V4(address))) = (&*self.parts, inputs.client) {
            return Ok(secret.hash_word(encoded_v4(*address)));
        }
        self.fingerprint_of_parts(inputs, secret)
    }

    #[inline(never)]
    fn fingerprint_of_parts(&self, inputs: &Inputs<'_>, secret: &Secret) -> Result<Fingerprint, NoValue> {
        let mut value = Encoded::new();
        for part in &self.parts {
            self.add_part(part, inputs, &mut value)?;
        }
        Ok(secret.hash(&value))
    }

    fn add_part(&self, part: &KeyPart, inputs: &Inputs<'_>, to: &mut Encoded) -> Result<(), NoValue> {
        match (part, reading::value_of(part, inputs)?) {
            (KeyPart::ClientIp, _) => self.add_client(inputs.client, to),
            (KeyPart::Global, _) => to.push(GLOBAL),
            (_, Some(value)) => add_text(TEXT, &value, to),
            (_, None) => {
                to.push(MISSING);
                match self.missing {
                    MissingKey::ClientIp => self.add_client(inputs.client, to),
                    MissingKey::Shared => {}
                    MissingKey::Reject => return Err(NoValue::Missing),
                }
            }
        }
        Ok(())
    }

    fn add_client(&self, client: &ClientId, to: &mut Encoded) {
        match client {
            ClientId::Address(IpAddr::V4(address)) => {
                to.extend_from_slice(&encoded_v4(*address));
            }
            ClientId::Address(IpAddr::V6(address)) => {
                to.push(IPV6);
                let prefix = u32::from(self.ipv6_prefix.min(128));
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                to.extend_from_slice(&(address.to_bits() & mask).to_le_bytes());
            }
            ClientId::Opaque(name) => add_text(OPAQUE_CLIENT, name.as_bytes(), to),
        }
    }
}

/// An IPv4 address as eight bytes, which the hash takes in one step.
fn encoded_v4(address: Ipv4Addr) -> [u8; 8] {
    (u64::from(IPV4) | u64::from(address.to_bits()) << 32).to_le_bytes()
}

/// Adds a text with its length, so that the parts of a composite key cannot run into each other.
fn add_text(kind: u8, text: &[u8], to: &mut Encoded) {
    to.push(kind);
    to.extend_from_slice(&text.len().to_le_bytes());
    to.extend_from_slice(text);
}

/// A fingerprint for tests that need no key: well spread, and different for different numbers.
#[cfg(test)]
pub(crate) fn fingerprint_of(client: u64) -> Fingerprint {
    Secret([0; 16]).hash(&client.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue, Method};

    /// A request whose inputs the tests change.
    struct Request {
        client: ClientId,
        host: &'static str,
        path: &'static str,
        query: Option<&'static str>,
        route: &'static str,
        headers: HeaderMap,
    }

    impl Request {
        fn from(client: &str) -> Self {
            let client = ClientId::Address(client.parse().unwrap());
            Self { client, host: "a.example", path: "/", query: None, route: "r", headers: HeaderMap::new() }
        }

        fn header(mut self, name: &'static str, value: &'static str) -> Self {
            self.headers.append(name, HeaderValue::from_static(value));
            self
        }

        fn query(mut self, query: &'static str) -> Self {
            self.query = Some(query);
            self
        }

        fn inputs(&self) -> Inputs<'_> {
            Inputs {
                client: &self.client,
                caller: None,
                method: &Method::GET,
                host: self.host,
                path: self.path,
                query: self.query,
                route: self.route,
                headers: &self.headers,
            }
        }
    }

    fn key(parts: &[KeyPart]) -> Key {
        Key { parts: parts.to_vec(), missing: MissingKey::ClientIp, ipv6_prefix: 64 }
    }

    fn api_key() -> KeyPart {
        KeyPart::Header(HeaderName::from_static("x-api-key"))
    }

    fn same(key: &Key, a: &Request, b: &Request) -> bool {
        let secret = Secret([7; 16]);
        key.fingerprint(&a.inputs(), &secret).unwrap() == key.fingerprint(&b.inputs(), &secret).unwrap()
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let by_client = key(&[KeyPart::ClientIp]);
        let (one, neighbour) = (Request::from("2001:db8::1"), Request::from("2001:db8::2"));
        assert!(same(&by_client, &one, &neighbour));
        assert!(!same(&by_client, &one, &Request::from("2001:db8:0:1::1")));
        let exact = Key { ipv6_prefix: 128, ..by_client };
        assert!(!same(&exact, &one, &neighbour));
    }

    #[test]
    fn an_ipv4_client_is_its_address() {
        let by_client = key(&[KeyPart::ClientIp]);
        assert!(same(&by_client, &Request::from("192.0.2.1"), &Request::from("192.0.2.1")));
        assert!(!same(&by_client, &Request::from("192.0.2.1"), &Request::from("192.0.2.2")));
    }

    #[test]
    fn a_client_without_an_address_shares_with_no_address() {
        let by_client = key(&[KeyPart::ClientIp]);
        let mut unknown = Request::from("192.0.2.1");
        unknown.client = ClientId::Opaque("unknown".into());
        assert!(!same(&by_client, &unknown, &Request::from("192.0.2.1")));
    }

    #[test]
    fn a_missing_part_is_the_client_unless_the_limit_says_otherwise() {
        let secret = Secret([7; 16]);
        let (one, two) = (Request::from("192.0.2.1"), Request::from("192.0.2.2"));
        let by_key = key(&[api_key()]);
        assert!(!same(&by_key, &one, &two));
        let shared = Key { missing: MissingKey::Shared, ..by_key.clone() };
        assert!(same(&shared, &one, &two));
        let reject = Key { missing: MissingKey::Reject, ..by_key.clone() };
        assert_eq!(reject.fingerprint(&one.inputs(), &secret), Err(NoValue::Missing));
        let empty = Request::from("192.0.2.1").header("x-api-key", "");
        assert!(same(&by_key, &empty, &one), "an empty value is a missing one");
    }

    #[test]
    fn a_part_that_is_given_twice_has_one_value_or_none() {
        for (part, same_twice, doubled) in [
            (
                api_key(),
                Request::from("192.0.2.1").header("x-api-key", "a").header("x-api-key", "a"),
                Request::from("192.0.2.1").header("x-api-key", "a").header("x-api-key", "b"),
            ),
            (
                KeyPart::Cookie("sid".into()),
                Request::from("192.0.2.1").header("cookie", "sid=a; sid= \"a\""),
                Request::from("192.0.2.1").header("cookie", "sid=a; sid=b"),
            ),
            (
                KeyPart::Query("user".into()),
                Request::from("192.0.2.1").query("user=a&us%65r=%61"),
                Request::from("192.0.2.1").query("user=a&us%65r=b"),
            ),
        ] {
            for missing in [MissingKey::ClientIp, MissingKey::Shared, MissingKey::Reject] {
                let key = Key { missing, ..key(std::slice::from_ref(&part)) };
                let of = |request: &Request| key.fingerprint(&request.inputs(), &Secret([7; 16]));
                assert_eq!(of(&doubled), Err(NoValue::Ambiguous));
                assert_eq!(of(&same_twice).unwrap(), key.fingerprint_of(&["a"], &Secret([7; 16])).unwrap());
            }
        }
    }

    #[test]
    fn a_value_cannot_pass_for_a_missing_part_or_another_kind() {
        let by_key = key(&[api_key()]);
        let named = Request::from("192.0.2.1").header("x-api-key", "192.0.2.1");
        assert!(!same(&by_key, &named, &Request::from("192.0.2.1")));
    }

    #[test]
    fn the_parts_of_a_composite_key_do_not_run_together() {
        let both = key(&[api_key(), KeyPart::Query("user".into())]);
        let one = Request::from("192.0.2.1").header("x-api-key", "ab").query("user=c");
        let two = Request::from("192.0.2.1").header("x-api-key", "a").query("user=bc");
        assert!(!same(&both, &one, &two));
        assert!(same(&both, &one, &Request::from("192.0.2.9").header("x-api-key", "ab").query("x&user=%63")));
    }

    #[test]
    fn cookies_are_found_among_others_and_in_every_field() {
        let by_cookie = key(&[KeyPart::Cookie("sid".into())]);
        let one = Request::from("192.0.2.1").header("cookie", "a=1; sid=x; b=2");
        let two = Request::from("192.0.2.2").header("cookie", "xsid=y").header("cookie", "sid=x");
        assert!(same(&by_cookie, &one, &two));
    }

    #[test]
    fn host_path_route_and_global() {
        let (one, mut two) = (Request::from("192.0.2.1"), Request::from("192.0.2.2"));
        for part in [KeyPart::Host, KeyPart::Path, KeyPart::Route, KeyPart::Global] {
            assert!(same(&key(&[part]), &one, &two));
        }
        (two.host, two.path, two.route) = ("b.example", "/b", "s");
        for part in [KeyPart::Host, KeyPart::Path, KeyPart::Route] {
            assert!(!same(&key(&[part]), &one, &two));
        }
        assert!(same(&key(&[KeyPart::Global]), &one, &two));
    }

    #[test]
    fn the_secret_decides_the_fingerprint() {
        let request = Request::from("192.0.2.1");
        let of =
            |secret| key(&[KeyPart::ClientIp]).fingerprint(&request.inputs(), &Secret([secret; 16])).unwrap();
        assert_ne!(of(1), of(2));
    }
}
