//! Bounds how often clients may show a wrong token, so that a token cannot be found by trying.
//!
//! There is a bound for each address (of IPv6 a /64) and one for all together, since an attacker with many addresses would try from
//! each. An address above its own bound gets no verdict, on the right token neither: otherwise it could go on trying. An address that
//! has shown the right token before is not subject to the bound of all.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use log::warn;

use crate::clock::Timestamp;

/// How many wrong tokens an address may show at once, and how long it takes until it may show another.
const OF_ONE: (u32, Duration) = (10, Duration::from_secs(6));

/// The same for all addresses together.
const OF_ALL: (u32, Duration) = (100, Duration::from_millis(600));

/// How many addresses that have shown the right token are remembered.
const PROVEN: usize = 64;

/// Wrong tokens are told of in the log no more often than this.
const SILENCE: Duration = Duration::from_secs(60);

/// What came of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the right one.
    Right,
    /// It is not.
    Wrong,
    /// Nothing is said of it before this time has passed.
    Later(Duration),
}

/// The wrong tokens that were shown of late.
#[derive(Default)]
pub(super) struct TokenAttempts(Mutex<State>);

#[derive(Default)]
struct State {
    all: Tries,
    /// As many as `all` lets through in a minute, and those that are proven.
    peers: HashMap<IpAddr, Tries>,
    proven: VecDeque<IpAddr>,
    silent_until: Option<Timestamp>,
}

/// When all tries are forgotten.
#[derive(Clone, Copy, Default)]
struct Tries(Timestamp);

impl Tries {
    /// How long no other is allowed.
    fn wait(self, now: Timestamp, (most, each): (u32, Duration)) -> Option<Duration> {
        let wait = self.0.since(now.after(each * (most - 1)));
        (!wait.is_zero()).then_some(wait)
    }

    fn count(&mut self, now: Timestamp, (_, each): (u32, Duration)) {
        self.0 = self.0.max(now).after(each);
    }
}

impl TokenAttempts {
    /// What is said of a token that `peer` shows, which `is_right` or not.
    pub(super) fn judge(&self, peer: IpAddr, is_right: bool, now: Timestamp) -> Verdict {
        let peer = network(peer);
        let state = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = state.peers.get(&peer).copied().unwrap_or_default().wait(now, OF_ONE);
        let proven = state.proven.contains(&peer);
        let others = state.all.wait(now, OF_ALL).filter(|_| !proven);
        if let Some(wait) = own.max(others) {
            return Verdict::Later(wait);
        }
        if is_right {
            state.peers.remove(&peer);
            if !proven {
                state.proven.truncate(PROVEN - 1);
                state.proven.push_front(peer);
            }
            return Verdict::Right;
        }
        state.all.count(now, OF_ALL);
        state.peers.retain(|_, tries| tries.0 > now);
        state.peers.entry(peer).or_default().count(now, OF_ONE);
        if state.silent_until.is_none_or(|until| now >= until) {
            state.silent_until = Some(now.after(SILENCE));
            warn!(
                "the side port was shown a wrong token by {peer}; for a minute, others are only counted against their bounds"
            );
        }
        Verdict::Wrong
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: whoever has one address there has 2^64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_gets_no_verdict_above_its_bound_and_another_one_does() {
        let (token_attempts, clock) = (TokenAttempts::default(), Clock::manual());
        for _ in 0..10 {
            assert_eq!(token_attempts.judge(address(1), false, clock.now()), Verdict::Wrong);
        }
        let wait = Duration::from_secs(6);
        assert_eq!(token_attempts.judge(address(1), false, clock.now()), Verdict::Later(wait));
        assert_eq!(token_attempts.judge(address(1), true, clock.now()), Verdict::Later(wait));
        assert_eq!(token_attempts.judge(address(2), true, clock.now()), Verdict::Right);
        clock.advance(wait);
        assert_eq!(token_attempts.judge(address(1), true, clock.now()), Verdict::Right);
        assert_eq!(token_attempts.judge(address(1), false, clock.now()), Verdict::Wrong);
    }

    #[test]
    fn many_addresses_are_bounded_together_and_do_not_hold_up_one_that_is_proven() {
        let (token_attempts, clock) = (TokenAttempts::default(), Clock::manual());
        let operator = address(1);
        assert_eq!(token_attempts.judge(operator, true, clock.now()), Verdict::Right);
        let from = |n: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, n, 0, 0, 0, 1));
        let wrong = (0..1000)
            .filter(|&n| token_attempts.judge(from(n), false, clock.now()) == Verdict::Wrong)
            .count();
        assert_eq!(wrong, 100);
        assert!(matches!(token_attempts.judge(address(2), true, clock.now()), Verdict::Later(_)));
        assert_eq!(token_attempts.judge(operator, true, clock.now()), Verdict::Right);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(token_attempts.judge(from(0), false, clock.now()), Verdict::Wrong);
        assert_eq!(token_attempts.0.lock().unwrap().peers.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (token_attempts, clock) = (TokenAttempts::default(), Clock::manual());
        let from = |n: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let wrong =
            (0..20).filter(|&n| token_attempts.judge(from(n), false, clock.now()) == Verdict::Wrong).count();
        assert_eq!(wrong, 10);
    }
}
