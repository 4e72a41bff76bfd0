//! The sockets that the service manager listens at and has passed to this process (`sd_listen_fds(3)`).

use std::env;

use listenfd::ListenFd;
use log::warn;

use super::listening_socket::ListeningSocket;

/// The name of a socket that was passed without one.
const NAMELESS: &str = "unknown";

/// The sockets that no listener has taken yet.
#[derive(Default)]
pub(super) struct PassedSockets(Vec<(String, ListeningSocket)>);

impl PassedSockets {
    /// The sockets that the environment names. The first call takes them all: a second one gets none.
    pub(super) fn from_environment() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names.next().unwrap_or(NAMELESS).to_owned();
            let socket = match passed.take_tcp_listener(index) {
                Ok(socket) => Ok(socket.map(ListeningSocket::Tcp)),
                Err(_) => passed.take_unix_listener(index).map(|socket| socket.map(ListeningSocket::Unix)),
            };
            match socket {
                Ok(socket) => sockets.extend(socket.map(|socket| (name, socket))),
                Err(error) => {
                    warn!("the service manager has passed something that nobody can connect to: {error}");
                }
            }
        }
        Self(sockets)
    }

    /// Takes the sockets with this name, or all that are left.
    pub(super) fn take(&mut self, name: Option<&str>) -> Vec<ListeningSocket> {
        let wanted = |(own, _): &mut (String, ListeningSocket)| name.is_none_or(|name| name == own);
        self.0.extract_if(.., wanted).map(|(_, socket)| socket).collect()
    }

    /// How many no listener has taken.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
