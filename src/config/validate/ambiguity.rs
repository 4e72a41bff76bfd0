//! Routes that can never be told apart: the same path, a host and a method in common.
//!
//! The most specific route wins, so routes may overlap. Only where neither is the more specific one is it an
//! error: which of the two would answer depended on their order, and order has no meaning.

use std::collections::HashMap;

use http::Method;

use super::super::problem::{Checked, Fault, Sink, Span, quoted};
use crate::route::pattern::{HostPattern, PathPattern};

/// What a route matches.
#[derive(Debug)]
pub(super) struct Matcher {
    pub(super) name: Option<String>,
    /// Where its path stands.
    pub(super) place: Span,
    /// Empty is any.
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: PathPattern,
    /// Empty is any.
    pub(super) methods: Vec<Method>,
}

/// Reports each route that an earlier one cannot be told from.
pub(super) fn check(routes: &[Matcher], sink: &Sink<'_>) -> Checked<()> {
    let mut result = Ok(());
    // Only routes with the same paths can be alike, and there are few of those among thousands.
    let mut with_the_same_paths: HashMap<_, Vec<&Matcher>> = HashMap::new();
    for route in routes {
        let alike = with_the_same_paths.entry(route.path.shape()).or_default();
        let earlier = alike.iter().find_map(|earlier| Some((*earlier, in_common(earlier, route)?)));
        alike.push(route);
        if let Some((earlier, requests)) = earlier {
            let line = sink.line(earlier.place.start);
            let who = match &earlier.name {
                Some(name) => format!("the route {} (line {line})", quoted(name)),
                None => format!("the route with its path on line {line}"),
            };
            let fault = Fault::new(format!("{who} matches the same requests, {requests}"));
            let hint = "tell the two apart by host, path or method, or remove one";
            result = Err(sink.report(&route.place, fault.hint(hint)));
        }
    }
    result
}

/// The requests for which neither of two routes with the same paths is the more specific one.
fn in_common(a: &Matcher, b: &Matcher) -> Option<String> {
    let method = shared(&a.methods, &b.methods)?;
    let host = shared(&a.hosts, &b.hosts)?;
    let method = method.map_or_else(String::new, |method| format!("{method} "));
    let host = host.map_or_else(String::new, ToString::to_string);
    Some(format!("{method}{host}{}", b.path))
}

/// An element of both lists; `Some(None)` if both are empty, which is any.
fn shared<'a, T: PartialEq>(a: &'a [T], b: &[T]) -> Option<Option<&'a T>> {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Some(None),
        _ => a.iter().find(|element| b.contains(element)).map(Some),
    }
}
