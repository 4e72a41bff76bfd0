//! The step before all others: a client that came in the clear is sent to HTTPS, where the configuration says so.
//!
//! No route and no limit is asked about such a request: the answer costs no more than a refusal does.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::locate::Target;
use super::{Engine, Facts, Reply};
use crate::config::HttpsRedirect;
use crate::route::Match;
use crate::route::pattern::{PathPattern, Segment};

/// By which a proxy says how the request came to it.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Where certificate authorities look for a proof that a host is its owner's (RFC 8555, section 8.3), segment by segment.
const ACME: [&str; 2] = [".well-known", "acme-challenge"];

impl Engine {
    /// Lets a request on that came by HTTPS, or that need not.
    ///
    /// # Errors
    /// The redirect to HTTPS, or the answer to a request that cannot be read or names no host.
    pub fn encrypted(&self, facts: &Facts<'_>) -> Result<(), Reply> {
        let Some(HttpsRedirect { status, port }) = self.config.server.https_redirect else { return Ok(()) };
        // `OPTIONS *` asks about the server, and has no URL.
        if Self::came_by_https(facts.tls, facts.headers) || !facts.target.starts_with(b"/") {
            return Ok(());
        }
        let target = Target::read(facts)?;
        if self.is_challenge(&target, facts)? {
            return Ok(());
        }
        if target.host.is_empty() {
            return Err(Reply::bad_request("a request without Host cannot be sent to HTTPS"));
        }
        let mut location = format!("https://{}", target.host).into_bytes();
        if let Some(port) = port {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        location.extend_from_slice(facts.target);
        let Ok(location) = HeaderValue::from_bytes(&location) else {
            return Err(Reply::bad_request("the query cannot be carried over"));
        };
        let text = HeaderValue::from_static("text/plain");
        Err(Reply::plain(status, text, Bytes::new()).with("Location", location))
    }

    /// Whether a client has come by HTTPS: its connection is encrypted, or a trusted proxy says so in these fields, which the door has stripped.
    pub fn came_by_https(tls: bool, headers: &HeaderMap) -> bool {
        tls || is_https_to_proxies(headers)
    }

    /// Whether a certificate authority asks, and a route names the place where it does.
    fn is_challenge(&self, target: &Target<'_>, facts: &Facts<'_>) -> Result<bool, Reply> {
        let mut segments = target.path.split('/').skip(1);
        if !ACME.iter().all(|part| segments.next() == Some(part)) {
            return Ok(false);
        }
        let names_it = |path: &PathPattern| {
            let mut segments = path.segments.iter();
            ACME.iter().all(|part| matches!(segments.next(), Some(Segment::Literal(text)) if text == part))
        };
        Ok(match self.find(target, facts.headers, facts.method)? {
            Match::Found { route, .. } => names_it(&self.route(route.index()).path),
            _ => false,
        })
    }
}

/// Whether a trusted proxy says that the request came by HTTPS, and none says otherwise. What others say is gone by now.
fn is_https_to_proxies(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(X_FORWARDED_PROTO).into_iter();
    let mut schemes = fields.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).peekable();
    schemes.peek().is_some() && schemes.all(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https"))
}
