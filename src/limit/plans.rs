//! The terms of consumers by their plans.
//!
//! A table has one quota for all of its buckets, so each plan with a rate has a table of its own, beside that of the limit. A consumer has a
//! bucket in the table of its plan, and after a change of its plan in another one. Which consumers have changed is not known here, and a
//! limit may go by more than the consumer. So for some time after each change of the configuration a request of a consumer takes over
//! what its bucket lacks in the tables of all other plans: the share of tokens stays the same, and a request of the time before the
//! change may charge the former table at any moment. That time ends when every debt of before has been paid.
//!
//! The table of a plan that the limit no longer names is kept until its debts are paid, for the consumers that it had.

use std::sync::Arc;
use std::time::Duration;

use super::key::{Fingerprint, Origin};
use super::quota::{window_at, window_time};
use super::rule::{PlanTerms, Rule, Terms};
use super::saved::SavedPlan;
use super::table::Table;
use super::table::predecessor::Former as _;
use crate::clock::Timestamp;

/// The most tables that are kept of plans which a limit no longer names: beyond that the oldest is dropped with its debts.
const MAX_RETIRED: usize = 8;

/// How long a request of the time before a change may run on and charge what was.
const RUNNING_ON: Duration = Duration::from_secs(300);

/// The terms of consumers by their plans.
#[derive(Default)]
pub(super) struct Plans {
    /// By the index of the plan.
    terms: Vec<Option<PlanState>>,
    /// The tables of plans that the limit no longer names, with their names, the oldest first.
    retired: Vec<(String, Arc<Table>)>,
    /// Until then a consumer may have a debt in the table of another plan.
    unsettled_until: Timestamp,
}

/// The terms of the consumers of a plan, and their state.
pub(super) enum PlanState {
    /// They are never limited.
    Unlimited,
    /// They have buckets in this table.
    Rate(Arc<Table>),
    /// Each may have so many requests at a time.
    InFlight(u32),
}

impl Plans {
    /// The plans of a rule, without any clients yet.
    pub(super) fn new(rule: &Rule) -> Self {
        let state = |plan: &PlanTerms| state(plan, |quota| Table::new(quota, plan.max_clients).into());
        Self { terms: terms(rule, state), ..Self::default() }
    }

    /// The plans of a rule, with the tables that were saved. `base` is the table of the limit itself.
    pub(super) fn restored(rule: &Rule, saved: &[SavedPlan], base: &Arc<Table>, now: Timestamp) -> Self {
        let of = |name: &str| saved.iter().find(|saved| saved.plan == name);
        let state = |plan: &PlanTerms| {
            state(plan, |quota| {
                Arc::new(match of(&plan.name) {
                    Some(saved) => Table::restored(quota, plan.max_clients, &saved.table, now),
                    None => Table::new(quota, plan.max_clients),
                })
            })
        };
        let is_gone = |saved: &&SavedPlan| !has_rate(rule, &saved.plan);
        let retired = saved.iter().filter(is_gone).take(MAX_RETIRED).map(|saved| {
            let (quota, capacity) = (*saved.table.quota(), saved.table.capacity());
            (saved.plan.clone(), Arc::new(Table::restored(quota, capacity, &saved.table, now)))
        });
        let plans = Self { terms: terms(rule, state), retired: retired.collect(), ..Self::default() };
        plans.unsettled_from(base, now)
    }

    /// The plans of the rule that takes the place of `before`, whose plans these are. `base` is the table of the limit itself.
    pub(super) fn succeeded_by(&self, before: &Rule, rule: &Rule, base: &Arc<Table>, now: Timestamp) -> Self {
        let of = |name: &str| {
            let named = before.plans.iter().find(|plan| plan.name == name);
            let table = named.and_then(|plan| self.table(plan.plan));
            table.or_else(|| Some(&self.retired.iter().find(|(retired, _)| retired == name)?.1))
        };
        let state = |plan: &PlanTerms| {
            state(plan, |quota| match of(&plan.name) {
                Some(table) if *table.quota() == quota && table.capacity() == plan.max_clients => {
                    table.clone()
                }
                Some(table) => Arc::new(Table::succeeding(quota, plan.max_clients, table, now)),
                None => Arc::new(Table::new(quota, plan.max_clients)),
            })
        };
        let kept = |(name, table): &&(String, Arc<Table>)| {
            !has_rate(rule, name) && (Arc::strong_count(table) > 1 || table.clients(now) > 0)
        };
        let mut retired: Vec<_> = self.retired.iter().filter(kept).cloned().collect();
        for plan in before.plans.iter().filter(|plan| !has_rate(rule, &plan.name)) {
            retired.extend(self.table(plan.plan).map(|table| (plan.name.clone(), table.clone())));
        }
        retired.drain(..retired.len().saturating_sub(MAX_RETIRED));
        let plans = Self { terms: terms(rule, state), retired, ..Self::default() };
        plans.unsettled_from(base, now)
    }

    fn unsettled_from(mut self, base: &Arc<Table>, now: Timestamp) -> Self {
        let tables = || std::iter::once(base).chain(self.tables());
        if self.tables().next().is_some() {
            let paid = tables().map(|table| table.paid_at(now)).max().unwrap_or(now);
            let filled = tables().map(|table| table.quota().time_to_fill()).max().unwrap_or_default();
            self.unsettled_until = match base.quota().is_by_window() {
                // The next window may begin between now and the change. What is charged to a window ends with it.
                true => window_time(window_at(now) + 2),
                // What is charged between now and the change is paid by then, and so is what requests owe that run on.
                false => paid.after(filled).after(RUNNING_ON),
            };
        }
        self
    }

    /// The terms of the consumers of a plan; `None` if those of the limit hold for them.
    #[inline]
    pub(super) fn of(&self, plan: Option<usize>) -> Option<&PlanState> {
        self.terms.get(plan?)?.as_ref()
    }

    /// All tables.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        let named = self.terms.iter().filter_map(|state| match state {
            Some(PlanState::Rate(table)) => Some(table),
            _ => None,
        });
        named.chain(self.retired.iter().map(|(_, table)| table))
    }

    /// All tables, each with the name of its plan. `rule` is the rule of the limit.
    pub(super) fn named_tables<'a>(
        &'a self,
        rule: &'a Rule,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Table>)> {
        let named = rule.plans.iter().filter_map(|plan| Some((&*plan.name, self.table(plan.plan)?)));
        named.chain(self.retired.iter().map(|(name, table)| (&**name, table)))
    }

    /// Whether a consumer may have a debt in the table of another plan.
    #[inline]
    pub(super) fn are_unsettled(&self, now: Timestamp) -> bool {
        now < self.unsettled_until
    }

    /// Brings what a consumer of this plan lacks in the tables of other plans into that of its own. `base` is the table of the limit.
    #[cold]
    pub(super) fn collect(
        &self,
        plan: Option<usize>,
        base: &Arc<Table>,
        client: Fingerprint,
        now: Timestamp,
        origin: impl Fn() -> Option<Origin>,
    ) {
        let own = match self.of(plan) {
            None => base,
            Some(PlanState::Rate(table)) => table,
            // What it owes counts again when it has a rate again.
            Some(PlanState::Unlimited | PlanState::InFlight(_)) => return,
        };
        for table in std::iter::once(base).chain(self.tables()).filter(|table| !Arc::ptr_eq(table, own)) {
            own.collect(table, client, now, &origin);
        }
    }

    fn table(&self, plan: usize) -> Option<&Arc<Table>> {
        match self.of(Some(plan)) {
            Some(PlanState::Rate(table)) => Some(table),
            _ => None,
        }
    }
}

/// Whether a rule gives a plan of this name a rate.
fn has_rate(rule: &Rule, name: &str) -> bool {
    rule.plans.iter().any(|plan| plan.name == name && matches!(plan.terms, Terms::Rate(_)))
}

fn state(plan: &PlanTerms, table: impl FnOnce(super::quota::Quota) -> Arc<Table>) -> PlanState {
    match plan.terms {
        Terms::Unlimited => PlanState::Unlimited,
        Terms::Rate(quota) => PlanState::Rate(table(quota)),
        Terms::InFlight(max) => PlanState::InFlight(max),
    }
}

/// The states of the plans of a rule, by their indices.
fn terms(rule: &Rule, state: impl Fn(&PlanTerms) -> PlanState) -> Vec<Option<PlanState>> {
    let mut terms: Vec<Option<PlanState>> = Vec::new();
    for plan in &rule.plans {
        if terms.len() <= plan.plan {
            terms.resize_with(plan.plan + 1, || None);
        }
        terms[plan.plan] = Some(state(plan));
    }
    terms
}
