//! An answer in HTTP/1: its head as it is written, and how its body is delimited (RFC 9112, section 6).

use std::io::Write as _;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::engine::Reply;
use crate::proxy::own_fields::{OwnField, OwnFields};

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiting {
    /// This many bytes are still to be written.
    Length(u64),
    /// Each piece is a chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// How the body of an answer to this request is delimited.
pub(super) fn delimiting(request: &RequestHeader, answer: &ResponseHeader, own: &OwnFields) -> Delimiting {
    let bodiless = request.method == Method::HEAD
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless {
        return Delimiting::Length(0);
    }
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Delimiting::Close;
    }
    let length = own.get(OwnField::ContentLength).or_else(|| answer.headers.get(header::CONTENT_LENGTH));
    match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        Some(length) => Delimiting::Length(length),
        None if request.version == Version::HTTP_11 => Delimiting::Chunked,
        // An HTTP/1.0 client knows no chunks.
        None => Delimiting::Close,
    }
}

/// Sets the fields of an answer that say how its body is delimited and whether the connection stays open.
pub(super) fn set_framing(
    request: &RequestHeader,
    answer: &mut ResponseHeader,
    delimiting: Delimiting,
    keep_alive: bool,
    own: &mut OwnFields,
) {
    let without_length = answer.status.is_informational() || answer.status == StatusCode::NO_CONTENT;
    if without_length {
        answer.remove_header(&header::CONTENT_LENGTH);
    }
    let chunked = answer.remove_header(&header::TRANSFER_ENCODING).is_some();
    let head_of_chunks = chunked && request.method == Method::HEAD && request.version == Version::HTTP_11;
    if !without_length && (delimiting == Delimiting::Chunked || head_of_chunks) {
        own.push(OwnField::TransferEncoding, HeaderValue::from_static("chunked"));
    }
    if !answer.status.is_informational() {
        // A sender of `Upgrade` names it in `Connection` (RFC 9110, section 7.8).
        let upgrade = answer.headers.contains_key(header::UPGRADE);
        let connection = match (keep_alive, upgrade) {
            (true, false) => "keep-alive",
            (true, true) => "keep-alive, upgrade",
            (false, false) => "close",
            (false, true) => "close, upgrade",
        };
        let connection = HeaderValue::from_static(connection);
        match answer.headers.contains_key(header::CONNECTION) {
            // A name and a value that are valid are always taken, but for the 32,768th field.
            true => drop(answer.insert_header(header::CONNECTION, connection)),
            false => own.push(OwnField::Connection, connection),
        }
    }
}

/// Writes the head of an answer.
pub(super) fn write_head(answer: &ResponseHeader, own: &OwnFields, out: &mut BytesMut) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(answer.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(answer.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    answer.header_to_h1_wire(out);
    for (field, value) in own.iter() {
        write_field(field.title(), value.as_bytes(), out);
    }
    out.extend_from_slice(b"\r\n");
}

fn write_field(name: &str, value: &[u8], out: &mut BytesMut) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A whole reply, for a connection that closes after it. Every answer gets the fields of `everywhere`.
pub(in crate::server) fn closing(
    reply: &Reply,
    own: &OwnFields,
    everywhere: &[(HeaderName, HeaderValue)],
    request_id: &HeaderValue,
) -> BytesMut {
    let status = reply.status();
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let mut text = BytesMut::from(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in reply.fields() {
        write_field(name, value.as_bytes(), &mut text);
    }
    for (field, value) in own.iter() {
        write_field(field.title(), value.as_bytes(), &mut text);
    }
    let is_taken = |name: &HeaderName| {
        *name == header::CONTENT_TYPE
            || own.iter().any(|(field, _)| field.title().eq_ignore_ascii_case(name.as_str()))
            || reply.fields().iter().any(|(field, _)| field.eq_ignore_ascii_case(name.as_str()))
    };
    for (name, value) in everywhere.iter().filter(|(name, _)| !is_taken(name)) {
        write_field(name.as_str(), value.as_bytes(), &mut text);
    }
    write_field("Connection", b"close", &mut text);
    let body = reply.body(Some(request_id));
    if let Some((content_type, body)) = &body {
        write_field("Content-Type", content_type.as_bytes(), &mut text);
        write_field("Content-Length", body.len().to_string().as_bytes(), &mut text);
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body.map(|(_, body)| body).unwrap_or_default());
    text
}

/// The line that begins a chunk of `length` bytes.
pub(super) fn chunk_head(length: usize) -> ([u8; 18], usize) {
    let mut line = [0; 18];
    let mut rest = &mut line[..];
    // 16 digits and the end of the line always fit.
    let _ = write!(rest, "{length:x}\r\n");
    let unused = rest.len();
    (line, line.len() - unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, version: Version) -> RequestHeader {
        let mut request = RequestHeader::build(method, b"/", None).unwrap();
        request.set_version(version);
        request
    }

    /// What is written of an answer with these fields, and how its body is delimited.
    fn written(
        request: &RequestHeader,
        status: u16,
        fields: &[(&'static str, &str)],
    ) -> (String, Delimiting) {
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            answer.append_header(*name, *value).unwrap();
        }
        let mut own = OwnFields::default();
        let delimiting = delimiting(request, &answer, &own);
        set_framing(request, &mut answer, delimiting, true, &mut own);
        let mut out = BytesMut::new();
        write_head(&answer, &own, &mut out);
        (String::from_utf8(out.to_vec()).unwrap().replace("\r\n", "|"), delimiting)
    }

    #[test]
    fn a_body_is_delimited_by_what_its_client_understands() {
        let (new, old) = (request("GET", Version::HTTP_11), request("GET", Version::HTTP_10));
        let head = request("HEAD", Version::HTTP_11);
        let (length, chunked) = (("Content-Length", "3"), ("Transfer-Encoding", "chunked"));
        let alive = "Connection: keep-alive|";
        for (request, status, fields, text, delimiting) in [
            (&new, 200, vec![length], "HTTP/1.1 200 OK|Content-Length: 3|", Delimiting::Length(3)),
            (&new, 200, vec![], "HTTP/1.1 200 OK|Transfer-Encoding: chunked|", Delimiting::Chunked),
            (&new, 200, vec![chunked], "HTTP/1.1 200 OK|Transfer-Encoding: chunked|", Delimiting::Chunked),
            (&old, 200, vec![chunked], "HTTP/1.1 200 OK|", Delimiting::Close),
            (&head, 200, vec![length], "HTTP/1.1 200 OK|Content-Length: 3|", Delimiting::Length(0)),
            (&head, 200, vec![chunked], "HTTP/1.1 200 OK|Transfer-Encoding: chunked|", Delimiting::Length(0)),
            (&new, 204, vec![length], "HTTP/1.1 204 No Content|", Delimiting::Length(0)),
            (&new, 204, vec![chunked], "HTTP/1.1 204 No Content|", Delimiting::Length(0)),
            (&new, 304, vec![length], "HTTP/1.1 304 Not Modified|Content-Length: 3|", Delimiting::Length(0)),
        ] {
            let (got, by) = written(request, status, &fields);
            assert_eq!((got, by), (format!("{text}{alive}|"), delimiting), "{status} {fields:?}");
        }
        let (required, _) = written(&new, 426, &[("Upgrade", "h2c"), ("Content-Length", "0")]);
        assert_eq!(
            required,
            "HTTP/1.1 426 Upgrade Required|Upgrade: h2c|Content-Length: 0|Connection: keep-alive, upgrade||"
        );
        let (interim, _) = written(&new, 103, &[("Link", "</a>")]);
        assert_eq!(interim, "HTTP/1.1 103 Early Hints|Link: </a>||");
    }

    #[test]
    fn a_reply_without_a_body_gets_none() {
        let text = HeaderValue::from_static("text/plain");
        let reply = Reply::plain(StatusCode::NO_CONTENT, text, "x".into());
        let written = closing(&reply, &OwnFields::default(), &[], &HeaderValue::from_static("i"));
        assert_eq!(&*written, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }

    #[test]
    fn a_chunk_begins_with_its_length() {
        for (length, line) in [(0, "0\r\n"), (26, "1a\r\n"), (usize::MAX, "ffffffffffffffff\r\n")] {
            let (bytes, used) = chunk_head(length);
            assert_eq!(&bytes[..used], line.as_bytes());
        }
    }
}
