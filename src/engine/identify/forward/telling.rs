//! What the service is told about a request.

use http::{HeaderName, HeaderValue, header};

use super::question::Telling;
use crate::config::ForwardAuth;
use crate::engine::{Facts, Located};

static X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The fields that tell of a request to a route.
pub(super) fn of<'a>(
    settings: &'a ForwardAuth,
    located: &'a Located<'_>,
    facts: &'a Facts<'_>,
) -> Telling<'a> {
    // The path in the form by which the route was found: what is served is what was asked about.
    let path = located.path().as_bytes();
    let target = match located.query() {
        Some(query) => [path, query].join(&b'?').into(),
        None => path.into(),
    };
    let mut telling = Telling::new();
    telling.push((&X_FORWARDED_METHOD, facts.method.as_str().as_bytes().into()));
    telling.push((&X_FORWARDED_PROTO, proto(facts).into()));
    if let Some(host) = facts.headers.get(header::HOST) {
        telling.push((&X_FORWARDED_HOST, host.as_bytes().into()));
    }
    telling.push((&X_FORWARDED_URI, target));
    telling.push((&X_FORWARDED_FOR, facts.client.to_string().into_bytes().into()));
    for name in &settings.request_headers {
        let mut values = facts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
        match (values.next(), values.next()) {
            (None, _) => {}
            (Some(only), None) => telling.push((name, only.into())),
            // There are several of `Cookie` alone, which are parts of one (RFC 9113, section 8.2.3).
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(values).collect();
                telling.push((name, all.join(&b"; "[..]).into()));
            }
        }
    }
    telling
}

/// The scheme by which the client has asked, as far as a trusted proxy or the connection tells. What another peer says has been taken away.
fn proto<'a>(facts: &Facts<'a>) -> &'a [u8] {
    let mut told = facts.headers.get_all(&X_FORWARDED_PROTO).iter();
    match (told.next(), told.next()) {
        (Some(told), None) if told == "https" || told == "http" => told.as_bytes(),
        _ if facts.tls => b"https",
        _ => b"http",
    }
}
