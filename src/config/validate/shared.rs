//! Values that several sections have: methods, statuses, networks, the names of limits, and patterns.

use http::{Method, StatusCode};
use ipnet::IpNet;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::table::Kind;
use super::super::value::http::{HEADER_NAME, METHOD as METHOD_PATTERN, method};
use super::super::value::{address, quantity};
use super::names::Names;
use crate::limit::quota::MAX_TOKENS;
use crate::route::pattern::PatternError;

/// A duration, which may be zero.
pub(super) const DURATION_OR_ZERO: Kind = Kind::Quantity(&["0", quantity::DURATION], 0, 0);
/// A duration longer than zero.
pub(super) const DURATION: Kind = Kind::Pattern(&[quantity::DURATION]);
pub(super) const SIZE: Kind = Kind::Quantity(&[quantity::SIZE], 0, i64::MAX as u64);
pub(super) const NETWORKS: Kind = Kind::List(&Kind::Pattern(&[address::NETWORK]), 0);
pub(super) const METHOD: Kind = Kind::Pattern(&[METHOD_PATTERN]);
pub(super) const FIELD: Kind = Kind::Pattern(&[HEADER_NAME]);
/// What stands where the name of a field is expected.
pub(super) const FIELD_NAME: &str = "the name of a header field";
pub(super) const HOST: Kind =
    Kind::Pattern(&[r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", r"\[[0-9A-Fa-f:.]+\]"]);
pub(super) const FIELD_VALUE: Kind = Kind::Pattern(&["[\t -~]*"]);
/// The path of another file.
pub(super) const FILE: Kind = Kind::Pattern(&[".+"]);
pub(super) const RATE: Kind = Kind::Pattern(&[quantity::RATE]);
pub(super) const QUOTA: Kind = Kind::Pattern(&[quantity::QUOTA]);
pub(super) const UTC_OFFSET: Kind = Kind::Pattern(&[quantity::UTC_OFFSET]);
/// So many tokens a bucket may hold.
pub(super) const TOKENS: Kind = Kind::Integer(1, MAX_TOKENS as u64);

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

/// The status of a redirect.
pub(super) fn redirect_status(item: &Item<'_>) -> Checked<StatusCode> {
    let status = status(item, 100, 599)?;
    match status.as_u16() {
        301 | 302 | 303 | 307 | 308 => Ok(status),
        _ => Err(item.expected("one of the statuses of a redirect: 301, 302, 303, 307 or 308")),
    }
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
