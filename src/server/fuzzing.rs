//! The private parsers of the server, for the fuzz targets (`src/fuzzing.rs`).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, Version, header};
use pingora::http::RequestHeader;

use super::framing::{Framing, Malformed};
use super::{head, http2, proxy_protocol};

/// The head of an HTTP/1 request, whole and in two pieces, of which the first is as long as the first byte says. A head that is accepted
/// is accepted again in the form in which it is passed on.
pub fn request_head(input: &[u8]) {
    let Some((cut, read)) = input.split_first() else { return };
    let cut = usize::from(*cut).min(read.len());
    let whole = head::find_end(read, 0);
    match head::find_end(&read[..cut], 0) {
        Ok(None) => assert_eq!(head::find_end(read, cut), whole, "cut at {cut}"),
        found => assert_eq!(found, whole, "cut at {cut}"),
    }
    let Ok(Some(end)) = whole else { return };
    let Ok(first) = head::read(Bytes::copy_from_slice(&read[..end])) else { return };
    let passed_on = text_of(&first.request);
    let again = head::read(passed_on.clone().into()).expect("what goes on is a head");
    assert_eq!((again.framing, text_of(&again.request)), (first.framing, passed_on));
}

/// A request as HTTP/1 has it.
pub(super) fn text_of(request: &RequestHeader) -> Vec<u8> {
    let mut text = [request.method.as_str().as_bytes(), b" ", request.raw_path(), b" "].concat();
    text.extend_from_slice(if request.version == Version::HTTP_10 {
        b"HTTP/1.0\r\n"
    } else {
        b"HTTP/1.1\r\n"
    });
    request.header_to_h1_wire(&mut text);
    text.extend_from_slice(b"\r\n");
    text
}

/// A chunked body, whole and a byte at a time: it has the same data, and the same end.
pub fn chunked(bytes: &[u8]) {
    let mut whole = Framing::chunked();
    let body = take(&mut whole, bytes);
    let mut piecemeal = Framing::chunked();
    let one_by_one = bytes.iter().try_fold((0, Vec::new()), |(taken, mut data), byte| {
        let (more, byte) = take(&mut piecemeal, &[*byte])?;
        data.extend(byte);
        Ok((taken + more, data))
    });
    assert_eq!(one_by_one, body);
    assert_eq!(piecemeal, whole);
}

/// Takes a body as far as it goes: how many bytes belong to it, and its data.
fn take(framing: &mut Framing, bytes: &[u8]) -> Result<(usize, Vec<u8>), Malformed> {
    let (mut taken, mut data) = (0, Vec::new());
    loop {
        let (around, of_data) = framing.take(&bytes[taken..])?;
        taken += around + of_data;
        data.extend_from_slice(&bytes[taken - of_data..taken]);
        if of_data == 0 {
            return Ok((taken, data));
        }
    }
}

/// An HTTP/2 request: lines of method, URI, and `name:value`. A request that is accepted becomes an HTTP/1 request that is accepted too.
pub fn http2_request(input: &[u8]) {
    let Some(request) = read_http2(input) else { return };
    let mut request = request.into_parts().0.into();
    if http2::prepare(&mut request).is_err() {
        return;
    }
    assert_eq!(request.headers.get_all(header::HOST).iter().count(), 1);
    let text = text_of(&request);
    if let Err(refusal) = head::read(text.clone().into()) {
        panic!("{refusal:?} of {}", text.escape_ascii());
    }
}

/// A request as the h2 crate would hand it over.
fn read_http2(input: &[u8]) -> Option<Request<()>> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(lines.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(lines.next()?).ok()?;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_lowercase(&line[..colon]).ok()?;
        // The h2 crate refuses these.
        let of_a_connection = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, header::TE];
        if !of_a_connection.contains(&name) {
            request.headers_mut().append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
        }
    }
    Some(request)
}

/// A header of the PROXY protocol.
pub fn proxy_header(bytes: &[u8]) {
    proxy_protocol::any_bytes(bytes);
}
