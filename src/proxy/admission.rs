//! What becomes of a request before anything is sent upstream: who asks, which route, which limits.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::RequestHeader;

use super::context::Context;
use super::reply::Reply;
use crate::client::{ClientId, Conflict};
use crate::clock::Timestamp;
use crate::config::{Action, Route};
use crate::cors;
use crate::field_names::{self, Names};
use crate::gateway::Active;
use crate::limit::key::{Facts, NoValue, Secret};
use crate::limit::{Decision, fields};
use crate::metrics::Running;
use crate::route::{Captures, Match, Unsafe, host_of, normalise, normalise_keeping_slashes, rewrite};

/// Names a request in the logs of everybody who handles it.
pub(super) const X_REQUEST_ID: &str = "X-Request-Id";

/// A request id of a trusted proxy is kept if it is no longer than this.
const MAX_REQUEST_ID: usize = 128;

/// When a request may be made again that came while memory was scarce.
const MEMORY_PAUSE: Duration = Duration::from_secs(1);

/// The methods that a route may take without naming others.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS";

/// Whether a client expects something that nobody here can promise (RFC 9110, section 10.1.1). HTTP/1.0 knows no expectations.
fn expects_the_unknown(request: &RequestHeader) -> bool {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    request.version != Version::HTTP_10 && !request.headers.get_all(header::EXPECT).iter().all(known)
}

/// Decides about a request. `Ok` means that it goes upstream.
///
/// # Errors
/// The answer that it gets instead.
pub(super) fn admit(request: &RequestHeader, now: Timestamp, ctx: &mut Context) -> Result<(), Reply> {
    let active = ctx.active.clone();
    if ctx.gateway.pressure.is_scarce() {
        return Err(Reply::unavailable("the gateway has no memory for another request", MEMORY_PAUSE));
    }
    if expects_the_unknown(request) {
        let detail = "the only expectation that this server knows is 100-continue";
        return Err(Reply::problem(StatusCode::EXPECTATION_FAILED, detail));
    }
    if request.method == Method::OPTIONS && request.raw_path() == b"*" {
        // A question to the server as a whole (RFC 9110, section 9.3.7).
        return Err(Reply::permission().with("Allow", HeaderValue::from_static(METHODS)));
    }
    let (path, query) = split_query(request.raw_path());
    let host = host(&request.headers)?;
    let asked = Asked::read(path, &host)?;
    let path = &*asked.path;
    if let Some(method) = cors::preflight(&request.method, &request.headers)
        && let Ok(Match::Found { route, .. }) = asked.route(&active, &method)
        && active.config.routes[route.index()].cors.is_some()
    {
        take(&active, route.index(), ctx);
        return Err(Reply::permission());
    }
    let (index, captures) = match asked.route(&active, &request.method)? {
        Match::Found { route, captures } => (route.index(), captures),
        Match::MethodNotAllowed { allow } => {
            let reply = Reply::problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method");
            // Methods are tokens, which are always a valid value.
            let allow =
                HeaderValue::try_from(allow.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""));
            return Err(reply.with("Allow", allow));
        }
        Match::NotFound => {
            return Err(Reply::problem(StatusCode::NOT_FOUND, "no route matches this host and path"));
        }
    };
    let route = &active.config.routes[index];
    take(&active, index, ctx);
    ctx.captures = captures;
    let located = Located { index, host: &host, path, query };
    limit(&active, route, request, &located, now, ctx)?;
    if let Some(length) = content_length(&request.headers)
        && length > route.max_body_size
    {
        return Err(body_too_large(route));
    }
    find_key(&active, route, request, &located, ctx);
    let reply = answer_of(route, path, query, ctx);
    if let Cow::Owned(path) = asked.path {
        ctx.path = Some(path);
    }
    reply.map_or(Ok(()), Err)
}

/// What a request asks for, in normal form.
struct Asked<'a> {
    host: &'a str,
    path: Cow<'a, str>,
    has_encoded_slash: bool,
}

impl<'a> Asked<'a> {
    /// Reads the path. An encoded slash is kept for now: whether it may stay is for the route to say, and only the path
    /// leads to the route.
    fn read(raw: &'a [u8], host: &'a str) -> Result<Self, Reply> {
        match normalise(raw) {
            Ok(path) => Ok(Self { host, path, has_encoded_slash: false }),
            Err(Unsafe::EncodedSlash) => {
                let path = Cow::Owned(normalise_keeping_slashes(raw).map_err(unreadable)?);
                Ok(Self { host, path, has_encoded_slash: true })
            }
            Err(error) => Err(unreadable(error)),
        }
    }

    /// The route that it leads to. With an encoded slash it leads to a route that keeps them or nowhere.
    fn route(&self, active: &Active, method: &Method) -> Result<Match, Reply> {
        let found = active.routes.find(self.host, &self.path, method);
        let is_safe = match &found {
            _ if !self.has_encoded_slash => true,
            Match::Found { route, captures } => {
                self.stays_safe(&active.config.routes[route.index()], captures)
            }
            Match::MethodNotAllowed { .. } | Match::NotFound => false,
        };
        if is_safe { Ok(found) } else { Err(unreadable(Unsafe::EncodedSlash)) }
    }

    /// Whether the route keeps encoded slashes, and a rewrite puts no dots beside one: `{a}..` could.
    fn stays_safe(&self, route: &Route, captures: &Captures) -> bool {
        let Action::Proxy { rewrite: how, .. } = &route.action else { return false };
        let sent = rewrite(how, &self.path, captures);
        route.keeps_encoded_slashes && normalise_keeping_slashes(sent.as_bytes()).as_deref() == Ok(&*sent)
    }
}

/// Notes which route a request takes.
fn take(active: &Active, index: usize, ctx: &mut Context) {
    ctx.route = Some(index);
    ctx.running = Some(Running::start(&active.traffic.route(Some(index)).in_flight));
    ctx.deadline = active.config.routes[index].timeout.map(|timeout| ctx.started.after(timeout));
}

/// The answer to a body that is larger than the route takes.
pub(super) fn body_too_large(route: &Route) -> Reply {
    let detail =
        format!("the request body is larger than the {} bytes that are taken here", route.max_body_size);
    Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Notes who asks, and names the request.
///
/// # Errors
/// When nobody can tell who asks.
pub(super) fn identify(headers: &HeaderMap, ctx: &mut Context) -> Result<(), Reply> {
    let active = ctx.active.clone();
    let Some(connection) = &ctx.connection else { return Err(nobody()) };
    let peer = connection.peer.address.ip();
    ctx.peer_trusted = !connection.peer.is_unknown && active.trusted_proxies.contains(peer);
    let client = match connection.peer.is_unknown {
        true => Ok(ClientId::unknown_behind(peer)),
        false => active.trusted_proxies.client(peer, headers),
    };
    // The log names the proxy of a request that is refused for that; nothing is decided by it.
    ctx.client = Some(client.clone().unwrap_or(ClientId::Address(peer.to_canonical())));
    ctx.trace = active.outputs.tracer.as_ref().map(|tracer| tracer.place(headers, ctx.peer_trusted));
    let given = headers.get(X_REQUEST_ID).filter(|id| {
        ctx.peer_trusted
            && id.len() <= MAX_REQUEST_ID
            && !id.is_empty()
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    ctx.request_id = Some(given.cloned().unwrap_or_else(new_request_id));
    client.map(drop).map_err(|Conflict| bad_request("X-Forwarded-For and Forwarded name different clients"))
}

/// The answer to a request of which is not known who asks. No request comes this far without; if one does, no limit is skipped.
fn nobody() -> Reply {
    Reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "the gateway does not know who asks")
}

/// Takes away the fields that are not sent on, so that nothing is decided by them: which were dropped for their names.
///
/// # Errors
/// When one of them is what the request is read by.
pub(super) fn strip(request: &mut RequestHeader, ctx: &Context) -> Result<Names, Reply> {
    let mut gone = field_names::named_in_connection(&request.headers).map_err(bad_request)?;
    if !ctx.peer_trusted {
        gone.extend(field_names::claims(&request.headers));
    }
    let dropped = ctx.active.field_names.dropped(&request.headers);
    for name in gone.iter().chain(&dropped) {
        request.remove_header(name);
    }
    Ok(dropped)
}

/// A random request id.
pub(crate) fn new_request_id() -> HeaderValue {
    // Hexadecimal digits are always a valid value.
    HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>()))
        .unwrap_or_else(|_| HeaderValue::from_static("-"))
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
    let bad = || bad_request("the Host field is no host");
    match headers.get(header::HOST).map(HeaderValue::to_str) {
        None | Some(Ok("")) => Ok(Cow::Borrowed("")),
        Some(field) => field.ok().and_then(host_of).ok_or_else(bad),
    }
}

/// Where a request was found to go.
struct Located<'a> {
    index: usize,
    host: &'a str,
    path: &'a str,
    query: Option<&'a [u8]>,
}

impl<'a> Located<'a> {
    fn facts(&self, route: &'a Route, request: &'a RequestHeader, client: &'a ClientId) -> Facts<'a> {
        Facts {
            client,
            method: &request.method,
            host: self.host,
            path: self.path,
            query: self.query.and_then(|query| std::str::from_utf8(query).ok()),
            route: &route.name,
            headers: &request.headers,
        }
    }
}

/// Asks the limits of the route.
fn limit(
    active: &Active,
    route: &Route,
    request: &RequestHeader,
    located: &Located<'_>,
    now: Timestamp,
    ctx: &mut Context,
) -> Result<(), Reply> {
    if route.limits.is_empty() {
        return Ok(());
    }
    let Some(client) = &ctx.client else { return Err(nobody()) };
    let facts = located.facts(route, request, client);
    let decision = active.limiter.decide(&route.limits, &facts, now, &mut ctx.tally);
    active.traffic.count_decisions(located.index, ctx.tally.reports());
    let rule = |limit: usize| active.limiter.limits()[limit].rule();
    match decision {
        Decision::Admitted => Ok(()),
        Decision::Refused { limit, wait } => {
            let violated =
                fields::violated(&active.limiter, ctx.tally.reports()).map(str::to_owned).collect();
            Err(Reply::refused(rule(limit).status, wait, violated))
        }
        Decision::NoKey { limit, why } => {
            let key = &rule(limit).key;
            Err(bad_request(&match why {
                NoValue::Missing => format!("the request must carry {key}, by which its limit is kept"),
                NoValue::Ambiguous => {
                    format!(
                        "the request must carry {key}, by which its limit is kept, and not two that differ"
                    )
                }
            }))
        }
    }
}

/// Notes the value of the key by which the route's upstream chooses a server, if it goes by one.
fn find_key(
    active: &Active,
    route: &Route,
    request: &RequestHeader,
    located: &Located<'_>,
    ctx: &mut Context,
) {
    if let Action::Proxy { upstream, .. } = route.action
        && let (Some(key), Some(client)) = (active.upstreams[upstream].key(), &ctx.client)
    {
        ctx.key = key.fingerprint(&located.facts(route, request, client), &Secret::shared()).ok();
    }
}

/// The answer that the configuration has for this route, if it does not go upstream.
fn answer_of(route: &Route, path: &str, query: Option<&[u8]>, ctx: &Context) -> Option<Reply> {
    match &route.action {
        Action::Proxy { .. } => None,
        Action::Respond { status, body, content_type } => {
            Some(Reply::plain(*status, content_type.clone(), Bytes::copy_from_slice(body.as_bytes())))
        }
        Action::Redirect { to, status } => {
            let mut location = to.apply(path, &ctx.captures).into_bytes();
            if let Some(query) = query {
                let separator = if location.contains(&b'?') { b'&' } else { b'?' };
                location.push(separator);
                location.extend_from_slice(query);
            }
            Some(match HeaderValue::from_bytes(&location) {
                Ok(location) => Reply::plain(*status, HeaderValue::from_static("text/plain"), Bytes::new())
                    .with("Location", location),
                Err(_) => bad_request("the query cannot be carried over"),
            })
        }
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn unreadable(error: Unsafe) -> Reply {
    bad_request(&format!("the path cannot be read safely: {error}"))
}

fn bad_request(detail: &str) -> Reply {
    Reply::problem(StatusCode::BAD_REQUEST, detail)
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
