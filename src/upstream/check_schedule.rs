//! When each server is checked: the checks of many servers are spread over the interval, so that they do not all come at one instant.
//!
//! A server's place in the interval is a hash of its identity under a seed of the process, so it stays the same over reloads. Each check
//! is delayed by a little random jitter. The first checks come early, since no server's health is known at the start.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::time::Duration;

use crate::clock::Timestamp;

/// The first checks of all servers are spread over this, or over the interval if that is shorter.
const FIRST: Duration = Duration::from_secs(1);

/// Each check is put off by up to this share of the interval.
const JITTER: f64 = 0.1;

/// The seed of the places, so that gateways which are started at once do not check at the same instants.
static PLACES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// When each server is checked next.
pub(super) struct CheckSchedule {
    interval: Duration,
    began: Option<Timestamp>,
    /// The time of the next check, by the server's identity. `None` while a check runs.
    next: HashMap<u64, Option<Timestamp>>,
}

impl CheckSchedule {
    /// Checks each server once in an interval.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, began: None, next: HashMap::new() }
    }

    /// Those of `servers` that are to be checked now. Each is not due again until its check is [`done`](Self::done). Servers that are
    /// not among `servers` are forgotten.
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

    /// Notes that a check is over: the next comes at the server's place in the next interval, delayed by `chance`, from 0 to 1.
    pub(super) fn done(&mut self, server: u64, now: Timestamp, chance: f64) {
        let began = self.began.unwrap_or(now);
        let place = began.after(self.interval.mul_f64(place(server)));
        // Half an interval after this check at the earliest, so that a delayed check is not followed by the next at once.
        let earliest = now.after(self.interval / 2);
        let behind = earliest.since(place).as_nanos();
        let rounds = behind.div_ceil(self.interval.as_nanos().max(1));
        let next = place.after(self.interval.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX)));
        if let Some(turn) = self.next.get_mut(&server) {
            *turn = Some(next.after(self.interval.mul_f64(JITTER * chance)));
        }
    }

    /// Notes that a check was lost and did not say of which server: all servers whose checks run are checked after another interval.
    pub(super) fn reschedule_lost(&mut self, now: Timestamp) {
        for turn in self.next.values_mut() {
            turn.get_or_insert(now.after(self.interval));
        }
    }

    /// How long it is until the next check.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let schedule = self.next.values().flatten().map(|turn| turn.since(now));
        schedule.min().unwrap_or(Duration::MAX)
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
        let mut schedule = CheckSchedule::new(INTERVAL);
        let (mut now, mut checks) = (START, Vec::new());
        while now.since(START) < span {
            for server in schedule.due(0..count, now) {
                checks.push((server, now.since(START)));
                schedule.done(server, now, 0.5);
            }
            now = now.after(schedule.pause(now).max(Duration::from_nanos(1)));
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
        let mut schedule = CheckSchedule::new(INTERVAL);
        let late = START.after(INTERVAL * 3);
        assert!(schedule.due(0..1, START).len() <= 1);
        schedule.next.insert(0, Some(START));
        assert_eq!(schedule.due(0..1, late), [0]);
        assert_eq!(schedule.due(0..1, late), [0; 0]);
        assert_eq!(schedule.pause(late), Duration::MAX);
        schedule.reschedule_lost(late);
        assert_eq!(schedule.pause(late), INTERVAL);
        schedule.done(0, late, 0.0);
        assert!(schedule.pause(late) >= INTERVAL / 2 && schedule.pause(late) <= INTERVAL * 2);
        assert_eq!(schedule.due(std::iter::empty(), late), [0; 0]);
        assert!(schedule.next.is_empty(), "a server that is gone is not scheduled");
    }
}
