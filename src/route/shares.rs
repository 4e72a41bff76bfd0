//! The shares of a route's requests that go to each of several targets, such as 95 % to one upstream and 5 % to another.
//!
//! Where a value of the request decides, each target draws a number for the value, and the lowest for its weight wins (weighted rendezvous
//! hashing). The number depends on the name of the target and not on weights or order. So a target whose weight grows takes values from the
//! others and gives none away, and every gateway with the same names and weights decides alike.

use siphasher::sip::SipHasher13;

/// The shares of some targets.
#[derive(Clone, Debug)]
pub struct Shares {
    /// In the order of the configuration.
    shares: Vec<Share>,
    /// The sum of the weights; more than zero.
    total: u64,
}

/// The share of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The number by which the caller knows the target.
    pub target: usize,
    /// Its part of the sum of all weights. With zero it gets nothing.
    pub weight: u32,
    /// What is hashed with a value.
    salt: Box<[u8]>,
}

impl Shares {
    /// The shares of these targets, each with its number, name and weight, under a salt: with another one, the same values come to other
    /// targets. `None` if no target has a weight.
    pub fn new<'a>(salt: &str, targets: impl IntoIterator<Item = (usize, &'a str, u32)>) -> Option<Self> {
        let share = |(target, name, weight): (usize, &str, u32)| {
            // The length keeps salt and name apart.
            let salt = [&salt.len().to_le_bytes(), salt.as_bytes(), name.as_bytes()].concat();
            Share { target, weight, salt: salt.into() }
        };
        let shares: Vec<_> = targets.into_iter().map(share).collect();
        let total = shares.iter().map(|share| u64::from(share.weight)).sum();
        (total > 0).then_some(Self { shares, total })
    }

    /// All shares.
    pub fn all(&self) -> &[Share] {
        &self.shares
    }

    /// The part of all requests that a share is, from 0 to 1.
    #[expect(
        clippy::cast_precision_loss,
        reason = "there are fewer than 2^53 upstreams with a weight of a million"
    )]
    pub fn fraction(&self, share: &Share) -> f64 {
        f64::from(share.weight) / self.total as f64
    }

    /// The target of a value with this hash, which is uniformly distributed.
    pub fn of(&self, hash: u128) -> usize {
        let hasher = SipHasher13::new_with_key(&hash.to_le_bytes());
        let drawn =
            self.shares.iter().filter(|share| share.weight > 0).map(|share| (share.draw(&hasher), share));
        drawn.min_by(|(one, _), (other, _)| one.total_cmp(other)).map_or(0, |(_, share)| share.target)
    }

    /// A target at random.
    pub fn draw(&self) -> usize {
        let mut left = rand::random_range(0..self.total);
        let drawn = self.shares.iter().find(|share| {
            let weight = u64::from(share.weight);
            let found = left < weight;
            left = left.saturating_sub(weight);
            found
        });
        drawn.map_or(0, |share| share.target)
    }

    /// The target with the largest share, and of several the first.
    pub fn largest(&self) -> usize {
        let largest = self.shares.iter().rev().max_by_key(|share| share.weight);
        largest.map_or(0, |share| share.target)
    }
}

impl Share {
    /// An exponentially distributed number whose mean is the reciprocal of the weight. The probability that a share draws the lowest of
    /// several such numbers is proportional to its weight.
    fn draw(&self, hasher: &SipHasher13) -> f64 {
        const BITS: u32 = 53;
        let bits = hasher.hash(&self.salt) >> (u64::BITS - BITS);
        #[expect(clippy::cast_precision_loss, reason = "a number of 53 bits is exact")]
        let uniform = (bits as f64 + 0.5) / (1_u64 << BITS) as f64;
        -uniform.ln() / f64::from(self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: usize = 3;
    const CANARY: usize = 7;

    /// Hashes of this many values. They are the same in every run.
    fn hashes(count: u64) -> impl Iterator<Item = u128> {
        let of = |key: u64, value: u64| SipHasher13::new_with_keys(key, 0).hash(&value.to_le_bytes());
        (0..count).map(move |value| u128::from(of(1, value)) << 64 | u128::from(of(2, value)))
    }

    fn shares(weights: &[(usize, &str, u32)]) -> Shares {
        Shares::new("route", weights.iter().copied()).unwrap()
    }

    /// How many of 20,000 values come to the target.
    fn count(shares: &Shares, target: usize) -> usize {
        hashes(20_000).filter(|&hash| shares.of(hash) == target).count()
    }

    #[test]
    fn a_target_gets_its_share() {
        let two = shares(&[(STABLE, "stable", 95), (CANARY, "canary", 5)]);
        // A standard deviation is 31.
        assert!((850..1150).contains(&count(&two, CANARY)), "{}", count(&two, CANARY));
        assert_eq!(two.fraction(&two.all()[1]), 0.05);
        let drawn = (0..20_000).filter(|_| two.draw() == CANARY).count();
        assert!((750..1250).contains(&drawn), "8 standard deviations: {drawn}");
    }

    #[test]
    fn a_larger_share_takes_and_gives_nothing_away() {
        let before = shares(&[(STABLE, "stable", 95), (CANARY, "canary", 5)]);
        for after in [
            shares(&[(STABLE, "stable", 90), (CANARY, "canary", 10)]),
            shares(&[(STABLE, "stable", 95), (CANARY, "canary", 10)]),
            // The order is not part of it, nor is the number of a target.
            shares(&[(CANARY, "canary", 10), (STABLE, "stable", 90)]),
        ] {
            let moved: Vec<_> = hashes(20_000)
                .map(|hash| (before.of(hash), after.of(hash)))
                .filter(|(a, b)| a != b)
                .collect();
            assert!(moved.iter().all(|&moved| moved == (STABLE, CANARY)), "only from stable to canary");
            assert!((750..1300).contains(&moved.len()), "{}", moved.len());
        }
    }

    #[test]
    fn with_three_targets_only_the_one_that_grows_takes() {
        let before = shares(&[(0, "a", 90), (1, "b", 5), (2, "c", 5)]);
        let after = shares(&[(0, "a", 90), (1, "b", 5), (2, "c", 10)]);
        assert!(hashes(20_000).all(|hash| before.of(hash) == after.of(hash) || after.of(hash) == 2));
        let without = shares(&[(0, "a", 90), (1, "b", 5)]);
        assert!(hashes(20_000).all(|hash| before.of(hash) == without.of(hash) || before.of(hash) == 2));
    }

    #[test]
    fn a_target_without_weight_gets_nothing() {
        let drained = shares(&[(CANARY, "canary", 0), (STABLE, "stable", 1)]);
        assert_eq!((count(&drained, CANARY), drained.largest()), (0, STABLE));
        assert!((0..1000).all(|_| drained.draw() == STABLE));
        assert!(Shares::new("route", [(0, "a", 0), (1, "b", 0)]).is_none());
        assert!(Shares::new("route", []).is_none());
        assert_eq!(shares(&[(0, "a", 5), (1, "b", 5)]).largest(), 0);
    }

    #[test]
    fn other_clients_are_the_first_ones_on_another_route() {
        let weights = [(STABLE, "stable", 95), (CANARY, "canary", 5)];
        let (one, other) = (shares(&weights), Shares::new("other", weights).unwrap());
        let both = hashes(20_000).filter(|&hash| one.of(hash) == CANARY && other.of(hash) == CANARY).count();
        assert!(both < 120, "50 are to be expected, with a standard deviation of 7: {both}");
    }
}
