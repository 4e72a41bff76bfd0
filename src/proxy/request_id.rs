//! The name of a request in the logs of every machine that handles it.

use http::{HeaderMap, HeaderValue};

/// The field that carries the name.
pub(super) const X_REQUEST_ID: &str = "X-Request-Id";

/// The longest name that is taken from a trusted proxy, in bytes.
const MAX_LENGTH: usize = 128;

/// A random name.
pub(crate) fn new_request_id() -> HeaderValue {
    // Hexadecimal digits are always a valid value.
    HeaderValue::from_str(&format!("{:032x}", rand::random::<u128>()))
        .unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The name of a request with these fields: the one that a trusted proxy gave it, or a new one.
pub(super) fn name(headers: &HeaderMap, peer_is_trusted: bool) -> HeaderValue {
    let given = headers.get(X_REQUEST_ID).filter(|id| {
        peer_is_trusted
            && id.len() <= MAX_LENGTH
            && !id.is_empty()
            && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    given.cloned().unwrap_or_else(new_request_id)
}
