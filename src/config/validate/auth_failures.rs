//! `server.auth_failures`: how often a client may try credentials that are wrong.

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::value::quantity;
use super::names::Names;
use crate::limit::key::{Key, KeyPart};
use crate::limit::quota::Quota;
use crate::limit::{AUTH_FAILURES, Charge, Measure, Rule};

/// The buckets of that limit.
const MAX_CLIENTS: usize = 100_000;

/// What `auth_failures` says.
pub(super) enum Failures {
    /// The index of a limit.
    Named(usize),
    /// A limit of its own.
    Own(Box<Rule>),
}

/// Reads `auth_failures`: a rate, or the name of a limit.
pub(super) fn read(item: &Item<'_>, names: &Names<'_>) -> Checked<Failures> {
    let text = item.text("a rate such as \"5/min\", or the name of a limit")?;
    if !text.contains('/') {
        return names.find(item).map(Failures::Named);
    }
    let rate = item.parse("a rate such as \"5/min\"", quantity::rate)?;
    let quota = Quota::new(rate.count, rate.period, rate.count)
        .map_err(|error| item.report(Fault::new(error.to_string()).hint("such as \"5/min\"")))?;
    if names.index(AUTH_FAILURES)?.is_ok() {
        let fault =
            Fault::new(format!("there is a limit `{AUTH_FAILURES}`, and a rate here makes another one"));
        return Err(
            item.report(fault.hint(format!("write \"{AUTH_FAILURES}\" to use it, or give it another name")))
        );
    }
    let key = Key::of(vec![KeyPart::ClientIp]);
    Ok(Failures::Own(Box::new(Rule::new(AUTH_FAILURES.to_owned(), quota, key, MAX_CLIENTS))))
}

/// The limits, with the one that `auth_failures` makes, and the index of the one that it means.
pub(super) fn add(
    read: Checked<Option<(Failures, Item<'_>)>>,
    limits: Checked<Vec<Rule>>,
) -> (Checked<Vec<Rule>>, Checked<Option<usize>>) {
    match (read, limits) {
        (Ok(None), limits) => (limits, Ok(None)),
        (Ok(Some((Failures::Own(rule), _))), Ok(mut limits)) => {
            limits.push(*rule);
            let last = limits.len() - 1;
            (Ok(limits), Ok(Some(last)))
        }
        (Ok(Some((Failures::Named(index), item))), Ok(limits)) => {
            let checked = check(&item, &limits[index]);
            (Ok(limits), checked.map(|()| Some(index)))
        }
        (Err(reported), limits) => (limits, Err(reported)),
        (_, Err(reported)) => (Err(reported), Err(reported)),
    }
}

/// Checks that a limit can be one on failures.
fn check(item: &Item<'_>, rule: &Rule) -> Checked<()> {
    let fault = match &rule.measure {
        Measure::InFlight(_) => "counts requests at a time, and a failed try is over at once",
        Measure::Rate(rate) | Measure::Quota(rate, _) if rate.charge != Charge::Always => {
            "goes by the answers of upstreams"
        }
        _ if rule.key.parts != [KeyPart::ClientIp] => "does not go by `client_ip`",
        _ if rule.shared.is_some() => "is shared with other gateways",
        _ if !rule.methods.is_empty() => "does not count all methods",
        Measure::Rate(_) | Measure::Quota(..) => return Ok(()),
    };
    let fault = Fault::new(format!("the limit `{}` {fault}", rule.name));
    Err(item.report(
        fault.hint("name one with a `rate` and key = \"client_ip\", or write a rate such as \"5/min\""),
    ))
}
