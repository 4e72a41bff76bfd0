//! The clients that a limit has refused most in the last minute: an estimate, in bounded memory.
//!
//! A sketch estimates how often each client was refused within the last minute, and a short list holds the clients with the most
//! refusals. The list is shown to operators; no decision depends on it. So a refusal is not counted if another thread holds the lock, and
//! only a sample of many refusals is counted, so that refusing a flood stays cheap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pingora_limits::rate::{PROPORTIONAL_RATE_ESTIMATE_CALC_FN, Rate};

use super::key::Fingerprint;
use crate::clock::Timestamp;

/// How many clients are in the list.
const LISTED: usize = 10;

/// The time over which refusals are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// The same in nanoseconds.
const NANOS: u64 = 60_000_000_000;

/// One in so many refusals of clients outside the list compares the client with those in the list. A client that is refused often
/// is compared soon.
const COMPARED: u32 = 16;

/// The first refusals of a window, which are all counted.
const EXACT: u32 = 1000;

/// Of the further refusals one in so many is counted, with that weight.
const SAMPLED: u32 = 16;

/// The clients that a limit has refused most in the last minute.
pub(super) struct Offenders {
    /// The number of the current window in the upper half, and the refusals in it in the lower one.
    seen: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    refusals: Rate,
    listed: Vec<(Fingerprint, Offender)>,
    passed_by: u32,
}

/// A client that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The values of the limit's key, as they may be shown.
    pub key: Vec<String>,
    /// About how often it was refused in the last minute.
    pub refused: u64,
}

impl Offenders {
    /// No client was refused yet.
    pub(super) fn new() -> Self {
        let inner = Inner { refusals: Rate::new(WINDOW), listed: Vec::new(), passed_by: 0 };
        Self { seen: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// Notes that a client was refused; `key` says how its key is shown.
    pub(super) fn note(&self, client: Fingerprint, now: Timestamp, key: impl FnOnce() -> Vec<String>) {
        let weight = self.weight(now);
        if weight == 0 {
            return;
        }
        // A poisoned lock is ignored: an estimate is not worth another panic.
        let Ok(mut inner) = self.inner.try_lock() else { return };
        inner.refusals.observe(&client.bits(), weight);
        if inner.listed.iter().any(|(listed, _)| *listed == client) {
            return;
        }
        let offender = |key: Vec<String>| (client, Offender { key, refused: 0 });
        if inner.listed.len() < LISTED {
            inner.listed.push(offender(key()));
            return;
        }
        inner.passed_by += 1;
        if inner.passed_by >= COMPARED {
            inner.passed_by = 0;
            let least = (0..LISTED).min_by_key(|&at| inner.refused(inner.listed[at].0));
            if let Some(least) = least
                && inner.refused(client) > inner.refused(inner.listed[least].0)
            {
                inner.listed[least] = offender(key());
            }
        }
    }

    /// The weight with which this refusal is counted; zero if it is not.
    fn weight(&self, now: Timestamp) -> isize {
        let window = now.nanos() / NANOS;
        // Relaxed, and not in one step: an estimate may lose or double a refusal.
        let seen = self.seen.load(Ordering::Relaxed);
        let [window_seen, count] = [seen >> 32, seen & u64::from(u32::MAX)];
        let count = if window_seen == window { u32::try_from(count).unwrap_or(u32::MAX) } else { 0 };
        self.seen.store(window << 32 | u64::from(count.saturating_add(1)), Ordering::Relaxed);
        // Multiples of the golden ratio are spread evenly, so that a client that sends regularly is sampled like any other.
        match (count < EXACT, count.wrapping_mul(0x9e37_79b9) < u32::MAX / SAMPLED) {
            (true, _) => 1,
            (false, true) => SAMPLED as isize,
            (false, false) => 0,
        }
    }

    /// The clients that were refused most in the last minute, the most refused first.
    pub(super) fn worst(&self) -> Vec<Offender> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let offender = |(client, offender): &(Fingerprint, Offender)| Offender {
            refused: inner.refused(*client),
            ..offender.clone()
        };
        let mut worst: Vec<_> = inner.listed.iter().map(offender).filter(|o| o.refused > 0).collect();
        worst.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.key.cmp(&b.key)));
        worst
    }
}

impl Inner {
    /// About how often a client was refused within the window.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count of a minute, not negative"
    )]
    fn refused(&self, client: Fingerprint) -> u64 {
        let per_second = self.refusals.rate_with(&client.bits(), PROPORTIONAL_RATE_ESTIMATE_CALC_FN);
        (per_second * WINDOW.as_secs_f64()).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::fingerprint_of as client;

    fn note(offenders: &Offenders, id: u64, times: u32) {
        (0..times).for_each(|_| offenders.note(client(id), Timestamp::default(), || vec![id.to_string()]));
    }

    fn keys(offenders: &Offenders) -> Vec<String> {
        offenders.worst().into_iter().flat_map(|offender| offender.key).collect()
    }

    #[test]
    fn the_most_refused_come_first() {
        let offenders = Offenders::new();
        assert!(offenders.worst().is_empty());
        note(&offenders, 1, 5);
        note(&offenders, 2, 7);
        let worst = offenders.worst();
        assert_eq!(worst[0], Offender { key: vec!["2".into()], refused: 7 });
        assert_eq!(worst[1], Offender { key: vec!["1".into()], refused: 5 });
    }

    #[test]
    fn of_many_refusals_a_sample_stands_for_all() {
        let offenders = Offenders::new();
        // In turns, as many as there are refusals to a sample.
        for _ in 0..10_000 {
            (0..16).for_each(|id| note(&offenders, id, 1 + u32::from(id == 3)));
        }
        let worst = offenders.worst();
        assert_eq!(worst[0].key, ["3"]);
        assert!((18_000..22_000).contains(&worst[0].refused), "{worst:?}");
        assert!(worst[1..].iter().all(|other| (9_000..11_000).contains(&other.refused)), "{worst:?}");
    }

    #[test]
    fn whoever_is_refused_a_lot_gets_into_a_list_that_is_full() {
        let offenders = Offenders::new();
        (0..10_000).for_each(|id| note(&offenders, id, 1));
        assert_eq!(keys(&offenders).len(), LISTED);
        note(&offenders, 70_000, 1000);
        assert_eq!(keys(&offenders)[0], "70000");
        assert_eq!(keys(&offenders).len(), LISTED);
    }
}
