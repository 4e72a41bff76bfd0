//! Every answer of the gateway's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::limit::fields::retry_after;

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

/// RFC 9457, section 3.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(rename = "violated-policies", skip_serializing_if = "<[_]>::is_empty")]
    violated: &'a [String],
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
            .with("Retry-After", HeaderValue::from(retry_after(wait)))
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
            .with("Retry-After", HeaderValue::from(seconds))
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
                let problem = Problem {
                    r#type: if violated.is_empty() { "about:blank" } else { QUOTA_EXCEEDED },
                    title: self.status.canonical_reason().unwrap_or("Unknown"),
                    status: self.status.as_u16(),
                    detail,
                    request_id: request_id.and_then(|id| id.to_str().ok()),
                    violated,
                };
                let mut text = Vec::with_capacity(USUAL_LENGTH);
                // Text and numbers always have a form in JSON, and a `Vec` takes everything.
                let _ = serde_json::to_writer(&mut text, &problem);
                Some((PROBLEM_JSON, Bytes::from(text)))
            }
        }
    }
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
    fn a_status_without_a_body_gets_none() {
        let reply = Reply::plain(StatusCode::NO_CONTENT, HeaderValue::from_static("text/plain"), "x".into());
        assert_eq!(reply.body(None), None);
    }
}
