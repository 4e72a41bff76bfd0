//! Where a request comes from, for fairness between senders: a client may make up keys, but not its address.

use std::net::IpAddr;

use super::{Fingerprint, Key, KeyPart, OPAQUE_CLIENT, Secret, encoded_v4};
use crate::client::ClientId;

/// The longest prefix of IPv6 that identifies one sender: a provider gives a single customer at least such a network.
const NETWORK: u8 = 64;

/// Where a request comes from: an IPv4 address, an IPv6 network, or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(Fingerprint);

impl Origin {
    /// The bits of the hash, uniformly distributed.
    pub(in crate::limit) fn bits(self) -> u128 {
        self.0.bits()
    }

    /// An origin for tests that have no addresses.
    #[cfg(test)]
    pub(in crate::limit) fn of(number: u64) -> Self {
        Self(super::fingerprint_of(number))
    }
}

impl Key {
    /// Where this client's requests come from. `None` if the key is the client's address: then each origin has one key only.
    pub(in crate::limit) fn origin(&self, client: &ClientId, secret: &Secret) -> Option<Origin> {
        if *self.parts == [KeyPart::ClientIp] && self.ipv6_prefix <= NETWORK {
            return None;
        }
        Some(Origin(match client {
            ClientId::Address(IpAddr::V4(address)) => secret.hash_word(encoded_v4(*address)),
            ClientId::Address(IpAddr::V6(address)) => {
                let prefix = self.ipv6_prefix.min(NETWORK);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                secret.hash(&(address.to_bits() & mask).to_le_bytes())
            }
            // A client may have made up the name, so all names are one origin.
            ClientId::Opaque(_) => secret.hash(&[OPAQUE_CLIENT]),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::MissingKey;

    fn origin(parts: &[KeyPart], ipv6_prefix: u8, client: &str) -> Option<Origin> {
        let key = Key { parts: parts.to_vec(), missing: MissingKey::ClientIp, ipv6_prefix };
        let client = client.parse().map_or_else(|_| ClientId::Opaque(client.into()), ClientId::Address);
        key.origin(&client, &Secret([7; 16]))
    }

    #[test]
    fn a_key_that_is_the_address_has_no_other_origin() {
        let address = [KeyPart::ClientIp];
        assert_eq!(origin(&address, 64, "192.0.2.1"), None);
        // A network of 64 bits holds as many keys as anybody likes.
        assert_eq!(origin(&address, 128, "2001:db8::1"), origin(&address, 128, "2001:db8::2"));
        assert!(origin(&address, 128, "2001:db8::1").is_some());
    }

    #[test]
    fn an_origin_is_an_address_or_a_network() {
        let path = [KeyPart::Path];
        assert_ne!(origin(&path, 64, "192.0.2.1"), origin(&path, 64, "192.0.2.2"));
        assert_eq!(origin(&path, 128, "2001:db8::1"), origin(&path, 128, "2001:db8::2"));
        assert_eq!(origin(&path, 48, "2001:db8:0:1::"), origin(&path, 48, "2001:db8:0:2::"));
        assert_ne!(origin(&path, 64, "2001:db8:0:1::"), origin(&path, 64, "2001:db8:0:2::"));
    }

    #[test]
    fn all_without_an_address_are_one() {
        let path = [KeyPart::Path];
        assert_eq!(origin(&path, 64, "unknown"), origin(&path, 64, "_hidden"));
        assert_ne!(origin(&path, 64, "unknown"), origin(&path, 64, "192.0.2.1"));
    }
}
