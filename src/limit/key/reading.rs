//! How the parts of a key are read from a request.
//!
//! Servers read fields differently: some remove the quotes of a cookie, decode its escapes, or accept a scheme in any case. Spellings
//! that any server reads as the same value share a bucket, so that a client gets no new bucket by another spelling. Two different
//! values where one is expected are an error.

use std::borrow::Cow;

use http::header;

use super::inputs::{Inputs, NoValue};
use super::part::KeyPart;

type Value<'a> = Cow<'a, [u8]>;

/// The value of a part in a request; `None` if it is not there. An empty value counts as not there.
pub(super) fn value_of<'a>(part: &KeyPart, inputs: &Inputs<'a>) -> Result<Option<Value<'a>>, NoValue> {
    let value = match part {
        KeyPart::ClientIp | KeyPart::Global => None,
        KeyPart::Consumer => inputs.caller.map(|caller| Cow::Borrowed(caller.consumer.as_bytes())),
        KeyPart::Route => Some(Cow::Borrowed(inputs.route.as_bytes())),
        KeyPart::Host => Some(Cow::Borrowed(inputs.host.as_bytes())),
        KeyPart::Path => Some(canonical(part, inputs.path.as_bytes())),
        KeyPart::Header(name) => {
            let values = inputs.headers.get_all(name).into_iter();
            only(values.map(|value| canonical(part, value.as_bytes())))?
        }
        KeyPart::Cookie(name) => only(cookies(inputs, name).map(|value| canonical(part, value)))?,
        KeyPart::Query(name) => query_parameter(inputs.query, name)?,
    };
    Ok(value.filter(|value| !value.is_empty()))
}

/// A form of the value that is the same for all spellings which a server might read as the same value.
pub(super) fn canonical<'a>(part: &KeyPart, value: &'a [u8]) -> Value<'a> {
    match part {
        KeyPart::Header(name) if *name == header::AUTHORIZATION => authorization(value),
        KeyPart::Cookie(_) => cookie_value(value),
        KeyPart::Path => path(value),
        _ => Cow::Borrowed(value),
    }
}

/// The value that several spellings have in common.
fn only<'a>(mut values: impl Iterator<Item = Value<'a>>) -> Result<Option<Value<'a>>, NoValue> {
    let first = values.next();
    match values.all(|other| Some(&other) == first.as_ref()) {
        true => Ok(first),
        false => Err(NoValue::Ambiguous),
    }
}

/// A normal path with its encoded slashes as the separators that some servers take them for.
fn path(value: &[u8]) -> Value<'_> {
    const ENCODED: &[u8] = b"%2F";
    if memchr::memmem::find(value, ENCODED).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        let (byte, after) = match rest.strip_prefix(ENCODED) {
            Some(after) => (b'/', after),
            None => (*byte, after),
        };
        if byte != b'/' || out.last() != Some(&b'/') {
            out.push(byte);
        }
        rest = after;
    }
    Cow::Owned(out)
}

/// Scheme and credentials: the scheme is the same in any case, and any number of spaces may follow it (RFC 9110, section 11.4).
fn authorization(value: &[u8]) -> Value<'_> {
    let Some(end) = value.iter().position(|byte| b" \t".contains(byte)) else { return Cow::Borrowed(value) };
    let (scheme, credentials) = value.split_at(end);
    Cow::Owned([&scheme.to_ascii_lowercase(), credentials.trim_ascii()].join(&b' '))
}

/// The values of the cookies called `name` (RFC 6265, section 4.2.1), as they were sent.
fn cookies<'a>(inputs: &Inputs<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let fields = inputs.headers.get_all(header::COOKIE).into_iter();
    let pairs = fields.flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let (left, right) = pair.split_at(memchr::memchr(b'=', pair)?);
        (*decoded(left.trim_ascii()) == *name.as_bytes()).then_some(&right[1..])
    })
}

/// A cookie's value without the spaces and the quotes around it, its escapes decoded. Some servers take `+` for a space.
fn cookie_value(value: &[u8]) -> Value<'_> {
    let trimmed = value.trim_ascii();
    let bare = trimmed.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(trimmed);
    match decoded(bare.trim_ascii()) {
        Cow::Borrowed(value) if memchr::memchr2(b'+', b'\\', value).is_none() => Cow::Borrowed(value),
        value => Cow::Owned(unescaped(&value)),
    }
}

/// Without the backslashes of a quoted text (`\"`, `\172`), with a space for `+`.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'+', _) => out.push(b' '),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                out.push(*escaped);
                rest = after;
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

fn decoded(text: &[u8]) -> Value<'_> {
    percent_encoding::percent_decode(text).into()
}

/// The decoded value of the query parameter called `name`. Some servers separate parameters at `;` too: both readings must
/// say the same.
fn query_parameter<'a>(query: Option<&'a str>, name: &str) -> Result<Option<Value<'a>>, NoValue> {
    let Some(query) = query else { return Ok(None) };
    let value = |text: &'a [u8]| {
        let pairs = form_urlencoded::parse(text).filter(|(key, _)| key == name);
        pairs.map(|(_, value)| match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })
    };
    let found = only(value(query.as_bytes()))?;
    if query.contains(';') {
        let split = only(query.as_bytes().split(|&byte| byte == b';').flat_map(value))?;
        if split != found {
            return Err(NoValue::Ambiguous);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(value: &str) -> String {
        let part = KeyPart::Cookie("sid".into());
        String::from_utf8(canonical(&part, value.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn a_cookie_has_one_form() {
        for spelling in
            ["a b", " a b", "\"a b\"", "\" a b\" ", "a%20b", "a+b", "\"a\\ b\"", "\"\\141 b\"", "%61+b"]
        {
            assert_eq!(cookie(spelling), "a b", "{spelling}");
        }
        for distinct in ["A b", "ab", "\"a b", "a%2520b"] {
            assert_ne!(cookie(distinct), "a b", "{distinct}");
        }
        for odd in ["", "\"", "\"\"", "\\", "%", "%4", "\\1", "\\777"] {
            let _ = cookie(odd);
        }
    }

    #[test]
    fn both_readings_of_a_query_must_agree() {
        let value =
            |query: &'static str| query_parameter(Some(query), "user").map(|v| v.map(Cow::into_owned));
        assert_eq!(value("user=a&b=c;d"), Ok(Some(b"a".to_vec())));
        assert_eq!(value("b=1"), Ok(None));
        for query in ["user=a;b", "b=1;user=a", "user=a;user=b", "user=a&b=1;user=b"] {
            assert_eq!(value(query), Err(NoValue::Ambiguous), "{query}");
        }
    }
}
