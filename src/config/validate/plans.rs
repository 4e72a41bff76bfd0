//! `[limits.NAME.plans]`: the terms of consumers by their plans.

use super::super::item::Item;
use super::super::problem::{Checked, Fault, together};
use super::names::Names;
use super::overrides;
use crate::limit::key::{Key, KeyPart};
use crate::limit::{Measure, PlanTerms};

/// The least buckets of a plan, so that a few more consumers need no other table.
const LEAST_CLIENTS: usize = 1024;

/// The plans of the file.
pub(super) struct Plans<'a> {
    /// Their names.
    pub(super) names: &'a Names<'a>,
    /// How many consumers have each.
    pub(super) consumers: Vec<usize>,
}

/// Reads the terms of plans under a limit that counts `measure` by `key`.
pub(super) fn all(
    item: &Item<'_>,
    measure: &Checked<Measure>,
    key: &Checked<Key>,
    plans: &Plans<'_>,
) -> Checked<Vec<PlanTerms>> {
    let items = item.named("pro = { rate = \"600/min\" } below [limits.NAME.plans]")?;
    let (measure, key) = (measure.as_ref().map_err(|e| *e)?, key.as_ref().map_err(|e| *e)?);
    if !key.parts.contains(&KeyPart::Consumer) {
        return Err(item.report_key(
            Fault::new("only consumers have plans, and this limit does not go by `consumer`")
                .hint("write key = \"consumer\", or leave out `plans`"),
        ));
    }
    together(items.iter().map(|(name, item)| {
        let plan = plans.names.index(name).and_then(|plan| plan.map_err(|fault| item.report_key(fault)));
        let terms = overrides::terms(item, measure, "this plan");
        let plan = plan?;
        let consumers = plans.consumers.get(plan).copied().unwrap_or(0);
        let max_clients = max_clients(measure, key, consumers);
        Ok(PlanTerms { plan, name: (*name).to_owned(), terms: terms?, max_clients })
    }))
}

/// The buckets that are kept for the consumers of a plan: as many as the limit keeps, or twice as many as can be needed, if that is
/// less. It grows in steps, so that few reloads change it.
fn max_clients(measure: &Measure, key: &Key, consumers: usize) -> usize {
    let (Measure::Rate(rate) | Measure::Quota(rate, _)) = measure else { return 0 };
    if *key.parts != [KeyPart::Consumer] {
        return rate.max_clients;
    }
    rate.max_clients.min(consumers.saturating_mul(2).next_power_of_two().max(LEAST_CLIENTS))
}
