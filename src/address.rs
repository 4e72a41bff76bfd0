//! Where a server is: a port of a machine, or a socket in the file system of this one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// The address of a server, as it is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Network(SocketAddr),
    /// The path of a Unix socket.
    Socket(Arc<str>),
}

impl Address {
    /// What a server there is called by somebody who knows no name of it: the address, and for a socket this machine.
    pub fn host(&self) -> String {
        match self {
            Self::Network(address) => address.to_string(),
            Self::Socket(_) => "localhost".to_owned(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Network(address)
    }
}

/// As it is written.
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}
