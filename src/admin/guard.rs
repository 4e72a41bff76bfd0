//! Who may use the side port from a browser: its own pages, and nobody else's.
//!
//! A page from elsewhere runs in the browser of somebody who can reach the side port. It may send requests here, and it may
//! even make the browser take the side port for its own server, by a name that it lets point here (DNS rebinding). So a
//! browser that says where a request comes from is believed, and a browser must call the side port by a name that no
//! stranger can own. Whatever is not a browser may call it anything: a stranger's page cannot make a browser look like that.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::failure::Failure;
use crate::gateway::Gateway;
use crate::route::host_of;
use crate::route::pattern::HostPattern;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// What a browser sends and no page can keep it from sending, one at least.
const TELLTALES: [HeaderName; 4] = [header::ACCEPT_LANGUAGE, header::ORIGIN, header::REFERER, SEC_FETCH_SITE];

/// What a page of ours may do: load what is here, and nothing from elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What every answer says to browsers. An answer that has a policy of its own keeps it.
const FOR_BROWSERS: [(HeaderName, HeaderValue); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Answers requests that a page from elsewhere may have sent, and says to browsers what they may do with the answers.
pub(super) async fn guard(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let active = gateway.active();
    let hosts = active.config().admin.as_ref().map_or(&[][..], |admin| &admin.hosts);
    let mut response = match admit(request.method(), request.uri(), request.headers(), hosts) {
        Ok(()) => next.run(request).await,
        Err(why) => Failure::new(StatusCode::FORBIDDEN, why).into_response(),
    };
    for (name, value) in FOR_BROWSERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// Checks that no page from elsewhere can have sent a request.
///
/// # Errors
/// Says what speaks for it that one has.
fn admit(method: &Method, uri: &Uri, fields: &HeaderMap, hosts: &[HostPattern]) -> Result<(), &'static str> {
    const ELSEWHERE: &str = "a page from elsewhere cannot use the side port";
    let text = |name: &HeaderName| fields.get(name).map(HeaderValue::as_bytes);
    let is = |name: &HeaderName, value: &str| text(name) == Some(value.as_bytes());
    let authority = match uri.authority() {
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => text(&header::HOST),
    };
    // Somebody who follows a link comes to see it; the page with the link does not.
    let follows_link =
        method == Method::GET && is(&SEC_FETCH_MODE, "navigate") && is(&SEC_FETCH_DEST, "document");
    let from_here = |site: &[u8]| site == b"same-origin" || site == b"none";
    if text(&SEC_FETCH_SITE).is_some_and(|site| !from_here(site)) && !follows_link {
        return Err(ELSEWHERE);
    }
    if let Some(origin) = text(&header::ORIGIN) {
        let of_origin = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        if of_origin.is_none() || of_origin != authority {
            return Err(ELSEWHERE);
        }
    }
    if TELLTALES.iter().all(|name| !fields.contains_key(name)) {
        return Ok(());
    }
    let authority = authority.and_then(|authority| std::str::from_utf8(authority).ok());
    match authority.and_then(host_of) {
        Some(host) if is_ours(&host, hosts) => Ok(()),
        _ => Err("a browser may not call the side port by this name, since a stranger might own it: \
                  use its IP address, or add the name to `hosts` in [admin]"),
    }
}

/// Whether no stranger can own the name: addresses, names that are known on the machine or in its network alone, and
/// those that the configuration says.
fn is_ours(host: &str, hosts: &[HostPattern]) -> bool {
    let address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
    let below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|name| name.ends_with('.'));
    address
        || !host.contains('.')
        || below("localhost")
        || hosts.iter().any(|pattern| match pattern {
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(suffix) => below(suffix),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: &Method, fields: &[(&'static str, &'static str)]) -> bool {
        let fields: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let hosts = ["gateway.example.com".parse().unwrap(), "*.example.org".parse().unwrap()];
        admit(method, &Uri::from_static("/stats"), &fields, &hosts).is_ok()
    }

    #[test]
    fn whatever_is_no_browser_may_call_it_anything() {
        assert!(verdict(&Method::GET, &[]));
        assert!(verdict(
            &Method::GET,
            &[("host", "gateway.prod.example.net:8001"), ("user-agent", "Prometheus")]
        ));
        assert!(verdict(&Method::POST, &[("host", "10.0.0.7:8001"), ("authorization", "Bearer x")]));
    }

    #[test]
    fn a_browser_must_call_it_by_a_name_that_no_stranger_can_own() {
        let asks_by = |host| verdict(&Method::GET, &[("host", host), ("accept-language", "en")]);
        for host in [
            "127.0.0.1:8001",
            "[::1]:8001",
            "192.0.2.7",
            "localhost:8001",
            "gw.localhost",
            "gateway:8001",
            "Gateway.Example.com:8001",
            "a.example.org",
        ] {
            assert!(asks_by(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.gateway.example.com",
            "example.org",
            "aexample.org",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "user@127.0.0.1",
            "notlocalhost.example",
            "",
        ] {
            assert!(!asks_by(host), "{host}");
        }
        assert!(!verdict(&Method::GET, &[("accept-language", "en")]));
    }

    #[test]
    fn what_a_browser_says_of_where_a_request_comes_from_is_believed() {
        let from = |site| verdict(&Method::GET, &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert!(from("same-origin") && from("none"));
        assert!(!from("cross-site") && !from("same-site") && !from(""));
        let origin = |origin| verdict(&Method::POST, &[("host", "10.0.0.7:8001"), ("origin", origin)]);
        assert!(origin("http://10.0.0.7:8001") && origin("https://10.0.0.7:8001"));
        for other in
            ["null", "http://10.0.0.7", "http://10.0.0.7:80011", "http://evil.example", "10.0.0.7:8001", ""]
        {
            assert!(!origin(other), "{other}");
        }
    }

    #[test]
    fn a_link_from_elsewhere_may_be_followed() {
        let link = |method: &Method, dest| {
            let host = ("host", "localhost:8001");
            let from = [
                host,
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", dest),
            ];
            verdict(method, &from)
        };
        assert!(link(&Method::GET, "document"));
        assert!(!link(&Method::GET, "iframe"));
        assert!(!link(&Method::POST, "document"));
    }
}
