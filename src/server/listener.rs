//! The listeners of a configuration: bound before anything is served, so that a port in use is an error at once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use log::warn;

use super::listening_socket::{ListeningSocket, bind, bind_unix};
use super::socket_activation::PassedSockets;
use super::start_error::StartError;
use crate::config::{self, Address};

/// A bound listening socket.
pub(super) struct Listener {
    pub(super) socket: ListeningSocket,
    pub(super) address: Address,
    configured: config::Listener,
}

impl Listener {
    /// A listener with a socket that is bound already.
    fn of(configured: &config::Listener, socket: io::Result<ListeningSocket>) -> Result<Self, StartError> {
        let made = || {
            let socket = socket?;
            socket.set_nonblocking()?;
            Ok(Self { address: socket.address()?, socket, configured: configured.clone() })
        };
        made().map_err(|error| StartError::Listen(configured.address.clone(), error))
    }

    /// The address it is bound to, with the port that the system chose if the configuration left it open.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Its entry in the configuration.
    pub(super) fn configured(&self) -> &config::Listener {
        &self.configured
    }

    /// Another descriptor of the socket, to be passed to another process.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

/// Opens all configured `listeners`, or none: with sockets that are `inherited` or passed by the service manager, and binds the others.
pub(super) fn open_all(
    listeners: &[config::Listener],
    mut inherited: impl FnMut(&config::Listener) -> Vec<OwnedFd>,
) -> Result<Vec<Listener>, StartError> {
    let mut passed = PassedSockets::from_environment();
    let mut opened = Vec::new();
    // The listener without a name takes all sockets that are left, so it comes last.
    let nameless = |listener: &&config::Listener| listener.address == Address::Systemd(None);
    let (last, first): (Vec<_>, Vec<_>) = listeners.iter().partition(nameless);
    for listener in first.into_iter().chain(last) {
        let given = inherited(listener);
        if !given.is_empty() {
            for socket in given {
                opened.push(Listener::of(listener, ListeningSocket::from_another(socket))?);
            }
            continue;
        }
        match &listener.address {
            Address::Systemd(name) => {
                let sockets = passed.take(name.as_deref());
                if sockets.is_empty() {
                    let error =
                        io::Error::other("the service manager has passed no such socket (LISTEN_FDS)");
                    return Err(StartError::Listen(listener.address.clone(), error));
                }
                for socket in sockets {
                    opened.push(Listener::of(listener, Ok(socket))?);
                }
            }
            _ => opened.push(bind_one(listener, listeners)?),
        }
    }
    if passed.len() > 0 {
        warn!("the service manager has passed {} sockets that `listen` does not name", passed.len());
    }
    Ok(opened)
}

/// Binds those of the configured `listeners` that are `wanted`: all of them, or none.
pub(super) fn bind_all(
    listeners: &[config::Listener],
    wanted: impl Fn(&config::Listener) -> bool,
) -> Result<Vec<Listener>, StartError> {
    let wanted = listeners.iter().filter(|listener| wanted(listener));
    wanted.map(|listener| bind_one(listener, listeners)).collect()
}

/// Binds one of several listeners.
fn bind_one(listener: &config::Listener, all: &[config::Listener]) -> Result<Listener, StartError> {
    let socket = match &listener.address {
        Address::Ip(address) => {
            // An IPv6 socket takes IPv4 clients too, unless those have a socket of their own.
            let is_other = |other: SocketAddr| other.is_ipv4() && other.port() == address.port();
            let has_ipv4 = all.iter().filter_map(|other| other.address.ip()).any(is_other);
            bind(*address, has_ipv4).map(ListeningSocket::Tcp)
        }
        Address::Unix(path) => bind_unix(path, listener.mode).map(ListeningSocket::Unix),
        Address::Systemd(_) => {
            Err(io::Error::other("sockets are passed at the start alone: restart it for that"))
        }
    };
    Listener::of(listener, socket)
}
