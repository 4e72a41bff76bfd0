//! Where clients connect: the entries of `server.listen`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An entry of `server.listen`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where it is.
    pub address: Address,
    /// Whether clients speak TLS there.
    pub tls: bool,
    /// Whether connections begin with the PROXY protocol.
    pub proxy_protocol: bool,
    /// Who may connect to a Unix socket: the permissions of its file; `None` leaves that to the umask.
    pub mode: Option<u32>,
}

impl Listener {
    /// A listener on an address, with the default settings.
    pub const fn plain(address: SocketAddr) -> Self {
        Self { address: Address::Ip(address), tls: false, proxy_protocol: false, mode: None }
    }
}

/// Where a listener is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A Unix socket at this path, which is absolute.
    Unix(PathBuf),
    /// The sockets with this name that the service manager passes to this process, or all that no other entry names.
    Systemd(Option<String>),
}

impl Address {
    /// The IP address and the port, if it is one.
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    /// As in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}
