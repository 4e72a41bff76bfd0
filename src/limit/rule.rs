//! What makes a limit: whose buckets, how they fill, and what happens when one is empty.

use http::{Method, StatusCode};
use ipnet::IpNet;

use super::key::Key;
use super::quota::Quota;

/// What a limit does to a request that its bucket cannot pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Enforce,
    /// Count and log it, and let it pass.
    DryRun,
}

/// What makes a limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique: in metrics, fields and logs.
    pub name: String,
    /// Rate and burst of each bucket.
    pub quota: Quota,
    /// Whose bucket.
    pub key: Key,
    /// The tokens that a request takes; 1 to the burst.
    pub cost: u32,
    /// The methods that count; empty is all.
    pub methods: Vec<Method>,
    /// The clients that are never limited.
    pub exempt: Vec<IpNet>,
    /// Whether it refuses, or only says so.
    pub mode: Mode,
    /// The status of a refusal, 400 to 599.
    pub status: StatusCode,
    /// Whether answers carry the `RateLimit` fields of this limit.
    pub fields: bool,
    /// Whether answers carry `X-RateLimit-*` fields as well.
    pub legacy_headers: bool,
    /// The most buckets it keeps.
    pub max_clients: usize,
}

impl Rule {
    /// A rule that enforces this quota for everybody, and says so in the fields: one token a request.
    pub fn new(name: String, quota: Quota, key: Key, max_clients: usize) -> Self {
        Self {
            name,
            quota,
            key,
            cost: 1,
            methods: Vec::new(),
            exempt: Vec::new(),
            mode: Mode::Enforce,
            status: StatusCode::TOO_MANY_REQUESTS,
            fields: true,
            legacy_headers: false,
            max_clients,
        }
    }
}
