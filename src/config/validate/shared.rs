//! Values that several sections have: methods, statuses, networks, the names of limits, and patterns.

use http::{Method, StatusCode};
use ipnet::IpNet;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::value::address;
use super::super::value::http::method;
use super::names::Names;
use crate::route::pattern::PatternError;

/// A list of methods, each once.
pub(super) fn methods(item: Item<'_>) -> Checked<Vec<Method>> {
    item.values("methods", |item| item.parse("a method such as \"GET\"", method)).each_once().all()
}

/// A status in a range.
pub(super) fn status(item: &Item<'_>, from: u16, to: u16) -> Checked<StatusCode> {
    let status = item.integer(u64::from(from)..=u64::from(to))?;
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| item.expected(&format!("a status from {from} to {to}")))
}

/// A list of networks.
pub(super) fn networks(item: Item<'_>) -> Checked<Vec<IpNet>> {
    item.values("networks", |item| item.parse("a network such as \"10.0.0.0/8\"", address::network)).all()
}

/// A list of the names of limits, each once: their indices.
pub(super) fn limits(item: &Item<'_>, names: &Names<'_>) -> Checked<Vec<usize>> {
    item.values("names of limits", |item| names.find(&item)).each_once().all()
}

/// The fault of a pattern, whose error is a whole sentence.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(super) fn pattern_fault(error: PatternError) -> Fault {
    Fault::new(error.to_string())
}
