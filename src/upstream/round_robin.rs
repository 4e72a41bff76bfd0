//! Weighted round robin, without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A fixed schedule that contains each member as often as its weight says, spread out as evenly as possible (the "smooth" order of
/// nginx), and a counter that goes round it.
pub(super) struct RoundRobin {
    schedule: Box<[u32]>,
    members: usize,
    next: AtomicUsize,
}

impl RoundRobin {
    /// A schedule of members with these weights, none of which is zero.
    pub(super) fn new(weights: &[u32]) -> Self {
        let common = weights.iter().copied().fold(0, gcd).max(1);
        let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / common)).collect();
        let total: i64 = weights.iter().sum();
        let mut credit = vec![0_i64; weights.len()];
        let mut turn = || {
            // Each member earns its weight; the member with the most credit is next, and pays the sum of all weights.
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
        Self {
            schedule: (0..total).map(|_| turn()).collect(),
            members: weights.len(),
            next: AtomicUsize::new(0),
        }
    }

    /// The index of the member whose turn it is, of those that are open; `None` if none is.
    ///
    /// A member that is not open lets its turn pass, so that the others share it as they share all turns.
    pub(super) fn next(&self, open: impl Fn(usize) -> bool) -> Option<usize> {
        let turn = self.turn()?;
        if open(turn) {
            return Some(turn);
        }
        let Some(any) = (0..self.members).find(|&member| open(member)) else {
            // A turn that no member could take is not lost.
            self.next.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        // A round has a turn of each member, but other threads may take those of the open ones.
        let mut round = self.schedule.iter().filter_map(|_| self.turn());
        round.find(|&turn| open(turn)).or(Some(any))
    }

    fn turn(&self) -> Option<usize> {
        // Relaxed: each turn is given out once; in which order threads see them does not matter.
        let turn = self.next.fetch_add(1, Ordering::Relaxed).checked_rem(self.schedule.len())?;
        Some(self.schedule[turn] as usize)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], count: usize, open: impl Fn(usize) -> bool) -> Vec<usize> {
        let members = RoundRobin::new(weights);
        (0..count).map(|_| members.next(&open).unwrap()).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(turns(&[7, 7, 7], 6, |_| true), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavy_member_is_spread_out() {
        assert_eq!(turns(&[5, 1, 1], 7, |_| true), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn every_round_gives_each_its_share() {
        let taken = turns(&[1000, 999, 1], 2000, |_| true);
        assert_eq!([0, 1, 2].map(|member| taken.iter().filter(|&&t| t == member).count()), [1000, 999, 1]);
    }

    #[test]
    fn the_turns_of_a_member_that_is_not_open_go_to_all_others() {
        assert_eq!(turns(&[1, 1, 1], 6, |member| member != 0), [1, 2, 1, 2, 1, 2]);
        let taken = turns(&[1000, 2, 1], 300, |member| member != 0);
        assert_eq!(taken.iter().filter(|&&member| member == 1).count(), 200);
    }

    #[test]
    fn nobody_has_a_turn_when_nobody_is_open_or_there() {
        let members = RoundRobin::new(&[1, 1]);
        for _ in 0..3 {
            assert_eq!(members.next(|_| false), None);
        }
        assert_eq!(members.next(|_| true), Some(0));
        assert_eq!(RoundRobin::new(&[]).next(|_| true), None);
    }
}
