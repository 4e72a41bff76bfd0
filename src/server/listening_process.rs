//! Which process listens at an address, for whoever wonders why it is in use.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;

#[cfg(target_os = "linux")]
use procfs::net::{TcpState, tcp, tcp6};
#[cfg(target_os = "linux")]
use procfs::process::{FDTarget, all_processes};

/// A process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListeningProcess {
    number: i32,
    command: String,
}

impl fmt::Display for ListeningProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A command may have any characters.
        write!(f, "process {} ({})", self.number, self.command.escape_debug())
    }
}

/// The process that has an address for itself, as far as this user may know. Of another user's processes only root sees the sockets.
#[cfg(target_os = "linux")]
pub(super) fn at(address: SocketAddr) -> Option<ListeningProcess> {
    let is_in_the_way = |other: SocketAddr| {
        let (ip, wanted) = (other.ip().to_canonical(), address.ip().to_canonical());
        other.port() == address.port() && (ip == wanted || ip.is_unspecified() || wanted.is_unspecified())
    };
    let sockets = [tcp(), tcp6()].into_iter().flatten().flatten();
    let inodes: HashSet<u64> = sockets
        .filter(|socket| socket.state == TcpState::Listen && is_in_the_way(socket.local_address))
        .map(|socket| socket.inode)
        .collect();
    if inodes.is_empty() {
        return None;
    }
    all_processes().ok()?.flatten().find_map(|process| {
        let has = process
            .fd()
            .ok()?
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if inodes.contains(&inode)));
        let command = || process.stat().map(|stat| stat.comm).unwrap_or_default();
        has.then(|| ListeningProcess { number: process.pid, command: command() })
    })
}

/// Elsewhere nobody is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn at(_: SocketAddr) -> Option<ListeningProcess> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "nobody is asked there")]
    fn the_process_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = at(address).unwrap();
        assert_eq!(found.number, i32::try_from(std::process::id()).unwrap());
        let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert_eq!(at(everywhere).as_ref(), Some(&found), "one address is in the way of all");
        drop(listener);
        assert_ne!(at(address), Some(found));
    }
}
