//! What makes a limit: whose buckets, how they fill, and what happens when one is empty.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::key::Key;
use super::quota::{MAX_TOKENS, Quota};

/// What makes a limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique: in metrics, fields and logs.
    pub name: String,
    /// Whose bucket.
    pub key: Key,
    /// What is limited, and to how much.
    pub measure: Measure,
    /// The key values that are limited otherwise, each once. Only a key of one part that is not `global` has any.
    pub overrides: Vec<Override>,
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
    /// Whether the side port shows the values of headers, cookies and query parameters, or a hash of each.
    pub show_keys: bool,
}

/// What a limit counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests over time, in token buckets.
    Rate(Rate),
    /// Requests at a time: at most so many, at least one.
    InFlight(u32),
}

/// A limit on requests over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Rate and burst of each bucket.
    pub quota: Quota,
    /// The tokens that a request takes, or that are set aside for it until its answer is known; 1 to the burst.
    pub cost: u32,
    /// What it costs in the end.
    pub charge: Charge,
    /// The most buckets it keeps.
    pub max_clients: usize,
}

/// What a request costs in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The cost of the limit, taken when it is admitted.
    Always,
    /// That, if the answer has one of these statuses; otherwise nothing.
    OnFailure(Vec<StatusCode>),
    /// What this field of the answer says; without one, the cost of the limit.
    Header(HeaderName),
}

/// How one client is limited, if otherwise than the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key's value.
    pub value: String,
    /// What holds for it.
    pub terms: Terms,
}

/// What holds for a client of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// It is never limited.
    Unlimited,
    /// Its bucket has this rate and burst; the limit counts requests over time.
    Rate(Quota),
    /// It may have so many requests at a time; the limit counts those.
    InFlight(u32),
}

/// What a limit does to a request that its bucket cannot pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Enforce,
    /// Count and log it, and let it pass.
    DryRun,
}

impl Rule {
    /// A rule that enforces this quota for everybody, and says so in the fields: one token a request.
    pub fn new(name: String, quota: Quota, key: Key, max_clients: usize) -> Self {
        let measure = Measure::Rate(Rate { quota, cost: 1, charge: Charge::Always, max_clients });
        Self {
            name,
            key,
            measure,
            overrides: Vec::new(),
            methods: Vec::new(),
            exempt: Vec::new(),
            mode: Mode::Enforce,
            status: StatusCode::TOO_MANY_REQUESTS,
            fields: true,
            legacy_headers: false,
            show_keys: false,
        }
    }

    /// What it counts, if that is requests over time.
    pub fn rate(&self) -> Option<&Rate> {
        match &self.measure {
            Measure::Rate(rate) => Some(rate),
            Measure::InFlight(_) => None,
        }
    }
}

impl Charge {
    /// What a request costs, now that it is answered, or has ended without an answer; `cost` is that of the limit.
    pub(super) fn settled(&self, cost: u32, answer: Option<(StatusCode, &HeaderMap)>) -> u32 {
        match (self, answer) {
            (Self::Always, _) => cost,
            // Who left before the answer learnt nothing by it.
            (Self::OnFailure(failures), answer) => match answer {
                Some((status, _)) if failures.contains(&status) => cost,
                _ => 0,
            },
            // The upstream may have done the work, and what is no number says nothing.
            (Self::Header(name), answer) => {
                let said =
                    answer.and_then(|(_, fields)| fields.get(name)?.to_str().ok()?.trim().parse().ok());
                said.unwrap_or(cost).min(MAX_TOKENS)
            }
        }
    }
}
