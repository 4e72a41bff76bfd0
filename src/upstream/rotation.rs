//! Weighted round robin, without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Whose turn it is: a fixed schedule in which each member stands as often as its weight says, spread out as
/// evenly as can be (the "smooth" order of nginx), and a counter that goes round it.
pub(super) struct Rotation {
    schedule: Box<[u32]>,
    next: AtomicUsize,
}

impl Rotation {
    /// A rotation over members with these weights, of which one at least is not zero.
    pub(super) fn new(weights: &[u32]) -> Self {
        let common = weights.iter().copied().fold(0, gcd).max(1);
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / common)).collect();
        let total: i64 = weights.iter().sum();
        let mut credit = vec![0_i64; weights.len()];
        let mut turn = || {
            // Everybody earns its weight; whoever has the most goes, and pays for the whole round.
            let mut leader = 0;
            for member in 0..weights.len() {
                credit[member] += weights[member];
                if credit[member] > credit[leader] {
                    leader = member;
                }
            }
            credit[leader] -= total;
            u32::try_from(leader).unwrap_or(0)
        };
        Self { schedule: (0..total.max(1)).map(|_| turn()).collect(), next: AtomicUsize::new(0) }
    }

    /// The index of the member whose turn it is.
    pub(super) fn next(&self) -> usize {
        // Relaxed: each turn is given out once; in which order threads see them does not matter.
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.schedule.len();
        self.schedule[turn] as usize
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], count: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights);
        (0..count).map(|_| rotation.next()).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(turns(&[7, 7, 7], 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavy_member_is_spread_out() {
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_round_gives_each_its_share() {
        let taken = turns(&[1000, 999, 1], 2000);
        assert_eq!([0, 1, 2].map(|member| taken.iter().filter(|&&t| t == member).count()), [1000, 999, 1]);
    }
}
