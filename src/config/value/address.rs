//! Addresses of listeners, servers and networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::super::ServerAddress;
use super::super::listener::Address;
use super::super::problem::{Fault, quoted};

/// What matches an address to listen on, another place where clients connect, the address of a server, and a network.
pub(in super::super) const LISTEN: &str = "([0-9.]+|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5}";
pub(in super::super) const PLACE: &str = "unix:/([^/].*)?|systemd(:[^:]+)?";
pub(in super::super) const SERVER: &str =
    "unix:/([^/].*)?|([A-Za-z0-9_.-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]*[1-9][0-9]*";
pub(in super::super) const NETWORK: &str = "[0-9A-Fa-f:.]+(/[0-9]{1,3})?";

/// Parses an address to listen on: `0.0.0.0:8000`, `[::]:8000`.
pub(in super::super) fn listen(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        let fault = Fault::new(format!("{} is not an address to listen on", quoted(text)));
        match meant_listen(text) {
            Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
            None => fault.hint("write an IP address and a port, such as \"0.0.0.0:8000\" or \"[::]:8000\""),
        }
    })
}

/// Parses where clients connect: an address to listen on, `unix:/run/gateway.sock`, `systemd` or `systemd:NAME`.
pub(in super::super) fn place(text: &str) -> Result<Address, Fault> {
    let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    match (kind, rest) {
        ("systemd", None) => Ok(Address::Systemd(None)),
        ("systemd", Some(name)) if !name.is_empty() && !name.contains(':') => {
            Ok(Address::Systemd(Some(name.to_owned())))
        }
        ("systemd", Some(_)) => Err(Fault::new(format!("{} names no socket of systemd", quoted(text)))
            .hint("write \"systemd\", or the FileDescriptorName= of a socket behind it: \"systemd:https\"")),
        ("unix", path) => socket(path.unwrap_or_default()).map(|path| Address::Unix(PathBuf::from(path))),
        _ => listen(text).map(Address::Ip),
    }
}

fn meant_listen(text: &str) -> Option<SocketAddr> {
    let text = without_url(text).unwrap_or(text);
    let with_port = match split_port(text) {
        Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some((host, port)) => format!("[{host}]:{port}"),
        None => format!("0.0.0.0:{text}"),
    };
    let lone = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 8000));
    text.parse().or_else(|_| with_port.parse()).ok().or_else(lone)
}

/// The host and port of `host:port`, if the port is a number.
fn split_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits.then_some((host, port.parse().ok()?))
}

/// `host:port` of an `http://host:port/path`.
fn without_url(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

/// The longest path of a socket: its address has 108 bytes, of which the last is zero.
const LONGEST_PATH: usize = 107;

/// Parses the address of a server: a name or an IP address, and a port; or `unix:` and the path of a socket.
pub(in super::super) fn server(text: &str) -> Result<ServerAddress, Fault> {
    match text.strip_prefix("unix:") {
        Some(path) => socket(path).map(|path| ServerAddress::Socket(path.into())),
        None => host_and_port(text).map(|(host, port)| ServerAddress::Network { host, port }),
    }
}

/// The path of a socket. It is absolute, so that it does not depend on the working directory.
fn socket(path: &str) -> Result<&str, Fault> {
    let text = format!("unix:{path}");
    let fault = Fault::new(format!("{} is not the address of a socket", quoted(&text)));
    match path {
        _ if path.starts_with("//") => {
            let meant = format!("unix:/{}", path.trim_start_matches('/'));
            Err(fault.hint(format!("write {}", quoted(&meant))))
        }
        _ if !path.starts_with('/') => {
            Err(fault.hint("its path begins with a slash, such as \"unix:/run/app.sock\""))
        }
        _ if path.contains('\0') => Err(fault.hint("no path has a zero in it")),
        _ if path.len() > LONGEST_PATH => Err(fault
            .hint(format!("the path of a socket has {LONGEST_PATH} bytes at most, this one {}", path.len()))),
        _ => Ok(path),
    }
}

/// A name or an IP address, and a port. An IPv6 address loses its brackets, a name becomes lower case.
fn host_and_port(text: &str) -> Result<(String, u16), Fault> {
    const EXAMPLES: &str =
        "write a host and a port, such as \"127.0.0.1:9000\", \"users.internal:80\" or \"[::1]:9000\"";
    let fault = || Fault::new(format!("{} is not the address of a server", quoted(text)));
    if let Some(authority) = without_url(text) {
        let default_port = if text.starts_with("https") { 443 } else { 80 };
        let meant = match host_and_port(authority) {
            Ok(_) => authority.to_owned(),
            Err(_) => format!("{authority}:{default_port}"),
        };
        let fault = Fault::new(format!("{} is a URL, and an upstream's server is not", quoted(text)));
        return Err(match host_and_port(&meant) {
            Ok(_) => fault.hint(format!("write {}", quoted(&meant))),
            Err(_) => fault.hint(EXAMPLES),
        });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) => (host, port),
        Some((host, _)) if host.parse::<Ipv6Addr>().is_ok() => {
            return Err(fault().hint("an IPv6 address needs brackets, such as \"[::1]:9000\""));
        }
        _ if is_host(text) => {
            return Err(fault().hint(format!("it needs a port, such as {}", quoted(&format!("{text}:80")))));
        }
        _ => return Err(fault().hint(EXAMPLES)),
    };
    match port.parse::<u16>() {
        Ok(0) => Err(Fault::new(format!("{} has the port 0, where nothing can be reached", quoted(text)))
            .hint("a port is a number from 1 to 65535")),
        Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            // An IP address is kept in one form, so that the same server always has the same address.
            let host = host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string());
            Ok((host, number))
        }
        _ => Err(fault().hint("a port is a number from 1 to 65535")),
    }
}

/// Whether this is an IPv4 address, an IPv6 address in brackets, or the name of a host.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse::<Ipv4Addr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label) && !numeric)
}

/// Parses a network: `10.0.0.0/8`, or a lone address.
pub(in super::super) fn network(text: &str) -> Result<IpNet, Fault> {
    let parsed = match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok(),
    };
    let Some(network) = parsed else {
        return Err(Fault::new(format!("{} is not a network", quoted(text))).hint(
            "write an address and the length of its prefix, such as \"10.0.0.0/8\", or a lone address",
        ));
    };
    if network.addr() != network.network() {
        return Err(Fault::new(format!(
            "{} has bits set beyond its prefix of {}",
            quoted(text),
            network.prefix_len()
        ))
        .hint(format!(
            "the network is \"{}\", this address alone \"{}\"",
            network.trunc(),
            network.addr()
        )));
    }
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && v6.prefix_len() >= 96
    {
        return Err(Fault::new(format!("{} is an IPv4 network in IPv6 clothes", quoted(text)))
            .hint(format!("write \"{v4}/{}\"", v6.prefix_len() - 96)));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn hint<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
        result.unwrap_err().hint.unwrap().into_owned()
    }

    #[test]
    fn addresses_to_listen_on() {
        for text in ["0.0.0.0:8000", "[::]:8000", "127.0.0.1:0"] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        for (text, meant) in [
            ("8000", "0.0.0.0:8000"),
            (":8000", "0.0.0.0:8000"),
            ("*:8000", "0.0.0.0:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
            ("127.0.0.1", "127.0.0.1:8000"),
            (":::8000", "[::]:8000"),
            ("::1", "[::1]:8000"),
            ("http://127.0.0.1:80/", "127.0.0.1:80"),
        ] {
            assert_eq!(hint(listen(text)), format!("did you mean \"{meant}\"?"), "{text}");
        }
        for text in ["", "example.org:80", "1.2.3.4:99999", "[::1]", "unix:/run/x"] {
            assert!(hint(listen(text)).contains("\"[::]:8000\""), "{text}");
        }
    }

    #[test]
    fn places() {
        for text in ["0.0.0.0:8000", "unix:/run/gateway/http.sock", "systemd", "systemd:https"] {
            assert_eq!(place(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "a".repeat(107));
        for (text, part) in [
            ("unix:", "begins with a slash"),
            ("unix:run/x", "begins with a slash"),
            ("unix", "begins with a slash"),
            (&*long, "107 bytes"),
            ("systemd:", "FileDescriptorName"),
            ("8000", "0.0.0.0:8000"),
        ] {
            assert!(hint(place(text)).contains(part), "{text}: {}", hint(place(text)));
        }
    }

    #[test]
    fn servers() {
        for (text, host, port) in [
            ("127.0.0.1:9000", "127.0.0.1", 9000),
            ("Users.Internal:80", "users.internal", 80),
            ("my_service:80", "my_service", 80),
            ("[0:0::1]:9000", "::1", 9000),
            ("a.example.:1", "a.example.", 1),
        ] {
            let address = ServerAddress::Network { host: host.to_owned(), port };
            assert_eq!(server(text), Ok(address), "{text}");
        }
        for (text, part) in [
            ("http://x:80", "write \"x:80\""),
            ("https://x/y", "write \"x:443\""),
            ("x", "\"x:80\""),
            ("::1:9000", "brackets"),
            ("x:0", "1 to 65535"),
            ("x:99999", "1 to 65535"),
            ("x:+80", "1 to 65535"),
            ("x:", "1 to 65535"),
            ("", "such as"),
            (":80", "such as"),
            ("x:80/path", "1 to 65535"),
            ("a b:80", "such as"),
            ("300.1.1.1:80", "such as"),
            ("-x:80", "such as"),
            ("unix:", "begins with a slash"),
            ("unix:app.sock", "begins with a slash"),
            ("unix:///run/app.sock", "write \"unix:/run/app.sock\""),
            ("unix:/a\0b", "zero"),
        ] {
            assert!(hint(server(text)).contains(part), "{text}: {}", hint(server(text)));
        }
    }

    #[test]
    fn sockets() {
        assert_eq!(server("unix:/run/app.sock"), Ok(ServerAddress::Socket("/run/app.sock".into())));
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(server(&path(LONGEST_PATH)).is_ok());
        assert!(hint(server(&path(LONGEST_PATH + 1))).contains("107 bytes at most, this one 108"));
    }

    #[test]
    fn networks() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(super::network(text).unwrap().to_string(), network);
        }
        assert!(hint(network("10.1.2.3/8")).contains("\"10.0.0.0/8\""));
        assert!(hint(network("::ffff:10.0.0.0/104")).contains("\"10.0.0.0/8\""));
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "localhost", "10/8"] {
            assert!(hint(network(text)).contains("\"10.0.0.0/8\""), "{text}");
        }
    }
}
