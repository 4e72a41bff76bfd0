//! Every answer of the gateway's own, and which error becomes which status.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::{Error, ErrorSource, ErrorType};
use serde::Serialize;

use crate::limit::fields::retry_after;
use crate::metrics::UpstreamError;
use crate::upstream::{io_error, is_local};
use std::time::Duration;

/// RFC 9457.
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The problem type of a refused request (draft-ietf-httpapi-ratelimit-headers-10, section 6.1).
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// An answer of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(super) status: StatusCode,
    pub(super) fields: Vec<(&'static str, HeaderValue)>,
    pub(super) body: Body,
}

/// The body of a [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
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
    pub(crate) fn problem(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Body::Problem { detail: detail.into(), violated: Vec::new() },
        }
    }

    /// The answer when there is nobody to do the work, and cannot be before this time is over.
    pub(super) fn unavailable(detail: &str, wait: Duration) -> Self {
        Self::problem(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with("Retry-After", HeaderValue::from(retry_after(wait)))
    }

    /// The answer when something runs out in the gateway's own machine.
    pub(super) fn overloaded() -> Self {
        Self::unavailable("the gateway has too much to do", Duration::ZERO)
    }

    /// The answer to a request whose upstream did nothing until it was too late.
    pub(crate) fn late() -> Self {
        Self::problem(StatusCode::GATEWAY_TIMEOUT, UPSTREAM_TOO_SLOW)
    }

    /// The answer to a request that was refused by these limits.
    pub(super) fn refused(status: StatusCode, wait: Duration, violated: Vec<String>) -> Self {
        let seconds = retry_after(wait);
        let plural = if seconds == 1 { "" } else { "s" };
        // How long a request still runs nobody knows.
        let at_a_time = if wait.is_zero() { " at a time" } else { "" };
        let detail = format!("too many requests{at_a_time}: try again in {seconds} second{plural}");
        Self { status, fields: Vec::new(), body: Body::Problem { detail, violated } }
            .with("Retry-After", HeaderValue::from(seconds))
    }

    /// The answer to a browser that asks for permission.
    pub(super) fn permission() -> Self {
        Self { status: StatusCode::NO_CONTENT, fields: Vec::new(), body: Body::Permission }
    }

    /// An answer from the configuration.
    pub(super) fn plain(status: StatusCode, content_type: HeaderValue, text: Bytes) -> Self {
        Self { status, fields: Vec::new(), body: Body::Plain { content_type, text } }
    }

    /// The same answer with another header field.
    pub(super) fn with(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.fields.push((name, value));
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What is wrong, in words.
    pub(crate) fn detail(&self) -> &str {
        match &self.body {
            Body::Problem { detail, .. } => detail,
            Body::Permission | Body::Plain { .. } => "",
        }
    }

    /// Whether it is what the configuration says of a route, and no word of the gateway's own.
    pub(super) fn is_configured(&self) -> bool {
        matches!(self.body, Body::Plain { .. })
    }

    /// Whether it says what is wrong.
    pub(super) fn is_problem(&self) -> bool {
        matches!(self.body, Body::Problem { .. })
    }

    /// Whether limits have refused the request.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(&self.body, Body::Problem { violated, .. } if !violated.is_empty())
    }

    /// Whether it answers a browser that asks for permission.
    pub(super) fn is_permission(&self) -> bool {
        self.body == Body::Permission
    }

    /// The head, and the body that goes with it.
    pub(crate) fn build(
        &self,
        request_id: Option<&HeaderValue>,
    ) -> Result<(ResponseHeader, Bytes), Box<Error>> {
        let body = self.body(request_id);
        let mut head = ResponseHeader::build(self.status, Some(self.fields.len() + 8))?;
        for (name, value) in &self.fields {
            head.append_header(*name, value.clone())?;
        }
        if let Some((content_type, body)) = &body {
            head.insert_header(header::CONTENT_TYPE, content_type.clone())?;
            head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
        }
        Ok((head, body.map(|(_, body)| body).unwrap_or_default()))
    }

    /// The whole answer as HTTP/1.1, for a connection that closes after it.
    pub(crate) fn to_http1(
        &self,
        fields: &[(&'static str, HeaderValue)],
        request_id: &HeaderValue,
    ) -> Vec<u8> {
        let reason = self.status.canonical_reason().unwrap_or("Unknown");
        let mut text = format!("HTTP/1.1 {} {reason}\r\n", self.status.as_str()).into_bytes();
        let mut field = |name: &str, value: &[u8]| {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value);
            text.extend_from_slice(b"\r\n");
        };
        for (name, value) in self.fields.iter().chain(fields) {
            field(name, value.as_bytes());
        }
        field("Connection", b"close");
        let body = self.body(Some(request_id));
        if let Some((content_type, body)) = &body {
            field("Content-Type", content_type.as_bytes());
            field("Content-Length", body.len().to_string().as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&body.map(|(_, body)| body).unwrap_or_default());
        text
    }

    /// The body with its type; `None` where the status allows none.
    fn body(&self, request_id: Option<&HeaderValue>) -> Option<(HeaderValue, Bytes)> {
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
                // Text and numbers always have a form in JSON.
                let text = serde_json::to_vec(&problem).unwrap_or_default();
                Some((PROBLEM_JSON, Bytes::from(text)))
            }
        }
    }
}

/// What is answered when proxying fails; `None` when the client is gone.
pub(super) fn for_error(error: &Error, request_body_done: bool) -> Option<Reply> {
    let io = io_kind(error);
    let (status, detail) = match (error.esource(), error.etype()) {
        (_, ErrorType::HTTPStatus(code)) => {
            (StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "the request failed")
        }
        (ErrorSource::Upstream, _) => match upstream_error(error) {
            UpstreamError::Local => {
                return Some(Reply::overloaded());
            }
            UpstreamError::ConnectTimeout => {
                (StatusCode::GATEWAY_TIMEOUT, "the upstream took no connection in time")
            }
            UpstreamError::ResponseTimeout | UpstreamError::ReadTimeout | UpstreamError::Timeout => {
                (StatusCode::GATEWAY_TIMEOUT, UPSTREAM_TOO_SLOW)
            }
            UpstreamError::Tls => {
                (StatusCode::BAD_GATEWAY, "no secure connection to the upstream could be made")
            }
            UpstreamError::Connect => (StatusCode::BAD_GATEWAY, "the upstream takes no connections"),
            UpstreamError::Closed => {
                (StatusCode::BAD_GATEWAY, "the upstream closed the connection before it had answered")
            }
            UpstreamError::BadResponse | UpstreamError::NoServer | UpstreamError::Full => {
                (StatusCode::BAD_GATEWAY, "the upstream sent no valid HTTP response")
            }
        },
        // The connection's deadline: whoever had to send something is late.
        (ErrorSource::Downstream, _) if io == Some(io::ErrorKind::TimedOut) && request_body_done => {
            (StatusCode::GATEWAY_TIMEOUT, UPSTREAM_TOO_SLOW)
        }
        (ErrorSource::Downstream, ErrorType::ReadTimedout) => (StatusCode::REQUEST_TIMEOUT, BODY_TOO_SLOW),
        (ErrorSource::Downstream, _) if io == Some(io::ErrorKind::TimedOut) => {
            (StatusCode::REQUEST_TIMEOUT, BODY_TOO_SLOW)
        }
        (ErrorSource::Downstream, _) if io == Some(io::ErrorKind::InvalidData) => {
            (StatusCode::BAD_REQUEST, "the body's chunked framing is malformed")
        }
        (
            ErrorSource::Downstream,
            ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error,
        ) => return None,
        (ErrorSource::Downstream, _) => (StatusCode::BAD_REQUEST, "the request is malformed"),
        (ErrorSource::Internal | ErrorSource::Unset, _) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the gateway failed on this request")
        }
    };
    Some(Reply::problem(status, detail))
}

const UPSTREAM_TOO_SLOW: &str = "the upstream did not answer in time";
const BODY_TOO_SLOW: &str = "the request body did not arrive in time";

/// Whether the connection's deadline ended the exchange while the upstream was to answer.
pub(super) fn is_upstream_late(error: &Error, request_body_done: bool) -> bool {
    *error.esource() == ErrorSource::Downstream
        && io_kind(error) == Some(io::ErrorKind::TimedOut)
        && request_body_done
}

/// The kind of an upstream's failure.
pub(super) fn upstream_error(error: &Error) -> UpstreamError {
    if is_local(error) {
        return UpstreamError::Local;
    }
    match error.etype() {
        // The system gave up: the upstream took nothing of the request, or is not there any more.
        ErrorType::ReadError | ErrorType::WriteError if io_kind(error) == Some(io::ErrorKind::TimedOut) => {
            UpstreamError::ResponseTimeout
        }
        ErrorType::ConnectTimedout => UpstreamError::ConnectTimeout,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamError::ResponseTimeout,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError => UpstreamError::Connect,
        ErrorType::TLSHandshakeFailure | ErrorType::TLSHandshakeTimedout | ErrorType::InvalidCert => {
            UpstreamError::Tls
        }
        ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed | ErrorType::H2Error => {
            UpstreamError::Closed
        }
        // The system had another reason not to connect.
        ErrorType::InternalError if io_error(error).is_some() => UpstreamError::Connect,
        _ => UpstreamError::BadResponse,
    }
}

/// The kind of the I/O error at the root of a failure.
fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    io_error(error).map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::OrErr as _;

    fn json(reply: &Reply) -> serde_json::Value {
        let id = HeaderValue::from_static("id-1");
        serde_json::from_slice(&reply.build(Some(&id)).unwrap().1).unwrap()
    }

    fn status_of(error: &Error, request_body_done: bool) -> Option<u16> {
        for_error(error, request_body_done).map(|reply| reply.status.as_u16())
    }

    fn failed_read(kind: io::ErrorKind) -> Box<Error> {
        let failed: Result<(), io::Error> = Err(kind.into());
        failed.or_err(ErrorType::ReadError, "x").unwrap_err().into_down()
    }

    #[test]
    fn a_refusal_says_when_to_come_back_and_which_limits_refused() {
        let reply =
            Reply::refused(StatusCode::TOO_MANY_REQUESTS, Duration::from_millis(1100), vec!["a".to_owned()]);
        let (head, _) = reply.build(None).unwrap();
        assert_eq!(head.headers[header::RETRY_AFTER], "2");
        assert_eq!(head.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            json(&reply),
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
        let (head, body) = reply.build(None).unwrap();
        assert!(body.is_empty());
        assert!(!head.headers.contains_key(header::CONTENT_LENGTH));
        let text = reply.to_http1(&[], &HeaderValue::from_static("i"));
        assert_eq!(text, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn failures_of_the_upstream() {
        for (kind, status) in [
            (ErrorType::ConnectRefused, 502),
            (ErrorType::ConnectTimedout, 504),
            (ErrorType::ReadTimedout, 504),
            (ErrorType::ConnectionClosed, 502),
            (ErrorType::InvalidHTTPHeader, 502),
        ] {
            assert_eq!(status_of(&Error::new_up(kind), true), Some(status));
        }
    }

    #[test]
    fn what_runs_out_here_is_said_to_pass() {
        let exhausted: Result<(), io::Error> = Err(io::Error::from_raw_os_error(24));
        let failed = exhausted.or_err(ErrorType::SocketError, "no socket").unwrap_err();
        let error = Error::because(ErrorType::InternalError, "Fail to connect", failed).into_up();
        assert_eq!(upstream_error(&error), UpstreamError::Local);
        let (head, _) = for_error(&error, true).unwrap().build(None).unwrap();
        assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(head.headers[header::RETRY_AFTER], "1");
    }

    #[test]
    fn failures_of_the_client() {
        assert_eq!(status_of(&Error::new_down(ErrorType::InvalidHTTPHeader), true), Some(400));
        assert_eq!(status_of(&Error::new_down(ErrorType::ConnectionClosed), true), None);
        assert_eq!(status_of(&failed_read(io::ErrorKind::ConnectionReset), false), None);
        assert_eq!(status_of(&failed_read(io::ErrorKind::InvalidData), false), Some(400));
    }

    #[test]
    fn a_deadline_is_missed_by_whoever_had_to_send() {
        let late = failed_read(io::ErrorKind::TimedOut);
        assert_eq!(status_of(&late, true), Some(504));
        assert_eq!(status_of(&late, false), Some(408));
        assert!(is_upstream_late(&late, true));
        assert!(!is_upstream_late(&late, false));
    }

    #[test]
    fn an_internal_failure_shows_nothing_of_its_cause() {
        let reply = for_error(&Error::explain(ErrorType::InternalError, "at 10.0.0.1"), true).unwrap();
        assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!json(&reply).to_string().contains("10.0.0.1"));
    }
}
