//! The path patterns of one host, as a tree of segments.
//!
//! A node has a child for each literal segment, found by its hash, and at most one for a parameter. So a lookup takes a step for each
//! segment of the path, however many patterns there are. If no pattern below a literal matches, the lookup goes back and tries the
//! parameter, then the patterns that match what lies below, those with the longest ending first: from the left, a literal goes before a
//! parameter, and that before a `*`. No node is visited twice, and none deeper than the longest pattern.

use http::Method;
use memchr::memchr;

use super::captures::Captures;
use super::hash::NameMap;
use super::pattern::{PathPattern, Segment, Tail};
use super::requirement::{Particulars, Requirement, Source, are_met, rank};

/// A route: its place in the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(pub(super) u32);

impl RouteId {
    /// The index of the route among those that the table was made of.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The routes of one host, by path and method.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    /// The first is the root; children are indices.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    literals: NameMap<usize>,
    parameter: Option<usize>,
    /// The patterns that end here.
    exact: Endpoint,
    /// The patterns that match what lies below and ends so, the longest ending first.
    endings: Vec<(Box<str>, Endpoint)>,
    /// The patterns that match this and everything below.
    all: Endpoint,
}

/// The routes of one pattern.
#[derive(Clone, Debug, Default)]
struct Endpoint {
    /// Those that ask for header fields or parameters, the most specific first.
    requiring: Vec<(Box<[Requirement]>, ByMethod)>,
    /// The others.
    plain: ByMethod,
}

/// Routes that are told apart by method alone.
#[derive(Clone, Debug, Default)]
struct ByMethod {
    named: Vec<(Method, RouteId)>,
    any: Option<RouteId>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    /// Adds a route. If a route with the same conditions is there already, that one stays.
    pub(super) fn insert(
        &mut self,
        pattern: &PathPattern,
        methods: &[Method],
        requirements: &[Requirement],
        route: RouteId,
    ) {
        let mut at = 0;
        for segment in &pattern.segments {
            let new = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(text.as_str().into()).or_insert(new),
                Segment::Parameter(_) => *node.parameter.get_or_insert(new),
            };
            if at == new {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let endpoint = match &pattern.tail {
            Tail::None => &mut node.exact,
            Tail::All => &mut node.all,
            Tail::Ending(ending) => node.ending(ending),
        };
        endpoint.insert(methods, requirements, route);
    }

    /// The most specific route that matches the path and takes the request, and what its pattern captured. Instead of the route, the field or
    /// parameter that the request has more than once, if that leaves open whether a route takes it.
    pub(super) fn find(
        &self,
        path: &str,
        request: &Particulars<'_>,
    ) -> Option<(Result<RouteId, &Source>, Captures)> {
        let mut captures = Captures::none();
        let start = path.starts_with('/').then_some(1)?;
        let route = self.walk(0, path, Some(start), &mut captures, &mut |endpoint| endpoint.find(request))?;
        Some((route, captures))
    }

    /// Adds the methods that the path's routes name, of which each takes what the request says otherwise.
    pub(super) fn collect_methods(&self, path: &str, request: &Particulars<'_>, methods: &mut Vec<Method>) {
        if path.starts_with('/') {
            self.walk(0, path, Some(1), &mut Captures::none(), &mut |endpoint| {
                let met = endpoint.requiring.iter().filter(|(all, _)| are_met(all, request) == Ok(true));
                let routes = met.map(|(_, routes)| routes).chain([&endpoint.plain]);
                methods.extend(routes.flat_map(|routes| &routes.named).map(|(method, _)| method.clone()));
                None::<()>
            });
        }
    }

    /// Visits the endpoints that match, the most specific first, until `visit` takes one. `next` is where the
    /// next segment of the path starts; `None` after the last.
    fn walk<'t, T>(
        &'t self,
        at: usize,
        path: &str,
        next: Option<usize>,
        captures: &mut Captures,
        visit: &mut impl FnMut(&'t Endpoint) -> Option<T>,
    ) -> Option<T> {
        let node = self.nodes.get(at)?;
        if let Some(start) = next {
            let tail = path.get(start..)?;
            let len = memchr(b'/', tail.as_bytes());
            let segment = len.and_then(|len| tail.get(..len)).unwrap_or(tail);
            let next = len.map(|len| start + len + 1);
            if let Some(&child) = node.literals.get(segment)
                && let Some(route) = self.walk(child, path, next, captures, visit)
            {
                return Some(route);
            }
            if let Some(child) = node.parameter
                && !segment.is_empty()
            {
                let before = captures.len();
                captures.push(start..start + segment.len());
                if let Some(route) = self.walk(child, path, next, captures, visit) {
                    return Some(route);
                }
                captures.truncate(before);
            }
        } else if let Some(route) = visit(&node.exact) {
            return Some(route);
        }
        let rest = next.and_then(|start| path.get(start..)).unwrap_or_default();
        let ends = |(ending, _): &&(Box<str>, Endpoint)| rest.ends_with(&**ending);
        let with_ending = node.endings.iter().filter(ends).map(|(_, endpoint)| endpoint);
        let route = with_ending.chain([&node.all]).find_map(visit)?;
        captures.set_rest(next);
        Some(route)
    }
}

impl Node {
    /// The endpoint of the patterns with this ending.
    fn ending(&mut self, ending: &str) -> &mut Endpoint {
        // Of those that are as long no path has two.
        let order = |known: &str| (std::cmp::Reverse(known.len()), known.to_owned());
        let at = self.endings.binary_search_by_key(&order(ending), |(known, _)| order(known));
        let at = at.unwrap_or_else(|at| {
            self.endings.insert(at, (ending.into(), Endpoint::default()));
            at
        });
        &mut self.endings[at].1
    }
}

impl Endpoint {
    fn insert(&mut self, methods: &[Method], requirements: &[Requirement], route: RouteId) {
        if requirements.is_empty() {
            return self.plain.insert(methods, route);
        }
        let at = match self.requiring.iter().position(|(known, _)| **known == *requirements) {
            Some(at) => at,
            None => {
                let at = self.requiring.partition_point(|(known, _)| rank(known) >= rank(requirements));
                self.requiring.insert(at, (requirements.into(), ByMethod::default()));
                at
            }
        };
        self.requiring[at].1.insert(methods, route);
    }

    /// The most specific route that takes a request, or what the request has more than once and a route hangs on.
    fn find(&self, request: &Particulars<'_>) -> Option<Result<RouteId, &Source>> {
        for (requirements, routes) in &self.requiring {
            let Some(route) = routes.find(request.method) else { continue };
            match are_met(requirements, request) {
                Ok(true) => return Some(Ok(route)),
                Ok(false) => {}
                Err(doubled) => return Some(Err(doubled)),
            }
        }
        self.plain.find(request.method).map(Ok)
    }
}

impl ByMethod {
    fn insert(&mut self, methods: &[Method], route: RouteId) {
        if methods.is_empty() {
            self.any.get_or_insert(route);
        }
        for method in methods {
            if self.named(method).is_none() {
                self.named.push((method.clone(), route));
            }
        }
    }

    fn named(&self, method: &Method) -> Option<RouteId> {
        self.named.iter().find(|(named, _)| named == method).map(|(_, route)| *route)
    }

    /// The route that names the method, else one that takes any. A route that names `GET` takes `HEAD` too.
    fn find(&self, method: &Method) -> Option<RouteId> {
        self.named(method)
            .or_else(|| if method == Method::HEAD { self.named(&Method::GET) } else { None })
            .or(self.any)
    }
}
