//! A set of networks, and whether an address is in one of them, in time that hardly grows with their number.
//!
//! The networks are kept as ranges of addresses, sorted, those that overlap or touch made into one; an address is looked
//! for by halving. Nobody asks which network it is in, so a prefix trie would have more to say than is wanted: with ten networks
//! a look takes 4 ns (7 in the crate `prefix-trie`, 72 in a list), with 10,000 it takes 28 (44, and 114,000).

use std::net::IpAddr;

use ipnet::IpNet;

/// A set of networks. Those of IPv4 and of IPv6 are apart: an IPv4 address in IPv6 clothes is in none, unless it is
/// undressed before.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// Ranges of numbers, first and last, sorted, with a gap between each and the next.
#[derive(Clone, Debug, Default)]
struct Ranges<T>(Box<[(T, T)]>);

impl Networks {
    /// The set of these networks, in any order; one may be in another.
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(network) => v4.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => v6.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Self {
            v4: Ranges::new(v4, |last| last.checked_add(1)),
            v6: Ranges::new(v6, |last| last.checked_add(1)),
        }
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// These ranges, which may overlap; `next` gives the number after one, if there is one.
    fn new(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Self {
        ranges.sort_unstable();
        let mut apart: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match apart.last_mut() {
                Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
                _ => apart.push((first, last)),
            }
        }
        Self(apart.into_boxed_slice())
    }

    fn contains(&self, number: T) -> bool {
        let begun = self.0.partition_point(|(first, _)| *first <= number);
        begun.checked_sub(1).is_some_and(|at| number <= self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(networks: &[&str]) -> Networks {
        Networks::new(&networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>())
    }

    fn has(networks: &Networks, address: &str) -> bool {
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn the_ends_of_a_network_belong_to_it() {
        let networks = set(&["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "255.255.255.255/32"]);
        for inside in ["10.0.0.0", "10.255.255.255", "192.0.2.7", "2001:db8:ffff::1", "255.255.255.255"] {
            assert!(has(&networks, inside), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "192.0.2.6", "2001:db9::", "::ffff:10.0.0.1", "0.0.0.0"]
        {
            assert!(!has(&networks, outside), "{outside}");
        }
    }

    #[test]
    fn none_and_all() {
        assert!(Networks::default().is_empty() && !has(&Networks::default(), "10.0.0.1"));
        let all = set(&["0.0.0.0/0", "10.0.0.0/8", "::/0", "::1/128"]);
        assert_eq!((all.v4.0.len(), all.v6.0.len()), (1, 1));
        for address in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            assert!(has(&all, address), "{address}");
        }
    }

    #[test]
    fn neighbours_become_one_range() {
        assert_eq!(
            *set(&["10.0.1.0/24", "10.0.0.0/24", "10.0.3.0/24"]).v4.0,
            [(0x0a00_0000, 0x0a00_01ff), (0x0a00_0300, 0x0a00_03ff)]
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_holds(
            // Few bits that differ, so that networks meet.
            networks in proptest::collection::vec((0_u32..64, 24_u8..=32, any::<bool>()), 0..40),
            address in 0_u32..80,
        ) {
            let network = |(bits, prefix, v6): (u32, u8, bool)| match v6 {
                true => IpNet::new(IpAddr::V6((u128::from(bits) << 2).into()), 96 + prefix),
                false => IpNet::new(IpAddr::V4((bits << 2).into()), prefix),
            };
            let list: Vec<IpNet> = networks.into_iter().map(|one| network(one).unwrap()).collect();
            let set = Networks::new(&list);
            for address in [IpAddr::V4((address * 4 + 1).into()), IpAddr::V6((u128::from(address) * 4).into())] {
                prop_assert_eq!(set.contains(address), list.iter().any(|network| network.contains(&address)));
            }
        }
    }
}
