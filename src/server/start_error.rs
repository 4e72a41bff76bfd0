//! Why the gateway did not start.

use std::{fmt, io};

use super::listening_process;
use crate::config::{Address, LoadError, LogTarget};

/// Why the gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration cannot be used.
    Config(LoadError),
    /// An address could not be listened on.
    Listen(Address, io::Error),
    /// The access log could not be opened.
    AccessLog(LogTarget, io::Error),
    /// There is no process to take over from.
    Upgrade(io::Error),
    /// The system gave no thread, timer or signal.
    System(io::Error),
    /// The certificates cannot be used.
    Tls(rustls::Error),
    /// The metrics contradict each other.
    Metrics(prometheus::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}")?;
                let (Address::Ip(ip), io::ErrorKind::AddrInUse) = (address, error.kind()) else {
                    return Ok(());
                };
                match listening_process::at(*ip) {
                    Some(process) => {
                        write!(f, "; {process} listens there: stop it, or choose another address")
                    }
                    None => f.write_str("; stop whoever listens there, or choose another address"),
                }
            }
            Self::AccessLog(LogTarget::File(path), error) => {
                write!(f, "cannot write the access log {}: {error}", path.display())
            }
            Self::AccessLog(LogTarget::Stdout, error) => write!(f, "cannot write the access log: {error}"),
            Self::Upgrade(error) => {
                write!(f, "no gateway that runs with this configuration can be taken over from: {error}")
            }
            Self::System(error) => write!(f, "cannot start: {error}"),
            Self::Tls(error) => write!(f, "cannot speak TLS: {error}"),
            Self::Metrics(error) => write!(f, "cannot set up the metrics: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
