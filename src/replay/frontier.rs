//! Rate against burst: for each of a list of rates, the smallest burst at which only a given share of clients is ever refused.
//!
//! One pass over the requests gives it exactly, since the smallest burst that suffices for a client at one rate is the peak of its
//! virtual queue (see [`Demand`]). Each client has a queue for each rate. When there are more clients than memory is meant for, a
//! sample of them is kept that is chosen by hash: of two clients, each is as likely to be in it, whatever they ask for.

use std::hash::BuildHasherDefault;

use super::clients::Clients;
use crate::clock::Timestamp;
use crate::limit::Demand;
use crate::limit::key::Fingerprint;
use crate::limit::quota::Quota;

/// The rates of a frontier, as multiples of the configured one.
const FACTORS: [(u64, u64); RATES] = [(1, 4), (1, 2), (3, 4), (1, 1), (3, 2), (2, 1), (4, 1), (10, 1)];

/// How many rates there are.
const RATES: usize = 8;

/// How many clients can be kept in so many bytes: the map has a power of two of places, of which seven in eight are used, and a byte
/// more for each.
pub(super) fn clients_in(bytes: usize) -> usize {
    let places = bytes / (size_of::<(Fingerprint, Client)>() + 1);
    if places < 8 { 0 } else { (1 << places.ilog2()) / 8 * 7 }
}

/// A frontier while it is computed.
pub struct Frontier {
    rates: Vec<Quota>,
    clients: Clients<Client>,
    most: usize,
    /// Clients are kept whose hash ends with so many zeros: one of `2^halved`.
    halved: u32,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client {
    /// Its requests.
    pub asked: u32,
    /// Those that were refused.
    pub refused: u32,
    demands: [Demand; RATES],
}

/// One rate of a frontier.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rate; the burst of this quota means nothing.
    pub rate: Quota,
    /// The smallest burst for each share of clients, in the order in which the shares were given.
    pub bursts: Vec<u32>,
}

impl Frontier {
    /// An empty frontier around this quota, of at most so many clients.
    pub fn new(quota: &Quota, most: usize) -> Self {
        let rates = FACTORS.iter().filter_map(|factor| quota.rate_times(*factor).ok()).collect();
        // Room for all of them is taken at once, since a map that grows is there twice for a while. It costs nothing until it is used.
        let clients = Clients::with_capacity_and_hasher(most, BuildHasherDefault::default());
        Self { rates, clients, most: most.max(1), halved: 0 }
    }

    /// A client asked for `cost` tokens. Requests come in the order of their times.
    pub fn add(&mut self, client: Fingerprint, now: Timestamp, cost: u32, refused: bool) {
        if !self.keeps(client) {
            return;
        }
        if self.clients.len() >= self.most && !self.clients.contains_key(&client) {
            self.halve();
            if !self.keeps(client) {
                return;
            }
        }
        let entry = self.clients.entry(client).or_default();
        entry.asked = entry.asked.saturating_add(1);
        entry.refused = entry.refused.saturating_add(u32::from(refused));
        for (demand, rate) in entry.demands.iter_mut().zip(&self.rates) {
            demand.add(rate, now, cost);
        }
    }

    /// Fetches what is known of a client from memory, all three cache lines of it.
    #[inline]
    pub fn touch(&self, client: Fingerprint) {
        if let Some(client) = self.clients.get(&client) {
            let demands = [0, RATES / 2, RATES - 1].map(|rate| client.demands[rate].burst());
            std::hint::black_box((client.asked, demands));
        }
    }

    /// What this client asked for, if it is in the sample.
    pub fn client(&self, client: Fingerprint) -> Option<&Client> {
        self.clients.get(&client)
    }

    /// How many clients there were: an estimate, if only a sample was kept.
    pub fn clients(&self) -> u64 {
        (self.clients.len() as u64) << self.halved
    }

    /// How many of the clients were ever refused: an estimate, if only a sample was kept.
    pub fn clients_refused(&self) -> u64 {
        (self.clients.values().filter(|client| client.refused > 0).count() as u64) << self.halved
    }

    /// One client of so many was kept.
    pub fn one_of(&self) -> u64 {
        1 << self.halved
    }

    /// For each rate, the smallest bursts at which at most these shares of the clients are ever refused, in parts of a thousand.
    pub fn rows(&self, thousandths: &[u32]) -> Vec<Row> {
        let row = |(index, rate): (usize, &Quota)| {
            let mut bursts: Vec<u32> =
                self.clients.values().map(|client| client.demands[index].burst()).collect();
            bursts.sort_unstable();
            let at = |share: &u32| {
                let refused = bursts.len() as u64 * u64::from(*share) / 1000;
                let last = bursts.len().checked_sub(usize::try_from(refused).ok()?.checked_add(1)?)?;
                bursts.get(last).copied()
            };
            Row { rate: *rate, bursts: thousandths.iter().map(|share| at(share).unwrap_or(1)).collect() }
        };
        self.rates.iter().enumerate().map(row).collect()
    }

    fn keeps(&self, client: Fingerprint) -> bool {
        client.bits().trailing_zeros() >= self.halved
    }

    fn halve(&mut self) {
        self.halved += 1;
        let halved = self.halved;
        self.clients.retain(|client, _| client.bits().trailing_zeros() >= halved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::bucket::Bucket;
    use crate::limit::key::fingerprint_of;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};
    use std::time::Duration;

    /// The clients that a limiter with a bucket for each refuses at least once.
    fn refused(requests: &[(u64, u64)], rate: &Quota, burst: u32) -> usize {
        let quota = rate.with_burst(burst).unwrap();
        let (mut buckets, mut refused, mut now) = (HashMap::<u64, Bucket>::new(), BTreeSet::new(), 0);
        for (client, after) in requests {
            now += after;
            let bucket = buckets.entry(*client).or_default();
            match bucket.take(&quota, Timestamp::from_nanos(now), 1) {
                Ok(left) => *bucket = left,
                Err(_) => {
                    refused.insert(*client);
                }
            }
        }
        refused.len()
    }

    proptest! {
        #[test]
        fn it_is_what_trying_every_burst_gives(
            requests in prop::collection::vec((0..12_u64, prop_oneof![Just(0), 0..2_000_000_000_u64]), 1..200),
            per_minute in 1..200_u64,
        ) {
            let configured = Quota::new(per_minute, Duration::from_secs(60), 1).unwrap();
            let (mut frontier, mut now) = (Frontier::new(&configured, 1000), 0);
            for (client, after) in &requests {
                now += after;
                frontier.add(fingerprint_of(*client), Timestamp::from_nanos(now), 1, false);
            }
            let clients = requests.iter().map(|(client, _)| client).collect::<BTreeSet<_>>().len();
            prop_assert_eq!(frontier.clients(), clients as u64);
            for Row { rate, bursts } in frontier.rows(&[0, 100, 500]) {
                for (burst, share) in bursts.into_iter().zip([0, 100, 500]) {
                    let allowed = clients * share / 1000;
                    prop_assert!(refused(&requests, &rate, burst) <= allowed, "{rate:?} {burst}");
                    prop_assert!(burst == 1 || refused(&requests, &rate, burst - 1) > allowed, "{rate:?} {burst}");
                }
            }
        }
    }

    #[test]
    fn among_too_many_clients_a_sample_is_kept() {
        let configured = Quota::new(1, Duration::from_secs(60), 1).unwrap();
        let mut frontier = Frontier::new(&configured, 1000);
        for client in 0..20_000 {
            for _ in 0..=(client % 10) {
                frontier.add(fingerprint_of(client), Timestamp::default(), 1, false);
            }
        }
        assert!(frontier.clients.len() <= 1000 && frontier.one_of() >= 16);
        let clients = frontier.clients();
        assert!((15_000..25_000).contains(&clients), "{clients}");
        let row = &frontier.rows(&[0, 100, 500])[3];
        assert_eq!(row.bursts[0], 10);
        assert!((5..=6).contains(&row.bursts[2]), "{row:?}");
    }

    #[test]
    fn without_requests_a_burst_of_one_suffices() {
        let frontier = Frontier::new(&Quota::new(1, Duration::from_secs(1), 1).unwrap(), 10);
        assert!(frontier.rows(&[0, 1]).iter().all(|row| row.bursts == [1, 1]));
    }
}
