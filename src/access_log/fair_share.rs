//! How many bytes of a buffer each client has, so that one client cannot fill it with its lines.
//!
//! The bytes are counted in a sketch of fixed size: two rows of counters, of which a client has one in each, under a secret hash. A
//! client's bytes are at most the smaller of its two counters. So it takes no memory for each client. A client that shares both
//! counters with a busy one (one in 260,000 does) counts as busy as well until the buffer is written.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use crate::client::ClientId;

/// Counters in a row; a power of two.
const ROW: usize = 512;

/// Bytes by client, since the buffer was last written.
pub(super) struct FairShare {
    rows: [[u32; ROW]; 2],
    /// How many counters of the first row are in use: about how many clients there are.
    clients: usize,
}

/// The counters of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place([usize; 2]);

impl Default for FairShare {
    fn default() -> Self {
        Self { rows: [[0; ROW]; 2], clients: 0 }
    }
}

impl FairShare {
    /// Whether a client has less than its share of `bytes`: as many as each of the clients here could have.
    pub(super) fn has_room(&self, Place([one, other]): Place, bytes: usize) -> bool {
        let of_client = self.rows[0][one].min(self.rows[1][other]) as usize;
        of_client < bytes / self.clients.max(1)
    }

    /// Counts a line.
    pub(super) fn count(&mut self, Place([one, other]): Place, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.clients += usize::from(self.rows[0][one] == 0);
        let [first, second] = &mut self.rows;
        for counter in [&mut first[one], &mut second[other]] {
            *counter = counter.saturating_add(bytes);
        }
    }

    /// The buffer is empty again.
    pub(super) fn clear(&mut self) {
        if self.clients > 0 {
            *self = Self::default();
        }
    }
}

impl Place {
    /// That of a client: of an IPv4 address, of the /64 of an IPv6 address, or of the beginning of whatever else it is called.
    pub(super) fn of(client: &ClientId, secret: &RandomState) -> Self {
        let hash = match client {
            ClientId::Address(IpAddr::V4(address)) => secret.hash_one(address.to_bits()),
            ClientId::Address(IpAddr::V6(address)) => secret.hash_one(address.to_bits() >> 64),
            ClientId::Opaque(name) => secret.hash_one(&name.as_bytes()[..name.len().min(LONGEST)]),
        };
        let place = |shift: u32| usize::try_from(hash >> shift).unwrap_or_default() % ROW;
        Self([place(0), place(32)])
    }
}

/// How much of a name that is no address tells it apart from others.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(name: &str) -> ClientId {
        name.parse().map_or_else(|_| ClientId::Opaque(name.to_owned()), ClientId::Address)
    }

    #[test]
    fn a_share_is_what_each_of_the_clients_could_have() {
        let secret = RandomState::new();
        let place = |client: &str| Place::of(&client_of(client), &secret);
        let mut shares = FairShare::default();
        let (one, other) = (place("192.0.2.1"), place("192.0.2.2"));
        shares.count(one, 900);
        assert!(shares.has_room(one, 1000), "alone it may have everything");
        shares.count(other, 100);
        assert!(!shares.has_room(one, 1000));
        assert!(shares.has_room(other, 1000));
        shares.clear();
        assert!(shares.has_room(one, 1));
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let secret = RandomState::new();
        let place = |client: &str| Place::of(&client_of(client), &secret);
        assert_eq!(place("2001:db8::1"), place("2001:db8::ffff:2"));
        assert_ne!(place("2001:db8::1"), place("2001:db8:0:1::1"));
        assert_ne!(place("192.0.2.1"), place("192.0.2.2"));
        assert_eq!(place(&"a".repeat(64)), place(&"a".repeat(100_000)));
    }
}
