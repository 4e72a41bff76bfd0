//! The one form of a request's path: what routes are matched against, and what goes upstream.
//!
//! A route or limit for `/admin` must also hold for `/x/../admin`, `/%61dmin` and `//admin`, and the server must not read a path
//! differently from the gateway. So a path is normalised once, before anything else reads it:
//! escapes of unreserved characters are decoded and the others written in upper case, characters that do not
//! belong in a path are escaped, dot segments are resolved (RFC 3986, section 5.2.4) and repeated slashes
//! merged. Normalising twice changes nothing, and a path that is in this form already is borrowed, not copied.
//!
//! A path that two parsers could read differently is refused: see [`Unsafe`]. An encoded slash is such a case: to some servers `..%2fb` in
//! `/a/..%2fb` is one segment, to others it is `..` and `b`, and no normal form is safe with both. A route may declare that its upstream
//! reads `%2F` as a character of a segment ([`normalise_keeping_slashes`]); a dot segment beside one is refused all the same. `%25` stays
//! as it is: a server that decodes twice is not protected. Escapes need not be UTF-8, as in all URLs.
//!
//! The query (the caller cuts it off) and `*` of `OPTIONS *` are not handled here.

use std::borrow::Cow;
use std::fmt;

/// Why a path cannot be normalised safely. The request is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unsafe {
    /// It does not start with `/`.
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    BadEscape,
    /// A control character, raw or escaped: some parsers end a path at `%00`, some start a line at `%0A`.
    Control,
    /// `?` or `#`: the caller cuts the query off, and no request has a fragment.
    Delimiter,
    /// `%2F`: part of a segment to some parsers, a separator to others.
    EncodedSlash,
    /// `\` or `%5C`: a character to some parsers, a separator to others.
    Backslash,
    /// `..` climbs above the root.
    AboveRoot,
    /// `..` right after an empty segment, as in `/a//../b`: `/a/b` to parsers that resolve dots first, `/b` to
    /// parsers that merge slashes first.
    AmbiguousDots,
    /// A dot segment with a path parameter, as in `/a/..;x/b`: `..` to parsers that strip parameters.
    DotParameter,
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not start with `/`",
            Self::BadEscape => "the path has a `%` that is not followed by two hexadecimal digits",
            Self::Control => "the path has a control character",
            Self::Delimiter => "the path has a `?` or `#` in it",
            Self::EncodedSlash => "the path has an encoded slash (`%2F`), which servers read differently",
            Self::Backslash => "the path has a backslash, which servers read differently",
            Self::AboveRoot => "the path climbs above `/`",
            Self::AmbiguousDots => "the path has `..` after an empty segment, which servers read differently",
            Self::DotParameter => {
                "the path has `;` right after a dot segment, which servers read differently"
            }
        })
    }
}

impl std::error::Error for Unsafe {}

/// The normal form of a request's path; `raw` is the part before the `?`. It starts with `/` and is ASCII.
/// An empty path, as in `http://example.com`, is `/`.
///
/// # Errors
/// When the path cannot be normalised safely: see [`Unsafe`].
pub fn normalise(raw: &[u8]) -> Result<Cow<'_, str>, Unsafe> {
    if is_normal(raw)
        && let Ok(path) = std::str::from_utf8(raw)
    {
        return Ok(Cow::Borrowed(path));
    }
    match raw.first() {
        None => return Ok(Cow::Borrowed("/")),
        Some(b'/') => {}
        Some(_) => return Err(Unsafe::NotAbsolute),
    }
    resolve_dots(&normalise_characters(raw)?).map(Cow::Owned)
}

/// The same, with each encoded slash as `%2F`, a character of its segment. It is no separator when dots are resolved here, and must not
/// become one in a server that decodes it: there is no dot segment next to it, and no `..` removes its segment.
///
/// # Errors
/// When the path cannot be normalised safely: see [`Unsafe`].
pub fn normalise_keeping_slashes(raw: &[u8]) -> Result<String, Unsafe> {
    if raw.first().is_some_and(|first| *first != b'/') {
        return Err(Unsafe::NotAbsolute);
    }
    resolve_dots(&characters(raw, EncodedSlashes::Keep)?)
}

/// How `%2F` is treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EncodedSlashes {
    Refuse,
    Keep,
}

/// The normal form of a part of a segment. Dot segments are not resolved.
pub(super) fn normalise_characters(raw: &[u8]) -> Result<String, Unsafe> {
    characters(raw, EncodedSlashes::Refuse)
}

fn characters(raw: &[u8], slashes: EncodedSlashes) -> Result<String, Unsafe> {
    let mut out = String::with_capacity(raw.len() + 16);
    let mut rest = raw;
    while let [byte, after @ ..] = rest {
        rest = after;
        match CLASSES[usize::from(*byte)] {
            Class::Plain | Class::Unreserved | Class::Slash => out.push(char::from(*byte)),
            Class::Encode => push_escape(&mut out, *byte),
            Class::Control => return Err(Unsafe::Control),
            Class::Delimiter => return Err(Unsafe::Delimiter),
            Class::Backslash => return Err(Unsafe::Backslash),
            Class::Percent => {
                let (decoded, after) = escape(rest).ok_or(Unsafe::BadEscape)?;
                rest = after;
                match CLASSES[usize::from(decoded)] {
                    Class::Unreserved => out.push(char::from(decoded)),
                    Class::Control => return Err(Unsafe::Control),
                    Class::Slash if slashes == EncodedSlashes::Keep => out.push_str(ENCODED_SLASH),
                    Class::Slash => return Err(Unsafe::EncodedSlash),
                    Class::Backslash => return Err(Unsafe::Backslash),
                    Class::Plain | Class::Encode | Class::Delimiter | Class::Percent => {
                        push_escape(&mut out, decoded);
                    }
                }
            }
        }
    }
    Ok(out)
}

/// An encoded slash in its normal form.
const ENCODED_SLASH: &str = "%2F";

/// Which dot segment a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dots {
    /// No dot segment.
    None,
    /// `.`
    Here,
    /// `..`
    Up,
    /// `.` or `..` with a path parameter, as in `..;x`. `%3B` counts as `;`, since some parsers decode before they strip parameters.
    WithParameter,
}

/// Whether a segment whose characters are normal is a dot segment.
pub(super) fn dots(segment: &str) -> Dots {
    let Some(after) = segment.strip_prefix('.') else { return Dots::None };
    let (kind, after) = match after.strip_prefix('.') {
        Some(after) => (Dots::Up, after),
        None => (Dots::Here, after),
    };
    if after.is_empty() {
        kind
    } else if after.starts_with(';') || after.starts_with("%3B") {
        Dots::WithParameter
    } else {
        Dots::None
    }
}

/// Resolves the dot segments of a path whose characters are normal, and merges its slashes.
fn resolve_dots(path: &str) -> Result<String, Unsafe> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in path.split('/').skip(1) {
        let kind = dots(segment);
        ends_in_slash = segment.is_empty() || kind != Dots::None;
        match kind {
            // An empty segment is kept until the end, so that `..` is seen to follow one.
            Dots::None => {
                let parts = &mut segment.split(ENCODED_SLASH);
                if parts.any(|part| dots(part) != Dots::None) {
                    return Err(Unsafe::EncodedSlash);
                }
                kept.push(segment);
            }
            Dots::Here => {}
            Dots::Up => match kept.pop() {
                Some("") => return Err(Unsafe::AmbiguousDots),
                Some(segment) if segment.contains(ENCODED_SLASH) => return Err(Unsafe::EncodedSlash),
                Some(_) => {}
                None => return Err(Unsafe::AboveRoot),
            },
            Dots::WithParameter => return Err(Unsafe::DotParameter),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept.iter().filter(|segment| !segment.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    if ends_in_slash || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// Whether a path is in normal form already, as most are. It reads each byte once.
fn is_normal(raw: &[u8]) -> bool {
    if raw.first() != Some(&b'/') {
        return false;
    }
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        at += 1;
        match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Unreserved => {}
            Class::Slash => match raw.get(at..) {
                Some([b'/', ..]) => return false,
                Some(segment @ [b'.', ..]) if starts_with_dots(segment) => return false,
                _ => {}
            },
            Class::Percent => match raw.get(at..) {
                Some([high, low, ..]) if is_normal_escape(*high, *low) => at += 2,
                _ => return false,
            },
            Class::Encode | Class::Control | Class::Delimiter | Class::Backslash => return false,
        }
    }
    true
}

/// Whether the segment that starts here is a dot segment, in a path without `%2E` and `%3b`.
fn starts_with_dots(path: &[u8]) -> bool {
    let after = path.strip_prefix(b".").map(|path| path.strip_prefix(b".").unwrap_or(path));
    matches!(after, Some([] | [b'/' | b';', ..] | [b'%', b'3', b'B', ..]))
}

/// Whether an escape of these two digits stays as it is.
fn is_normal_escape(high: u8, low: u8) -> bool {
    if high.is_ascii_lowercase() || low.is_ascii_lowercase() {
        return false;
    }
    match (hex(high), hex(low)) {
        (Some(high), Some(low)) => !matches!(
            CLASSES[usize::from(high << 4 | low)],
            Class::Unreserved | Class::Control | Class::Slash | Class::Backslash
        ),
        _ => false,
    }
}

/// The byte that two hexadecimal digits stand for, and what follows them.
fn escape(digits: &[u8]) -> Option<(u8, &[u8])> {
    match digits {
        [high, low, after @ ..] => Some((hex(*high)? << 4 | hex(*low)?, after)),
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// What a byte means in a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Allowed raw, and different from its escape (`sub-delims`, `:`, `@`).
    Plain,
    /// Allowed raw, and the same as its escape.
    Unreserved,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// Not allowed raw: it is escaped.
    Encode,
    /// Never allowed, raw or escaped.
    Control,
    /// `?` and `#`: allowed escaped only.
    Delimiter,
    /// `\`
    Backslash,
}

/// The class of each byte.
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Encode; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        classes[byte as usize] = match byte {
            0..=31 | 127 => Class::Control,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => Class::Unreserved,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {
                Class::Plain
            }
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'?' | b'#' => Class::Delimiter,
            b'\\' => Class::Backslash,
            _ => Class::Encode,
        };
        byte += 1;
    }
    classes
};

#[cfg(test)]
mod tests;
