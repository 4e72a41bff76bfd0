//! How many connections each client has open, where that is bounded.
//!
//! A client is an IPv4 address or a network of IPv6, since whoever has one address there has 2^64. Only clients with open
//! connections are remembered, so that memory is bounded by these.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is left of an IPv6 address: its first 64 bits.
const IPV6_NETWORK: u128 = !(u64::MAX as u128);

/// The open connections of all clients.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    connections: Mutex<HashMap<u128, usize>>,
}

/// A connection that counts as long as this lives.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    client: u128,
}

impl Crowd {
    /// A place for one connection more of this client; `None` if it has as many as `most` already.
    pub(super) fn enter(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<Place> {
        let client = key(client);
        let mut connections = self.lock();
        let count = connections.entry(client).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { crowd: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn key(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address) & IPV6_NETWORK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_so_many_places_and_gets_them_back() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter(client.parse().unwrap(), 2);
        let held = [enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap()];
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(held);
        assert!(enter("192.0.2.1").is_some());
        assert!(crowd.lock().is_empty(), "nobody who has left is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter(client.parse().unwrap(), 1);
        let _held = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:0:0:2").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        // An address that ends in the bits of an IPv4 address is not one.
        let _held = enter("::c000:201").unwrap();
        assert!(enter("192.0.2.1").is_some());
    }
}
