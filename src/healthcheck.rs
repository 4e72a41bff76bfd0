//! `gateway healthcheck`: asks the running gateway whether it lives, or is ready, for containers without curl.
//!
//! The running process says itself where its side port is. The file says it only if there is no such process to ask, and is
//! not checked: a gateway that has rightly refused to load a broken file is well, and replacing it by one that would have to
//! start with that file is the worst that could be done.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::config::admin_listen;
use crate::server::side_port;

const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const MOST: u64 = 64 * 1024;

/// Asks the gateway that runs with the configuration at `path` whether it lives, or whether it is ready.
///
/// # Errors
/// Says why not, or why it could not be asked.
pub fn ask(path: &Path, ready: bool) -> Result<(), String> {
    let listener = match side_port(path) {
        Ok(Some(listener)) => listener,
        // It has answered, so it lives; more cannot be asked.
        Ok(None) if !ready => return Ok(()),
        Ok(None) => return Err("nobody can be asked whether it is ready: admin.listen is \"off\"".to_owned()),
        Err(_) => match admin_listen(path)? {
            Some(listener) => listener,
            None => {
                return Err("no gateway runs with this configuration, and admin.listen is \"off\"".to_owned());
            }
        },
    };
    let (address, what) = (reachable(listener), if ready { "ready" } else { "health" });
    let answer =
        get(address, what).map_err(|error| format!("no answer from http://{address}/{what}: {error}"))?;
    match answer.split_once("\r\n\r\n") {
        Some((head, _)) if head.starts_with("HTTP/1.1 200 ") => Ok(()),
        Some((_, body)) if ready && !body.is_empty() => Err(format!("not ready: {}", body.trim())),
        _ => Err(format!("http://{address}/{what} is not answered as the side port answers it")),
    }
}

/// An address at which a listener can be reached from here.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}

fn get(address: SocketAddr, what: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    write!(socket, "GET /{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listener, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("192.0.2.1:3", "192.0.2.1:3")]
        {
            assert_eq!(reachable(listener.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
