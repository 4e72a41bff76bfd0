//! What the service is told about a request.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::proof::Unproven;
use crate::config::ForwardAuth;
use crate::engine::{Facts, Located};

const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The fields that tell of a request to a route.
///
/// # Errors
/// When the request has a target that no field can have.
pub(super) fn fields(
    settings: &ForwardAuth,
    located: &Located<'_>,
    facts: &Facts<'_>,
) -> Result<HeaderMap, Unproven> {
    let untold = |_| Unproven::Ambiguous("the target of the request cannot be told in a field");
    // The path in the form by which the route was found: what is served is what was asked about.
    let mut target = located.path().as_bytes().to_vec();
    if let Some(query) = located.query() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let mut fields = HeaderMap::new();
    fields.insert(X_FORWARDED_METHOD, HeaderValue::from_str(facts.method.as_str()).map_err(untold)?);
    fields.insert(X_FORWARDED_PROTO, proto(facts));
    if let Some(host) = facts.headers.get(header::HOST) {
        fields.insert(X_FORWARDED_HOST, host.clone());
    }
    fields.insert(X_FORWARDED_URI, HeaderValue::from_bytes(&target).map_err(untold)?);
    fields.insert(
        X_FORWARDED_FOR,
        HeaderValue::try_from(facts.client.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unknown")),
    );
    for name in &settings.request_headers {
        let values: Vec<_> = facts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        if !values.is_empty() {
            // There are several of `Cookie` alone, which are parts of one (RFC 9113, section 8.2.3).
            fields.insert(name, HeaderValue::from_bytes(&values.join(&b"; "[..])).map_err(untold)?);
        }
    }
    Ok(fields)
}

/// The scheme by which the client has asked, as far as a trusted proxy or the connection tells. What another peer says has been taken away.
fn proto(facts: &Facts<'_>) -> HeaderValue {
    let mut told = facts.headers.get_all(X_FORWARDED_PROTO).iter();
    let by_connection = if facts.tls { "https" } else { "http" };
    match (told.next(), told.next()) {
        (Some(told), None) if told == "https" || told == "http" => told.clone(),
        _ => HeaderValue::from_static(by_connection),
    }
}
