//! The head of an HTTP/1 request: finds its end, and refuses a head that two parsers could read differently.
//!
//! A head that is accepted here can be read in one way only: lines end in CRLF, no line is folded, the body has one length, and there is
//! one host (RFC 9112, sections 2.2, 3.2, 5.2 and 6.3).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, Version};
use pingora::http::RequestHeader;

use super::framing::Framing;

use crate::route::{encode, host_of, is_same_authority};

/// The most header fields in a request. Pingora's proxy takes no more either.
pub(super) const MAX_FIELDS: usize = 256;

/// A head that is passed on.
#[derive(Debug)]
pub(super) struct Head {
    /// How the body is delimited.
    pub(super) framing: Framing,
    /// The head as it is passed on: its target is a path, with characters encoded that no URL may have.
    pub(super) request: RequestHeader,
}

const MALFORMED: Refusal = Refusal::bad("the request head is malformed");

/// Why a head is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of the answer.
    pub(super) status: StatusCode,
    /// What is wrong, for the client.
    pub(super) detail: &'static str,
}

impl Refusal {
    pub(super) const fn bad(detail: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail }
    }

    /// The target is longer than the http crate holds, which is less than 64 KiB.
    pub(super) const TARGET_TOO_LONG: Self = Self {
        status: StatusCode::URI_TOO_LONG,
        detail: "the request target is longer than this server reads",
    };

    /// The head is larger than the gateway reads.
    pub(super) const TOO_LARGE: Self = Self {
        status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        detail: "the request head is larger than this server reads",
    };
}

/// The end of the head in `read`. The first `seen` bytes are known to have none, and are not searched again.
///
/// # Errors
/// When a line does not end in CRLF, also before the end of the head has come.
pub(super) fn find_end(read: &[u8], seen: usize) -> Result<Option<usize>, Refusal> {
    // The last line end may have been read in part only, and the head ends with two line ends in a row.
    for at in memchr::memchr_iter(b'\n', &read[seen..]).map(|at| at + seen) {
        if at == 0 || read[at - 1] != b'\r' {
            return Err(Refusal::bad("a line of the request head ends in a line feed alone"));
        }
        if at >= 3 && read[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// The head with its path and query percent-encoded, if they have anything that must be ([`encode`]). The host of a URL stays as
/// it is.
fn with_target_encoded(head: &[u8]) -> Option<BytesMut> {
    let line = &head[..memchr::memchr(b'\r', head)?];
    let (before, end) = (memchr::memchr(b' ', line)? + 1, memchr::memrchr(b' ', line)?);
    let target = line.get(before..end)?;
    let start = before
        + match target {
            [b'/', ..] => 0,
            _ => {
                let host = memchr::memmem::find(target, b"://")? + 3;
                host + target[host..].iter().position(|byte| matches!(byte, b'/' | b'?'))?
            }
        };
    match encode(&head[start..end]) {
        Cow::Borrowed(_) => None,
        Cow::Owned(encoded) => {
            let mut out = BytesMut::with_capacity(start + encoded.len() + head.len() - end);
            for piece in [&head[..start], &encoded, &head[end..]] {
                out.extend_from_slice(piece);
            }
            Some(out)
        }
    }
}

/// Reads a whole head.
///
/// # Errors
/// When it is malformed, ambiguous, or has too many fields.
pub(super) fn read(head: Bytes) -> Result<Head, Refusal> {
    if matches!(head.first(), Some(b'\r' | b'\n')) {
        // The connection has skipped empty lines before the head. The parser would skip them too, so offsets in the head would be wrong.
        return Err(Refusal::bad("the request head begins with an empty line"));
    }
    let head = with_target_encoded(&head).map_or(head, BytesMut::freeze);
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(&head, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) => return Err(MALFORMED),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
        Err(httparse::Error::Version) => return Err(Refusal::bad("the HTTP version is not 1.0 or 1.1")),
        Err(_) => return Err(MALFORMED),
    }
    if has_bare_carriage_return(&head) {
        return Err(Refusal::bad("a carriage return stands in the middle of a line"));
    }
    let method = parsed.method.unwrap_or_default();
    if method == "CONNECT" {
        return Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            detail: "this server opens no tunnels",
        });
    }
    let target = parsed.path.unwrap_or_default();
    let authority = check_target(method, target)?;
    let http11 = parsed.version == Some(1);
    let host = check_host(parsed.headers, http11)?;
    // A `Host` field that is added counts as well.
    if authority.is_some() && host.is_none() && parsed.headers.len() == MAX_FIELDS {
        return Err(Refusal::TOO_LARGE);
    }
    let framing = framing(parsed.headers, http11)?;
    let request = match authority {
        None => request_of(&head, &parsed)?,
        Some(authority) => parse_request(&origin_form(&head, method, target, authority, host)?.freeze())?,
    };
    Ok(Head { framing, request })
}

fn has_bare_carriage_return(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', head).any(|at| head.get(at + 1) != Some(&b'\n'))
}

/// The authority of a target that is a URL; `None` if it is a path.
fn check_target<'a>(method: &str, target: &'a str) -> Result<Option<&'a str>, Refusal> {
    if target.contains('#') {
        return Err(Refusal::bad("the request target has a fragment"));
    }
    match target.as_bytes() {
        [b'/', ..] => Ok(None),
        b"*" if method == "OPTIONS" => Ok(None),
        _ => match target.split_once("://") {
            Some((scheme, rest))
                if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
            {
                Ok(Some(&rest[..rest.find(['/', '?']).unwrap_or(rest.len())]))
            }
            _ => Err(Refusal::bad("the request target is neither a path nor a URL")),
        },
    }
}

/// Changes the head of a request for a URL to one for its path.
///
/// # Errors
/// When the URL and the `Host` field name different hosts, of which a server would have to ignore one (RFC 9112,
/// section 3.2.2).
fn origin_form(
    head: &[u8],
    method: &str,
    target: &str,
    authority: &str,
    host: Option<&[u8]>,
) -> Result<BytesMut, Refusal> {
    if host_of(authority).is_none() {
        return Err(Refusal::bad("the request target names no host"));
    }
    let default_port =
        if target.len() > 5 && target.as_bytes()[4].eq_ignore_ascii_case(&b's') { 443 } else { 80 };
    let is_same = |host: &[u8]| {
        std::str::from_utf8(host).is_ok_and(|host| is_same_authority(host, authority, default_port))
    };
    if host.is_some_and(|host| !is_same(host)) {
        return Err(Refusal::bad("the Host field and the request target name different hosts"));
    }
    let (before, target_end) = (method.len() + 1, method.len() + 1 + target.len());
    let path = &target[target.find("://").unwrap_or(0) + 3 + authority.len()..];
    let mut out = BytesMut::with_capacity(head.len() + 16);
    out.extend_from_slice(&head[..before]);
    if !path.starts_with('/') {
        out.extend_from_slice(b"/");
    }
    out.extend_from_slice(path.as_bytes());
    let rest = &head[target_end..];
    match (host, memchr::memchr(b'\n', rest)) {
        // An HTTP/1.0 client need not repeat the host.
        (None, Some(end_of_line)) => {
            let (line, fields) = rest.split_at(end_of_line + 1);
            for piece in [line, b"Host: ", authority.as_bytes(), b"\r\n", fields] {
                out.extend_from_slice(piece);
            }
        }
        _ => out.extend_from_slice(rest),
    }
    Ok(out)
}

fn values<'a>(fields: &'a [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

fn check_host<'a>(fields: &'a [httparse::Header<'_>], http11: bool) -> Result<Option<&'a [u8]>, Refusal> {
    let mut hosts = values(fields, "host");
    match hosts.next() {
        None if http11 => Err(Refusal::bad("the request has no Host field")),
        Some(_) if hosts.next().is_some() => Err(Refusal::bad("the request has more than one Host field")),
        None => Ok(None),
        // An empty field means that the client asks for no particular host.
        Some([]) => Ok(Some(b"")),
        Some(host) => match std::str::from_utf8(host).ok().and_then(host_of) {
            Some(_) => Ok(Some(host)),
            None => Err(Refusal::bad("the Host field is no host")),
        },
    }
}

/// How the body is delimited (RFC 9112, section 6.3). An ambiguous framing is refused.
fn framing(fields: &[httparse::Header<'_>], http11: bool) -> Result<Framing, Refusal> {
    let mut lengths = values(fields, "content-length");
    let mut codings = values(fields, "transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::length(0)),
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(Refusal::bad("the request has more than one Content-Length field"));
            }
            parse_length(length).map(Framing::length)
        }
        (None, Some(coding)) => {
            if !http11 {
                return Err(Refusal::bad("HTTP/1.0 knows no Transfer-Encoding"));
            }
            if codings.next().is_some() || !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::bad("the only Transfer-Encoding that this server takes is chunked"));
            }
            Ok(Framing::chunked())
        }
        (Some(_), Some(_)) => {
            Err(Refusal::bad("the request has both a Content-Length and a Transfer-Encoding field"))
        }
    }
}

pub(super) fn parse_length(text: &[u8]) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|digits| digits.parse().ok());
    length.ok_or(Refusal::bad("the Content-Length is no number that this server understands"))
}

/// Room for the fields that are added on the way to an upstream: with it, the copy that is sent there does not have to grow.
const ADDED_FIELDS: usize = 5;

/// Makes a request of its head, and shares the memory of the head.
///
/// # Errors
/// When the target cannot be passed on.
fn parse_request(head: &Bytes) -> Result<RequestHeader, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => request_of(head, &parsed),
        Ok(httparse::Status::Partial) | Err(_) => Err(MALFORMED),
    }
}

/// Makes a request of its head, which has been parsed, and shares the memory of the head.
///
/// # Errors
/// When the target cannot be passed on.
fn request_of(head: &Bytes, parsed: &httparse::Request<'_, '_>) -> Result<RequestHeader, Refusal> {
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(MALFORMED) };
    let mut request =
        RequestHeader::build(method, target.as_bytes(), Some(parsed.headers.len() + ADDED_FIELDS))
            // Its characters have been checked, so it can only be too long.
            .map_err(|_| Refusal::TARGET_TOO_LONG)?;
    request.set_version(if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 });
    for field in parsed.headers.iter() {
        let name = head.slice_ref(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value)).map_err(|_| MALFORMED)?;
        request.append_header(name, value).map_err(|_| MALFORMED)?;
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::text_of;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Result<Option<Head>, Refusal> {
        find_end(text, 0)?.map(|end| super::read(Bytes::copy_from_slice(&text[..end]))).transpose()
    }

    fn framing_of(text: &str) -> Framing {
        read(text.as_bytes()).unwrap().unwrap().framing
    }

    #[test]
    fn the_end_is_found_wherever_the_reads_are_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let end = text.len() - 4;
        for cut in 0..text.len() {
            let found = find_end(&text[..cut], 0).unwrap();
            assert_eq!(found, (cut >= end).then_some(end));
            assert_eq!(find_end(text, cut.min(end - 1)).unwrap(), Some(end), "after {cut} bytes seen");
        }
    }

    #[test]
    fn the_body_is_delimited_by_what_the_head_says() {
        assert_eq!(framing_of("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Framing::length(0));
        assert_eq!(
            framing_of("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n"),
            Framing::length(12)
        );
        assert_eq!(
            framing_of("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Framing::chunked()
        );
        assert_eq!(framing_of("GET http://a/ HTTP/1.0\r\n\r\n"), Framing::length(0));
        assert_eq!(framing_of("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), Framing::length(0));
    }

    fn origin_form_of(text: &str) -> Result<String, Refusal> {
        let head = text_of(&read(text.as_bytes())?.unwrap().request);
        Ok(String::from_utf8(head).unwrap())
    }

    #[test]
    fn a_url_becomes_its_path() {
        for (line, path) in [
            ("GET /a://b HTTP/1.1", "GET /a://b HTTP/1.1"),
            ("GET http://a/b?c HTTP/1.1", "GET /b?c HTTP/1.1"),
            ("GET HTTPS://A HTTP/1.1", "GET / HTTP/1.1"),
            ("GET http://a?b=://c HTTP/1.1", "GET /?b=://c HTTP/1.1"),
            ("GET http://a:80/b HTTP/1.1", "GET /b HTTP/1.1"),
            ("GET HTTPS://A:443/b HTTP/1.1", "GET /b HTTP/1.1"),
            ("GET http://a/<b>?\"c\" HTTP/1.1", "GET /%3Cb%3E?%22c%22 HTTP/1.1"),
            ("GET http://a?{b} HTTP/1.1", "GET /?%7Bb%7D HTTP/1.1"),
            ("GET /é?`|^\\ HTTP/1.1", "GET /%C3%A9?%60%7C%5E%5C HTTP/1.1"),
        ] {
            let rest = "\r\nX: 1\r\nHost: a\r\n\r\n";
            assert_eq!(origin_form_of(&format!("{line}{rest}")).unwrap(), format!("{path}{rest}"));
        }
        assert_eq!(
            origin_form_of("GET http://a:80/b HTTP/1.0\r\nX: 1\r\n\r\n").unwrap(),
            "GET /b HTTP/1.0\r\nHost: a:80\r\nX: 1\r\n\r\n"
        );
    }

    #[test]
    fn an_empty_line_is_no_part_of_a_head() {
        for text in ["\r\nGET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n", "\nGET / HTTP/1.0\r\n\r\n"]
        {
            assert!(super::read(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_url_that_names_another_host_or_none_is_refused() {
        for (target, host) in [
            ("http://a/", "b"),
            ("http://a/", ""),
            ("http://a:81/", "a"),
            ("http://a\\b/", "a"),
            ("http://\"a\"/", "a"),
            ("http://é/", "a"),
            ("https://a:80/", "a"),
            ("http://u@a/", "a"),
            ("http:///", ""),
            ("ftp://a/", "a"),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert!(origin_form_of(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let host = "GET / HTTP/1.1\r\nHost: a\r\n";
        for text in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\"\t\" HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\" \" HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\"\0 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\"\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_owned(),
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            "GET /\r\nHost: a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n".to_owned(),
            format!("{host}Host: a\r\n\r\n"),
            format!("{host}X: a\r\n b\r\n\r\n"),
            format!("{host}X : a\r\n\r\n"),
            format!("{host} X: a\r\n\r\n"),
            format!("{host}X: a\rb\r\n\r\n"),
            format!("{host}X: a\0b\r\n\r\n"),
            format!("{host}no colon\r\n\r\n"),
            format!("{host}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"),
            format!("{host}Content-Length: 1, 1\r\n\r\n"),
            format!("{host}Content-Length: +1\r\n\r\n"),
            format!("{host}Content-Length: -1\r\n\r\n"),
            format!("{host}Content-Length: 0x1\r\n\r\n"),
            format!("{host}Content-Length:\r\n\r\n"),
            format!("{host}Content-Length: 99999999999999999999\r\n\r\n"),
            format!("{host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            format!("{host}Transfer-Encoding: gzip, chunked\r\n\r\n"),
            format!("{host}Transfer-Encoding: chunked, identity\r\n\r\n"),
            format!("{host}Transfer-Encoding: \x0bchunked\r\n\r\n"),
            format!("{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        ] {
            let refusal = read(text.as_bytes()).expect_err(&text);
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
        }
    }

    #[test]
    fn too_many_fields_and_tunnels_have_their_own_status() {
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(MAX_FIELDS));
        assert_eq!(read(many.as_bytes()).unwrap_err(), Refusal::TOO_LARGE);
        let room_for_no_host = format!("GET http://a/ HTTP/1.0\r\n{}\r\n", "X: 1\r\n".repeat(MAX_FIELDS));
        assert_eq!(read(room_for_no_host.as_bytes()).unwrap_err(), Refusal::TOO_LARGE);
        let tunnel = read(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err();
        assert_eq!(tunnel.status, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn a_request_is_what_its_head_says() {
        let head = Bytes::from_static(b"GET /a?b HTTP/1.0\r\nX-Case: 1\r\nx-case: \xff\r\n\r\n");
        let request = parse_request(&head).unwrap();
        assert_eq!((request.method.as_str(), request.raw_path()), ("GET", &b"/a?b"[..]));
        assert_eq!(request.version, Version::HTTP_10);
        let values: Vec<_> = request.headers.get_all("x-case").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
        let mut wire = Vec::new();
        request.header_to_h1_wire(&mut wire);
        assert_eq!(wire, b"X-Case: 1\r\nx-case: \xff\r\n", "names keep their case");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), seen in 0..300_usize) {
            let _ = find_end(&bytes, seen.min(bytes.len()));
            let _ = super::read(bytes.into());
        }
    }
}
