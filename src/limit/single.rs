//! One limit: a rule, and what it knows of its clients.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::account::{Account, Held, Home};
use super::bucket::Bucket;
use super::key::{Fingerprint, Origin, Secret};
use super::offenders::{Offender, Offenders};
use super::own::OwnBucket;
use super::quota::Quota;
use super::report::Standing;
use super::rule::{Charge, Measure, Rate, Rule, Terms};
use super::snapshot::{SavedLimit, SavedOverride, describe};
use super::table::Table;
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::crowd::Crowd;
use crate::networks::Networks;

/// A limit: a rule, and what it knows of its clients.
pub struct Limit {
    rule: Rule,
    /// Under what origins are hashed. Each limit has its own copy: so where a request comes from is told by two words.
    secret: Secret,
    count: Count,
    /// The networks of the rule's `exempt`.
    exempt: Networks,
    /// Those for whom something else holds, in the order of their fingerprints.
    overrides: Vec<(Fingerprint, Special)>,
    offenders: Arc<Offenders>,
}

/// What a limit knows of its clients.
enum Count {
    /// Buckets, and the requests whose costs are to be settled, if such are set aside.
    Rate(Arc<Table>, Option<Arc<Crowd>>),
    /// The running requests, of which each client may have so many.
    InFlight(Arc<Crowd>, u32),
}

/// What a limit keeps of a client for whom something else holds.
enum Special {
    Unlimited,
    Rate(Quota, Arc<OwnBucket>),
    InFlight(u32),
}

impl Limit {
    /// A limit that remembers nobody.
    pub(super) fn new(rule: Rule, secret: &Secret) -> Self {
        let count = match &rule.measure {
            Measure::Rate(rate) => {
                Count::Rate(Arc::new(Table::new(rate.quota, rate.max_clients)), reserved(rate, None))
            }
            Measure::InFlight(max) => Count::InFlight(Arc::new(Crowd::default()), *max),
        };
        let special = |terms, _| Special::new(terms, None, Timestamp::default());
        let overrides = overrides(&rule, secret, special);
        Self::made(rule, secret, count, overrides, Arc::new(Offenders::new()))
    }

    /// A limit that remembers what was saved of one with its name.
    pub(super) fn restored(rule: Rule, secret: &Secret, saved: SavedLimit, now: Timestamp) -> Self {
        let Measure::Rate(rate) = &rule.measure else { return Self::new(rule, secret) };
        if saved.key != describe(&rule.key) {
            return Self::new(rule, secret);
        }
        let table = Table::restored(rate.quota, rate.max_clients, saved.table, now);
        let count = Count::Rate(Arc::new(table), reserved(rate, None));
        let saved_overrides: HashMap<Fingerprint, &SavedOverride> =
            saved.overrides.iter().map(|saved| (saved.client, saved)).collect();
        let special = |terms, client| {
            let before = saved_overrides.get(&client).map(|saved| {
                let bucket = OwnBucket::new(Bucket::from_ticks(saved.full_at));
                Special::Rate(saved.quota, Arc::new(bucket))
            });
            Special::new(terms, before.as_ref(), now)
        };
        let overrides = overrides(&rule, secret, special);
        Self::made(rule, secret, count, overrides, Arc::new(Offenders::new()))
    }

    /// A limit that takes the place of this one. It remembers the same clients if it goes by the same key.
    pub(super) fn succeeded_by(&self, rule: Rule, secret: &Secret, now: Timestamp) -> Self {
        if rule.key != self.rule.key {
            return Self::new(rule, secret);
        }
        let count = match (&rule.measure, &self.count) {
            (Measure::Rate(rate), Count::Rate(table, in_flight)) => {
                Count::Rate(succeed(rate, table, now), reserved(rate, in_flight.as_ref()))
            }
            (Measure::InFlight(max), Count::InFlight(in_flight, _)) => {
                Count::InFlight(in_flight.clone(), *max)
            }
            _ => return Self::new(rule, secret),
        };
        let special = |terms, client| Special::new(terms, self.special(client), now);
        let overrides = overrides(&rule, secret, special);
        Self::made(rule, secret, count, overrides, self.offenders.clone())
    }

    fn made(
        rule: Rule,
        secret: &Secret,
        count: Count,
        overrides: Vec<(Fingerprint, Special)>,
        offenders: Arc<Offenders>,
    ) -> Self {
        Self {
            exempt: Networks::new(&rule.exempt),
            secret: secret.clone(),
            rule,
            count,
            overrides,
            offenders,
        }
    }

    /// What makes it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its buckets, if it has any.
    pub fn table(&self) -> Option<&Table> {
        match &self.count {
            Count::Rate(table, _) => Some(table),
            Count::InFlight(..) => None,
        }
    }

    /// How many clients it has something to remember of. It visits every slot.
    pub fn clients(&self, now: Timestamp) -> usize {
        let special = self.overrides.iter().filter(|(_, special)| special.is_in_debt(now)).count();
        special
            + match &self.count {
                Count::Rate(table, _) => table.clients(now),
                Count::InFlight(in_flight, _) => in_flight.clients(),
            }
    }

    /// Notes that it refused a client; `key` says how its key is shown.
    pub(super) fn note_offender(
        &self,
        client: Fingerprint,
        now: Timestamp,
        key: impl FnOnce() -> Vec<String>,
    ) {
        self.offenders.note(client, now, key);
    }

    /// The clients that it refused most in the last minute, the most refused first: an estimate.
    pub fn offenders(&self) -> Vec<Offender> {
        self.offenders.worst()
    }

    /// How a client stands; `None` if it is never limited.
    pub fn standing(&self, client: Fingerprint, now: Timestamp) -> Option<Standing> {
        Some(self.account(client)?.look(client, 0, now, || None).standing)
    }

    /// Fills a client's bucket; false if it has none.
    pub fn reset(&self, client: Fingerprint, now: Timestamp) -> bool {
        self.account(client).is_some_and(|account| account.reset(client, now))
    }

    /// Where requests of this client come from, if others under this limit could come from there too.
    #[cold]
    #[inline(never)]
    pub(super) fn origin(&self, sender: &ClientId) -> Option<Origin> {
        self.rule.key.origin(sender, &self.secret)
    }

    /// Where it keeps what it knows of a client; `None` if that is never limited.
    #[inline]
    pub(super) fn account(&self, client: Fingerprint) -> Option<Account<'_>> {
        let special = self.special(client);
        match &self.count {
            Count::Rate(table, reserved) => {
                let home = match special {
                    None => Home::Table(table),
                    Some(Special::Rate(quota, bucket)) => Home::Sole(quota, bucket),
                    Some(Special::Unlimited | Special::InFlight(_)) => return None,
                };
                Some(
                    reserved
                        .as_ref()
                        .map_or(Account::Bucket(home), |r| Account::Held(Held::Reserved(home, r))),
                )
            }
            Count::InFlight(in_flight, max) => match special {
                None => Some(Account::Held(Held::InFlight(in_flight, *max))),
                Some(Special::InFlight(max)) => Some(Account::Held(Held::InFlight(in_flight, *max))),
                Some(Special::Unlimited | Special::Rate(..)) => None,
            },
        }
    }

    /// What holds for a client, if it is something else than for the rest.
    fn special(&self, client: Fingerprint) -> Option<&Special> {
        if self.overrides.is_empty() {
            return None;
        }
        let at = self.overrides.binary_search_by_key(&client.bits(), |(client, _)| client.bits());
        at.ok().map(|at| &self.overrides[at].1)
    }

    /// The buckets of those that have one of their own.
    pub(super) fn saved_overrides(&self, now: Timestamp) -> Vec<SavedOverride> {
        let saved = |(client, special): &(Fingerprint, Special)| match special {
            Special::Rate(quota, bucket) => Some(SavedOverride {
                client: *client,
                quota: *quota,
                full_at: bucket.look(quota, now).ticks(),
            }),
            Special::Unlimited | Special::InFlight(_) => None,
        };
        self.overrides.iter().filter_map(saved).collect()
    }

    /// The tokens that a request takes, or that are set aside for it.
    pub(super) fn cost(&self) -> u32 {
        self.rule.rate().map_or(0, |rate| rate.cost)
    }

    pub(super) fn counts(&self, method: &Method) -> bool {
        self.rule.methods.is_empty() || self.rule.methods.contains(method)
    }

    pub(super) fn exempts(&self, client: &ClientId) -> bool {
        !self.exempt.is_empty() && client.address().is_some_and(|client| self.exempt.contains(client))
    }
}

/// The table for this rate, which takes the place of another: that one, if it will do.
fn succeed(rate: &Rate, table: &Arc<Table>, now: Timestamp) -> Arc<Table> {
    match table.quota() == &rate.quota && table.capacity() == rate.max_clients {
        true => table.clone(),
        false => Arc::new(Table::succeeding(rate.quota, rate.max_clients, table, now)),
    }
}

/// The requests whose costs are to be settled, if such are set aside.
fn reserved(rate: &Rate, before: Option<&Arc<Crowd>>) -> Option<Arc<Crowd>> {
    let begin = || Arc::new(Crowd::default());
    (rate.charge != Charge::Always).then(|| before.map_or_else(begin, Arc::clone))
}

/// Those for whom something else holds, in the order of their fingerprints.
fn overrides(
    rule: &Rule,
    secret: &Secret,
    special: impl Fn(Terms, Fingerprint) -> Special,
) -> Vec<(Fingerprint, Special)> {
    let mut overrides: Vec<_> = rule
        .overrides
        .iter()
        .filter_map(|o| {
            let client = rule.key.fingerprint_of(&[&o.value], secret).ok()?;
            Some((client, special(o.terms, client)))
        })
        .collect();
    overrides.sort_unstable_by_key(|(client, _)| client.bits());
    overrides
}

impl Special {
    /// What holds under these terms, for a client for whom something else held before, or nothing.
    fn new(terms: Terms, before: Option<&Self>, now: Timestamp) -> Self {
        match (terms, before) {
            (Terms::Unlimited, _) => Self::Unlimited,
            (Terms::InFlight(max), _) => Self::InFlight(max),
            (Terms::Rate(quota), Some(Self::Rate(old, bucket))) => {
                let bucket = match old == &quota {
                    true => bucket.clone(),
                    false => Arc::new(OwnBucket::succeeding(*old, bucket, now)),
                };
                Self::Rate(quota, bucket)
            }
            (Terms::Rate(quota), _) => Self::Rate(quota, Arc::default()),
        }
    }

    fn is_in_debt(&self, now: Timestamp) -> bool {
        matches!(self, Self::Rate(quota, bucket) if !bucket.look(quota, now).is_full(quota, now))
    }
}
