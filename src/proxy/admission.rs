//! What becomes of a request before anything is sent upstream: who asks, which route, which limits.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora::http::RequestHeader;

use super::context::Context;
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::config::{Action, Route};
use crate::gateway::Gateway;
use crate::limit::key::Facts;
use crate::limit::{Decision, fields};
use crate::metrics::Running;
use crate::route::{Match, host_of, normalise};

/// Names a request in the logs of everybody who handles it.
pub(super) const X_REQUEST_ID: &str = "X-Request-Id";

/// A request id of a trusted proxy is kept if it is no longer than this.
const MAX_REQUEST_ID: usize = 128;

/// The target of a request, taken apart.
struct Target<'a> {
    /// The authority of a URL; `None` for a path.
    authority: Option<&'a str>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
}

/// Decides about a request. `Ok` means that it goes upstream.
///
/// # Errors
/// The answer that it gets instead.
pub(super) fn admit(
    gateway: &Gateway,
    request: &RequestHeader,
    now: Timestamp,
    ctx: &mut Context,
) -> Result<(), Reply> {
    identify(gateway, &request.headers, ctx);
    let target = parse_target(request.raw_path());
    let host = host(&target, &request.headers)?;
    let path = normalise(target.path)
        .map_err(|error| bad_request(&format!("the path cannot be read safely: {error}")))?;
    let (index, captures) = match gateway.routes.find(&host, &path, &request.method) {
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
    let route = &gateway.config.routes[index];
    ctx.route = Some(index);
    ctx.captures = captures;
    ctx.running = Some(Running::start(&gateway.metrics.route(Some(index)).in_flight));
    ctx.deadline = route.timeout.map(|timeout| ctx.started.after(timeout));
    limit(
        gateway,
        route,
        request,
        &Located { index, host: &host, path: &path, query: target.query },
        now,
        ctx,
    )?;
    if let Some(length) = content_length(&request.headers)
        && length > route.max_body_size
    {
        return Err(body_too_large(route));
    }
    let reply = answer_of(route, &path, target.query, ctx);
    if let Cow::Owned(path) = path {
        ctx.path = Some(path);
    }
    reply.map_or(Ok(()), Err)
}

/// The answer to a body that is larger than the route takes.
pub(super) fn body_too_large(route: &Route) -> Reply {
    let detail =
        format!("the request body is larger than the {} bytes that are taken here", route.max_body_size);
    Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Notes who asks, and names the request.
fn identify(gateway: &Gateway, headers: &HeaderMap, ctx: &mut Context) {
    let Some(connection) = &ctx.connection else { return };
    let peer = connection.peer.ip();
    ctx.peer_trusted = gateway.trusted_proxies.contains(peer);
    ctx.client = Some(gateway.trusted_proxies.client(peer, headers));
    let given = headers.get(X_REQUEST_ID).filter(|id| {
        ctx.peer_trusted
            && id.len() <= MAX_REQUEST_ID
            && !id.is_empty()
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    ctx.request_id = Some(given.cloned().unwrap_or_else(new_request_id));
}

/// A random request id.
pub(crate) fn new_request_id() -> HeaderValue {
    // Hexadecimal digits are always a valid value.
    HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>()))
        .unwrap_or_else(|_| HeaderValue::from_static("-"))
}

fn parse_target(target: &[u8]) -> Target<'_> {
    let (authority, rest) = match target {
        [b'/', ..] => (None, target),
        _ => split_url(target).unwrap_or((None, target)),
    };
    let (path, query) = match memchr::memchr(b'?', rest) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    Target { authority, path: if path.is_empty() { b"/" } else { path }, query }
}

/// The authority of a URL, and what follows it.
fn split_url(target: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let start = memchr::memmem::find(target, b"://")? + 3;
    let rest = &target[start..];
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some((Some(std::str::from_utf8(&rest[..end]).ok()?), &rest[end..]))
}

/// The host that is asked for, in lower case and without its port; empty if an HTTP/1.0 client names none.
fn host<'a>(target: &Target<'a>, headers: &'a HeaderMap) -> Result<Cow<'a, str>, Reply> {
    let field = match headers.get(header::HOST) {
        Some(value) => Some(value.to_str().map_err(|_| bad_request("the Host field is no host"))?),
        None => None,
    };
    if let (Some(authority), Some(field)) = (target.authority, field)
        && !authority.eq_ignore_ascii_case(field)
    {
        return Err(bad_request("the Host field and the request target name different hosts"));
    }
    match target.authority.or(field) {
        None | Some("") => Ok(Cow::Borrowed("")),
        Some(authority) => host_of(authority).ok_or_else(|| bad_request("the Host field is no host")),
    }
}

/// Where a request was found to go.
struct Located<'a> {
    index: usize,
    host: &'a str,
    path: &'a str,
    query: Option<&'a [u8]>,
}

/// Asks the limits of the route.
fn limit(
    gateway: &Gateway,
    route: &Route,
    request: &RequestHeader,
    located: &Located<'_>,
    now: Timestamp,
    ctx: &mut Context,
) -> Result<(), Reply> {
    let (Some(client), false) = (&ctx.client, route.limits.is_empty()) else { return Ok(()) };
    let facts = Facts {
        client,
        method: &request.method,
        host: located.host,
        path: located.path,
        query: located.query.and_then(|query| std::str::from_utf8(query).ok()),
        route: u32::try_from(located.index).unwrap_or(u32::MAX),
        headers: &request.headers,
    };
    let decision = gateway.limiter.decide(&route.limits, &facts, now, &mut ctx.reports);
    gateway.metrics.count_decisions(located.index, &ctx.reports);
    let rule = |limit: usize| gateway.limiter.limits()[limit].rule();
    match decision {
        Decision::Admitted => Ok(()),
        Decision::Refused { limit, wait } => {
            let violated = fields::violated(&gateway.limiter, &ctx.reports).map(str::to_owned).collect();
            Err(Reply::refused(rule(limit).status, wait, violated))
        }
        Decision::KeyMissing { limit } => {
            let key = &rule(limit).key;
            Err(bad_request(&format!("the request must carry {key}, by which its limit is kept")))
        }
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

fn bad_request(detail: &str) -> Reply {
    Reply::problem(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> (Option<String>, String, Option<String>) {
        let target = parse_target(target.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (target.authority.map(str::to_owned), text(target.path), target.query.map(text))
    }

    #[test]
    fn targets_are_paths_or_urls() {
        let parsed = |authority: Option<&str>, path: &str, query: Option<&str>| {
            (authority.map(str::to_owned), path.to_owned(), query.map(str::to_owned))
        };
        assert_eq!(parts("/a?b=c?d"), parsed(None, "/a", Some("b=c?d")));
        assert_eq!(parts("/a://b"), parsed(None, "/a://b", None));
        assert_eq!(parts("http://h:80/a?b"), parsed(Some("h:80"), "/a", Some("b")));
        assert_eq!(parts("http://h"), parsed(Some("h"), "/", None));
        assert_eq!(parts("http://h?b"), parsed(Some("h"), "/", Some("b")));
        assert_eq!(parts("*"), parsed(None, "*", None));
    }

    #[test]
    fn a_host_field_must_agree_with_the_target() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("A.example:80"));
        assert_eq!(host(&parse_target(b"/"), &headers).unwrap(), "a.example");
        assert_eq!(host(&parse_target(b"http://a.example:80/"), &headers).unwrap(), "a.example");
        assert!(host(&parse_target(b"http://b.example/"), &headers).is_err());
        assert_eq!(host(&parse_target(b"/"), &HeaderMap::new()).unwrap(), "");
    }
}
