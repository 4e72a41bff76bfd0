//! Answers of the gateway's own to callers of gRPC, who look for a status of their own: in the fields of an answer that has no
//! message ("Trailers-Only"). Of a plain HTTP answer they make a status themselves, and cannot tell a limit from an outage.
//!
//! Logs and metrics keep the status that any other client would have got.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::own_fields::{OwnField, OwnFields};
use crate::engine::Reply;

const CONTENT_TYPE: &str = "application/grpc";
const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";

/// What a message may not have in it as it is, besides what is not ASCII.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// Status codes of gRPC, as far as the gateway has something to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// Whether somebody calls a method of gRPC, which takes HTTP/2.
pub(crate) fn is_call(request: &RequestHeader) -> bool {
    let content_type = request.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let rest = content_type
        .split_at_checked(CONTENT_TYPE.len())
        .filter(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()))
        .map(|(_, rest)| rest.trim_ascii_start());
    // `application/grpc-web` is something else.
    request.version == Version::HTTP_2
        && rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Gives a reply with this head and these fields of its own the form that a caller of gRPC understands. What the configuration says
/// itself stays.
pub(crate) fn answer(
    reply: &Reply,
    head: &mut ResponseHeader,
    own: &mut OwnFields,
    body: Bytes,
) -> Result<Bytes> {
    if !reply.is_problem() {
        return Ok(body);
    }
    let message = utf8_percent_encode(reply.detail(), ESCAPED).to_string();
    head.set_status(StatusCode::OK)?;
    own.remove(OwnField::ContentLength);
    own.remove(OwnField::ContentType);
    own.push(OwnField::ContentType, HeaderValue::from_static(CONTENT_TYPE));
    head.insert_header(GRPC_STATUS, HeaderValue::from(code(reply) as u16))?;
    head.insert_header(GRPC_MESSAGE, message)?;
    Ok(Bytes::new())
}

/// The code that says what the status of a reply says.
///
/// What gRPC would make of the status itself, where that is not wrong: a limit is not an outage, and whoever tries again at once
/// makes it worse.
fn code(reply: &Reply) -> Code {
    if reply.is_refusal() {
        return Code::ResourceExhausted;
    }
    match reply.status() {
        StatusCode::BAD_REQUEST | StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Code::Unimplemented,
        StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        | StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Code::Unavailable
        }
        _ => Code::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn is_call_with(version: Version, content_type: &str) -> bool {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        request.set_version(version);
        request.insert_header(header::CONTENT_TYPE, content_type).unwrap();
        is_call(&request)
    }

    #[test]
    fn a_call_is_known_by_its_type() {
        for yes in ["application/grpc", "Application/gRPC", "application/grpc+proto", "application/grpc;a=b"]
        {
            assert!(is_call_with(Version::HTTP_2, yes), "{yes}");
            assert!(!is_call_with(Version::HTTP_11, yes), "{yes}");
        }
        for no in ["", "application/grpc-web", "application/grpcx", "application/json", "application/gr"] {
            assert!(!is_call_with(Version::HTTP_2, no), "{no}");
        }
    }

    fn answered(reply: &Reply) -> (ResponseHeader, OwnFields, Bytes) {
        let mut own = OwnFields::default();
        let (mut head, body) = crate::proxy::reply::build(reply, None, None, &mut own).unwrap();
        let body = answer(reply, &mut head, &mut own, body).unwrap();
        (head, own, body)
    }

    #[test]
    fn every_status_has_a_code() {
        for (status, code) in [
            (400, "13"),
            (401, "16"),
            (403, "7"),
            (404, "12"),
            (405, "12"),
            (408, "4"),
            (413, "8"),
            (429, "8"),
            (431, "8"),
            (500, "13"),
            (502, "14"),
            (503, "14"),
            (504, "14"),
            (418, "2"),
        ] {
            let reply = Reply::problem(StatusCode::from_u16(status).unwrap(), "100 % of \u{e4}\n");
            let (head, own, body) = answered(&reply);
            assert_eq!(head.status, StatusCode::OK);
            assert_eq!(head.headers[GRPC_STATUS], code, "{status}");
            assert_eq!(head.headers[GRPC_MESSAGE], "100 %25 of %C3%A4%0A");
            assert_eq!(own.get(OwnField::ContentType).unwrap(), CONTENT_TYPE);
            assert!(body.is_empty() && own.get(OwnField::ContentLength).is_none());
            assert!(head.headers.get(header::CONTENT_LENGTH).is_none());
        }
    }

    #[test]
    fn a_limit_is_a_limit_whatever_its_status() {
        let reply =
            Reply::refused(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(3), vec!["a".to_owned()]);
        let (head, own, _) = answered(&reply);
        assert_eq!(head.headers[GRPC_STATUS], "8");
        assert_eq!(own.get(OwnField::RetryAfter).unwrap(), "3");
    }

    #[test]
    fn what_the_configuration_says_stays() {
        let reply = Reply::plain(StatusCode::NOT_FOUND, HeaderValue::from_static("text/plain"), "no".into());
        let (head, _, body) = answered(&reply);
        assert_eq!((head.status, &*body), (StatusCode::NOT_FOUND, &b"no"[..]));
    }
}
