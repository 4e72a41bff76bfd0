//! What is changed in a request on its way upstream, and in a response on its way back.

use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr as _, Result};
use smallvec::SmallVec;

use super::own_fields::{OwnField, OwnFields};
use super::relay::Relay;
use super::request::Request;
use super::request_id::X_REQUEST_ID;
use super::{compress, cors};
use crate::client::{ClientId, FORWARDED, X_FORWARDED_FOR};
use crate::config::HeaderChanges;
use crate::engine::Peer;
use crate::field_names::{alike, is_plain};
use crate::gateway::Active;
use crate::limit::fields::Fields;
use crate::trace::{TRACEPARENT, TRACESTATE};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that concern one connection alone, in a response (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 3] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
];

/// Fields that an upstream cannot have removed by naming them in `Connection`.
const STAYS: [HeaderName; 4] =
    [header::CONNECTION, header::UPGRADE, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// A length with more digits than this is none that a body has.
const MAX_LENGTH_DIGITS: usize = 18;

/// Makes the client's request, which may have no body, the one that the upstream receives. Hop-by-hop fields are gone by now.
pub(super) fn request(
    relay: &Relay<'_>,
    from_client: &RequestHeader,
    bodiless: bool,
    request: &mut RequestHeader,
) -> Result<()> {
    // The upstream gets the normalised path, rewritten as the route says, and the query as the client sent it.
    if let Some(target) = &relay.forwarding.plan.target {
        request.set_raw_path(target)?;
    }
    if bodiless {
        say_that_there_is_no_body(request)?;
    }
    set_te(from_client, request)?;
    set_forwarded(request, relay.request)?;
    request.insert_header(X_REQUEST_ID, relay.request.id.clone())?;
    if let Some(trace) = &relay.request.trace {
        request.insert_header(TRACEPARENT, trace.for_upstream())?;
        if !trace.is_continued() {
            request.remove_header(&TRACESTATE);
        }
    }
    if !request.headers.contains_key(header::HOST)
        && let Some(attempt) = &relay.forwarding.attempt
    {
        // Only HTTP/1.0 clients name no host; the upstream is asked in HTTP/1.1, which must.
        request.insert_header(header::HOST, attempt.server.address.host())?;
    }
    let route = relay.route();
    let underscores = relay.active.engine.config().server.underscores_in_headers;
    for name in &route.request_headers.remove {
        remove(name, underscores, request);
    }
    for (name, value) in &route.request_headers.set {
        remove(name, underscores, request);
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Says so where a body is to be expected (RFC 9110, section 8.6): servers of HTTP/1 answer 411 otherwise. A request over HTTP/2
/// without one has not to say it, for its head ends the stream.
fn say_that_there_is_no_body(request: &mut RequestHeader) -> Result<()> {
    let expected = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    let said = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING]
        .iter()
        .any(|name| request.headers.contains_key(name));
    match expected && !said && request.version != Version::HTTP_2 {
        true => request.insert_header(header::CONTENT_LENGTH, HeaderValue::from_static("0")),
        false => Ok(()),
    }
}

/// Takes a field away, and those that a server might take for it.
fn remove(name: &HeaderName, underscores: bool, request: &mut RequestHeader) {
    // Where neither this name nor another has characters that fold, there is one of it at most.
    if !underscores && is_plain(name) {
        request.remove_header(name);
        return;
    }
    for name in &alike(&request.headers, name) {
        request.remove_header(name);
    }
}

/// Trailers of the answer are asked for where they find their way to a client that takes them: over HTTP/2 all along.
/// gRPC cannot do without.
fn set_te(from_client: &RequestHeader, request: &mut RequestHeader) -> Result<()> {
    let http2 = from_client.version == Version::HTTP_2 && request.version == Version::HTTP_2;
    match from_client.headers.get(header::TE) {
        // HTTP/2 knows no other value.
        Some(_) if http2 => request.insert_header(header::TE, HeaderValue::from_static("trailers")),
        _ => Ok(()),
    }
}

/// Sets the X-Forwarded-* fields. Those of an untrusted peer have been removed before.
fn set_forwarded(request: &mut RequestHeader, arrived: &Request) -> Result<()> {
    let connection = &arrived.connection;
    let chain = match connection.peer {
        Peer { is_unknown: true, .. } => HeaderValue::from_static("unknown"),
        Peer { address, .. } => {
            let peer = ClientId::Address(address.ip().to_canonical());
            match chain_before(request, arrived.sender.shown(), &peer) {
                Some(chain) => {
                    HeaderValue::try_from(chain + connection.peer_as_value().to_str().unwrap_or_default())
                        .or_err(ErrorType::InvalidHTTPHeader, "the chain of proxies is no field value")?
                }
                None => connection.peer_as_value(),
            }
        }
    };
    request.remove_header(&FORWARDED);
    request.insert_header("X-Forwarded-For", chain)?;
    if !request.headers.contains_key(X_FORWARDED_PROTO) {
        let scheme = if connection.tls { "https" } else { "http" };
        request.insert_header("X-Forwarded-Proto", HeaderValue::from_static(scheme))?;
    }
    if !request.headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = request.headers.get(header::HOST).cloned()
    {
        request.insert_header("X-Forwarded-Host", host)?;
    }
    Ok(())
}

/// What a trusted peer says stood before it in the chain, with a separator behind it; `None` if nothing did.
fn chain_before(request: &RequestHeader, client: &ClientId, peer: &ClientId) -> Option<String> {
    let mut chain = String::new();
    for value in request.headers.get_all(X_FORWARDED_FOR) {
        chain.push_str(&String::from_utf8_lossy(value.as_bytes()));
        chain.push_str(", ");
    }
    // A peer that speaks the newer field alone names its client there.
    if chain.is_empty() && client != peer {
        chain = format!("{client}, ");
    }
    (!chain.is_empty()).then_some(chain)
}

/// Refuses a response that two parsers could read differently.
///
/// # Errors
/// When its length is given twice or is no number, its transfer coding is anything but `chunked`, or it switches to
/// another protocol unasked.
pub(super) fn check_response(response: &ResponseHeader, asked_to_upgrade: bool) -> Result<()> {
    let mut lengths = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let malformed = |length: &HeaderValue| {
        length.is_empty()
            || !length.as_bytes().iter().all(u8::is_ascii_digit)
            || length.len() > MAX_LENGTH_DIGITS
    };
    let mut codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    let ambiguous = lengths.next().is_some()
        || length.is_some_and(malformed)
        || codings.next().is_some()
        || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || (coding.is_some() && length.is_some())
        || (response.status == StatusCode::SWITCHING_PROTOCOLS && (coding.is_some() || length.is_some()))
        || (coding.is_some() && response.version == Version::HTTP_10);
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !asked_to_upgrade {
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "nobody asked to switch protocols");
        return Err(error.into_up());
    }
    if ambiguous {
        let error = Error::explain(ErrorType::InvalidHTTPHeader, "the length of the response is ambiguous");
        return Err(error.into_up());
    }
    Ok(())
}

/// Makes the upstream's response the one that the client receives.
pub(super) fn response(
    request: &RequestHeader,
    response: &mut ResponseHeader,
    relay: &mut Relay<'_>,
) -> Result<()> {
    remove_hop_by_hop(response);
    if request.version != Version::HTTP_2 || response.version != Version::HTTP_2 {
        // No trailers reach this client: see `set_te`.
        response.remove_header(&header::TRAILER);
    }
    let route = relay.route();
    if route.cors.is_some() {
        cors::silence(response);
    }
    change(&route.response_headers, response)?;
    if !route.compression.is_empty() {
        relay.forwarding.encoder = compress::head(&route.compression, request, response)?;
    }
    if let Some(cors) = &route.cors {
        cors::disclose(cors, request.headers.get(header::ORIGIN), response)?;
    }
    set_own_fields(response, relay.active, relay.request);
    Ok(())
}

/// Takes away the fields that concern the connection to the upstream, those among them that it names itself
/// (RFC 9110, section 7.6.1). What delimits the body stays, whatever the upstream says of it. `Upgrade` stays where it means
/// something to the client: the protocol that is spoken from here on, or the one that it would have to speak.
fn remove_hop_by_hop(response: &mut ResponseHeader) {
    let keeps_upgrade =
        matches!(response.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED);
    let named: SmallVec<[HeaderName; 2]> = response
        .headers
        .get_all(header::CONNECTION)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !STAYS.contains(name))
        .collect();
    let goes = |name: &&HeaderName| {
        HOP_BY_HOP.contains(*name) || named.contains(*name) || **name == header::UPGRADE && !keeps_upgrade
    };
    let gone: SmallVec<[HeaderName; 2]> = response.headers.keys().filter(goes).cloned().collect();
    for name in &gone {
        response.remove_header(name);
    }
}

/// Makes the changes to a response that a route asks for.
pub(super) fn change(changes: &HeaderChanges, response: &mut ResponseHeader) -> Result<()> {
    for name in &changes.remove {
        response.remove_header(name);
    }
    for (name, value) in &changes.set {
        response.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Gives a response the fields that every response carries, in place of those that it has of the same names.
pub(super) fn set_own_fields(response: &mut ResponseHeader, active: &Active, request: &Request) {
    let mut own = OwnFields::default();
    match &active.engine.config().server.server_header {
        Some(name) => own.push(OwnField::Server, name.clone()),
        None => drop(response.remove_header(&header::SERVER)),
    }
    own.push(OwnField::RequestId, request.id.clone());
    add_limit_fields(&mut own, Fields::of(active.engine.limiter(), request.reservation.reports()));
    own.replace_in(response);
    request.connection.set_own_fields(own);
}

fn add_limit_fields(own: &mut OwnFields, told: Fields) {
    if !told.policy.is_empty() {
        // The name of a limit has no character that a field value cannot have.
        for (field, text) in [(OwnField::RateLimitPolicy, told.policy), (OwnField::RateLimit, told.state)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                own.push(field, value);
            }
        }
    }
    if let Some(legacy) = told.legacy {
        own.push(OwnField::XRateLimitLimit, HeaderValue::from(legacy.limit));
        own.push(OwnField::XRateLimitRemaining, HeaderValue::from(legacy.remaining));
        own.push(OwnField::XRateLimitReset, HeaderValue::from(legacy.reset));
    }
}
