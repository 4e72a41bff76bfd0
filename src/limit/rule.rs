//! The rule of a limit: its key, its rate, and what happens when a bucket is empty.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::calendar::Calendar;
use super::key::Key;
use super::lease::LeaseTerms;
use super::quota::Quota;

/// The rule of a limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its unique name in metrics, fields and logs.
    pub name: String,
    /// Which bucket a request takes from.
    pub key: Key,
    /// What is limited, and to how much.
    pub measure: Measure,
    /// How it is kept together with other gateways; `None` keeps it in this process. Only a limit on requests over time is shared.
    pub shared: Option<LeaseTerms>,
    /// The overrides for single key values, each value once. Only a key of one part that is not `global` has any.
    pub overrides: Vec<Override>,
    /// The terms of consumers by their plans, each plan once. Only a key with [`KeyPart::Consumer`](super::key::KeyPart::Consumer) has any.
    pub plans: Vec<PlanTerms>,
    /// The methods that count; empty is all.
    pub methods: Vec<Method>,
    /// The clients that are never limited.
    pub exempt: Vec<IpNet>,
    /// Whether it refuses requests, or only counts those that it would refuse.
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
    /// Requests in each window of a calendar. The quota of the rate is one [by window](Quota::by_window).
    Quota(Rate, Calendar),
    /// Requests at a time, and their maximum, at least one.
    InFlight(u32),
}

/// A limit on requests over time, or in each window of a calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Rate and burst of each bucket.
    pub quota: Quota,
    /// The tokens that a request takes, or that are reserved until its answer is known; from 1 to the burst.
    pub cost: u32,
    /// What a request costs when it is answered.
    pub charge: Charge,
    /// The most buckets it keeps.
    pub max_clients: usize,
}

/// What a request costs when it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The cost of the limit, taken when the request is admitted.
    Always,
    /// The cost of the limit if the answer has one of these statuses, otherwise nothing.
    OnFailure(Vec<StatusCode>),
    /// The cost that a field of the answer names; without the field, the cost of the limit.
    Header {
        /// The name of the field.
        name: HeaderName,
        /// The most tokens that the field may name; at least the cost of the limit.
        max: u32,
    },
}

/// What is wrong with the cost that an answer names: the `kind` of `gateway_limit_cost_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostFault {
    /// The field is no whole number, or there are two: the cost of the limit is taken.
    Malformed,
    /// The field is more than its maximum: the maximum is taken.
    TooLarge,
}

impl CostFault {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Malformed, Self::TooLarge];

    /// Its label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
        }
    }
}

/// What holds for one client instead of the limit's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The key's value.
    pub value: String,
    /// The terms of this client.
    pub terms: Terms,
}

/// What holds for the consumers of a plan instead of the limit's own terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerms {
    /// The index by which requests name the plan.
    pub plan: usize,
    /// The name of the plan, which stays the same when the configuration changes.
    pub name: String,
    /// The terms of each of its consumers.
    pub terms: Terms,
    /// The most buckets that are kept for its consumers.
    pub max_clients: usize,
}

/// The terms of a client with an override, or of the consumers of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// The client is never limited.
    Unlimited,
    /// The client's bucket has this quota. The limit counts requests over time, or in windows, and the quota is of the same kind.
    Rate(Quota),
    /// The client may have this many requests at a time. The limit counts those.
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
    /// A rule that enforces this quota for every client, with one token for each request and with fields.
    pub fn new(name: String, quota: Quota, key: Key, max_clients: usize) -> Self {
        let measure = Measure::Rate(Rate { quota, cost: 1, charge: Charge::Always, max_clients });
        Self {
            name,
            key,
            measure,
            shared: None,
            overrides: Vec::new(),
            plans: Vec::new(),
            methods: Vec::new(),
            exempt: Vec::new(),
            mode: Mode::Enforce,
            status: StatusCode::TOO_MANY_REQUESTS,
            fields: true,
            legacy_headers: false,
            show_keys: false,
        }
    }

    /// Its rate, if it counts requests over time or in windows.
    pub fn rate(&self) -> Option<&Rate> {
        match &self.measure {
            Measure::Rate(rate) | Measure::Quota(rate, _) => Some(rate),
            Measure::InFlight(_) => None,
        }
    }

    /// Its calendar, if it counts requests in windows.
    pub fn calendar(&self) -> Option<Calendar> {
        match &self.measure {
            Measure::Quota(_, calendar) => Some(*calendar),
            Measure::Rate(_) | Measure::InFlight(_) => None,
        }
    }
}

impl Charge {
    /// What a request costs, now that it is answered, or has ended without an answer; `cost` is that of the limit.
    pub(super) fn settled(
        &self,
        cost: u32,
        answer: Option<(StatusCode, &HeaderMap)>,
    ) -> (u32, Option<CostFault>) {
        let settled = match (self, answer) {
            (Self::Always, _) => cost,
            // A client that left before the answer has learnt nothing from it.
            (Self::OnFailure(failures), answer) => match answer {
                Some((status, _)) if failures.contains(&status) => cost,
                _ => 0,
            },
            // The upstream may have done the work.
            (Self::Header { .. }, None) => cost,
            (Self::Header { name, max }, Some((_, fields))) => return named(fields, name, cost, *max),
        };
        (settled, None)
    }
}

/// The cost that a field of an answer names. Without the field it is the cost of the limit.
fn named(fields: &HeaderMap, name: &HeaderName, cost: u32, max: u32) -> (u32, Option<CostFault>) {
    let mut values = fields.get_all(name).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return (cost, None),
        (Some(value), None) => value.as_bytes().trim_ascii(),
        (Some(_), Some(_)) => return (cost, Some(CostFault::Malformed)),
    };
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return (cost, Some(CostFault::Malformed));
    }
    // A number with too many digits for the type is above the maximum.
    let said = value
        .iter()
        .fold(0_u64, |said, digit| said.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    match u32::try_from(said).ok().filter(|said| *said <= max) {
        Some(said) => (said, None),
        None => (max, Some(CostFault::TooLarge)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_cost_is_one_number_that_is_not_too_large() {
        let name = HeaderName::from_static("x-cost");
        let charge = Charge::Header { name: name.clone(), max: 50 };
        let settled = |values: &[&str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(&name, HeaderValue::from_str(value).unwrap());
            }
            charge.settled(3, Some((StatusCode::OK, &fields)))
        };
        assert_eq!(charge.settled(3, None), (3, None));
        assert_eq!(settled(&[]), (3, None));
        for (value, cost) in [("0", 0), ("7", 7), (" 50 ", 50), ("007", 7)] {
            assert_eq!(settled(&[value]), (cost, None), "{value}");
        }
        for value in ["51", "4294967295", "4294967296", "99999999999999999999999"] {
            assert_eq!(settled(&[value]), (50, Some(CostFault::TooLarge)), "{value}");
        }
        for values in
            [&["1", "1"][..], &["1", "2"], &["1, 2"], &[""], &["-1"], &["+1"], &["2.5"], &["1e3"], &["0x1"]]
        {
            assert_eq!(settled(values), (3, Some(CostFault::Malformed)), "{values:?}");
        }
    }
}
