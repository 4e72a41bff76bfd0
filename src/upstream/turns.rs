//! When each server is checked: in turns of its own, so that neither the gateway nor what lies behind many servers has all
//! checks at one instant.
//!
//! A server's place in the interval is drawn by its name and by the process, and stays the same as long as that runs, also
//! over reloads; each check is then put off a little by chance. The first comes early, for nothing is known yet.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use crate::clock::Timestamp;

/// The first checks of all servers are spread over this, or over the interval if that is shorter.
const FIRST: Duration = Duration::from_secs(1);

/// Each check is put off by up to this share of the interval.
const JITTER: f64 = 0.1;

/// Several gateways that are started at once do not have their checks at the same instants.
static PLACES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// When each server is checked next.
pub(super) struct Turns {
    interval: Duration,
    began: Option<Timestamp>,
    /// By the server's identity. `None` as long as a check runs.
    next: HashMap<u64, Option<Timestamp>>,
}

impl Turns {
    /// Turns that come round once in an interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, began: None, next: HashMap::new() }
    }

    /// Those of these servers that are to be checked now. Each is out of turns until it is [`done`](Self::done). Others than
    /// these are forgotten.
    pub(super) fn due(&mut self, servers: impl Iterator<Item = u64>, now: Timestamp) -> Vec<u64> {
        let first = FIRST.min(self.interval);
        self.began.get_or_insert(now);
        let mut before = std::mem::take(&mut self.next);
        let mut due = Vec::new();
        for server in servers {
            let turn =
                before.remove(&server).unwrap_or_else(|| Some(now.after(first.mul_f64(place(server)))));
            let comes = turn.is_some_and(|turn| turn <= now);
            due.extend(comes.then_some(server));
            self.next.insert(server, turn.filter(|_| !comes));
        }
        due
    }

    /// A check is over: the next comes in the server's place of the next interval, put off by `chance`, from 0 to 1.
    pub(super) fn done(&mut self, server: u64, now: Timestamp, chance: f64) {
        let began = self.began.unwrap_or(now);
        let place = began.after(self.interval.mul_f64(place(server)));
        // Half an interval after the last one at the earliest: one that was put off is not to be followed at once.
        let earliest = now.after(self.interval / 2);
        let behind = earliest.since(place).as_nanos();
        let rounds = behind.div_ceil(self.interval.as_nanos().max(1));
        let next = place.after(self.interval.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)));
        if let Some(turn) = self.next.get_mut(&server) {
            *turn = Some(next.after(self.interval.mul_f64(JITTER * chance)));
        }
    }

    /// A check has got lost, of whichever server: all that are out of turns come after another interval.
    pub(super) fn give_back(&mut self, now: Timestamp) {
        for turn in self.next.values_mut() {
            turn.get_or_insert(now.after(self.interval));
        }
    }

    /// How long it is until the next turn.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let turns = self.next.values().flatten().map(|turn| turn.since(now));
        turns.min().unwrap_or(Duration::MAX)
    }
}

/// The place of a server in every interval, from 0 to 1.
fn place(server: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a number of 32 bits is exact")]
    let share = (PLACES.hash_one(server) >> 32) as f64;
    share / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);
    const START: Timestamp = Timestamp::from_nanos(7_000_000_000);

    /// When each of `count` servers is checked within `span`, where a check takes no time.
    fn checks(count: u64, span: Duration) -> Vec<(u64, Duration)> {
        let mut turns = Turns::new(INTERVAL);
        let (mut now, mut checks) = (START, Vec::new());
        while now.since(START) < span {
            for server in turns.due(0..count, now) {
                checks.push((server, now.since(START)));
                turns.done(server, now, 0.5);
            }
            now = now.after(turns.pause(now).max(Duration::from_nanos(1)));
        }
        checks
    }

    #[test]
    fn the_checks_of_many_servers_are_spread() {
        let checks = checks(1000, INTERVAL * 4);
        // The first within a second.
        let first = checks.iter().filter(|(_, at)| *at <= FIRST).count();
        assert_eq!(first, 1000);
        // Later, a tenth of the interval has about a tenth of them.
        for tenth in 20..30 {
            let (from, to) = (INTERVAL * tenth / 10, INTERVAL * (tenth + 1) / 10);
            let count = checks.iter().filter(|(_, at)| (from..to).contains(at)).count();
            assert!((50..200).contains(&count), "{count} in a tenth");
        }
    }

    #[test]
    fn each_server_is_checked_about_once_in_an_interval() {
        for server in 0..50 {
            let own: Vec<_> =
                checks(50, INTERVAL * 10).into_iter().filter(|check| check.0 == server).collect();
            assert!((10..=12).contains(&own.len()), "{} checks in ten intervals", own.len());
            let pauses = own.windows(2).map(|pair| pair[1].1 - pair[0].1);
            assert!(pauses.clone().all(|pause| pause >= INTERVAL / 2 && pause <= INTERVAL * 2));
        }
    }

    #[test]
    fn a_server_whose_check_runs_is_not_checked_again() {
        let mut turns = Turns::new(INTERVAL);
        let late = START.after(INTERVAL * 3);
        assert!(turns.due(0..1, START).len() <= 1);
        turns.next.insert(0, Some(START));
        assert_eq!(turns.due(0..1, late), [0]);
        assert_eq!(turns.due(0..1, late), [0; 0]);
        assert_eq!(turns.pause(late), Duration::MAX);
        turns.give_back(late);
        assert_eq!(turns.pause(late), INTERVAL);
        turns.done(0, late, 0.0);
        assert!(turns.pause(late) >= INTERVAL / 2 && turns.pause(late) <= INTERVAL * 2);
        assert_eq!(turns.due(std::iter::empty(), late), [0; 0]);
        assert!(turns.next.is_empty(), "a server that is gone has no turns");
    }
}
