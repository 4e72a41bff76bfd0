//! Every answer of the gateway's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::error_page::{Filling, Page};
use crate::limit::fields::retry_after;

/// The field that says when to come back.
const RETRY_AFTER: &str = "Retry-After";

/// RFC 9457.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The body of a problem is seldom longer, in bytes.
const USUAL_LENGTH: usize = 384;

/// The problem type of a refused request (draft-ietf-httpapi-ratelimit-headers-10, section 6.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: StatusCode,
    fields: Vec<(&'static str, HeaderValue)>,
    body: Body,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// Says what is wrong.
    Problem { detail: String, violated: Vec<String> },
    /// Nothing: whether a browser has the permission that it asks for is in the fields.
    Permission,
    /// What the configuration says.
    Plain { content_type: HeaderValue, text: Bytes },
}

impl Reply {
    /// An answer that says what is wrong.
    pub fn problem(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Body::Problem { detail: detail.into(), violated: Vec::new() },
        }
    }

    /// The answer to a request that the gateway cannot take as it is.
    pub fn bad_request(detail: &str) -> Self {
        Self::problem(StatusCode::BAD_REQUEST, detail)
    }

    /// The answer when the gateway itself has failed.
    pub fn internal() -> Self {
        Self::problem(StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed on this request")
    }

    /// The answer when the work cannot be done before this time is over.
    pub fn unavailable(detail: &str, wait: Duration) -> Self {
        Self::problem(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with(RETRY_AFTER, HeaderValue::from(retry_after(wait)))
    }

    /// The answer when something runs out in the gateway's own machine.
    pub fn overloaded() -> Self {
        Self::unavailable("the gateway has too much to do", Duration::ZERO)
    }

    /// The answer to a request whose upstream did nothing until it was too late.
    pub fn late() -> Self {
        Self::problem(StatusCode::GATEWAY_TIMEOUT, "the upstream did not answer in time")
    }

    /// The answer to a request that was refused by these limits.
    pub fn refused(status: StatusCode, wait: Duration, violated: Vec<String>) -> Self {
        let seconds = retry_after(wait);
        let mut detail = String::with_capacity(64);
        detail.push_str("too many requests");
        if wait.is_zero() {
            // The limit counts running requests, and it is not known when one ends.
            detail.push_str(" at a time");
        }
        detail.push_str(": try again in ");
        detail.push_str(itoa::Buffer::new().format(seconds));
        detail.push_str(if seconds == 1 { " second" } else { " seconds" });
        Self { status, fields: Vec::new(), body: Body::Problem { detail, violated } }
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// The answer to a browser that asks for permission.
    pub fn permission() -> Self {
        Self { status: StatusCode::NO_CONTENT, fields: Vec::new(), body: Body::Permission }
    }

    /// An answer from the configuration.
    pub fn plain(status: StatusCode, content_type: HeaderValue, text: Bytes) -> Self {
        Self { status, fields: Vec::new(), body: Body::Plain { content_type, text } }
    }

    /// The same answer with another header field.
    pub fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, in words.
    pub fn detail(&self) -> &str {
        match &self.body {
            Body::Problem { detail, .. } => detail,
            Body::Permission | Body::Plain { .. } => "",
        }
    }

    /// What is wrong with the request, for its record. Which limits refused a request is in its record anyway.
    pub fn problem_for_the_record(&self) -> Option<&str> {
        match &self.body {
            Body::Problem { detail, violated } if violated.is_empty() => Some(detail),
            _ => None,
        }
    }

    /// Whether it is what the configuration says of a route, and no word of the gateway's own.
    pub fn is_configured(&self) -> bool {
        matches!(self.body, Body::Plain { .. })
    }

    /// Whether it says what is wrong.
    pub fn is_problem(&self) -> bool {
        matches!(self.body, Body::Problem { .. })
    }

    /// Whether limits have refused the request.
    pub fn is_refusal(&self) -> bool {
        matches!(&self.body, Body::Problem { violated, .. } if !violated.is_empty())
    }

    /// Whether it answers a browser that asks for permission.
    pub fn is_permission(&self) -> bool {
        self.body == Body::Permission
    }

    /// The header fields, without those that describe the body.
    pub fn fields(&self) -> &[(&'static str, HeaderValue)] {
        &self.fields
    }

    /// The body with its type; `None` where the status allows none.
    pub fn body(&self, request_id: Option<&HeaderValue>) -> Option<(HeaderValue, Bytes)> {
        if matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return None;
        }
        match &self.body {
            Body::Permission => None,
            Body::Plain { content_type, text } => Some((content_type.clone(), text.clone())),
            Body::Problem { detail, violated } => {
                Some((PROBLEM_JSON, problem(self.status, detail, request_id, violated)))
            }
        }
    }

    /// The body with its type if it says what is wrong, in the words of this page.
    pub fn body_of(&self, page: &Page, request_id: Option<&HeaderValue>) -> Option<(HeaderValue, Bytes)> {
        let Body::Problem { detail, violated } = &self.body else { return None };
        let retry_after = self.fields.iter().find(|(name, _)| *name == RETRY_AFTER).map(|(_, value)| value);
        let filling = Filling { status: self.status, detail, retry_after, request_id, limits: violated };
        Some((page.content_type().clone(), page.filled(&filling)))
    }
}

/// The body of a problem (RFC 9457, section 3).
fn problem(status: StatusCode, detail: &str, request_id: Option<&HeaderValue>, violated: &[String]) -> Bytes {
    let mut out = Vec::with_capacity(USUAL_LENGTH);
    let kind = if violated.is_empty() { "about:blank" } else { QUOTA_EXCEEDED };
    let title = status.canonical_reason().unwrap_or("Unknown");
    // Nothing has to be escaped in these.
    for piece in
        ["{\"type\":\"", kind, "\",\"title\":\"", title, "\",\"status\":", status.as_str(), ",\"detail\":"]
    {
        out.extend_from_slice(piece.as_bytes());
    }
    push_text(detail, &mut out);
    if let Some(id) = request_id.and_then(|id| id.to_str().ok()) {
        out.extend_from_slice(b",\"request_id\":");
        push_text(id, &mut out);
    }
    for (at, name) in violated.iter().enumerate() {
        out.extend_from_slice(if at == 0 { &b",\"violated-policies\":["[..] } else { b"," });
        push_text(name, &mut out);
    }
    out.extend_from_slice(if violated.is_empty() { &b"}"[..] } else { b"]}" });
    Bytes::from(out)
}

/// Adds a text, as JSON has it. Almost no text has a character that must be escaped, and serde_json takes much longer to find that out.
fn push_text(text: &str, out: &mut Vec<u8>) {
    let must_be_escaped = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    // Without an early end it is done many bytes at a time.
    if text.bytes().fold(false, |found, byte| found | must_be_escaped(byte)) {
        // A text always has a form in JSON, and a `Vec` takes everything.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_come_back_and_which_limits_refused() {
        let reply =
            Reply::refused(StatusCode::TOO_MANY_REQUESTS, Duration::from_millis(1100), vec!["a".to_owned()]);
        assert_eq!(reply.fields(), [("Retry-After", HeaderValue::from_static("2"))]);
        let (content_type, body) = reply.body(Some(&HeaderValue::from_static("id-1"))).unwrap();
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&body).unwrap(),
            serde_json::json!({
                "type": QUOTA_EXCEEDED,
                "title": "Too Many Requests",
                "status": 429,
                "detail": "too many requests: try again in 2 seconds",
                "request_id": "id-1",
                "violated-policies": ["a"],
            })
        );
    }

    #[test]
    fn any_text_has_a_form_in_json() {
        for text in ["", "plain", "\"quoted\"", "back\\slash", "line\n", "\0\u{1f}", "\u{7f}é€\u{2028}"] {
            let mut out = Vec::new();
            push_text(text, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn all_limits_that_refused_are_named() {
        let violated = vec!["a".to_owned(), "\"b\"".to_owned()];
        let reply = Reply::refused(StatusCode::TOO_MANY_REQUESTS, Duration::ZERO, violated);
        let (_, body) = reply.body(None).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["violated-policies"], serde_json::json!(["a", "\"b\""]));
        assert_eq!(body.get("request_id"), None);
        let (_, body) = Reply::bad_request("a \"b\"").body(None).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((body["detail"].as_str(), body.get("violated-policies")), (Some("a \"b\""), None));
    }

    #[test]
    fn a_status_without_a_body_gets_none() {
        let reply = Reply::plain(StatusCode::NO_CONTENT, HeaderValue::from_static("text/plain"), "x".into());
        assert_eq!(reply.body(None), None);
    }
}
