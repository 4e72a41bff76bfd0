//! What is changed in a request on its way upstream, and in a response on its way back.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};
use smallvec::SmallVec;

use super::own_fields::{OwnField, OwnFields};
use super::relay::Relay;
use super::request::Request;
use super::{compress, cors};
use crate::config::HeaderChanges;
use crate::gateway::Active;
use crate::limit::fields::Fields;
use crate::upstream_head::{self, Head, Known, TracePlace};

/// Fields that concern one connection alone, in a response (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 3] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
];

/// Fields that an upstream cannot have removed by naming them in `Connection`.
static STAYS: [HeaderName; 4] =
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
    let (arrived, connection) = (&*relay.request, &relay.request.connection);
    let known = Known {
        peer: connection.peer,
        peer_text: connection.peer_as_value(),
        tls: connection.tls,
        sender: &arrived.sender,
        takes_http2_trailers: from_client.version == Version::HTTP_2
            && from_client.headers.contains_key(header::TE),
        bodiless,
        request_id: arrived.id.clone(),
        trace: arrived.trace.as_ref().map(|trace| TracePlace {
            traceparent: trace.for_upstream(),
            is_continued: trace.is_continued(),
        }),
        consumer: arrived.consumer.as_deref(),
        told: arrived.told.as_ref(),
        server: relay.forwarding.attempt.as_ref().map(|attempt| &attempt.server.address),
        sticky: relay.upstream().config().sticky.as_ref(),
    };
    let target = relay.forwarding.plan.target.as_deref();
    upstream_head::prepare(request, known, target, relay.route(), &relay.active.engine)
}

/// The head that Pingora sends.
impl Head for RequestHeader {
    type Error = Box<Error>;

    fn method(&self) -> &Method {
        &self.method
    }

    fn version(&self) -> Version {
        self.version
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn set_target(&mut self, target: &[u8]) -> Result<()> {
        self.set_raw_path(target)
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) -> Result<()> {
        self.insert_header(name, value)
    }

    fn insert_spelt(&mut self, name: &'static str, value: HeaderValue) -> Result<()> {
        self.insert_header(name, value)
    }

    fn remove(&mut self, name: &HeaderName) {
        self.remove_header(name);
    }
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
    if let Some(cookie) = relay.sticky_cookie(&request.headers) {
        response.append_header(header::SET_COOKIE, cookie)?;
    }
    if !route.compression.is_empty() {
        relay.forwarding.encoder = compress::head(&route.compression, request, response)?;
    }
    if let Some(cors) = &route.cors {
        cors::disclose(cors, request.headers.get(header::ORIGIN), response)?;
    }
    set_own_fields(OwnFields::default(), response, relay.active, relay.request);
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

/// Gives a response its `own` fields, and those that every response carries, in place of those that it has of the same names.
pub(super) fn set_own_fields(
    mut own: OwnFields,
    response: &mut ResponseHeader,
    active: &Active,
    request: &Request,
) {
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
