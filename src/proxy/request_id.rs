//! The name of a request in the logs of every machine that handles it.

use http::{HeaderMap, HeaderValue};

use crate::upstream_head::given_request_id;

/// A random name.
pub(crate) fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [0; 32];
    for (pair, byte) in name.chunks_exact_mut(2).zip(rand::random::<u128>().to_ne_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    // Hexadecimal digits are always a valid value.
    HeaderValue::from_bytes(&name).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// The name of a request with these fields: the one that a trusted proxy gave it, or a new one.
pub(super) fn name(headers: &HeaderMap, peer_is_trusted: bool) -> HeaderValue {
    given_request_id(headers, peer_is_trusted).cloned().unwrap_or_else(new_request_id)
}
