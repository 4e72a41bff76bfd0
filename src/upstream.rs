//! Upstreams: the servers that do the work, and whose turn it is.

mod resolve;
mod rotation;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::upstreams::peer::HttpPeer;

use self::rotation::Rotation;
use crate::config;

pub use self::resolve::keep_resolved;

/// How long an unused connection to an upstream is kept.
const POOLED_IDLE: Duration = Duration::from_secs(60);

/// A group of servers that take turns.
pub struct Upstream {
    name: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    servers: Vec<Server>,
    rotation: Rotation,
    last_warned: AtomicU64,
}

/// A server of an upstream.
struct Server {
    host: String,
    port: u16,
    /// What its name resolved to last. Empty until it has.
    addresses: ArcSwap<Vec<SocketAddr>>,
    next_address: AtomicUsize,
}

/// A server that was chosen, and where to connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    server: usize,
    /// The address.
    pub address: SocketAddr,
}

/// No server of the upstream has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoServer;

impl Upstream {
    /// An upstream as configured. Servers given by name are unusable until [`keep_resolved`] has looked them up.
    pub fn new(config: &config::Upstream) -> Self {
        let weights: Vec<_> = config.servers.iter().map(|server| server.weight).collect();
        Self {
            name: config.name.clone(),
            connect_timeout: config.connect_timeout,
            response_timeout: config.response_timeout,
            servers: config.servers.iter().map(Server::new).collect(),
            rotation: Rotation::new(&weights),
            last_warned: AtomicU64::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long connecting to a server may take.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How long the response head may take.
    pub fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// The server whose turn it is.
    ///
    /// # Errors
    /// [`NoServer`] when no server's name has been resolved yet.
    pub fn next(&self) -> Result<Choice, NoServer> {
        let turn = self.rotation.next();
        // A server without an address passes its turn on to the one behind it.
        let from_turn_on = (turn..self.servers.len()).chain(0..turn);
        let mut choices = from_turn_on
            .filter_map(|server| Some(Choice { server, address: self.servers[server].address()? }));
        choices.next().ok_or(NoServer)
    }

    /// Another address of the same server, if its name has several: `localhost` may be 127.0.0.1 and ::1, and the
    /// server listen on one of them alone. Asked again and again, it goes round them.
    pub fn alternative(&self, choice: Choice) -> Option<Choice> {
        let addresses = self.servers[choice.server].addresses.load();
        let at = addresses.iter().position(|address| *address == choice.address)?;
        let address = addresses[(at + 1) % addresses.len()];
        (address != choice.address).then_some(Choice { address, ..choice })
    }

    /// The servers that cannot be used because their names have no address.
    pub fn unresolved(&self) -> impl Iterator<Item = &str> {
        self.servers
            .iter()
            .filter(|server| server.addresses.load().is_empty())
            .map(|server| server.host.as_str())
    }

    /// Whether any server can be used.
    pub fn is_usable(&self) -> bool {
        self.unresolved().count() < self.servers.len()
    }

    /// Whether a failure may be logged in this second (of any clock): an outage is not to flood the log.
    pub fn may_warn(&self, second: u64) -> bool {
        // Relaxed: one line more or less does no harm.
        self.last_warned.swap(second + 1, Ordering::Relaxed) != second + 1
    }

    /// How to connect to a server of this upstream, within `connect_timeout`.
    pub fn peer(&self, server: SocketAddr, connect_timeout: Duration) -> Box<HttpPeer> {
        let mut peer = Box::new(HttpPeer::new(server, false, String::new()));
        peer.options.connection_timeout = Some(connect_timeout);
        peer.options.total_connection_timeout = Some(connect_timeout);
        peer.options.idle_timeout = Some(POOLED_IDLE);
        peer
    }
}

impl Server {
    fn new(config: &config::UpstreamServer) -> Self {
        let literal = config.host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, config.port));
        Self {
            host: config.host.clone(),
            port: config.port,
            addresses: ArcSwap::from_pointee(literal.into_iter().collect()),
            next_address: AtomicUsize::new(0),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        let addresses = self.addresses.load();
        match addresses.as_slice() {
            [] => None,
            [only] => Some(*only),
            // Relaxed: turns need not be taken in a strict order.
            several => Some(several[self.next_address.fetch_add(1, Ordering::Relaxed) % several.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamServer;
    use std::sync::Arc;

    fn upstream(servers: &[(&str, u32)]) -> Upstream {
        let server =
            |&(host, weight): &(&str, u32)| UpstreamServer { host: host.to_owned(), port: 80, weight };
        Upstream::new(&config::Upstream {
            name: "u".to_owned(),
            servers: servers.iter().map(server).collect(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
        })
    }

    fn turns(upstream: &Upstream, count: usize) -> Vec<String> {
        (0..count).map(|_| upstream.next().unwrap().address.ip().to_string()).collect()
    }

    #[test]
    fn servers_take_turns_by_weight() {
        let upstream = upstream(&[("192.0.2.1", 2), ("2001:db8::1", 1)]);
        let taken = turns(&upstream, 300);
        assert_eq!(taken.iter().filter(|address| *address == "192.0.2.1").count(), 200);
    }

    #[test]
    fn a_server_without_an_address_passes_its_turn_on() {
        let upstream = upstream(&[("name.invalid", 1), ("192.0.2.1", 1)]);
        assert!(upstream.is_usable());
        assert_eq!(upstream.unresolved().collect::<Vec<_>>(), ["name.invalid"]);
        assert!(turns(&upstream, 10).iter().all(|address| address == "192.0.2.1"));
    }

    #[test]
    fn without_any_address_there_is_no_server() {
        let upstream = upstream(&[("name.invalid", 1)]);
        assert!(!upstream.is_usable());
        assert_eq!(upstream.next(), Err(NoServer));
        upstream.servers[0]
            .addresses
            .store(Arc::new(vec!["192.0.2.1:80".parse().unwrap(), "192.0.2.2:80".parse().unwrap()]));
        assert_eq!(turns(&upstream, 3), ["192.0.2.1", "192.0.2.2", "192.0.2.1"]);
        let second = upstream.next().unwrap();
        let first = upstream.alternative(second).unwrap();
        assert_eq!(
            (second.address.ip().to_string(), first.address.ip().to_string()),
            ("192.0.2.2".to_owned(), "192.0.2.1".to_owned())
        );
        assert_eq!(upstream.alternative(first), Some(second));
    }

    #[test]
    fn a_server_with_one_address_has_no_other() {
        let upstream = upstream(&[("192.0.2.1", 1), ("192.0.2.2", 1)]);
        assert_eq!(upstream.alternative(upstream.next().unwrap()), None);
    }

    #[test]
    fn an_outage_is_warned_of_once_a_second() {
        let upstream = upstream(&[("192.0.2.1", 1)]);
        assert!(upstream.may_warn(0));
        assert!(!upstream.may_warn(0));
        assert!(upstream.may_warn(1));
    }
}
