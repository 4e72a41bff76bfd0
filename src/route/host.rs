//! The one form of the host that a request asks for.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The longest name that DNS can hold.
const MAX_NAME: usize = 253;

/// The host of an authority or a `Host` field: in lower case, without the port and a trailing dot, an IPv6
/// address in its brackets and its shortest form. Borrowed if it was written like that.
///
/// `None` if it is no host: empty, with a user name, with a port that is no number up to 65535 (or empty), longer
/// than a name can be, or with anything but letters, digits, `-`, `_`, `.`, `~`, most of RFC 3986's delimiters, and escapes of these
/// delimiters and of what is not ASCII. RFC 3986 allows more: other escapes, which servers read differently (`%61` is `a` to some,
/// `%2F` a slash), `*`, which is a pattern here, and `,`, which may join two hosts.
pub fn host_of(authority: &str) -> Option<Cow<'_, str>> {
    if authority.starts_with('[') {
        let (host, port) = authority.split_at(authority.find(']')? + 1);
        check_port(port)?;
        return ipv6(host);
    }
    let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
    check_port(port)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_NAME {
        return None;
    }
    let mut has_upper = false;
    let mut label_is_empty = true;
    for (at, byte) in host.bytes().enumerate() {
        match byte {
            b'.' if label_is_empty => return None,
            b'.' => label_is_empty = true,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => label_is_empty = false,
            _ if is_delimiter(byte) => label_is_empty = false,
            b'%' if escapes_well(host.as_bytes().get(at + 1..at + 3)?) => label_is_empty = false,
            b'A'..=b'Z' => {
                label_is_empty = false;
                has_upper = true;
            }
            _ => return None,
        }
    }
    match (label_is_empty, has_upper) {
        (true, _) => None,
        (false, true) => Some(Cow::Owned(host.to_ascii_lowercase())),
        (false, false) => Some(Cow::Borrowed(host)),
    }
}

/// What a host may have of the `sub-delims` of RFC 3986.
fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'+' | b';' | b'=')
}

/// Whether the two digits after a `%` stand for a byte that is not ASCII, or for such a delimiter.
fn escapes_well(digits: &[u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    match digits {
        [high, low] => {
            let byte = digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low);
            byte.is_some_and(|byte| !byte.is_ascii() || is_delimiter(byte))
        }
        _ => false,
    }
}

/// Whether two authorities mean the same server, where this is the port of one that names none.
pub fn is_same_authority(one: &str, other: &str, default_port: u16) -> bool {
    let port = |authority: &str| {
        let after_host = authority.rfind(']').map_or(authority, |at| &authority[at..]);
        after_host.rsplit_once(':').map_or(Some(default_port), |(_, port)| port.parse().ok())
    };
    let hosts = (host_of(one), host_of(other));
    matches!(&hosts, (Some(one), Some(other)) if one == other) && port(one) == port(other)
}

/// Checks what follows the host: nothing, or a colon and a port.
fn check_port(text: &str) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    let digits = text.strip_prefix(':')?;
    let is_port = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    is_port.then_some(())
}

fn ipv6(host: &str) -> Option<Cow<'_, str>> {
    let address: Ipv6Addr = host.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
    let shortest = format!("[{address}]");
    Some(if shortest == host { Cow::Borrowed(host) } else { Cow::Owned(shortest) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::pattern::HostPattern;

    #[test]
    fn a_host_in_lower_case_is_borrowed() {
        for (authority, host) in [
            ("api.example.com", "api.example.com"),
            ("api.example.com:8000", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com.:80", "api.example.com"),
            ("my_service:0080", "my_service"),
            ("a=b!$&'()+;~:80", "a=b!$&'()+;~"),
            ("b%c3%bc.example", "b%c3%bc.example"),
            ("a%3db", "a%3db"),
            ("192.0.2.1:80", "192.0.2.1"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
        ] {
            assert!(matches!(host_of(authority), Some(Cow::Borrowed(found)) if found == host), "{authority}");
        }
    }

    #[test]
    fn another_spelling_of_a_host_is_the_same_host() {
        assert_eq!(host_of("API.Example.COM:8000").unwrap(), "api.example.com");
        assert_eq!(host_of("[2001:DB8:0:0::1]").unwrap(), "[2001:db8::1]");
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out() {
        for (one, other, port) in
            [("a", "a:80", 80), ("A:443", "a", 443), ("[::1]", "[0::1]:80", 80), ("a.", "a", 80)]
        {
            assert!(is_same_authority(one, other, port), "{one} {other}");
        }
        for (one, other) in [("a", "a:8080"), ("a", "b"), ("a:443", "a"), ("a@b", "a@b"), ("", "")] {
            assert!(!is_same_authority(one, other, 80), "{one} {other}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for authority in [
            "",
            ".",
            ":80",
            "a..b",
            ".a",
            "a.b..",
            "user@example.com",
            "user:pw@example.com",
            "a b",
            "a/b",
            "a\\b",
            "a%2eb",
            "a%",
            "a%2",
            "a%zz",
            "a%61",
            "a%2F",
            "a%40",
            "a%00",
            "a%20",
            "a%25",
            "a%2c",
            "a?b",
            "a#b",
            "a\"b",
            "a<b",
            "a|b",
            "a*b",
            "a,b",
            "bücher.example",
            "a:",
            "a:x",
            "a:+80",
            "a:65536",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::g]",
            "[]",
            "[fe80::1%25eth0]",
            "[::1]]",
            "a\r\n",
        ] {
            assert_eq!(host_of(authority), None, "{authority:?}");
        }
        assert_eq!(host_of(&["a"; 128].join(".")), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_and_twice_changes_nothing(authority in r"[\[]?[aA0.:é\]-]{0,12}|.{0,12}") {
            if let Some(host) = host_of(&authority) {
                prop_assert_eq!(host_of(&host), Some(Cow::Borrowed(&*host)));
            }
        }

        #[test]
        fn a_host_pattern_is_in_the_form_of_the_host_it_matches(text in r"[aA.-]{1,6}|\[[12aA:.]{2,9}\]") {
            if let Ok(HostPattern::Exact(host)) = text.parse() {
                prop_assert_eq!(host_of(&text), Some(Cow::Owned(host)));
            }
        }
    }
}
