//! An HTTP/1 request as the proxy takes it, made of a head that has been checked.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderValue, Version};
use pingora::http::RequestHeader;

use super::{MALFORMED, MAX_FIELDS, Refusal};

/// Room for the fields that are added on the way to an upstream: with it, the copy that is sent there does not have to grow.
const ADDED_FIELDS: usize = 5;

/// Makes a request of its head, and shares the memory of the head.
///
/// # Errors
/// When the target cannot be passed on.
pub(super) fn read(head: &Bytes) -> Result<RequestHeader, Refusal> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, &mut fields) {
        Ok(httparse::Status::Complete(_)) => of(head, &parsed),
        Ok(httparse::Status::Partial) | Err(_) => Err(MALFORMED),
    }
}

/// Makes a request of its head, which has been parsed, and shares the memory of the head.
///
/// # Errors
/// When the target cannot be passed on.
pub(super) fn of(head: &Bytes, parsed: &httparse::Request<'_, '_>) -> Result<RequestHeader, Refusal> {
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
    use super::*;

    #[test]
    fn a_request_is_what_its_head_says() {
        let head = Bytes::from_static(b"GET /a?b HTTP/1.0\r\nX-Case: 1\r\nx-case: \xff\r\n\r\n");
        let request = read(&head).unwrap();
        assert_eq!((request.method.as_str(), request.raw_path()), ("GET", &b"/a?b"[..]));
        assert_eq!(request.version, Version::HTTP_10);
        let values: Vec<_> = request.headers.get_all("x-case").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
        let mut wire = Vec::new();
        request.header_to_h1_wire(&mut wire);
        assert_eq!(wire, b"X-Case: 1\r\nx-case: \xff\r\n", "names keep their case");
    }
}
