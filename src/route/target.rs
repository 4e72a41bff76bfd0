//! The form of a request's target that is used after it was read, over every version of HTTP.

use std::borrow::Cow;

/// Percent-encodes the characters of a target that RFC 3986 does not allow in a path or query, but that browsers and scanners send raw.
/// Nothing else changes. Requests are routed, counted, logged and sent on by this form.
///
/// Spaces and control characters stay, since they may end the target; the parser of the target refuses them.
pub fn encode(target: &[u8]) -> Cow<'_, [u8]> {
    if !target.iter().copied().any(must_be_encoded) {
        return Cow::Borrowed(target);
    }
    let mut out = Vec::with_capacity(target.len() + 64);
    for &byte in target {
        if must_be_encoded(byte) {
            let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            out.push(byte);
        }
    }
    Cow::Owned(out)
}

fn must_be_encoded(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^' | b'\\' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_url_has_is_encoded_and_nothing_else() {
        let decent = b"/-._~!$&'()*+,;=:@%zz[]?a[]=1&%\"";
        let (decent, quoted) = decent.split_at(decent.len() - 1);
        assert!(matches!(encode(decent), Cow::Borrowed(same) if same == decent));
        assert_eq!(&*encode(quoted), b"%22");
        assert_eq!(&*encode(b"/<>`{}|^\\\x80\xff"), b"/%3C%3E%60%7B%7D%7C%5E%5C%80%FF");
        // They are refused where the target is parsed.
        assert_eq!(&*encode(b"\0 \t\x7f\""), b"\0 \t\x7f%22");
    }
}
