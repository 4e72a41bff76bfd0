//! What a snapshot has of a limit.

use std::sync::Arc;

use super::key::Fingerprint;
use super::quota::Quota;
use super::rule::Rule;
use super::table::compact_table::CompactTable;

/// The buckets of a limit.
pub(super) struct SavedLimit {
    pub(super) name: String,
    /// What it counts, as [`describe`] says it. Buckets of another key or calendar are not restored.
    pub(super) what: String,
    /// The latest window in which it has counted; zero if it does not count in windows.
    pub(super) window: u64,
    pub(super) table: Arc<CompactTable>,
    pub(super) overrides: Vec<SavedOverride>,
}

/// The buckets of the consumers of a plan. In a file they are a limit of their own, which [`name_of_plan`] names.
pub(super) struct SavedPlan {
    pub(super) plan: String,
    pub(super) table: Arc<CompactTable>,
}

/// Between the name of a limit and that of a plan: no name has it.
const OF_PLAN: char = '\n';

/// The name of the buckets that the consumers of a plan have under a limit.
pub(super) fn name_of_plan(limit: &str, plan: &str) -> String {
    format!("{limit}{OF_PLAN}{plan}")
}

/// The names of limit and plan, if these are the buckets of a plan.
pub(super) fn split_name(name: &str) -> Option<(&str, &str)> {
    name.split_once(OF_PLAN)
}

/// The bucket of a client with an override.
pub(super) struct SavedOverride {
    pub(super) client: Fingerprint,
    pub(super) quota: Quota,
    /// When the bucket will be full again, in ticks.
    pub(super) full_at: u128,
}

/// What a limit counts, in words that are different for different keys and calendars.
pub(super) fn describe(rule: &Rule) -> String {
    let key = &rule.key;
    let parts: Vec<_> = key.parts.iter().map(|part| format!("{:?}", part.to_string())).collect();
    let key = format!("{} {:?} {}", parts.join(" "), key.missing, key.ipv6_prefix);
    match rule.calendar() {
        None => key,
        Some(calendar) => format!("{key} {calendar:?}"),
    }
}
