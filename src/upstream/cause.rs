//! The cause of a failed request to a server: the system's error, whether this machine caused it, and how it is told.
//!
//! A process that has no descriptor, port or memory left cannot connect to any server. That says nothing of the server: it must neither
//! be ejected nor become unhealthy for it, or a shortage of the gateway would make every upstream unusable, also after the shortage.

use std::error::Error as StdError;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use pingora::{Error, ErrorType};
use rustix::io::Errno;

use crate::address::Address;

/// The errors of the system when this machine has run out of something, or forbids a connection.
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

/// Whether the failure was caused by the gateway's own machine.
pub fn is_local(error: &Error) -> bool {
    io_error(error).and_then(Errno::from_io_error).is_some_and(|errno| LOCAL.contains(&errno))
}

/// Whether this machine can reach a server's address at all. A machine without an address of that kind, as many containers have no IPv6,
/// gives the same error as one whose ports are used up, but for good: such a server is of no use.
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

/// The longest reason of a failure, in characters.
const LONGEST: usize = 200;

/// The longest full account of a failure, in characters.
const LONGEST_STORY: usize = 600;

/// The reason of a failure in one short line: the system's error if there is one, else what the libraries say. It has no control
/// characters, whatever of an upstream's answer it quotes.
pub fn reason(error: &Error) -> String {
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).take(LONGEST).collect::<String>();
    if let Some(io) = io_error(error) {
        return line(&io.to_string());
    }
    if let Some(http2) = error.root_cause().downcast_ref::<h2::Error>() {
        return line(&http2.to_string());
    }
    match &error.context {
        // The gateway's own decision, whose words are enough.
        Some(context) if matches!(error.etype(), ErrorType::HTTPStatus(_)) => line(context.as_str()),
        Some(context) => format!("{}: {}", error.etype().as_str(), line(context.as_str())),
        None => error.etype().as_str().to_owned(),
    }
}

/// The full account of a failure for the log, in one line: the errors of all layers.
pub fn story(error: &Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(LONGEST_STORY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora::OrErr as _;

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

    #[test]
    fn a_reason_is_what_the_system_said_or_what_is_known() {
        let refused = io::Error::from_raw_os_error(111);
        let said = refused.to_string();
        let failed: Result<(), io::Error> = Err(refused);
        let failed = failed.or_err(ErrorType::ConnectRefused, "a long story").unwrap_err();
        assert_eq!(reason(&failed), said);
        assert_eq!(
            reason(&Error::explain(ErrorType::InvalidHTTPHeader, "twice")),
            "InvalidHTTPHeader: twice"
        );
        assert_eq!(reason(&Error::new(ErrorType::ConnectTimedout)), "ConnectTimedout");
        assert_eq!(reason(&Error::explain(ErrorType::HTTPStatus(503), "all are full")), "all are full");
    }
    #[test]
    fn a_story_is_one_line_of_bounded_length() {
        let said = format!("first\r\nsecond {}", "x".repeat(1 << 20));
        let story = story(&Error::explain(ErrorType::InvalidHTTPHeader, said));
        assert!(story.contains("firstsecond"), "{story}");
        assert!(story.len() <= LONGEST_STORY);
    }
}
