//! The head of a request as an upstream receives it: what the gateway changes in the head that a client sent.
//!
//! Two callers make such heads: `proxy`, which sends them, and `explain`, which shows them. Each has its own type of head, so the rule
//! works on whatever is a [`Head`]. Fields that concern one connection alone are gone before: the door and Pingora take them away.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use crate::address::Address;
use crate::client::{ClientId, FORWARDED, X_FORWARDED_FOR};
use crate::config::{Route, Way};
use crate::consumer::Consumer;
use crate::engine::{Engine, Peer, Sender, Told};
use crate::field_names::{alike, is_plain};
use crate::sticky::Sticky;
use crate::trace::{TRACEPARENT, TRACESTATE};

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The field that carries the name of a request.
pub const X_REQUEST_ID: &str = "X-Request-Id";

/// The longest name that is taken from a trusted proxy, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// A head that is made ready for an upstream. It has the version of HTTP in which the upstream is asked.
pub trait Head {
    /// Why a field or a target cannot be set.
    type Error;

    /// The method.
    fn method(&self) -> &Method;
    /// The version of HTTP.
    fn version(&self) -> Version;
    /// The header fields.
    fn headers(&self) -> &HeaderMap;
    /// Sets path and query.
    ///
    /// # Errors
    /// When they are no target.
    fn set_target(&mut self, target: &[u8]) -> Result<(), Self::Error>;
    /// Sets a field in place of those with its name.
    ///
    /// # Errors
    /// When it is no field.
    fn insert(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Self::Error>;
    /// Sets a field in place of those with its name, which is spelt like this in HTTP/1.
    ///
    /// # Errors
    /// When it is no field.
    fn insert_spelt(&mut self, name: &'static str, value: HeaderValue) -> Result<(), Self::Error>;
    /// Takes away all fields with this name.
    fn remove(&mut self, name: &HeaderName);
}

/// What the gateway knows of a request beside its head.
pub struct Known<'a> {
    /// Who is at the other end of the client's connection.
    pub peer: Peer,
    /// The address of the peer, without its port, as a field value.
    pub peer_text: HeaderValue,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
    /// The client that the request is attributed to.
    pub sender: &'a Sender,
    /// Whether the client has asked over HTTP/2, and takes trailers.
    pub takes_http2_trailers: bool,
    /// Whether the request has no body.
    pub bodiless: bool,
    /// Names the request in logs.
    pub request_id: HeaderValue,
    /// Its place in a trace, where requests are traced.
    pub trace: Option<TracePlace>,
    /// The consumer, if one has proved to be calling.
    pub consumer: Option<&'a Consumer>,
    /// What a service that was asked says of the caller.
    pub told: Option<&'a Told>,
    /// The server that is asked, where it is known.
    pub server: Option<&'a Address>,
    /// How the upstream keeps clients at their servers, if it does.
    pub sticky: Option<&'a Sticky>,
}

/// The place of a request in a trace, as the upstream is told it.
pub struct TracePlace {
    /// The value of `traceparent`.
    pub traceparent: HeaderValue,
    /// Whether the request has named the trace itself.
    pub is_continued: bool,
}

/// Makes the head of a client's request the one that the upstream receives. `target` is path and query, where they are not those that
/// the client sent.
///
/// # Errors
/// When a field or the target cannot be set.
pub fn prepare<H: Head>(
    head: &mut H,
    known: Known<'_>,
    target: Option<&[u8]>,
    route: &Route,
    engine: &Engine,
) -> Result<(), H::Error> {
    let underscores = engine.config().server.underscores_in_headers;
    // The upstream gets the normalised path, rewritten as the route says, and the query as the client sent it.
    if let Some(target) = target {
        head.set_target(target)?;
    }
    if known.bodiless {
        say_that_there_is_no_body(head)?;
    }
    // Trailers of the answer are asked for where they find their way to a client that takes them: over HTTP/2 all along. gRPC cannot
    // do without.
    if known.takes_http2_trailers && head.version() == Version::HTTP_2 {
        // HTTP/2 knows no other value.
        head.insert(header::TE, HeaderValue::from_static("trailers"))?;
    }
    set_forwarded(head, &known)?;
    head.insert_spelt(X_REQUEST_ID, known.request_id)?;
    if let Some(TracePlace { traceparent, is_continued }) = known.trace {
        head.insert(TRACEPARENT, traceparent)?;
        if !is_continued {
            head.remove(&TRACESTATE);
        }
    }
    if !head.headers().contains_key(header::HOST)
        && let Some(host) = known.server.and_then(|server| HeaderValue::try_from(server.host()).ok())
    {
        // Only HTTP/1.0 clients name no host; the upstream is asked in HTTP/1.1, which must.
        head.insert(header::HOST, host)?;
    }
    if let Some(cookies) = known.sticky.and_then(|sticky| sticky.without(head.headers())) {
        match cookies {
            Some(others) => head.insert(header::COOKIE, others)?,
            None => head.remove(&header::COOKIE),
        }
    }
    tell_who_is_asking(head, known.consumer, known.told, route, engine)?;
    for name in &route.request_headers.remove {
        remove(name, underscores, head);
    }
    for (name, value) in &route.request_headers.set {
        remove(name, underscores, head);
        head.insert(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Names the consumer to the upstream, and takes away the credentials that it has proved who it is with. What a client wrote in these fields
/// is gone by now.
fn tell_who_is_asking<H: Head>(
    head: &mut H,
    consumer: Option<&Consumer>,
    told: Option<&Told>,
    route: &Route,
    engine: &Engine,
) -> Result<(), H::Error> {
    let Some(auth) = &engine.config().auth else { return Ok(()) };
    if let Some(name) = &auth.api_key.header
        && !auth.api_key.keep
        && route.access.ways.contains(&Way::ApiKey)
    {
        remove(name, engine.config().server.underscores_in_headers, head);
    }
    if engine.takes_out_authorization(route, head.headers()) {
        remove(&header::AUTHORIZATION, engine.config().server.underscores_in_headers, head);
    }
    if let Some(name) = engine.token_field(route, head.headers()) {
        remove(name, engine.config().server.underscores_in_headers, head);
    }
    if let Some(forward) = &auth.forward
        && !forward.keep
        && route.access.ways.contains(&Way::Forward)
    {
        for name in &forward.request_headers {
            remove(name, engine.config().server.underscores_in_headers, head);
        }
    }
    for name in engine.certificate_fields() {
        head.remove(name);
    }
    for (name, value) in told.into_iter().flat_map(|told| told.iter()) {
        head.insert(name.clone(), value.clone())?;
    }
    let Some(consumer) = consumer else { return Ok(()) };
    head.insert(auth.consumer_header.clone(), consumer.field().clone())?;
    match consumer.plan().and_then(|plan| engine.plan_field(plan)) {
        Some(plan) => head.insert(auth.plan_header.clone(), plan.clone()),
        None => Ok(()),
    }
}

/// The name that a trusted proxy has given a request with these fields.
pub fn given_request_id(headers: &HeaderMap, peer_is_trusted: bool) -> Option<&HeaderValue> {
    if !peer_is_trusted {
        return None;
    }
    headers.get(X_REQUEST_ID).filter(|id| {
        id.len() <= MAX_REQUEST_ID && !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic)
    })
}

/// Says so where a body is to be expected (RFC 9110, section 8.6): servers of HTTP/1 answer 411 otherwise. A request over HTTP/2
/// without one has not to say it, for its head ends the stream.
fn say_that_there_is_no_body<H: Head>(head: &mut H) -> Result<(), H::Error> {
    let expected = matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
    let said = |name| head.headers().contains_key(name);
    match expected
        && head.version() != Version::HTTP_2
        && !said(header::CONTENT_LENGTH)
        && !said(header::TRANSFER_ENCODING)
    {
        true => head.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0")),
        false => Ok(()),
    }
}

/// Takes a field away, and those that a server might take for it.
fn remove<H: Head>(name: &HeaderName, underscores: bool, head: &mut H) {
    // Where neither this name nor another has characters that fold, there is one of it at most.
    if !underscores && is_plain(name) {
        head.remove(name);
        return;
    }
    for name in &alike(head.headers(), name) {
        head.remove(name);
    }
}

/// Sets the X-Forwarded-* fields. Those of an untrusted peer have been removed before, so nothing is looked for there.
fn set_forwarded<H: Head>(head: &mut H, known: &Known<'_>) -> Result<(), H::Error> {
    let believed = known.sender.peer_is_trusted();
    let chain = match known.peer {
        Peer { is_unknown: true, .. } => HeaderValue::from_static("unknown"),
        Peer { .. } if !believed => known.peer_text.clone(),
        Peer { address, .. } => {
            let peer = ClientId::Address(address.ip().to_canonical());
            match chain_before(head.headers(), known.sender.shown(), &peer) {
                Some(chain) => {
                    // It is made of field values, so it is one.
                    HeaderValue::try_from(chain + known.peer_text.to_str().unwrap_or_default())
                        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
                }
                None => known.peer_text.clone(),
            }
        }
    };
    let said = |head: &H, name| believed && head.headers().contains_key(name);
    if said(head, FORWARDED) {
        head.remove(&FORWARDED);
    }
    head.insert_spelt("X-Forwarded-For", chain)?;
    if !said(head, X_FORWARDED_PROTO) {
        let scheme = if known.tls { "https" } else { "http" };
        head.insert_spelt("X-Forwarded-Proto", HeaderValue::from_static(scheme))?;
    }
    if !said(head, X_FORWARDED_HOST)
        && let Some(host) = head.headers().get(header::HOST).cloned()
    {
        head.insert_spelt("X-Forwarded-Host", host)?;
    }
    Ok(())
}

/// What a trusted peer says stood before it in the chain, with a separator behind it; `None` if nothing did.
fn chain_before(headers: &HeaderMap, client: &ClientId, peer: &ClientId) -> Option<String> {
    let mut chain = String::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        chain.push_str(&String::from_utf8_lossy(value.as_bytes()));
        chain.push_str(", ");
    }
    // A peer that speaks the newer field alone names its client there.
    if chain.is_empty() && client != peer {
        chain = format!("{client}, ");
    }
    (!chain.is_empty()).then_some(chain)
}
