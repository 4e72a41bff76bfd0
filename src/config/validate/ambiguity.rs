//! Reports ambiguous routes: two with the same path, a host and a method in common, and fields and parameters that are equally specific and
//! may all be in one request.
//!
//! Routes may overlap, since the most specific one wins. It is an error only if neither is more specific than the other, since the order
//! of routes has no meaning.

use std::collections::HashMap;

use http::Method;

use super::super::problem::{Checked, Fault, Sink, Span, quoted};
use crate::route::pattern::{HostPattern, PathPattern};
use crate::route::{Requirement, Source, rank};

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
    // Those that ask for other fields or parameters are looked up by the values that they ask for.
    let mut requiring: HashMap<_, Requiring<'_>> = HashMap::new();
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
                earliest = earliest.min(others.first_with(route, routes).unwrap_or(index));
                others.add(index, route);
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

/// The fields and parameters that a route asks for, each with whether it asks for one value of it.
type Sources<'a> = Vec<(&'a Source, bool)>;

/// Routes of one path and host that ask for equally specific fields and parameters.
///
/// Routes with the same sources can be told apart: where they differ, they ask for other values of one field. So a route is compared with those
/// of each other list of sources, and among those it is looked up by its values of the fields that both have. A file with 10,000 tenants has
/// one list.
#[derive(Debug, Default)]
struct Requiring<'a> {
    /// In the order of the first route of each.
    lists: Vec<Alike<'a>>,
    known: HashMap<Sources<'a>, usize>,
}

/// Routes that ask for the same fields and parameters.
#[derive(Debug)]
struct Alike<'a> {
    sources: Sources<'a>,
    routes: Vec<usize>,
    /// For some of the sources.
    first: HashMap<Vec<&'a Source>, First<'a>>,
}

/// The first route with these values of some sources, by method.
type First<'a> = HashMap<(Vec<&'a str>, Taken<'a>), usize>;

/// A method that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Taken<'a> {
    /// This one.
    Named(&'a Method),
    /// Any, since the route names none.
    Any,
    /// Whatever it is.
    Whatever,
}

impl<'a> Requiring<'a> {
    /// The first route that a request may be meant for that is meant for `route`, which asks for other fields.
    fn first_with(&mut self, route: &'a Matcher, routes: &'a [Matcher]) -> Option<usize> {
        let sources = sources(route);
        let mut first: Option<usize> = None;
        for list in &mut self.lists {
            if list.sources == sources {
                continue;
            }
            if list.routes.first() >= first.as_ref() && first.is_some() {
                break;
            }
            let by_value = |(_, is_one): &&(&Source, bool)| *is_one;
            let both: Vec<&Source> = sources
                .iter()
                .filter(by_value)
                .filter(|source| list.sources.contains(source))
                .map(|(source, _)| *source)
                .collect();
            let values = values(route, &both);
            let index = list.first.entry(both).or_insert_with_key(|both| {
                let mut index = HashMap::new();
                list.routes.iter().for_each(|&other| note(other, &routes[other], both, &mut index));
                index
            });
            let asked = match route.methods.is_empty() {
                true => vec![Taken::Whatever],
                false => named(route).chain([Taken::Any]).collect(),
            };
            for taken in asked {
                let found = index.get(&(values.clone(), taken)).copied();
                first = first.into_iter().chain(found).min();
            }
        }
        first
    }

    /// Adds a route, which comes after all others.
    fn add(&mut self, index: usize, route: &'a Matcher) {
        let sources = sources(route);
        let at = *self.known.entry(sources.clone()).or_insert_with(|| {
            self.lists.push(Alike { sources, routes: Vec::new(), first: HashMap::new() });
            self.lists.len() - 1
        });
        let list = &mut self.lists[at];
        list.routes.push(index);
        for (both, first) in &mut list.first {
            note(index, route, both, first);
        }
    }
}

/// Notes a route by its values of these sources and its methods, unless an earlier one is there.
fn note<'a>(index: usize, route: &'a Matcher, sources: &[&'a Source], first: &mut First<'a>) {
    let any = route.methods.is_empty().then_some(Taken::Any);
    for taken in named(route).chain(any).chain([Taken::Whatever]) {
        first.entry((values(route, sources), taken)).or_insert(index);
    }
}

/// The methods that a route names; with `GET` it takes `HEAD` too.
fn named(route: &Matcher) -> impl Iterator<Item = Taken<'_>> {
    let head = route.methods.contains(&Method::GET).then_some(&Method::HEAD);
    route.methods.iter().chain(head).map(Taken::Named)
}

fn sources(route: &Matcher) -> Sources<'_> {
    let source = |requirement: &'_ Requirement| requirement.value.is_some();
    route.requirements.iter().map(|requirement| (&requirement.source, source(requirement))).collect()
}

/// The values that a route asks for of these sources.
fn values<'a>(route: &'a Matcher, sources: &[&Source]) -> Vec<&'a str> {
    let of = |source: &&Source| route.requirements.iter().find(|requirement| requirement.source == **source);
    sources.iter().filter_map(|source| of(source)?.value.as_deref()).collect()
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

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::{any, prop};
    use proptest::{prop_assert_eq, proptest};

    use super::*;

    /// A route that asks for two of three fields, each with one of two values or any; the numbers choose.
    fn route(left_out: u8, values: (u8, u8), methods: u8) -> Matcher {
        let value = |number: u8| (!number.is_multiple_of(3)).then(|| (number % 3).to_string());
        let sources = ["x-a", "x-b", "x-c"].map(|name| Source::Header(HeaderName::from_static(name)));
        let named = sources.into_iter().enumerate().filter(|(at, _)| *at != usize::from(left_out % 3));
        let requirements = named.zip([values.0, values.1]);
        let requirements =
            requirements.map(|((_, source), number)| Requirement { source, value: value(number) });
        let lists = [vec![], vec![Method::GET], vec![Method::HEAD], vec![Method::PUT, Method::GET]];
        Matcher {
            name: None,
            place: 0..0,
            hosts: Vec::new(),
            path: "/".parse().unwrap(),
            methods: lists[usize::from(methods % 4)].clone(),
            requirements: requirements.collect(),
        }
    }

    /// Whether a request may be meant for both of two routes that ask for other fields.
    fn may_meet(a: &Matcher, b: &Matcher) -> bool {
        let excludes = |a: &Requirement, b: &Requirement| {
            a.source == b.source && a.value.is_some() && b.value.is_some() && a.value != b.value
        };
        a.requirements != b.requirements
            && !a.requirements.iter().any(|a| b.requirements.iter().any(|b| excludes(a, b)))
            && method_in_common(&a.methods, &b.methods).is_some()
    }

    proptest! {
        #[test]
        fn a_route_is_looked_up_as_if_it_were_compared_with_all(
            choices in prop::collection::vec(any::<(u8, (u8, u8), u8)>(), 1..30)
        ) {
            let all = choices.into_iter().map(|(left_out, values, methods)| route(left_out, values, methods));
            let all: Vec<Matcher> = all.collect();
            let mut by_rank: HashMap<_, Requiring<'_>> = HashMap::new();
            for (index, one) in all.iter().enumerate() {
                let rank_of_one = rank(&one.requirements);
                let known = by_rank.entry(rank_of_one).or_default();
                let compared = all[..index]
                    .iter()
                    .position(|other| rank(&other.requirements) == rank_of_one && may_meet(other, one));
                prop_assert_eq!(known.first_with(one, &all), compared);
                known.add(index, one);
            }
        }
    }
}
