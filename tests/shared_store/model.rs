//! What the script of the store computes, in exact arithmetic: levels are counted in parts of a token.

use std::collections::BTreeMap;
use std::ops::Range;

use gateway::shared_store::Terms;

/// A bucket owes at most so many tokens.
const MOST_OWED: i128 = 1 << 40;

/// The longest wait that is told.
const LONGEST_WAIT: i128 = (1 << 53) - 1;

/// What a gateway asks about a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) key: usize,
    pub(super) terms: Terms,
    pub(super) need: u32,
    pub(super) kept: bool,
    pub(super) ahead: u32,
    pub(super) held: u32,
    pub(super) back: u32,
    pub(super) debt: u32,
    pub(super) add: u64,
    pub(super) look: bool,
}

/// The answer: enough, ahead, tokens, parts, confirmed, wait.
pub(super) type Answer = [i64; 6];

#[derive(Clone, Copy, Debug)]
struct Lease {
    held: i128,
    ends: i128,
    burst: i128,
}

impl Lease {
    /// The held tokens under this burst: rounded down, and up.
    fn under(&self, burst: i128) -> Range<i128> {
        let exact = self.held * burst;
        exact / self.burst..(exact + self.burst - 1) / self.burst
    }
}

#[derive(Clone, Debug)]
struct Bucket {
    /// What it holds, in parts of which `period` make a token.
    level: i128,
    at: i128,
    tokens: i128,
    period: i128,
    burst: i128,
    leases: BTreeMap<usize, Lease>,
}

impl Bucket {
    fn full(terms: Terms, at: i128) -> Self {
        let (tokens, period, burst) = parts(terms);
        Self { level: burst * period, at, tokens, period, burst, leases: BTreeMap::new() }
    }

    fn held(&self) -> i128 {
        self.leases.values().map(|lease| lease.under(self.burst).end).sum()
    }

    fn bound(&mut self) {
        self.level = self.level.min((self.burst - self.held()) * self.period).max(-MOST_OWED * self.period);
    }

    fn advance(&mut self, now: i128) {
        self.at = self.at.min(now);
        let mut ends: Vec<_> = self.leases.values().map(|lease| lease.ends).collect();
        ends.sort_unstable();
        for end in ends.into_iter().filter(|&end| end <= now).chain([now]) {
            self.level += (end - self.at).max(0) * self.tokens;
            self.at = self.at.max(end);
            self.bound();
            self.leases.retain(|_, lease| lease.ends > self.at);
        }
    }

    fn convert(&mut self, terms: Terms) {
        let (tokens, period, burst) = parts(terms);
        if (self.tokens, self.period, self.burst) == (tokens, period, burst) {
            return;
        }
        let missing = self.burst * self.period - self.level;
        let missing = times(missing, burst * period, self.burst * self.period);
        (self.tokens, self.period, self.burst) = (tokens, period, burst);
        self.level = (burst * period).saturating_sub(missing);
        self.bound();
    }

    fn wait(&self, need: i128) -> i128 {
        let short = need * self.period - self.level;
        let mut wait = (short + self.tokens - 1) / self.tokens;
        if need > self.burst - self.held() {
            let last = self.leases.values().map(|lease| lease.ends).max().unwrap_or(self.at);
            wait += last - self.at;
        }
        wait.min(LONGEST_WAIT)
    }
}

fn parts(terms: Terms) -> (i128, i128, i128) {
    (terms.tokens.into(), terms.period.into(), terms.burst.into())
}

/// `number * by / of`, rounded up; the largest number if it is absurd. Bit by bit, since the product has more than 128 bits.
fn times(number: i128, by: i128, of: i128) -> i128 {
    let (mut quotient, mut rest) = (0_i128, 0);
    for bit in (0..i128::BITS - by.leading_zeros()).rev() {
        rest = rest * 2 + if by >> bit & 1 == 1 { number } else { 0 };
        quotient = quotient.saturating_mul(2).saturating_add(rest / of);
        rest %= of;
    }
    quotient.saturating_add(i128::from(rest > 0))
}

/// The store.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    buckets: BTreeMap<usize, Bucket>,
}

impl Store {
    /// A call of a gateway, which holds tokens for `lease_time` microseconds.
    pub(super) fn call(&mut self, gateway: usize, lease_time: i128, now: i128, asks: &[Ask]) -> Vec<Answer> {
        let mut granted = true;
        let mut settled: Vec<(Bucket, i128, bool)> = Vec::new();
        for ask in asks {
            let mut bucket =
                self.buckets.get(&ask.key).cloned().unwrap_or_else(|| Bucket::full(ask.terms, now));
            bucket.advance(now);
            bucket.convert(ask.terms);
            let own = bucket.leases.remove(&gateway).map_or(0, |lease| lease.under(bucket.burst).start);
            let back = own.min(ask.back.into());
            let confirmed = (own - back).min(ask.held.into());
            let ends = bucket.at + lease_time;
            bucket.leases.insert(gateway, Lease { held: confirmed, ends, burst: bucket.burst });
            bucket.level += back * bucket.period;
            bucket.bound();
            bucket.level -= i128::from(ask.debt) * bucket.period;
            bucket.bound();
            bucket.level += i128::from(ask.add) * bucket.period;
            bucket.bound();
            let enough = ask.need == 0 || bucket.level >= i128::from(ask.need) * bucket.period;
            granted &= enough && !ask.look;
            settled.push((bucket, confirmed, enough));
        }
        let answer = |(ask, (mut bucket, confirmed, enough)): (&Ask, (Bucket, i128, bool))| {
            let need = i128::from(ask.need);
            let tokens = bucket.level.div_euclid(bucket.period);
            let ahead = (bucket.burst / 2 - bucket.held()).min(tokens - need).min(ask.ahead.into()).max(0);
            let ahead = if granted { ahead } else { 0 };
            if granted {
                bucket.level -= (need + ahead) * bucket.period;
                let kept = if ask.kept { need } else { 0 };
                bucket.leases.get_mut(&gateway).unwrap().held += ahead + kept;
            }
            bucket.leases.retain(|_, lease| lease.held > 0);
            let wait = if enough { 0 } else { bucket.wait(need) };
            let answer = [
                i128::from(enough),
                ahead,
                bucket.level.div_euclid(bucket.period),
                bucket.level.rem_euclid(bucket.period),
                confirmed,
                wait,
            ];
            match bucket.level >= bucket.burst * bucket.period && bucket.leases.is_empty() {
                true => self.buckets.remove(&ask.key),
                false => self.buckets.insert(ask.key, bucket),
            };
            answer.map(|number| i64::try_from(number).unwrap())
        };
        asks.iter().zip(settled).map(answer).collect()
    }
}
