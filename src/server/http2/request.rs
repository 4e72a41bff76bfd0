//! An HTTP/2 request, checked and given the form of an HTTP/1 request: a path for its target, and the host in `Host`.
//!
//! What HTTP/2 forbids in itself has been refused by now: the h2 crate resets a stream with a field that concerns a
//! connection (`Connection`, `Transfer-Encoding`, `Upgrade`, …), a `TE` other than `trailers`, or a body of another length
//! than it announced, and ends the connection for a name in upper case; `pending_heads.rs` notices. A fragment it has cut off. What
//! passes here has one meaning in HTTP/1 too, whither it goes.

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use pingora::http::RequestHeader;

use super::super::head::{MAX_FIELDS, Refusal, parse_length};
use crate::route::encode;
use crate::route::{host_of, is_same_authority};

/// Checks a request, and gives it that form.
///
/// # Errors
/// When it is not to be passed on.
pub(super) fn prepare(request: &mut RequestHeader) -> Result<(), Refusal> {
    if request.method == Method::CONNECT {
        return Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            detail: "this server opens no tunnels",
        });
    }
    // The host becomes a field if it is none yet.
    let host = usize::from(!request.headers.contains_key(header::HOST));
    if request.headers.len() + host > MAX_FIELDS {
        return Err(Refusal::TOO_LARGE);
    }
    check_names(request)?;
    check_values(request)?;
    check_length(request)?;
    set_host(request)?;
    set_target(request)?;
    join_cookies(request)
}

/// A name is a token, as HTTP/1 wants it (RFC 9110, section 5.1): the http crate has nothing against a quotation mark in one.
fn check_names(request: &RequestHeader) -> Result<(), Refusal> {
    match request.headers.keys().any(|name| name.as_str().contains('"')) {
        true => Err(Refusal::bad("a field has a name that is none")),
        false => Ok(()),
    }
}

/// No value begins or ends with a space or tab (RFC 9113, section 8.2.1): on its way upstream it would lose that, and so be
/// another value than was counted.
fn check_values(request: &RequestHeader) -> Result<(), Refusal> {
    let outer_space = |value: &HeaderValue| value.as_bytes().trim_ascii().len() < value.len();
    match request.headers.values().any(outer_space) {
        true => Err(Refusal::bad("the value of a field begins or ends with a space")),
        false => Ok(()),
    }
}

/// The length that a request, which has been checked, announces for its body. An announcement of nothing is taken away when
/// the body has not ended: an upstream that goes by it would have the whole request before the body proves to be another.
pub(super) fn take_length(request: &mut RequestHeader, has_ended: bool) -> Option<u64> {
    let length = parse_length(request.headers.get(header::CONTENT_LENGTH)?.as_bytes()).ok();
    if length == Some(0) && !has_ended {
        request.remove_header(&header::CONTENT_LENGTH);
        return None;
    }
    length
}

/// There is one length at most, and it is a number.
fn check_length(request: &RequestHeader) -> Result<(), Refusal> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (_, Some(_)) => Err(Refusal::bad("the request has more than one Content-Length field")),
        (Some(length), _) => parse_length(length.as_bytes()).map(drop),
        (None, _) => Ok(()),
    }
}

/// The host is in `Host`, wherever the client has put it.
fn set_host(request: &mut RequestHeader) -> Result<(), Refusal> {
    let not_a_host = Refusal::bad("the :authority is no host");
    let default_port = if request.uri.scheme_str() == Some("https") { 443 } else { 80 };
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::bad("the request has more than one Host field"));
    }
    let host = match (request.uri.authority(), field) {
        (Some(authority), Some(host))
            if !host.to_str().is_ok_and(|host| is_same_authority(host, authority.as_str(), default_port)) =>
        {
            return Err(Refusal::bad("the Host field and the :authority name different hosts"));
        }
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).map_err(|_| not_a_host)?,
        (None, field) => field.cloned().ok_or(not_a_host)?,
    };
    host.to_str().ok().and_then(host_of).ok_or(not_a_host)?;
    request.insert_header(header::HOST, host).map_err(|_| not_a_host)
}

fn set_target(request: &mut RequestHeader) -> Result<(), Refusal> {
    match request.uri.path_and_query().cloned() {
        Some(target)
            if target.as_str().starts_with('/') || (target == "*" && request.method == Method::OPTIONS) =>
        {
            let target = match encode(target.as_str().as_bytes()) {
                Cow::Borrowed(_) => target,
                Cow::Owned(encoded) => {
                    PathAndQuery::from_maybe_shared(encoded).map_err(|_| Refusal::TARGET_TOO_LONG)?
                }
            };
            request.set_uri(Uri::from(target));
            Ok(())
        }
        _ => Err(Refusal::bad("the :path is no path")),
    }
}

/// Cookies may come in several fields, and must go on in one (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<(), Refusal> {
    let mut cookies = request.headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(_)) = (cookies.next(), cookies.next()) {
        let mut joined = first.as_bytes().to_vec();
        for cookie in request.headers.get_all(header::COOKIE).iter().skip(1) {
            joined.extend_from_slice(b"; ");
            joined.extend_from_slice(cookie.as_bytes());
        }
        // Bytes of field values make a field value.
        let joined =
            HeaderValue::from_bytes(&joined).map_err(|_| Refusal::bad("the cookies cannot be read"))?;
        request.insert_header(header::COOKIE, joined).map_err(|_| Refusal::TOO_LARGE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> RequestHeader {
        let mut request = http::Request::builder().method(method).uri(uri).version(http::Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    #[track_caller]
    fn refused(mut request: RequestHeader) -> u16 {
        prepare(&mut request).unwrap_err().status.as_u16()
    }

    #[test]
    fn the_host_moves_into_its_field() {
        let mut request = request("GET", "https://a.example:8443/b?c=d", &[]);
        prepare(&mut request).unwrap();
        assert_eq!(request.headers[header::HOST], "a.example:8443");
        assert_eq!(request.uri, "/b?c=d");
        assert_eq!(request.raw_path(), b"/b?c=d");
    }

    #[test]
    fn a_host_field_will_do() {
        let mut request = request("GET", "/", &[("host", "a.example")]);
        prepare(&mut request).unwrap();
        assert_eq!(request.headers[header::HOST], "a.example");
    }

    #[test]
    fn the_default_port_of_the_scheme_is_the_same_host() {
        let mut same = request("GET", "https://a:443/", &[("host", "A")]);
        prepare(&mut same).unwrap();
        assert_eq!(same.headers[header::HOST], "a:443");
        assert!(prepare(&mut request("GET", "http://a/", &[("host", "a:80")])).is_ok());
        assert_eq!(refused(request("GET", "https://a:80/", &[("host", "a")])), 400);
        assert_eq!(refused(request("GET", "https://a/", &[("host", "")])), 400);
    }

    #[test]
    fn what_no_url_has_is_encoded() {
        let mut request = request("GET", "https://a/\"é{}|^\\?`{}|^\\é", &[]);
        prepare(&mut request).unwrap();
        assert_eq!(request.raw_path(), b"/%22%C3%A9%7B%7D%7C%5E%5C?%60%7B%7D%7C%5E%5C%C3%A9");
    }

    #[test]
    fn cookies_become_one_field() {
        let mut request =
            request("GET", "https://a/", &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        prepare(&mut request).unwrap();
        let cookies: Vec<_> = request.headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn nothing_is_announced_only_by_who_has_ended() {
        for (length, has_ended, announced, stays) in [
            ("0", true, Some(0), true),
            ("0", false, None, false),
            ("00", false, None, false),
            ("5", false, Some(5), true),
        ] {
            let mut request = request("POST", "https://a/", &[("content-length", length)]);
            assert_eq!(take_length(&mut request, has_ended), announced);
            assert_eq!(request.headers.contains_key(header::CONTENT_LENGTH), stays);
        }
        assert_eq!(take_length(&mut request("POST", "https://a/", &[]), false), None);
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        assert_eq!(refused(request("GET", "/", &[])), 400);
        assert_eq!(refused(request("GET", "/", &[("host", "a/b")])), 400);
        assert_eq!(refused(request("GET", "*", &[("host", "a")])), 400);
        assert!(prepare(&mut request("OPTIONS", "*", &[("host", "a")])).is_ok());
        assert_eq!(
            refused(request("POST", "https://a/", &[("content-length", "3"), ("content-length", "3")])),
            400
        );
        for length in ["3, 3", "", "99999999999999999999"] {
            assert_eq!(
                refused(request("POST", "https://a/", &[("content-length", length)])),
                400,
                "{length}"
            );
        }
        let mut quoted = http::Request::builder().uri("https://a/").body(()).unwrap();
        // As the h2 crate reads names; read in any other way they have no quotation mark.
        let name = http::HeaderName::from_lowercase(b"\"x\"").unwrap();
        quoted.headers_mut().insert(name, HeaderValue::from_static("1"));
        assert_eq!(refused(quoted.into_parts().0.into()), 400);
        for value in [" a", "a\t", " "] {
            assert_eq!(refused(request("GET", "https://a/", &[("x", value)])), 400);
        }
        assert_eq!(refused(request("CONNECT", "a:443", &[])), 405);
        assert_eq!(refused(request("GET", "https://a/", &[("x", "1"); MAX_FIELDS])), 431);
        assert!(prepare(&mut request("GET", "https://a/", &[("x", "1"); MAX_FIELDS - 1])).is_ok());
    }
}
