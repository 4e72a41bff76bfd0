//! Listening sockets: bound before anything is served, so that a port in use is an error at once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Serving;
use super::workers::Dealer;
use super::{StartError, until_draining};
use crate::config;
use crate::quiet::Quiet;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listening socket.
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    configured: config::Listener,
}

impl Listener {
    /// The address it is bound to, with the port that the system chose if the configuration left it open.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the configuration says of it.
    pub(super) fn configured(&self) -> config::Listener {
        self.configured
    }

    /// The same socket again, to be given away.
    pub(super) fn try_clone(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }

    /// The socket, non-blocking.
    pub(super) fn into_std(self) -> TcpListener {
        self.socket
    }
}

/// A socket that another process has bound before.
pub(super) fn inherit(configured: config::Listener, socket: TcpListener) -> Result<Listener, StartError> {
    let address = || {
        socket.set_nonblocking(true)?;
        socket.local_addr()
    };
    let address = address().map_err(|error| StartError::Listen(configured.address, error))?;
    Ok(Listener { socket, address, configured })
}

/// Opens all configured `listeners`, those that are `inherited` and the others anew, or none.
pub(super) fn open_all(
    listeners: &[config::Listener],
    mut inherited: impl FnMut(&config::Listener) -> Option<TcpListener>,
) -> Result<Vec<Listener>, StartError> {
    let open = |listener: &config::Listener| match inherited(listener) {
        Some(socket) => inherit(*listener, socket),
        None => bind_one(*listener, listeners),
    };
    listeners.iter().map(open).collect()
}

/// Binds those of the configured `listeners` that are `wanted`: all of them, or none.
pub(super) fn bind_all(
    listeners: &[config::Listener],
    wanted: impl Fn(&config::Listener) -> bool,
) -> Result<Vec<Listener>, StartError> {
    let wanted = listeners.iter().filter(|listener| wanted(listener));
    wanted.map(|listener| bind_one(*listener, listeners)).collect()
}

/// Binds one of several listeners.
fn bind_one(listener: config::Listener, all: &[config::Listener]) -> Result<Listener, StartError> {
    // An IPv6 socket takes IPv4 clients too, unless those have a socket of their own.
    let port = listener.address.port();
    let has_ipv4 = all.iter().any(|other| other.address.is_ipv4() && other.address.port() == port);
    bind(listener, has_ipv4)
}

/// Binds one address.
pub(super) fn bind(configured: config::Listener, only_ipv6: bool) -> Result<Listener, StartError> {
    let address = configured.address;
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(only_ipv6)?;
        }
        // Connections of a former process that still linger are no reason not to start.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let address = socket.local_addr()?;
        Ok(Listener { socket, address, configured })
    };
    bound().map_err(|error| StartError::Listen(address, error))
}

/// Accepts connections and deals them out, until the listener drains. Those that are waiting then still count.
pub(super) async fn accept(
    listener: Listener,
    serving: Arc<Serving>,
    workers: Dealer,
    alive: mpsc::Sender<()>,
) {
    let deal = |(socket, peer): (TcpStream, SocketAddr)| {
        let Some((entry, seat)) = serving.doorman.receive(&socket, peer, &serving) else { return };
        let (serving, alive) = (serving.clone(), alive.clone());
        // It was registered with this thread's runtime; the worker's is to wake it. A socket that cannot be
        // moved is as good as closed.
        let Ok(socket) = socket.into_std() else { return };
        workers.spawn(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                tokio::select! {
                    biased;
                    () = serving.serve(socket, peer, &seat) => {}
                    // It waits for a request, and makes room for another.
                    () = seat.closed() => {}
                }
            }
            drop((entry, seat));
            drop(alive);
        });
    };
    let socket = match tokio::net::TcpListener::from_std(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return warn!("{} cannot be served: {error}", listener.address),
    };
    let quiet = Quiet::default();
    let drained = until_draining(serving.draining.clone());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    deal(accepted);
                    serving.doorman.settle().await;
                }
                Err(error) => pause_after(&error, listener.address, &quiet, &serving).await,
            },
        }
    }
    loop {
        tokio::select! {
            biased;
            Ok(accepted) = socket.accept() => deal(accepted),
            () = std::future::ready(()) => return,
        }
    }
}

/// A connection that was gone before it was accepted is nothing; anything else will not pass at once.
async fn pause_after(error: &io::Error, address: SocketAddr, quiet: &Quiet, serving: &Serving) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        if quiet.is_over(&serving.gateway) {
            warn!(
                "{address} accepts no connections for a moment: {error}; for a minute, this is not told again"
            );
        }
        sleep(PAUSE).await;
    }
}
