//! The step that finds the route of a request: by its host, its path in normal form, its header fields and query, and its method.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

use super::{Engine, Facts, Reply};
use crate::config::{Action, Route};
use crate::cors;
use crate::route::{
    Agreement, Captures, Match, Particulars, Unsafe, host_of, normalise, normalise_keeping_slashes, rewrite,
};

/// The methods that a route may take without naming others.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

/// A request whose route is known.
pub struct Located<'a> {
    index: usize,
    route: &'a Route,
    target: Target<'a>,
    captures: Captures,
    is_preflight: bool,
}

/// What a request asks for, in normal form.
pub(super) struct Target<'a> {
    /// In lower case, without the port; empty if an HTTP/1.0 client names none.
    pub(super) host: Cow<'a, str>,
    pub(super) path: Cow<'a, str>,
    query: Option<&'a [u8]>,
    has_encoded_slash: bool,
}

impl<'a> Located<'a> {
    /// The index of the route in the configuration.
    pub fn route_index(&self) -> usize {
        self.index
    }

    /// The route.
    pub fn route(&self) -> &'a Route {
        self.route
    }

    /// The host that is asked for, in lower case, without the port.
    pub fn host(&self) -> &str {
        &self.target.host
    }

    /// The path in normal form.
    pub fn path(&self) -> &str {
        &self.target.path
    }

    /// What follows the `?`, as the client sent it.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.target.query
    }

    /// What the route's pattern captured of the path.
    pub fn captures(&self) -> &Captures {
        &self.captures
    }

    /// Whether a browser asks for permission to make a request that this route would take.
    pub fn is_preflight(&self) -> bool {
        self.is_preflight
    }
}

impl<'a> Target<'a> {
    /// Brings host and path into normal form. An encoded slash is kept for now: whether it may stay is for the route to say, and
    /// only the path leads to the route.
    pub(super) fn read(facts: &Facts<'a>) -> Result<Self, Reply> {
        let (path, query) = split_query(facts.target);
        let host = host(facts.headers)?;
        let (path, has_encoded_slash) = match normalise(path) {
            Ok(path) => (path, false),
            Err(Unsafe::EncodedSlash) => {
                (Cow::Owned(normalise_keeping_slashes(path).map_err(unreadable)?), true)
            }
            Err(error) => return Err(unreadable(error)),
        };
        Ok(Self { host, path, query, has_encoded_slash })
    }

    /// Whether the route keeps encoded slashes, and its rewrite does not put dots beside one: `{a}..` could.
    fn stays_safe(&self, route: &Route, captures: &Captures) -> bool {
        let Action::Proxy { rewrite: how, .. } = &route.action else { return false };
        let sent = rewrite(how, &self.path, captures);
        route.keeps_encoded_slashes && normalise_keeping_slashes(sent.as_bytes()).as_deref() == Ok(&*sent)
    }
}

impl Engine {
    /// How the conditions of each route agree with a request whose host and path can be read, in the order of the configuration. It
    /// visits every route.
    pub fn agreements(&self, facts: &Facts<'_>) -> Vec<Agreement> {
        let Ok(Target { host, path, query, .. }) = Target::read(facts) else { return Vec::new() };
        let routes = self.config.routes.iter().map(Route::conditions);
        let request = Particulars { method: facts.method, headers: Some(facts.headers), query };
        routes.map(|conditions| conditions.agreement(&host, &path, &request)).collect()
    }

    /// Whether the path of a request has an encoded slash.
    pub fn has_encoded_slash(&self, facts: &Facts<'_>) -> bool {
        Target::read(facts).is_ok_and(|target| target.has_encoded_slash)
    }

    /// The route of a request.
    ///
    /// # Errors
    /// The answer when there is no such route, when the request cannot be read safely, or when it is a question that the gateway
    /// answers without a route.
    pub fn locate<'a>(&'a self, facts: &Facts<'a>) -> Result<Located<'a>, Reply> {
        if expects_the_unknown(facts) {
            let detail = "the only expectation that this server knows is 100-continue";
            return Err(Reply::problem(StatusCode::EXPECTATION_FAILED, detail));
        }
        if *facts.method == Method::OPTIONS && facts.target == b"*" {
            // A question to the server as a whole (RFC 9110, section 9.3.7).
            return Err(Reply::permission().with("Allow", HeaderValue::from_static(METHODS)));
        }
        let target = Target::read(facts)?;
        if let Some(method) = cors::preflight(facts.method, facts.headers)
            && let Ok(Match::Found { route, captures }) = self.find(&target, facts.headers, &method)
            && let index = route.index()
            && self.route(index).cors.is_some()
        {
            return Ok(Located { index, route: self.route(index), target, captures, is_preflight: true });
        }
        match self.find(&target, facts.headers, facts.method)? {
            Match::Found { route, captures } => {
                let index = route.index();
                Ok(Located { index, route: self.route(index), target, captures, is_preflight: false })
            }
            Match::Doubled { source } => Err(Reply::bad_request(&format!(
                "the request must not have the {source} more than once: routes go by it"
            ))),
            Match::MethodNotAllowed { allow } => {
                let reply =
                    Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method");
                // Methods are tokens, which are always a valid value.
                let allow =
                    HeaderValue::try_from(allow.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
                Err(reply.with("Allow", allow))
            }
            Match::NotFound => Err(Reply::problem(StatusCode::NOT_FOUND, "no route matches this request")),
        }
    }

    /// What the table of routes knows of a target. A target with an encoded slash leads to a route that keeps such slashes, or
    /// nowhere.
    pub(super) fn find(
        &self,
        target: &Target<'_>,
        headers: &HeaderMap,
        method: &Method,
    ) -> Result<Match, Reply> {
        let request = Particulars { method, headers: Some(headers), query: target.query };
        let found = self.routes.find(&target.host, &target.path, request);
        let is_safe = match &found {
            _ if !target.has_encoded_slash => true,
            Match::Found { route, captures } => target.stays_safe(self.route(route.index()), captures),
            Match::Doubled { .. } | Match::MethodNotAllowed { .. } | Match::NotFound => false,
        };
        if is_safe { Ok(found) } else { Err(unreadable(Unsafe::EncodedSlash)) }
    }
}

/// Whether a client expects something that the gateway cannot promise (RFC 9110, section 10.1.1). HTTP/1.0 has no expectations.
fn expects_the_unknown(facts: &Facts<'_>) -> bool {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    facts.version != Version::HTTP_10 && !facts.headers.get_all(header::EXPECT).iter().all(known)
}

/// Path and query of a request's target.
pub(super) fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// The host that is asked for, in lower case and without its port; empty if an HTTP/1.0 client names none.
fn host(headers: &HeaderMap) -> Result<Cow<'_, str>, Reply> {
    let bad = || Reply::bad_request("the Host field is no host");
    match headers.get(header::HOST).map(HeaderValue::to_str) {
        None | Some(Ok("")) => Ok(Cow::Borrowed("")),
        Some(field) => field.ok().and_then(host_of).ok_or_else(bad),
    }
}

fn unreadable(error: Unsafe) -> Reply {
    Reply::bad_request(&format!("the path cannot be read safely: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_begins_at_the_first_question_mark() {
        assert_eq!(split_query(b"/a?b=c?d"), (&b"/a"[..], Some(&b"b=c?d"[..])));
        assert_eq!(split_query(b"/a?"), (&b"/a"[..], Some(&b""[..])));
        assert_eq!(split_query(b"/a"), (&b"/a"[..], None));
    }

    #[test]
    fn a_host_is_in_the_form_that_routes_know() {
        let mut headers = HeaderMap::new();
        assert_eq!(host(&headers).unwrap(), "");
        headers.insert(header::HOST, HeaderValue::from_static("A.example:80"));
        assert_eq!(host(&headers).unwrap(), "a.example");
        headers.insert(header::HOST, HeaderValue::from_static("a b"));
        assert!(host(&headers).is_err());
    }
}
