//! What makes a limit: whose buckets, how they fill, and what happens when one is empty.

use http::{HeaderMap, HeaderName, Method, StatusCode};
use ipnet::IpNet;

use super::key::Key;
use super::quota::Quota;

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
    Header {
        /// The name of the field.
        name: HeaderName,
        /// The most that it is believed, in tokens; at least the cost of the limit.
        max: u32,
    },
}

/// What is wrong with the cost that an answer names: the `kind` of `gateway_limit_cost_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostFault {
    /// It is no whole number, or there are two: the cost of the limit is taken.
    Malformed,
    /// It is more than the most: that is taken.
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
    pub(super) fn settled(
        &self,
        cost: u32,
        answer: Option<(StatusCode, &HeaderMap)>,
    ) -> (u32, Option<CostFault>) {
        let settled = match (self, answer) {
            (Self::Always, _) => cost,
            // Who left before the answer learnt nothing by it.
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

/// The cost that a field of an answer names. What says nothing costs what the limit says, which is never nothing.
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
    // Digits that are too many for the type are more than the most, too.
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
