//! What lies at the root of a failure: what the system said, and whether this machine is to blame.
//!
//! A process that has no descriptor, port or memory left cannot connect to any server. That says nothing of the server: it
//! must neither be ejected nor found unhealthy for it, or a shortage of the gateway takes every upstream away, also for the
//! time after.

use std::error::Error as StdError;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use pingora::Error;
use rustix::io::Errno;

use crate::address::Address;

/// What the system says when something runs out here, or it forbids a connection.
///
/// `EADDRNOTAVAIL`: every port towards this server is in use. `EADDRINUSE`: the same of ports in general. `EPERM`: a packet
/// filter of this machine.
const LOCAL: [Errno; 7] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ADDRNOTAVAIL,
    Errno::ADDRINUSE,
    Errno::PERM,
];

/// The I/O error at the root of a failure, however the libraries have wrapped it.
pub fn io_error(error: &Error) -> Option<&io::Error> {
    let mut cause: &(dyn StdError + 'static) = error.root_cause();
    loop {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io);
        }
        if let Some(io) = cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io) {
            return Some(io);
        }
        cause = cause.source()?;
    }
}

/// Whether the gateway's own machine has failed, and nobody else.
pub fn is_local(error: &Error) -> bool {
    io_error(error).and_then(Errno::from_io_error).is_some_and(|errno| LOCAL.contains(&errno))
}

/// Whether this machine can send anything to a server at all. One that has no address of that kind, as with IPv6 in many
/// containers, gives the same error as one whose ports are used up, but for ever: there the server is of no use.
pub(super) fn can_reach(address: &Address) -> bool {
    let Address::Network(address) = *address else { return true };
    let here = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    // Nothing is sent: only the route is looked up.
    let connected = UdpSocket::bind(here).and_then(|socket| socket.connect(address));
    !matches!(connected, Err(error) if Errno::from_io_error(&error) == Some(Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::{ErrorType, OrErr as _};

    fn failed(errno: Errno, etype: ErrorType) -> Box<Error> {
        let failed: Result<(), io::Error> = Err(errno.into());
        failed.or_err(etype, "x").unwrap_err()
    }

    #[test]
    fn what_runs_out_here_is_nobody_elses_fault() {
        for errno in LOCAL {
            assert!(is_local(&failed(errno, ErrorType::SocketError)), "{errno:?}");
            // As Pingora wraps it on its way to the proxy.
            let wrapped = Error::because(
                ErrorType::InternalError,
                "Fail to connect",
                failed(errno, ErrorType::SocketError),
            );
            assert!(is_local(&wrapped), "{errno:?}");
        }
    }

    #[test]
    fn what_a_server_does_is_its_own() {
        for errno in [Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::PIPE]
        {
            assert!(!is_local(&failed(errno, ErrorType::ConnectError)), "{errno:?}");
        }
        assert!(!is_local(&Error::new(ErrorType::ConnectTimedout)));
        assert!(!is_local(&Error::because(ErrorType::H2Error, "x", h2::Error::from(h2::Reason::CANCEL))));
    }

    #[test]
    fn this_machine_reaches_itself() {
        assert!(can_reach(&SocketAddr::from((Ipv4Addr::LOCALHOST, 80)).into()));
    }
}
