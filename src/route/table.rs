//! The table of routes: host, path, header fields, query and method to the most specific route.
//!
//! The order in the file does not matter. An exact host goes before a wildcard (the longest first), and a wildcard before any host; then,
//! segment by segment from the left, a literal goes before a parameter and that before a `*`; then a route that asks for more header fields
//! and parameters goes before one that asks for fewer, and one that names more of their values before one that names fewer; then a route
//! that names the method goes before one that takes any. If the most specific route does not take the request, the next one is tried: a path that no route of
//! `api.example.com` matches may match one of `*.example.com` or of any host, and a method that `/users/{id}` does not take may be taken
//! by `/users/*`. If routes match but for the method, the answer is 405.
//!
//! A route that names `GET` takes `HEAD` as well, unless another with the same path names `HEAD`.
//!
//! The configuration is valid here. Of two routes with the same conditions the table would keep the first.

use std::fmt;

use http::Method;

use super::captures::Captures;
use super::hash::NameMap;
use super::pattern::{HostPattern, PathPattern};
use super::requirement::{Particulars, Requirement, Source};
use super::trie::{RouteId, Trie};

/// The result of looking for a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The most specific route that takes the request.
    Found {
        /// The route.
        route: RouteId,
        /// The parts of the path that its pattern captured.
        captures: Captures,
    },
    /// The request has a field or parameter more than once, and a route that it might take asks for it: 400.
    Doubled {
        /// The field or parameter.
        source: Source,
    },
    /// Routes match but for the method: 405.
    MethodNotAllowed {
        /// The methods that they take.
        allow: Allow,
    },
    /// No route matches, whatever the method: 404.
    NotFound,
}

/// The methods that a path takes. Its text is the value of an `Allow` field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow(Vec<Method>);

impl Allow {
    /// The methods, each once, in the order of their names.
    pub fn methods(&self) -> &[Method] {
        &self.0
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, method) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(method.as_str())?;
        }
        Ok(())
    }
}

/// Which requests a route takes.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The hosts; empty is any.
    pub hosts: &'a [HostPattern],
    /// The paths.
    pub path: &'a PathPattern,
    /// The methods; empty is any.
    pub methods: &'a [Method],
    /// The header fields and parameters, in an order of their own: equal ones are in the same order.
    pub requirements: &'a [Requirement],
}

/// The routes of a configuration, by host, path and method.
#[derive(Clone, Debug, Default)]
pub struct Table {
    exact: NameMap<Trie>,
    /// By the domain that follows the `*.`.
    wildcards: NameMap<Trie>,
    /// The length of the longest of them.
    longest_wildcard: usize,
    any: Trie,
}

impl Table {
    /// The table of these routes, which are numbered in this order.
    pub fn new<'a>(routes: impl IntoIterator<Item = Conditions<'a>>) -> Self {
        let mut table = Self::default();
        for (route, id) in routes.into_iter().zip((0..).map(RouteId)) {
            if route.hosts.is_empty() {
                table.any.insert(route.path, route.methods, route.requirements, id);
            }
            for host in route.hosts {
                let trie = match host {
                    HostPattern::Exact(host) => table.exact.entry(host.as_str().into()),
                    HostPattern::Wildcard(suffix) => {
                        table.longest_wildcard = table.longest_wildcard.max(suffix.len());
                        table.wildcards.entry(suffix.as_str().into())
                    }
                };
                trie.or_default().insert(route.path, route.methods, route.requirements, id);
            }
        }
        table
    }

    /// The most specific route for a request. `host` is what [`host_of`](super::host_of) returned, or empty for a
    /// request that names none; `path` is what [`normalise`](super::normalise) returned.
    pub fn find<'r>(&self, host: &str, path: &str, request: impl Into<Particulars<'r>>) -> Match {
        let request = request.into();
        for trie in self.tries(host) {
            match trie.find(path, &request) {
                Some((Ok(route), captures)) => return Match::Found { route, captures },
                Some((Err(source), _)) => return Match::Doubled { source: source.clone() },
                None => {}
            }
        }
        let mut methods = Vec::new();
        for trie in self.tries(host) {
            trie.collect_methods(path, &request, &mut methods);
        }
        if methods.is_empty() {
            return Match::NotFound;
        }
        if methods.contains(&Method::GET) {
            methods.push(Method::HEAD);
        }
        methods.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        methods.dedup();
        Match::MethodNotAllowed { allow: Allow(methods) }
    }

    /// The tries of the host patterns that match, the most specific first.
    fn tries(&self, host: &str) -> impl Iterator<Item = &Trie> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(host) };
        exact.into_iter().chain(self.wildcards_of(host)).chain([&self.any])
    }

    /// The wildcards that match, the longest first.
    fn wildcards_of(&self, host: &str) -> impl Iterator<Item = &Trie> {
        let host = if self.wildcards.is_empty() { "" } else { host };
        host.match_indices('.')
            .filter(|(at, _)| *at > 0)
            .filter_map(|(at, _)| host.get(at + 1..))
            .filter(|suffix| suffix.len() <= self.longest_wildcard)
            .filter_map(|suffix| self.wildcards.get(suffix))
    }
}

#[cfg(test)]
mod tests;
