//! One limit: its rule, and the state of its clients.

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use tokio::sync::Notify;

use super::bucket::Bucket;
use super::bucket_ref::BucketRef;
use super::client_state::{ClientState, Held, SharedRef};
use super::key::{Fingerprint, Inputs, Origin, Secret};
use super::lease::{LeaseTerms, Leases};
use super::offenders::{Offender, Offenders};
use super::override_bucket::OverrideBucket;
use super::plans::{PlanState, Plans};
use super::quota::Quota;
use super::reading::Remaining;
use super::rule::{Charge, Measure, Rate, Rule, Terms};
use super::saved::{SavedLimit, SavedOverride, SavedPlan, describe};
use super::table::Table;
use super::window_ref::WindowRef;
use super::windows::Windows;
use crate::client::ClientId;
use crate::clock::{Timestamp, WallTime};
use crate::concurrency::Concurrency;
use crate::networks::Networks;

/// A limit: its rule, and the state of its clients.
pub struct Limit {
    rule: Rule,
    /// The secret under which its keys are hashed: that of the limiter, or of all gateways that share the limit.
    secret: Secret,
    count: Count,
    /// The windows in which it counts, if it is a quota by the calendar.
    windows: Option<Arc<Windows>>,
    /// The tokens that this gateway holds, if the limit is shared. `count` is then used while the store does not answer.
    leases: Option<Arc<Leases>>,
    /// The networks of the rule's `exempt`.
    exempt: Networks,
    /// The clients with an override, in the order of their fingerprints.
    overrides: Vec<(Fingerprint, OverrideState)>,
    plans: Plans,
    offenders: Arc<Offenders>,
}

/// The state of the clients without an override.
enum Count {
    /// Their buckets, or what was counted of each in the present window, and the requests whose costs are reserved, if the limit reserves costs.
    Rate(Arc<Table>, Option<Arc<Concurrency>>),
    /// Their running requests, and how many each may have.
    InFlight(Arc<Concurrency>, u32),
}

/// The state of a client with an override.
enum OverrideState {
    Unlimited,
    Rate(Quota, Arc<OverrideBucket>),
    InFlight(u32),
}

impl Limit {
    /// A limit without any clients yet.
    pub(super) fn new(rule: Rule, secret: &Secret, around: &Around) -> Self {
        let secret = &secret_of(&rule, secret);
        let count = match &rule.measure {
            Measure::Rate(rate) | Measure::Quota(rate, _) => {
                Count::Rate(Arc::new(Table::new(rate.quota, rate.max_clients)), reserved(rate, None))
            }
            Measure::InFlight(max) => Count::InFlight(Arc::new(Concurrency::default()), *max),
        };
        let state = |terms, _| OverrideState::new(terms, None, Timestamp::default());
        let overrides = overrides(&rule, secret, state);
        let (leases, plans) = (leases(&rule, &around.lease_work), Plans::new(&rule));
        let windows = windows(&rule, around, 0);
        Self::made(rule, secret, (count, windows), leases, (overrides, plans), Arc::new(Offenders::new()))
    }

    /// A limit with the clients that were saved of the limit with its name, and of its plans.
    pub(super) fn restored(
        rule: Rule,
        secret: &Secret,
        around: &Around,
        (saved, saved_plans): (&SavedLimit, &[SavedPlan]),
        now: Timestamp,
    ) -> Self {
        let Some(rate) = rule.rate() else { return Self::new(rule, secret, around) };
        if saved.what != describe(&rule) || rule.shared.is_some() {
            return Self::new(rule, secret, around);
        }
        let windows = windows(&rule, around, saved.window);
        let now = own_time(windows.as_deref(), now);
        let table = Arc::new(Table::restored(rate.quota, rate.max_clients, &saved.table, now));
        let plans = Plans::restored(&rule, saved_plans, &table, now);
        let count = Count::Rate(table, reserved(rate, None));
        let saved_overrides: HashMap<Fingerprint, &SavedOverride> =
            saved.overrides.iter().map(|saved| (saved.client, saved)).collect();
        let state = |terms, client| {
            let before = saved_overrides.get(&client).map(|saved| {
                let bucket = OverrideBucket::new(Bucket::from_ticks(saved.full_at));
                OverrideState::Rate(saved.quota, Arc::new(bucket))
            });
            OverrideState::new(terms, before.as_ref(), now)
        };
        let overrides = overrides(&rule, secret, state);
        Self::made(rule, secret, (count, windows), None, (overrides, plans), Arc::new(Offenders::new()))
    }

    /// The limit that takes the place of this one. It has the same clients if its key is the same.
    pub(super) fn succeeded_by(&self, rule: Rule, secret: &Secret, around: &Around, now: Timestamp) -> Self {
        let own = secret_of(&rule, secret);
        if rule.key != self.rule.key || own != self.secret || rule.calendar() != self.rule.calendar() {
            return Self::new(rule, secret, around);
        }
        let (secret, now) = (&own, self.own_time(now));
        let count = match (&rule.measure, &self.count) {
            (Measure::Rate(rate) | Measure::Quota(rate, _), Count::Rate(table, in_flight)) => {
                Count::Rate(succeed(rate, table, now), reserved(rate, in_flight.as_ref()))
            }
            (Measure::InFlight(max), Count::InFlight(in_flight, _)) => {
                Count::InFlight(in_flight.clone(), *max)
            }
            _ => return Self::new(rule, secret, around),
        };
        let state = |terms, client| OverrideState::new(terms, self.override_of(client), now);
        let overrides = overrides(&rule, secret, state);
        let is_same = |rate: &Rate| self.rule.rate().is_some_and(|own| own.max_clients == rate.max_clients);
        let leases = match &self.leases {
            Some(before) if rule.shared.is_some() && rule.rate().is_some_and(is_same) => Some(before.clone()),
            _ => leases(&rule, &around.lease_work),
        };
        let plans = match &count {
            Count::Rate(table, _) => self.plans.succeeded_by(&self.rule, &rule, table, now),
            Count::InFlight(..) => Plans::new(&rule),
        };
        let count = (count, self.windows.clone());
        Self::made(rule, secret, count, leases, (overrides, plans), self.offenders.clone())
    }

    fn made(
        rule: Rule,
        secret: &Secret,
        (count, windows): (Count, Option<Arc<Windows>>),
        leases: Option<Arc<Leases>>,
        (overrides, plans): (Vec<(Fingerprint, OverrideState)>, Plans),
        offenders: Arc<Offenders>,
    ) -> Self {
        Self {
            exempt: Networks::new(&rule.exempt),
            secret: secret.clone(),
            rule,
            count,
            windows,
            leases,
            overrides,
            plans,
            offenders,
        }
    }

    /// Its rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The secret under which its keys are hashed.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The tokens that this gateway holds of its buckets, and its terms, if it is shared.
    pub fn leases(&self) -> Option<(&Arc<Leases>, &LeaseTerms)> {
        self.leases.as_ref().zip(self.rule.shared.as_ref())
    }

    /// The buckets in this process of the clients whose plan has no terms of its own, if it has any. Those of a shared limit are used while
    /// the store does not answer.
    pub fn table(&self) -> Option<&Table> {
        match &self.count {
            Count::Rate(table, _) => Some(table),
            Count::InFlight(..) => None,
        }
    }

    /// The tables of plans, each with the name of the plan.
    pub(super) fn tables_of_plans(&self) -> impl Iterator<Item = (&str, &Arc<Table>)> {
        self.plans.named_tables(&self.rule)
    }

    /// All of its tables: its own, and those of plans.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        self.table().into_iter().chain(self.plans.tables().map(|table| &**table))
    }

    /// Drops each former table that has no bucket in debt any more, and compacts those with few. It visits every slot of them.
    pub fn tidy(&self, now: Timestamp) {
        let now = self.own_time(now);
        self.tables().for_each(|table| table.tidy_predecessors(now));
    }

    /// How many clients are in debt, or have running requests. It visits every slot of the table.
    pub fn clients(&self, now: Timestamp) -> usize {
        let now = self.own_time(now);
        if let Some(leases) = &self.leases {
            return leases.clients();
        }
        let state = self.overrides.iter().filter(|(_, state)| state.is_in_debt(now)).count();
        state
            + match &self.count {
                Count::Rate(..) => self.tables().map(|table| table.clients(now)).sum(),
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

    /// What a client, whose consumer has this plan, has left; `None` if it is never limited.
    pub fn remaining(&self, client: Fingerprint, plan: Option<usize>, now: Timestamp) -> Option<Remaining> {
        self.collect(client, plan, now, || None);
        Some(self.client_state(client, plan)?.look(client, 0, now, || None).remaining)
    }

    /// The quota of the bucket of a client, whose consumer has this plan, if the limit is shared and the client is limited.
    pub fn shared_quota(&self, client: Fingerprint, plan: Option<usize>) -> Option<&Quota> {
        match self.client_state(client, plan)? {
            ClientState::Shared(shared) => Some(shared.home.quota()),
            _ => None,
        }
    }

    /// Fills the bucket of a client, whose consumer has this plan; false if it has none.
    pub fn reset(&self, client: Fingerprint, plan: Option<usize>, now: Timestamp) -> bool {
        self.collect(client, plan, now, || None);
        self.client_state(client, plan).is_some_and(|state| state.reset(client, now))
    }

    /// Brings what a consumer lacks in the tables of other plans into that of its own, before its bucket is asked.
    #[inline]
    pub(super) fn settle_plans(&self, client: Fingerprint, inputs: &Inputs<'_>, now: Timestamp) {
        self.collect(client, inputs.plan(), now, || self.origin(inputs.client));
    }

    #[inline]
    fn collect(
        &self,
        client: Fingerprint,
        plan: Option<usize>,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) {
        let now = self.own_time(now);
        if let Count::Rate(table, _) = &self.count
            && self.plans.are_unsettled(now)
        {
            self.plans.collect(plan, table, client, now, origin);
        }
    }

    /// Whether the consumers of a plan have terms of their own.
    pub(super) fn has_terms_of(&self, plan: Option<usize>) -> bool {
        self.plans.of(plan).is_some()
    }

    /// Where requests of this client come from, if others under this limit could come from there too.
    #[cold]
    #[inline(never)]
    pub(super) fn origin(&self, sender: &ClientId) -> Option<Origin> {
        self.rule.key.origin(sender, &self.secret)
    }

    /// Where the state of a client is, whose consumer has this plan; `None` if the client is never limited. An override comes before the
    /// plan.
    #[inline]
    pub(super) fn client_state(&self, client: Fingerprint, plan: Option<usize>) -> Option<ClientState<'_>> {
        let state = self.override_of(client);
        let of_plan = if state.is_none() { self.plans.of(plan) } else { None };
        match &self.count {
            Count::Rate(table, reserved) => {
                let home = match (state, of_plan) {
                    (None, None) => BucketRef::Table(table),
                    (None, Some(PlanState::Rate(table))) => BucketRef::Table(table),
                    (Some(OverrideState::Rate(quota, bucket)), _) => BucketRef::Own(quota, bucket),
                    (None, Some(PlanState::Unlimited | PlanState::InFlight(_)))
                    | (Some(OverrideState::Unlimited | OverrideState::InFlight(_)), _) => return None,
                };
                if let Some((leases, terms)) = self.leases() {
                    return Some(ClientState::Shared(SharedRef {
                        leases,
                        terms,
                        home,
                        running: reserved.as_ref(),
                    }));
                }
                if let Some(windows) = &self.windows {
                    return Some(ClientState::Window(WindowRef {
                        home,
                        windows,
                        running: reserved.as_ref(),
                    }));
                }
                Some(
                    reserved
                        .as_ref()
                        .map_or(ClientState::Bucket(home), |r| ClientState::Held(Held::Reserved(home, r))),
                )
            }
            Count::InFlight(in_flight, max) => match (state, of_plan) {
                (None, None) => Some(ClientState::Held(Held::InFlight(in_flight, *max))),
                (Some(OverrideState::InFlight(max)), _) | (None, Some(PlanState::InFlight(max))) => {
                    Some(ClientState::Held(Held::InFlight(in_flight, *max)))
                }
                (Some(OverrideState::Unlimited | OverrideState::Rate(..)), _)
                | (None, Some(PlanState::Unlimited | PlanState::Rate(_))) => None,
            },
        }
    }

    /// The override of a client, if it has one.
    fn override_of(&self, client: Fingerprint) -> Option<&OverrideState> {
        if self.overrides.is_empty() {
            return None;
        }
        let at = self.overrides.binary_search_by_key(&client.bits(), |(client, _)| client.bits());
        at.ok().map(|at| &self.overrides[at].1)
    }

    /// The time by which its buckets go: `now`, or that of the present window.
    pub(super) fn own_time(&self, now: Timestamp) -> Timestamp {
        own_time(self.windows.as_deref(), now)
    }

    /// The number of the latest window in which it has counted; zero if it does not count in windows.
    pub(super) fn latest_window(&self) -> u64 {
        self.windows.as_ref().map_or(0, |windows| windows.latest())
    }

    /// The buckets of clients with an override, at this time of theirs.
    pub(super) fn saved_overrides(&self, now: Timestamp) -> Vec<SavedOverride> {
        let saved = |(client, state): &(Fingerprint, OverrideState)| match state {
            OverrideState::Rate(quota, bucket) => Some(SavedOverride {
                client: *client,
                quota: *quota,
                full_at: bucket.look(quota, now).ticks(),
            }),
            OverrideState::Unlimited | OverrideState::InFlight(_) => None,
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

/// What the limits of a limiter have in common.
#[derive(Clone, Default)]
pub(super) struct Around {
    /// Notified when a lease needs a call without a request.
    pub(super) lease_work: Arc<Notify>,
    /// The wall clock's time.
    pub(super) wall: Arc<WallTime>,
}

fn own_time(windows: Option<&Windows>, now: Timestamp) -> Timestamp {
    windows.map_or(now, |windows| windows.time(now))
}

/// The windows of a quota by the calendar, of which the one with this number was open before.
fn windows(rule: &Rule, around: &Around, latest: u64) -> Option<Arc<Windows>> {
    rule.calendar().map(|calendar| Arc::new(Windows::new(calendar, around.wall.clone(), latest)))
}

/// The secret under which the keys of a limit are hashed.
fn secret_of(rule: &Rule, of_limiter: &Secret) -> Secret {
    rule.shared.as_ref().map_or(of_limiter, |terms| &terms.secret).clone()
}

/// The leases of a shared limit, none of them taken yet.
fn leases(rule: &Rule, work: &Arc<Notify>) -> Option<Arc<Leases>> {
    let (_, rate) = rule.shared.as_ref().zip(rule.rate())?;
    Some(Arc::new(Leases::new(rule.name.as_str().into(), rate.max_clients, work.clone())))
}

/// The table for this rate, which takes the place of another: the same one, if neither quota nor capacity changes.
fn succeed(rate: &Rate, table: &Arc<Table>, now: Timestamp) -> Arc<Table> {
    match table.quota() == &rate.quota && table.capacity() == rate.max_clients {
        true => table.clone(),
        false => Arc::new(Table::succeeding(rate.quota, rate.max_clients, table, now)),
    }
}

/// The requests whose costs are reserved, if the limit reserves costs.
fn reserved(rate: &Rate, before: Option<&Arc<Concurrency>>) -> Option<Arc<Concurrency>> {
    let begin = || Arc::new(Concurrency::default());
    (rate.charge != Charge::Always).then(|| before.map_or_else(begin, Arc::clone))
}

/// The clients with an override, in the order of their fingerprints.
fn overrides(
    rule: &Rule,
    secret: &Secret,
    state: impl Fn(Terms, Fingerprint) -> OverrideState,
) -> Vec<(Fingerprint, OverrideState)> {
    let mut overrides: Vec<_> = rule
        .overrides
        .iter()
        .filter_map(|o| {
            let client = rule.key.fingerprint_of(&[&o.value], secret).ok()?;
            Some((client, state(o.terms, client)))
        })
        .collect();
    overrides.sort_unstable_by_key(|(client, _)| client.bits());
    overrides
}

impl OverrideState {
    /// The state under these terms, after the state `before`, if the client had an override before.
    fn new(terms: Terms, before: Option<&Self>, now: Timestamp) -> Self {
        match (terms, before) {
            (Terms::Unlimited, _) => Self::Unlimited,
            (Terms::InFlight(max), _) => Self::InFlight(max),
            (Terms::Rate(quota), Some(Self::Rate(old, bucket))) => {
                let bucket = match old == &quota {
                    true => bucket.clone(),
                    false => Arc::new(OverrideBucket::succeeding(*old, bucket, now)),
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
