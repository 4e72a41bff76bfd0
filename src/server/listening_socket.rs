//! A listening socket, TCP or Unix: binding one, and taking one over from another process.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use crate::config::Address;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A listening socket.
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Makes accepting from it never block.
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// The address that it listens at.
    pub(super) fn address(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Address::Ip),
            Self::Unix(socket) => {
                let address = socket.local_addr()?;
                // A socket of systemd may be in the abstract namespace, and has no path then.
                Ok(Address::Unix(address.as_pathname().map_or_else(PathBuf::new, Path::to_owned)))
            }
        }
    }

    /// Another descriptor of the socket, to be passed to another process.
    pub(super) fn try_clone(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Into::into),
            Self::Unix(socket) => socket.try_clone().map(Into::into),
        }
    }

    /// A socket that another process has given.
    pub(super) fn from_another(socket: OwnedFd) -> io::Result<Self> {
        match SockRef::from(&socket).domain()? {
            Domain::UNIX => Ok(Self::Unix(socket.into())),
            _ => Ok(Self::Tcp(socket.into())),
        }
    }
}

/// Binds one address.
pub(super) fn bind(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_ipv6)?;
    }
    // Connections of an earlier process may still linger at the address.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Binds a Unix socket. A socket file at which no process listens any more is replaced.
pub(super) fn bind_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let is_socket = path.symlink_metadata().is_ok_and(|data| data.file_type().is_socket());
    let nobody = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if is_socket && UnixStream::connect(path).is_err_and(nobody) {
        fs::remove_file(path)?;
    }
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        // Before a client can connect.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(OwnedFd::from(socket).into())
}
