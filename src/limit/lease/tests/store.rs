//! What the script in the store does, in exact arithmetic, for one bucket.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::limit::bucket::Wait;
use crate::limit::lease::{Answer, Ask, SharedLevel};
use crate::limit::quota::Quota;

/// A bucket in the store.
pub(super) struct Store {
    lease_time: Duration,
    /// What the bucket holds, in ticks of its quota; `None` is full.
    level: Option<i128>,
    at: Timestamp,
    /// The tokens that each gateway holds, and until when.
    held: HashMap<u64, (u32, Timestamp)>,
}

impl Store {
    pub(super) fn new(lease_time: Duration) -> Self {
        Self { lease_time, level: None, at: Timestamp::default(), held: HashMap::new() }
    }

    pub(super) fn ask(&mut self, gateway: u64, ask: &Ask, now: Timestamp) -> Answer {
        let quota = &ask.quota;
        self.refill_until(quota, now);
        let own = self.held.remove(&gateway).map_or(0, |(held, _)| held);
        let back = ask.back.min(own);
        let confirmed = ask.held.min(own - back);
        let others = self.all_held();
        let most = self.most(quota, others + u64::from(confirmed));
        let mut level = (self.level.unwrap_or(most) + ticks(quota, back.into())).min(most);
        level -= ticks(quota, ask.debt.into());
        let tokens = level.div_euclid(ticks(quota, 1));
        let (mut ahead, mut verdict) = (0, Ok(()));
        if tokens >= i128::from(ask.need) || ask.need == 0 {
            let all_held = i128::from(others) + i128::from(confirmed);
            let most_ahead = (tokens - i128::from(ask.need)).min(i128::from(quota.burst() / 2) - all_held);
            ahead = u32::try_from(most_ahead.clamp(0, ask.ahead.into())).unwrap();
            level -= ticks(quota, u64::from(ask.need) + u64::from(ahead));
        } else {
            let short = ticks(quota, ask.need.into()) - level;
            let mut wait =
                Duration::from_nanos(u64::try_from(short.div_euclid(per_nano(quota)) + 1).unwrap());
            if ticks(quota, ask.need.into()) > most {
                let ends = self.held.values().map(|(_, until)| *until).max().unwrap_or(now);
                let own_end = if confirmed > 0 { now.after(self.lease_time) } else { now };
                wait += ends.max(own_end).since(now) + quota.time_to_fill();
            }
            verdict = Err(Wait(wait));
        }
        let kept = if verdict.is_ok() && ask.kept { ask.need } else { 0 };
        let holds = confirmed + ahead + kept;
        if holds > 0 {
            self.held.insert(gateway, (holds, now.after(self.lease_time)));
        }
        (self.level, self.at) = (Some(level), now);
        let level = SharedLevel {
            tokens: i64::try_from(level.div_euclid(ticks(quota, 1))).unwrap(),
            parts: u64::try_from(level.rem_euclid(ticks(quota, 1))).unwrap(),
            parts_per_token: u64::try_from(ticks(quota, 1)).unwrap(),
        };
        Answer { verdict, ahead, level, confirmed }
    }

    fn refill_until(&mut self, quota: &Quota, now: Timestamp) {
        let mut ends: Vec<Timestamp> =
            self.held.values().map(|(_, until)| *until).filter(|until| *until <= now).collect();
        ends.sort_unstable();
        for end in ends.into_iter().chain([now]) {
            let most = self.most(quota, self.all_held());
            let passed = i128::try_from(end.since(self.at).as_nanos()).unwrap();
            self.level = self.level.map(|level| (level + passed * per_nano(quota)).min(most));
            self.at = self.at.max(end);
            self.held.retain(|_, (_, until)| *until > end);
        }
    }

    fn all_held(&self) -> u64 {
        self.held.values().map(|(held, _)| u64::from(*held)).sum()
    }

    fn most(&self, quota: &Quota, held: u64) -> i128 {
        ticks(quota, quota.burst().into()) - ticks(quota, held)
    }
}

fn ticks(quota: &Quota, tokens: u64) -> i128 {
    i128::from(quota.parts().2) * i128::from(tokens)
}

fn per_nano(quota: &Quota) -> i128 {
    i128::from(quota.parts().1)
}
