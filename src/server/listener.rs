//! Listening sockets: bound before anything is served, so that a port in use is an error at once.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use socket2::{Domain, Protocol, SockAddr, SockRef, Type};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Serving;
use super::socket_activation::PassedSockets;
use super::workers::Dispatcher;
use super::{StartError, until_draining};
use crate::config::{self, Address};
use crate::log_throttle::LogThrottle;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Socket {
    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Ip),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                // One of systemd may be in the abstract namespace, and has no path.
                Ok(Address::Unix(address.as_pathname().map_or_else(PathBuf::new, Path::to_owned)))
            }
        }
    }

    /// The same socket again, to be given away.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Into::into),
            Self::Unix(socket) => socket.try_clone().map(Into::into),
        }
    }

    /// One that another process has given.
    fn from_another(socket: OwnedFd) -> io::Result<Self> {
        match SockRef::from(&socket).domain()? {
            Domain::UNIX => Ok(Self::Unix(socket.into())),
            _ => Ok(Self::Tcp(socket.into())),
        }
    }
}

/// A bound listening socket.
pub(super) struct Listener {
    socket: Socket,
    address: Address,
    configured: config::Listener,
}

impl Listener {
    /// One that is bound already.
    fn of(configured: &config::Listener, socket: io::Result<Socket>) -> Result<Self, StartError> {
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

    /// What the configuration says of it.
    pub(super) fn configured(&self) -> &config::Listener {
        &self.configured
    }

    /// The same socket again, to be given away.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }
}

/// Opens all configured `listeners`, those that are `inherited` or passed by the service manager and the others anew, or none.
pub(super) fn open_all(
    listeners: &[config::Listener],
    mut inherited: impl FnMut(&config::Listener) -> Vec<OwnedFd>,
) -> Result<Vec<Listener>, StartError> {
    let mut passed = PassedSockets::from_environment();
    let mut opened = Vec::new();
    // Those with names first: what is left is for the one without.
    let nameless = |listener: &&config::Listener| listener.address == Address::Systemd(None);
    let (last, first): (Vec<_>, Vec<_>) = listeners.iter().partition(nameless);
    for listener in first.into_iter().chain(last) {
        let given = inherited(listener);
        if !given.is_empty() {
            for socket in given {
                opened.push(Listener::of(listener, Socket::from_another(socket))?);
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
            bind(*address, has_ipv4).map(Socket::Tcp)
        }
        Address::Unix(path) => bind_unix(path, listener.mode).map(Socket::Unix),
        Address::Systemd(_) => {
            Err(io::Error::other("sockets are passed at the start alone: restart it for that"))
        }
    };
    Listener::of(listener, socket)
}

/// Binds one address.
pub(super) fn bind(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_ipv6)?;
    }
    // Connections of a former process that still linger are no reason not to start.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Binds a Unix socket, in place of one at which nobody listens any more.
fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket());
    let nobody = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(nobody) {
        fs::remove_file(path)?;
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        // Before anybody can connect.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}

/// A listening socket that accepts.
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(socket: Socket) -> io::Result<Self> {
        match socket {
            Socket::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(Self::Tcp),
            Socket::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// The next connection: a stream of bytes with a descriptor, and whom it is from. One through a Unix socket is from this
    /// machine.
    async fn accept(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // It was registered with this thread's runtime; the worker's is to wake it.
                Ok((stream.into_std()?, peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // What is done with a connection is the same for both: the type stands for any connected socket, and what
                // only TCP has is not asked of this one.
                Ok((OwnedFd::from(stream.into_std()?).into(), LOCAL))
            }
        }
    }
}

/// Whom a connection through a Unix socket is from.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Accepts connections and deals them out, until the listener drains. Those that are waiting then still count.
pub(super) async fn accept(
    listener: Listener,
    serving: Arc<Serving>,
    workers: Dispatcher,
    alive: mpsc::Sender<()>,
) {
    let deal = |(socket, peer): (std::net::TcpStream, SocketAddr)| {
        let Some((entry, registration)) = serving.connection_limit.admit_accepted(&socket, peer, &serving)
        else {
            return;
        };
        let (serving, alive) = (serving.clone(), alive.clone());
        workers.spawn(async move {
            if let Ok(socket) = TcpStream::from_std(socket) {
                tokio::select! {
                    biased;
                    () = serving.serve(socket, peer, &registration) => {}
                    // It waits for a request, and makes room for another.
                    () = registration.evicted() => {}
                }
            }
            drop((entry, registration));
            drop(alive);
        });
    };
    let socket = match Accepting::new(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return warn!("{} cannot be served: {error}", listener.address),
    };
    let log_throttle = LogThrottle::default();
    let drained = until_draining(serving.draining.clone());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    deal(accepted);
                    serving.connection_limit.wait_for_evicted().await;
                }
                Err(error) => pause_after(&error, &listener.address, &log_throttle, &serving).await,
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
async fn pause_after(error: &io::Error, address: &Address, log_throttle: &LogThrottle, serving: &Serving) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        if log_throttle.may_log(&serving.gateway) {
            warn!(
                "{address} accepts no connections for a moment: {error}; for a minute, this is not told again"
            );
        }
        sleep(PAUSE).await;
    }
}
