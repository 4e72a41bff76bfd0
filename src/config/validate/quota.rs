//! The values that a limit and its overrides have in common: `rate` and `burst`, `quota`, and `max_in_flight`.

use std::borrow::Cow;
use std::time::Duration;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::section::Section;
use super::super::table::Kind;
use super::super::value::quantity;
use crate::limit::calendar::Period;
use crate::limit::quota::{MAX_TOKENS, Quota, QuotaError};

/// Reads `rate` and `burst`, each checked by itself, so that each is reported where it stands.
pub(super) fn quota(section: &Section<'_>) -> Checked<Quota> {
    let rate = section.required("rate", "rate = \"10/s\"", |item| {
        let rate = item.parse("a rate such as \"10/s\"", quantity::rate)?;
        match Quota::new(rate.count, rate.period, 1) {
            Ok(_) => Ok((rate, item)),
            Err(error) => Err(item.report(absurd(error, "such as \"10/s\", \"600/min\" or \"3/10s\""))),
        }
    });
    let burst = section.optional("burst", |item| {
        let burst = item.integer_within(&(0..=u64::MAX), &(1..=u64::from(MAX_TOKENS)))?;
        match Quota::new(1, Duration::from_secs(1), burst) {
            Ok(_) => Ok(burst),
            Err(error) => {
                Err(item.report(absurd(error, format!("it is the size of the bucket, 1 to {MAX_TOKENS}"))))
            }
        }
    });
    let ((rate, item), burst) = (rate?, burst?);
    Quota::new(rate.count, rate.period, burst.unwrap_or(rate.count))
        .map_err(|error| item.report(absurd(error, "such as \"10/s\"")))
}

/// Reads `quota`: the count, and the period in which it is counted.
pub(super) fn by_calendar(section: &Section<'_>) -> Checked<(Quota, Period)> {
    section.required("quota", "quota = \"1000/day\"", |item| {
        let (count, period) = item.parse("a quota such as \"1000/day\"", quantity::quota)?;
        let quota = Quota::by_window(count).map_err(|_| {
            let fault = format!("a quota is 1 to {MAX_TOKENS} requests");
            item.report(Fault::new(fault).hint("such as \"1000/day\""))
        })?;
        Ok((quota, period))
    })
}

fn absurd(error: QuotaError, hint: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(error.to_string()).hint(hint)
}

/// So many requests at a time.
pub(super) const IN_FLIGHT: Kind = Kind::Integer(1, 1_000_000);

/// Reads `max_in_flight`.
pub(super) fn in_flight(item: &Item<'_>) -> Checked<u32> {
    Ok(u32::try_from(item.integer(1..=1_000_000)?).unwrap_or(u32::MAX))
}
