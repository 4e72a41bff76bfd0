//! The PROXY protocol on a listener: a proxy in front names the client at the beginning of each connection.
//!
//! Exactly the bytes of the header are read, so that a TLS handshake or a request after it is still in the socket. Connections that are not
//! from trusted proxies have been reset before, and the header has to arrive within `header_timeout`.

mod header;

use std::io;
use std::net::SocketAddr;

use log::info;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;

use self::header::{Beginning, Client, MAX_LINE};
use super::connection::Serving;
use super::drain::until_draining;
use crate::engine::Peer;
use crate::metrics::ProxyProtocolError;

impl Serving {
    /// The client that a trusted proxy names. `None` if the header cannot be read, which is counted.
    pub(super) async fn proxied_client(&self, socket: &mut TcpStream, peer: SocketAddr) -> Option<Peer> {
        let patience = self.gateway.active().config().server.header_timeout;
        let error = tokio::select! {
            biased;
            read = read(socket) => match read {
                Ok(header) => match header::client(&header) {
                    Ok(Client::At(address)) => return Some(Peer::at(address)),
                    Ok(Client::Proxy) => return Some(Peer::at(peer)),
                    Ok(Client::Unknown) => return Some(Peer::unknown_behind(peer)),
                    Err(header::Malformed) => ProxyProtocolError::Malformed,
                },
                Err(error) if error.kind() == io::ErrorKind::InvalidData => ProxyProtocolError::Malformed,
                Err(_) => ProxyProtocolError::Closed,
            },
            () = sleep(patience) => ProxyProtocolError::Timeout,
            () = until_draining(self.draining.clone()) => return None,
        };
        self.count_proxy_protocol_error(error, peer);
        None
    }

    /// Counts a connection without a valid header of a trusted proxy, and logs it now and then.
    pub(super) fn count_proxy_protocol_error(&self, error: ProxyProtocolError, peer: SocketAddr) {
        self.metrics.count_proxy_protocol_error(error);
        if self.proxy_error_log.may_log(&self.gateway) {
            info!(
                "a connection of {peer} was closed, its PROXY header: {}; for a minute, others are only counted",
                error.label()
            );
        }
    }
}

/// Reads a header, and no byte more.
async fn read(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; header::BEGINNING];
    socket.read_exact(&mut bytes).await?;
    match header::beginning(&bytes) {
        Some(Beginning::Binary) => {
            let at = bytes.len();
            bytes.resize(header::FIXED, 0);
            socket.read_exact(&mut bytes[at..]).await?;
            let length = header::rest(&bytes).ok_or(io::ErrorKind::InvalidData)?;
            bytes.resize(header::FIXED + length, 0);
            socket.read_exact(&mut bytes[header::FIXED..]).await?;
        }
        Some(Beginning::Line) => {
            while !bytes.ends_with(b"\n") {
                let mut ahead = [0; MAX_LINE];
                let space = MAX_LINE - bytes.len();
                if space == 0 {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                // The bytes are only peeked at first, since those after the line must stay in the socket.
                let seen = socket.peek(&mut ahead[..space]).await?;
                if seen == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let of_line = memchr::memchr(b'\n', &ahead[..seen]).map_or(seen, |at| at + 1);
                socket.read_exact(&mut ahead[..of_line]).await?;
                bytes.extend_from_slice(&ahead[..of_line]);
            }
        }
        None => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(bytes)
}

/// Parses any bytes as a header, for the fuzz targets.
#[cfg(any(fuzzing, test))]
pub(super) fn any_bytes(bytes: &[u8]) {
    let _ = (header::beginning(bytes), header::rest(bytes), header::client(bytes));
}
