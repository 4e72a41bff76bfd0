//! Lines in the common and the combined format of Apache, nginx and others.
//!
//! They say when a request ended (Apache: when it began), and not how long it took. What stands after the fields of a format is not
//! looked at: many servers write more there.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{REFERER, USER_AGENT};
use memchr::{memchr, memchr2, memmem, memrchr};

use super::fields::{Wanted, add_field};
use super::format::Format;
use super::request;
use super::stamp::ClfStamps;
use super::unreadable::Unreadable;
use crate::replay::record::Record;

/// The parts of a line, as they are written.
struct Parts<'a> {
    host: Option<&'a [u8]>,
    client: &'a [u8],
    user: &'a [u8],
    /// From the time on.
    rest: &'a [u8],
}

/// Reads a line.
pub(super) fn read(
    line: &[u8],
    format: Format,
    wanted: &Wanted,
    stamps: &mut ClfStamps,
) -> Result<Record, Unreadable> {
    let parts = parts(line, format)?;
    let (ended, rest) = stamps.read(parts.rest)?;
    let rest = rest.strip_prefix(b"] ").ok_or(Unreadable::Malformed("the time"))?;
    let (request, rest) = quoted(rest).ok_or(Unreadable::Missing("a request"))?;
    let (status, rest) = status(rest)?;
    let request = unescaped(request);
    let [method, target, version] = request_line(&request)?;
    let mut record = Record {
        ended,
        took: None,
        client: request::client(&unescaped(parts.client))?,
        method: request::method(method)?,
        version: request::version(version)?,
        target: request::target(target)?.to_vec(),
        headers: HeaderMap::new(),
        status: request::status(status)?,
        own: None,
    };
    wanted.set_host(&mut record.headers, parts.host);
    if wanted.has_fields() || wanted.has_mappings() {
        let after_size =
            rest.get(1..).and_then(|size| memchr(b' ', size)).map_or(&[][..], |end| &rest[end + 2..]);
        add_fields(&mut record.headers, format, wanted, &parts, after_size);
    }
    Ok(record)
}

/// Whether a line has the fields that the combined format has and the common one has not.
pub(super) fn is_combined(line: &[u8]) -> bool {
    // They are the third and the fourth text between quotes, and the last ones.
    let quotes = memmem::find_iter(line, b" \"").count();
    quotes >= 3
}

#[cold]
fn add_fields(headers: &mut HeaderMap, format: Format, wanted: &Wanted, parts: &Parts<'_>, rest: &[u8]) {
    let (referer, rest) = quoted(rest).unwrap_or_default();
    let user_agent = rest.strip_prefix(b" ").and_then(quoted).unwrap_or_default().0;
    let known = |text| Some(unescaped(text)).filter(|text| !matches!(&**text, b"" | b"-"));
    for name in wanted.fields_of(format) {
        let value = match *name {
            REFERER => known(referer),
            USER_AGENT => known(user_agent),
            _ => None,
        };
        if let Some(value) = value {
            add_field(headers, name, &value);
        }
    }
    wanted.add_mapped(headers, |field| {
        let text = match field {
            "client" => parts.client,
            "user" => parts.user,
            "referer" => referer,
            "user_agent" => user_agent,
            _ => return None,
        };
        known(text).map(|text| String::from_utf8_lossy(&text).into_owned())
    });
}

/// The fields before the time.
fn parts(line: &[u8], format: Format) -> Result<Parts<'_>, Unreadable> {
    const CLIENT: Unreadable = Unreadable::Missing("a client");
    let (host, line) = match format {
        Format::VhostCombined => {
            let (host, rest) = word(line).ok_or(CLIENT)?;
            (Some(with_port(host).ok_or(Unreadable::Missing("a virtual host and its port"))?), rest)
        }
        _ => (None, line),
    };
    let (client, rest) = word(line).ok_or(CLIENT)?;
    let (_identity, rest) = word(rest).ok_or(Unreadable::Missing("a time"))?;
    // A name of a user may have spaces in it.
    let (user, rest) = match rest.strip_prefix(b"- [") {
        Some(after) => (&b"-"[..], after),
        None => {
            const TIME: Unreadable = Unreadable::Missing("a time");
            // Nor is a bracket the end of it. A quote is, for those are escaped.
            let end = memmem::find(rest, b"] \"").ok_or(TIME)?;
            let start = memrchr(b'[', &rest[..end]).ok_or(TIME)?;
            (rest[..start].strip_suffix(b" ").ok_or(TIME)?, &rest[start + 1..])
        }
    };
    Ok(Parts { host, client, user, rest })
}

/// What stands before the first space, and what after it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// A host with its port: `a.example:443`.
fn with_port(text: &[u8]) -> Option<&[u8]> {
    let colon = memrchr(b':', text)?;
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    let is_name = !host.contains(&b':') || host.starts_with(b"[") && host.ends_with(b"]");
    let is_port = !port.is_empty() && port.iter().all(u8::is_ascii_digit);
    (!host.is_empty() && is_name && is_port).then_some(text)
}

/// The text between the quote with which this begins and the next one that is not escaped, and what follows.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"\"")?;
    let mut end = 0;
    loop {
        end += memchr2(b'"', b'\\', text.get(end..)?)?;
        if text[end] == b'"' {
            return Some((&text[..end], &text[end + 1..]));
        }
        end += 2;
    }
}

/// The status after a space, and what follows it.
fn status(text: &[u8]) -> Result<(u64, &[u8]), Unreadable> {
    match text {
        [b' ', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..]
            if !matches!(rest, [b'0'..=b'9', ..]) =>
        {
            let digit = |byte: &u8| u64::from(byte - b'0');
            Ok((digit(a) * 100 + digit(b) * 10 + digit(c), rest))
        }
        // What Apache writes if there was no answer.
        [b' ', b'-', rest @ ..] => Ok((0, rest)),
        _ => Err(Unreadable::Malformed("the status")),
    }
}

/// Method, target and version of a request.
fn request_line(text: &[u8]) -> Result<[&[u8]; 3], Unreadable> {
    if text == b"- - -" {
        return Err(Unreadable::NoRequest);
    }
    let (method, rest) = word(text).ok_or(Unreadable::NoRequest)?;
    match memrchr(b' ', rest) {
        Some(end) => Ok([method, &rest[..end], &rest[end + 1..]]),
        // What HTTP had before there were versions.
        None => Ok([method, rest, b"HTTP/0.9"]),
    }
}

/// The text that is written with escapes as nginx (`\x22`) or Apache (`\"`, `\n`, `\x7f`) write them. The mark with which the gateway
/// ends what it cuts off is left out.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut rest = text;
    let mut plain = Vec::with_capacity(rest.len());
    while let Some(at) = memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        (rest, _) = match &rest[at + 1..] {
            [b'x', a, b, rest @ ..] if hex(a).is_some() && hex(b).is_some() => {
                (rest, plain.push(hex(a).unwrap_or(0) << 4 | hex(b).unwrap_or(0)))
            }
            [escaped @ (b'n' | b't' | b'r' | b'b' | b'v' | b'f'), rest @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 0x08,
                    b'v' => 0x0b,
                    _ => 0x0c,
                };
                (rest, plain.push(byte))
            }
            // The mark: nobody else escapes a dot.
            [b'.', b'.', b'.', rest @ ..] => (rest, ()),
            [escaped, rest @ ..] => (rest, plain.push(*escaped)),
            [] => (&[][..], plain.push(b'\\')),
        };
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests;
