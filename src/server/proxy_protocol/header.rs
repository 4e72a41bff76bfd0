//! A header of the PROXY protocol, version 1 (a line of text) or 2 (binary).
//!
//! The `ppp` crate parses its content. Here it is decided where the header ends and which client it names.

use std::net::SocketAddr;

use ppp::{v1, v2};

/// How many bytes tell the two versions apart. No header is shorter.
pub(super) const BEGINNING: usize = 12;

/// The length of the fixed part of a binary header, which says how long the rest is.
pub(super) const FIXED: usize = 16;

/// The longest line, with its end.
pub(super) const MAX_LINE: usize = 107;

/// The longest rest of a binary header, which may have more than addresses.
const MAX_REST: usize = 4096;

/// Version 2, and the connection is the proxy's own, such as a health check.
const LOCAL: u8 = 0x20;

/// Which version a header is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// Version 1.
    Line,
    /// Version 2.
    Binary,
}

/// The client that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The client at this address.
    At(SocketAddr),
    /// The proxy itself (`LOCAL`), such as for a health check.
    Proxy,
    /// A client that the proxy does not know: `UNKNOWN`, or an address that is no IP address.
    Unknown,
}

/// A header that is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The version of a header, by its first [`BEGINNING`] bytes.
pub(super) fn beginning(bytes: &[u8]) -> Option<Beginning> {
    match bytes {
        _ if bytes == v2::PROTOCOL_PREFIX => Some(Beginning::Binary),
        _ if bytes.starts_with(b"PROXY ") => Some(Beginning::Line),
        _ => None,
    }
}

/// How many bytes follow the fixed part of a binary header; `None` if they are too many.
pub(super) fn rest(fixed: &[u8]) -> Option<usize> {
    let length = fixed.get(FIXED - 2..FIXED)?;
    Some(usize::from(u16::from_be_bytes([length[0], length[1]]))).filter(|&length| length <= MAX_REST)
}

/// The client that a whole header names.
///
/// # Errors
/// When the bytes are not exactly one header, or it is not for a stream.
pub(super) fn client(header: &[u8]) -> Result<Client, Malformed> {
    if !header.starts_with(v2::PROTOCOL_PREFIX) {
        let parsed = v1::Header::try_from(header).map_err(|_| Malformed)?;
        return match parsed.addresses {
            _ if parsed.header.len() != header.len() => Err(Malformed),
            v1::Addresses::Tcp4(ip) => Ok(Client::At((ip.source_address, ip.source_port).into())),
            v1::Addresses::Tcp6(ip) => Ok(Client::At((ip.source_address, ip.source_port).into())),
            v1::Addresses::Unknown => Ok(Client::Unknown),
        };
    }
    // The addresses of such a header are to be ignored.
    if header.get(BEGINNING) == Some(&LOCAL) {
        return Ok(Client::Proxy);
    }
    let parsed = v2::Header::try_from(header).map_err(|_| Malformed)?;
    match parsed.addresses {
        _ if parsed.header.len() != header.len() || parsed.protocol == v2::Protocol::Datagram => {
            Err(Malformed)
        }
        v2::Addresses::IPv4(ip) => Ok(Client::At((ip.source_address, ip.source_port).into())),
        v2::Addresses::IPv6(ip) => Ok(Client::At((ip.source_address, ip.source_port).into())),
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Ok(Client::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, rest].concat()
    }

    fn at(address: &str) -> Client {
        Client::At(address.parse().unwrap())
    }

    const IPV4: [u8; 12] = [192, 0, 2, 1, 127, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn a_line_names_the_client() {
        for (line, client) in [
            ("PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\n", at("192.0.2.1:4660")),
            ("PROXY TCP6 2001:db8::1 ::1 1 80\r\n", at("[2001:db8::1]:1")),
            ("PROXY UNKNOWN\r\n", Client::Unknown),
            ("PROXY UNKNOWN anything at all\r\n", Client::Unknown),
        ] {
            assert_eq!(super::client(line.as_bytes()), Ok(client), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_quite_right_names_nobody() {
        for line in [
            "PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 4660 80\r\nGET",
            "PROXY TCP4 192.0.2.1 127.0.0.1 4660 80 \r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 4660\r\n",
            "PROXY TCP4  192.0.2.1 127.0.0.1 4660 80\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 65536 80\r\n",
            "PROXY TCP4 192.0.2.1 127.0.0.1 04660 80\r\n",
            "PROXY TCP4 192.0.2.01 127.0.0.1 4660 80\r\n",
            "PROXY TCP4 2001:db8::1 ::1 4660 80\r\n",
            "PROXY TCP6 192.0.2.1 127.0.0.1 4660 80\r\n",
            "PROXY UDP4 192.0.2.1 127.0.0.1 4660 80\r\n",
            "PROXY TCP4 example.com 127.0.0.1 4660 80\r\n",
            "proxy TCP4 192.0.2.1 127.0.0.1 4660 80\r\n",
            "PROXY\r\n",
            "",
        ] {
            assert_eq!(client(line.as_bytes()), Err(Malformed), "{line:?}");
        }
    }

    #[test]
    fn a_binary_header_names_the_client() {
        let named = Ok(at("192.0.2.1:4660"));
        assert_eq!(client(&binary(0x21, 0x11, &IPV4)), named);
        let with_more = [&IPV4[..], &[4, 0, 1, 0]].concat();
        assert_eq!(client(&binary(0x21, 0x11, &with_more)), named);
        let ipv6 = [[0x20; 16], [0x30; 16]].concat();
        let ipv6 = binary(0x21, 0x21, &[&ipv6[..], &[0, 1, 0, 80]].concat());
        assert_eq!(client(&ipv6), Ok(at("[2020:2020:2020:2020:2020:2020:2020:2020]:1")));
        for local in [binary(0x20, 0, &[]), binary(0x20, 0x11, &IPV4), binary(0x20, 0xff, &[])] {
            assert_eq!(client(&local), Ok(Client::Proxy), "{local:?}");
        }
        for unknown in [binary(0x21, 0, &[]), binary(0x21, 0x31, &[0; 216])] {
            assert_eq!(client(&unknown), Ok(Client::Unknown), "{unknown:?}");
        }
    }

    #[test]
    fn a_binary_header_that_is_not_quite_right_names_nobody() {
        for header in [
            binary(0x11, 0x11, &IPV4),
            binary(0x22, 0x11, &IPV4),
            binary(0x21, 0x12, &IPV4),
            binary(0x21, 0x41, &IPV4),
            binary(0x21, 0x13, &IPV4),
            binary(0x21, 0x11, &IPV4[..11]),
            binary(0x21, 0x21, &IPV4),
            [&binary(0x21, 0x11, &IPV4)[..], b"G"].concat(),
            binary(0x21, 0x11, &IPV4)[..27].to_vec(),
            v2::PROTOCOL_PREFIX.to_vec(),
        ] {
            assert_eq!(client(&header), Err(Malformed), "{header:?}");
        }
        assert_eq!(rest(&binary(0x21, 0, &[0; MAX_REST])), Some(MAX_REST));
        assert_eq!(rest(&binary(0x21, 0, &[0; MAX_REST + 1])), None);
    }

    #[test]
    fn the_versions_are_told_apart() {
        assert_eq!(beginning(b"PROXY UNKNOW"), Some(Beginning::Line));
        assert_eq!(beginning(v2::PROTOCOL_PREFIX), Some(Beginning::Binary));
        assert_eq!(beginning(b"GET / HTTP/1"), None);
        assert_eq!(v2::PROTOCOL_PREFIX.len(), BEGINNING);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = (client(&bytes), rest(&bytes), beginning(&bytes));
            let _ = client(&[b"PROXY TCP4 ", &bytes[..]].concat());
            let _ = client(&binary(0x21, bytes.first().copied().unwrap_or(0), &bytes));
        }

        #[test]
        fn what_is_written_is_read(ip: std::net::IpAddr, port: u16) {
            let family = if ip.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {ip} {ip} {port} 80\r\n");
            prop_assert!(line.len() <= MAX_LINE);
            prop_assert_eq!(client(line.as_bytes()), Ok(Client::At(SocketAddr::new(ip, port))));
        }
    }
}
