//! What a snapshot has of a limit.

use std::sync::Arc;

use super::key::{Fingerprint, Key};
use super::quota::Quota;
use super::table::compact_table::CompactTable;

/// The buckets of a limit.
pub(super) struct SavedLimit {
    pub(super) name: String,
    /// The limit's key, as [`describe`] says it. Buckets of another key are not restored.
    pub(super) key: String,
    pub(super) table: Arc<CompactTable>,
    pub(super) overrides: Vec<SavedOverride>,
}

/// The bucket of a client with an override.
pub(super) struct SavedOverride {
    pub(super) client: Fingerprint,
    pub(super) quota: Quota,
    /// When the bucket will be full again, in ticks.
    pub(super) full_at: u128,
}

/// A key in words, different for different keys.
pub(super) fn describe(key: &Key) -> String {
    let parts: Vec<_> = key.parts.iter().map(|part| format!("{:?}", part.to_string())).collect();
    format!("{} {:?} {}", parts.join(" "), key.missing, key.ipv6_prefix)
}
