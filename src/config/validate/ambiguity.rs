//! Reports ambiguous routes: two with the same path, a host and a method in common, and fields and parameters that are equally specific and
//! may all be in one request.
//!
//! Routes may overlap, since the most specific one wins. It is an error only if neither is more specific than the other, since the order
//! of routes has no meaning.

use std::collections::HashMap;

use http::Method;

use super::super::problem::{Checked, Fault, Sink, Span, quoted};
use crate::route::pattern::{HostPattern, PathPattern};
use crate::route::{Requirement, go_together, rank};

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
    /// The header fields and parameters that it asks for.
    pub(super) requirements: Vec<Requirement>,
}

/// Reports each route that an earlier one cannot be told from.
pub(super) fn check(routes: &[Matcher], sink: &Sink<'_>) -> Checked<()> {
    let mut result = Ok(());
    // Two routes are ambiguous if they have a host and a method in common, or both take any. So each route is looked up by its hosts and
    // methods, instead of being compared with all others.
    let mut first_with: HashMap<_, usize> = HashMap::new();
    // Those that ask for other fields or parameters are compared one by one.
    let mut requiring: HashMap<_, Vec<usize>> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        let mut earliest = index;
        for host in any_or_each(&route.hosts) {
            for method in any_or_each(&route.methods) {
                let same = (route.path.shape(), host, method, &route.requirements);
                earliest = earliest.min(*first_with.entry(same).or_insert(index));
            }
            if !route.requirements.is_empty() {
                let equal = (route.path.shape(), host, rank(&route.requirements));
                let others = requiring.entry(equal).or_default();
                let other = others.iter().find(|&&other| may_meet(&routes[other], route));
                earliest = other.copied().unwrap_or(index).min(earliest);
                others.push(index);
            }
        }
        let earlier = &routes[earliest];
        if let (true, Some(requests)) = (earliest < index, in_common(earlier, route)) {
            let line = sink.line_seen_from(route.place.start, earlier.place.start);
            let who = match &earlier.name {
                Some(name) => format!("the route {} ({line})", quoted(name)),
                None => format!("the route with its path on {line}"),
            };
            let fault = Fault::new(format!("{who} matches the same requests, {requests}"));
            let hint = match earlier.requirements == route.requirements {
                true => "tell the two apart by host, path, method, headers or query, or remove one",
                false => "let one ask for all that both ask for, or both for other values of one field",
            };
            result = Err(sink.report(&route.place, fault.hint(hint)));
        }
    }
    result
}

/// Whether a request may be meant for both of two routes that ask for other fields or parameters.
fn may_meet(a: &Matcher, b: &Matcher) -> bool {
    a.requirements != b.requirements
        && go_together(&a.requirements, &b.requirements)
        && method_in_common(&a.methods, &b.methods).is_some()
}

/// A method that two routes take, where no other says which; `Some(None)` if both take any. A route that names `GET` takes `HEAD` too.
fn method_in_common<'a>(a: &'a [Method], b: &'a [Method]) -> Option<Option<&'a Method>> {
    let takes = |methods: &[Method], method: &Method| {
        methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
    };
    match (a.is_empty(), b.is_empty()) {
        (true, _) => Some(b.first()),
        (false, true) => Some(a.first()),
        (false, false) => {
            let of_both = a.iter().chain(b).find(|method| takes(a, method) && takes(b, method));
            of_both.map(Some)
        }
    }
}

/// Each element of a list, or `None` for an empty list, which means any.
fn any_or_each<T>(list: &[T]) -> impl Iterator<Item = Option<&T>> {
    list.is_empty().then_some(None).into_iter().chain(list.iter().map(Some))
}

/// The requests for which neither of two routes with the same paths is the more specific one.
fn in_common(a: &Matcher, b: &Matcher) -> Option<String> {
    let method = match a.requirements == b.requirements {
        true => shared(&a.methods, &b.methods)?,
        false => method_in_common(&a.methods, &b.methods)?,
    };
    let host = shared(&a.hosts, &b.hosts)?;
    let method = method.map_or_else(String::new, |method| format!("{method} "));
    let host = host.map_or_else(String::new, ToString::to_string);
    let mut all: Vec<&Requirement> = a.requirements.iter().collect();
    all.extend(b.requirements.iter().filter(|requirement| !a.requirements.contains(requirement)));
    let with = all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let with = if with.is_empty() { with } else { format!(" with {with}") };
    Some(format!("{method}{host}{}{with}", b.path))
}

/// An element of both lists; `Some(None)` if both are empty, which means any.
fn shared<'a, T: PartialEq>(a: &'a [T], b: &[T]) -> Option<Option<&'a T>> {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Some(None),
        _ => a.iter().find(|element| b.contains(element)).map(Some),
    }
}
