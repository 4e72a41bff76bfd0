//! Which error of Pingora's becomes which answer, and which kind of failure of an upstream.

use std::io;

use http::StatusCode;
use pingora::{Error, ErrorSource, ErrorType};

use crate::engine::{Reply, UpstreamError};
use crate::upstream::{io_error, is_local};

/// What is answered when proxying fails; `None` when the client is gone.
pub(super) fn reply(error: &Error, request_body_done: bool) -> Option<Reply> {
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
                return Some(Reply::late());
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
            return Some(Reply::late());
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
        (ErrorSource::Internal | ErrorSource::Unset, _) => return Some(Reply::internal()),
    };
    Some(Reply::problem(status, detail))
}

const BODY_TOO_SLOW: &str = "the request body did not arrive in time";

/// Whether the connection's deadline ended the exchange while the upstream was to answer.
pub(super) fn is_upstream_late(error: &Error, request_body_done: bool) -> bool {
    *error.esource() == ErrorSource::Downstream
        && io_kind(error) == Some(io::ErrorKind::TimedOut)
        && request_body_done
}

/// What an upstream did not do before the connection's deadline. The error itself is of the client's connection, which says nothing of the
/// upstream.
pub(super) fn what_was_late(kind: UpstreamError) -> &'static str {
    match kind {
        UpstreamError::Timeout => "the exchange was not over within the `timeout` of its route",
        UpstreamError::ReadTimeout => "it sent nothing for `read_timeout` in the middle of its answer",
        _ => "it sent no response head within `response_timeout`",
    }
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
    use http::HeaderValue;
    use pingora::OrErr as _;

    use super::*;

    fn status_of(error: &Error, request_body_done: bool) -> Option<u16> {
        reply(error, request_body_done).map(|reply| reply.status().as_u16())
    }

    fn failed_read(kind: io::ErrorKind) -> Box<Error> {
        let failed: Result<(), io::Error> = Err(kind.into());
        failed.or_err(ErrorType::ReadError, "x").unwrap_err().into_down()
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
        let answer = reply(&error, true).unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.fields(), [("Retry-After", HeaderValue::from_static("1"))]);
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
        let answer = reply(&Error::explain(ErrorType::InternalError, "at 10.0.0.1"), true).unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let (_, body) = answer.body(None).unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("10.0.0.1"));
    }
}
