//! What the formats have in common: the parts of a request from their text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::unreadable::Unreadable;
use crate::client::ClientId;

/// The longest method that is read. The longest of those that are registered has 17 bytes.
const LONGEST_METHOD: usize = 64;

/// Who sent it: an address, or else the name.
pub(super) fn client(text: &[u8]) -> Result<ClientId, Unreadable> {
    if let Some(address) = ipv4(text) {
        return Ok(ClientId::Address(address.into()));
    }
    if text.is_empty() {
        return Err(Unreadable::Missing("a client"));
    }
    let name = String::from_utf8_lossy(text);
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    let address =
        bare.parse::<IpAddr>().ok().or_else(|| name.parse::<SocketAddr>().ok().map(|address| address.ip()));
    Ok(address.map_or_else(
        || ClientId::Opaque(name.into_owned()),
        |address| ClientId::Address(address.to_canonical()),
    ))
}

/// An IPv4 address as it is mostly written. `None` means that something else has to look at it.
fn ipv4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut place = 0;
    let mut digits = 0;
    for &byte in text {
        if byte == b'.' {
            if digits == 0 {
                return None;
            }
            (place, digits) = (place + 1, 0);
        } else {
            let octet = octets
                .get_mut(place)
                .filter(|octet| byte.is_ascii_digit() && (digits == 0 || **octet > 0))?;
            *octet = octet.checked_mul(10)?.checked_add(byte - b'0')?;
            digits += 1;
        }
    }
    (place == 3 && digits > 0).then(|| octets.into())
}

pub(super) fn method(text: &[u8]) -> Result<Method, Unreadable> {
    let text = text.get(..=LONGEST_METHOD).map_or(Ok(text), |_| Err(Unreadable::OutOfRange("the method")))?;
    Method::from_bytes(text).map_err(|_| Unreadable::Malformed("the method"))
}

/// Path and query, if there is nothing in them that ends a request target.
pub(super) fn target(text: &[u8]) -> Result<&[u8], Unreadable> {
    let is_free_of_them = text.iter().fold(true, |free, byte| free & (*byte > b' ') & (*byte != 0x7f));
    if text.is_empty() || !is_free_of_them {
        return Err(Unreadable::Malformed("the path"));
    }
    Ok(text)
}

pub(super) fn version(text: &[u8]) -> Result<Version, Unreadable> {
    Ok(match text {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2.0" | b"HTTP/2" => Version::HTTP_2,
        b"HTTP/3.0" | b"HTTP/3" => Version::HTTP_3,
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/0.9" => Version::HTTP_09,
        _ => return Err(Unreadable::Malformed("the version of HTTP")),
    })
}

/// A status; `None` for the 0 that servers log if they sent no answer.
pub(super) fn status(number: u64) -> Result<Option<StatusCode>, Unreadable> {
    const OUT_OF_RANGE: Unreadable = Unreadable::OutOfRange("the status");
    match number {
        0 => Ok(None),
        100..=599 => u16::try_from(number)
            .ok()
            .and_then(|number| StatusCode::from_u16(number).ok())
            .map_or(Err(OUT_OF_RANGE), |status| Ok(Some(status))),
        _ => Err(OUT_OF_RANGE),
    }
}

/// A duration that is so many times as long as `unit`.
pub(super) fn duration(number: f64, unit: Duration) -> Result<Duration, Unreadable> {
    // Rounded, because a decimal fraction is seldom exact.
    let nanoseconds = (number * unit.as_nanos() as f64).round();
    match nanoseconds {
        // Up to what 63 bits hold. `as` is exact enough: the number has been rounded.
        0.0..9.2e18 => Ok(Duration::from_nanos(nanoseconds as u64)),
        _ => Err(Unreadable::OutOfRange("the duration")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clients() {
        let address = |text: &str| Ok(ClientId::Address(text.parse().unwrap()));
        let opaque = |text: &str| Ok(ClientId::Opaque(text.to_owned()));
        for (text, expected) in [
            (&b"192.0.2.1"[..], address("192.0.2.1")),
            (b"0.10.255.0", address("0.10.255.0")),
            (b"192.0.2.1:8080", address("192.0.2.1")),
            (b"2001:db8::1", address("2001:db8::1")),
            (b"[2001:db8::1]", address("2001:db8::1")),
            (b"[2001:db8::1]:80", address("2001:db8::1")),
            (b"::ffff:192.0.2.1", address("192.0.2.1")),
            (b"192.0.2.01", opaque("192.0.2.01")),
            (b"192.0.2.256", opaque("192.0.2.256")),
            (b"192.0.2", opaque("192.0.2")),
            (b"host.example", opaque("host.example")),
            (b"-", opaque("-")),
            (b"\xff", opaque("\u{fffd}")),
            (b"", Err(Unreadable::Missing("a client"))),
        ] {
            assert_eq!(client(text), expected, "{text:?}");
        }
    }

    #[test]
    fn methods() {
        for (text, is_read) in [
            (&b"GET"[..], true),
            (b"get", true),
            (b"M-SEARCH", true),
            (&[b'A'; LONGEST_METHOD], true),
            (&[b'A'; LONGEST_METHOD + 1], false),
            (&[b'A'; 1_000_000], false),
            (b"", false),
            (b"G T", false),
            (b"\x16\x03", false),
        ] {
            assert_eq!(method(text).is_ok(), is_read, "{text:?}");
        }
    }

    #[test]
    fn targets() {
        for (text, is_read) in [
            (&b"/"[..], true),
            (b"*", true),
            (b"http://a.example/b?c", true),
            (b"/\xc3\xa9", true),
            (b"", false),
            (b"/a b", false),
            (b"/\n", false),
            (b"/\0", false),
            (b"/\x7f", false),
        ] {
            assert_eq!(target(text).is_ok(), is_read, "{text:?}");
        }
    }

    #[test]
    fn statuses() {
        const OUT_OF_RANGE: Result<Option<u16>, Unreadable> = Err(Unreadable::OutOfRange("the status"));
        for (number, expected) in [
            (0, Ok(None)),
            (99, OUT_OF_RANGE),
            (100, Ok(Some(100))),
            (499, Ok(Some(499))),
            (600, OUT_OF_RANGE),
            (999, OUT_OF_RANGE),
            (u64::MAX, OUT_OF_RANGE),
        ] {
            assert_eq!(
                status(number).map(|status| status.map(|status| status.as_u16())),
                expected,
                "{number}"
            );
        }
    }

    #[test]
    fn durations() {
        let second = |number| duration(number, Duration::from_secs(1)).ok();
        assert_eq!(second(0.1), Some(Duration::from_millis(100)));
        assert_eq!(second(0.000_929_675), Some(Duration::from_nanos(929_675)));
        for number in [-1.0, 1e10, f64::NAN, f64::INFINITY] {
            assert_eq!(second(number), None);
        }
    }

    proptest! {
        #[test]
        fn addresses_are_read_as_the_standard_library_reads_them(text in "[0-9]{0,3}\\.[0-9]{0,3}\\.[0-9.]{0,7}") {
            let address = text.parse::<Ipv4Addr>().ok();
            prop_assert_eq!(ipv4(text.as_bytes()), address, "{}", text);
        }
    }
}
