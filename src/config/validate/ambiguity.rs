//! Reports ambiguous routes: two with the same path, and a host and a method in common.
//!
//! Routes may overlap, since the most specific one wins. It is an error only if neither is more specific than the other, since the order
//! of routes has no meaning.

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
    // Two routes are ambiguous if they have a host and a method in common, or both take any. So each route is looked up by its hosts and
    // methods, instead of being compared with all others.
    let mut first_with: HashMap<_, usize> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let mut earliest = index;
        for host in any_or_each(&route.hosts) {
            for method in any_or_each(&route.methods) {
                let first = *first_with.entry((route.path.shape(), host, method)).or_insert(index);
                earliest = earliest.min(first);
            }
        }
        let earlier = &routes[earliest];
        if let (true, Some(requests)) = (earliest < index, in_common(earlier, route)) {
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

/// Each element of a list, or `None` for an empty list, which means any.
fn any_or_each<T>(list: &[T]) -> impl Iterator<Item = Option<&T>> {
    list.is_empty().then_some(None).into_iter().chain(list.iter().map(Some))
}

/// The requests for which neither of two routes with the same paths is the more specific one.
fn in_common(a: &Matcher, b: &Matcher) -> Option<String> {
    let method = shared(&a.methods, &b.methods)?;
    let host = shared(&a.hosts, &b.hosts)?;
    let method = method.map_or_else(String::new, |method| format!("{method} "));
    let host = host.map_or_else(String::new, ToString::to_string);
    Some(format!("{method}{host}{}", b.path))
}

/// An element of both lists; `Some(None)` if both are empty, which means any.
fn shared<'a, T: PartialEq>(a: &'a [T], b: &[T]) -> Option<Option<&'a T>> {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Some(None),
        _ => a.iter().find(|element| b.contains(element)).map(Some),
    }
}
