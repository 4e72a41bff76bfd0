//! Reading a host pattern: `api.example.com`, `*.example.org`, `192.0.2.1`, `[2001:db8::1]`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{HostPattern, PatternError};

/// The longest name that DNS can hold.
const MAX_NAME: usize = 253;
/// The longest label that DNS can hold.
const MAX_LABEL: usize = 63;

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError(
                "a host is empty: name one, or leave hosts out for any host".to_owned(),
            ));
        }
        read(text).map_err(|why| PatternError(format!("host `{text}` {why}")))
    }
}

/// Reads a pattern. The error is the end of a sentence that begins with "host `…`".
fn read(text: &str) -> Result<HostPattern, &'static str> {
    check_is_host_alone(text)?;
    if let Some(inner) = text.strip_prefix('[') {
        return match inner.strip_suffix(']').map(Ipv6Addr::from_str) {
            Some(Ok(address)) => Ok(HostPattern::Exact(format!("[{address}]"))),
            Some(Err(_)) => Err("is no IPv6 address: write one like `[2001:db8::1]`"),
            None if inner.contains("]:") => Err("has a port: a route matches hosts on every port"),
            None => Err("does not end in `]`: write an IPv6 address like `[2001:db8::1]`"),
        };
    }
    if Ipv6Addr::from_str(text).is_ok() {
        return Err("is an IPv6 address without its brackets: write it like `[2001:db8::1]`");
    }
    if text.contains(':') {
        return Err("has a port: leave it out, a route matches hosts on every port");
    }
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    check_name(name, wildcard)?;
    let name = name.to_ascii_lowercase();
    Ok(if wildcard { HostPattern::Wildcard(name) } else { HostPattern::Exact(name) })
}

/// Refuses a text that is more than a host, or that matches any.
fn check_is_host_alone(text: &str) -> Result<(), &'static str> {
    if text == "*" {
        return Err("would match any host: leave hosts out for that, or write `*.example.org`");
    }
    if text.contains("://") {
        return Err("has a scheme: write the host alone, as in `api.example.com`");
    }
    if text.contains('/') {
        return Err("has a path: write the host alone, and the path under `path`");
    }
    if text.contains('@') {
        return Err("has a user name: write the host alone, as in `api.example.com`");
    }
    if !text.is_ascii() {
        return Err("is not ASCII: write it in punycode, as in `xn--bcher-kva.example`");
    }
    Ok(())
}

/// Refuses a name that no host can have.
fn check_name(name: &str, wildcard: bool) -> Result<(), &'static str> {
    if name.contains('*') {
        return Err("has `*` in the wrong place: it stands for whole labels, at the front: `*.example.org`");
    }
    if name.split('.').any(str::is_empty) {
        return Err("has an empty label: between two dots there is a name, as in `api.example.com`");
    }
    if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) {
        return Err("is too long: a name has at most 253 characters, and 63 between two dots");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("has a character that no host has: use letters, digits, `-`, `_` and `.` alone");
    }
    if ends_in_number(name) && (wildcard || Ipv4Addr::from_str(name).is_err()) {
        return Err("ends in a number, but is no IPv4 address: write one like `192.0.2.1`, or a name");
    }
    Ok(())
}

/// Whether clients would take the name for an IPv4 address: no top-level domain is a number.
fn ends_in_number(name: &str) -> bool {
    name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_in_lower_case_without_its_last_dot() {
        for (text, expected) in [
            ("API.Example.com", HostPattern::Exact("api.example.com".to_owned())),
            ("api.example.com.", HostPattern::Exact("api.example.com".to_owned())),
            ("localhost", HostPattern::Exact("localhost".to_owned())),
            ("my_service", HostPattern::Exact("my_service".to_owned())),
            ("*.Example.org", HostPattern::Wildcard("example.org".to_owned())),
            ("*.internal", HostPattern::Wildcard("internal".to_owned())),
            ("192.0.2.1", HostPattern::Exact("192.0.2.1".to_owned())),
            ("[2001:DB8:0:0:0:0:0:1]", HostPattern::Exact("[2001:db8::1]".to_owned())),
            ("xn--bcher-kva.example", HostPattern::Exact("xn--bcher-kva.example".to_owned())),
        ] {
            assert_eq!(text.parse::<HostPattern>(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_request_could_match_is_refused_with_what_would_be_right() {
        for (text, part) in [
            ("", "leave hosts out"),
            ("*", "leave hosts out"),
            ("https://api.example.com", "scheme"),
            ("api.example.com/users", "path"),
            ("user@api.example.com", "user name"),
            ("api.example.com:8000", "port"),
            ("[::1]:8000", "port"),
            ("[::1", "`]`"),
            ("[::g]", "no IPv6 address"),
            ("::1", "brackets"),
            ("bücher.example", "punycode"),
            ("a..b", "empty label"),
            (".a", "empty label"),
            (".", "empty label"),
            ("*.", "empty label"),
            ("a.b..", "empty label"),
            ("api.*.com", "wrong place"),
            ("*api.example.com", "wrong place"),
            ("*.*.example.com", "wrong place"),
            ("a b.example", "character"),
            ("a.b%20c", "character"),
            ("192.0.2.256", "IPv4"),
            ("*.0.2.1", "IPv4"),
        ] {
            let error = text.parse::<HostPattern>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!("a".repeat(64).parse::<HostPattern>().is_err());
        assert!(["a"; 128].join(".").parse::<HostPattern>().is_err());
    }
}
