//! Upstreams: the servers that requests are sent to, and which of them gets a request.

mod assignment;
mod balance;
mod cause;
mod check_schedule;
mod connection_count;
mod endpoint;
mod health;
mod http2_connections;
mod knock;
mod last_error;
mod pool;
mod probe;
mod resolve;
mod retry_budget;
mod round_robin;
mod server_health;
mod thread_number;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use log::{info, warn};
use pingora::Result;
use pingora::protocols::TcpKeepalive;
use pingora::upstreams::peer::HttpPeer;

use self::endpoint::Bounds;
use self::http2_connections::Http2Connections;
use self::pool::Pool;
use self::retry_budget::RetryBudget;
use self::thread_number::thread_number;
use self::tls::PeerTls;
use crate::address::Address;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, ServerAddress, UpstreamServer};
use crate::engine::Preference;

pub use self::assignment::Assignment;
pub use self::cause::{io_error, is_local, reason, story};
pub use self::connection_count::set_max_connections;
pub use self::endpoint::Endpoint;
pub use self::last_error::LastError;
pub use self::pool::NoServer;
pub use self::server_health::ServerHealth;
pub use self::tls::NO_AUTHORITIES;

/// How long an unused connection to an upstream is kept.
const POOLED_IDLE: Duration = Duration::from_secs(60);

/// Requests at a time on one HTTP/2 connection to a server. With the resets that it has had of late (`http2_connections`) they are no
/// more than the 50 that the h2 crate remembers, should all be broken off at once: data that comes for others ends the connection.
const HTTP2_STREAMS: usize = 32;

/// What a server may send of an HTTP/2 answer before its client takes it.
const HTTP2_WINDOW: u32 = 256 << 10;

/// The same of all answers on a connection together. It is larger, so that clients which take nothing do not hold up the other streams.
const HTTP2_CONNECTION_WINDOW: u32 = 32 << 20;

/// A server that disappears without closing its connections is noticed after a minute, also behind a tunnel or an HTTP/2 connection,
/// which would go on getting requests. HTTP/2 pings are not used, since gRPC servers close connections that send many.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: usize = 3;

/// The number in place of a thread's, for connections that all threads share.
const SHARED: u64 = (1 << THREAD_BITS) - 1;

/// How many bits of a group are the number of a thread. No more threads can be configured than have numbers below [`SHARED`].
const THREAD_BITS: u32 = 16;

/// The group of the HTTP/1.1 connections that were made with these TLS settings, and are used by this thread. It is above those of HTTP/2.
const fn http1_group(tls: u64, thread: u64) -> u64 {
    1 << (u64::BITS - 1) | tls << THREAD_BITS | thread
}

/// Keeps the names of an upstream resolved and its servers checked, and looks whether those that took no connection take one. It never
/// ends.
pub async fn look_after(upstream: Arc<Upstream>) {
    tokio::join!(upstream.keep_resolved(), upstream.keep_checked(), upstream.keep_knocking());
}

/// A group of servers that requests are balanced over.
pub struct Upstream {
    config: config::Upstream,
    tls: Option<PeerTls>,
    /// The addresses of all servers that have any.
    pool: ArcSwap<Pool>,
    /// Held while the pool is replaced. Requests never take it.
    changing: Mutex<()>,
    /// The HTTP/2 connections of the upstream before this one, by the identity of their endpoint, if they can still be used.
    http2: Vec<(u64, Arc<Http2Connections>)>,
    budget: RetryBudget,
    last_warned: AtomicU64,
    /// The second from which on it may be logged again that the gateway cannot make its checks, on the clock of the checks.
    checks_warned: AtomicU64,
}

impl Upstream {
    /// An upstream as configured. Servers given by name are unusable until [`look_after`] has found them.
    pub fn new(config: config::Upstream) -> Self {
        Self::with_http2(config, Vec::new())
    }

    /// The same, with HTTP/2 connections of the upstream before it.
    fn with_http2(config: config::Upstream, http2: Vec<(u64, Arc<Http2Connections>)>) -> Self {
        let upstream = Self {
            pool: ArcSwap::from_pointee(Pool::new(Vec::new(), &config.balance)),
            changing: Mutex::new(()),
            http2,
            budget: RetryBudget::default(),
            last_warned: AtomicU64::new(0),
            checks_warned: AtomicU64::new(0),
            tls: config.tls.as_ref().map(PeerTls::new),
            config,
        };
        for (index, server) in upstream.config.servers.iter().enumerate() {
            if let Some(address) = known_address(server) {
                upstream.set_addresses(index, &[address]);
            }
        }
        upstream
    }

    /// The upstream that takes the place of this one when its configuration changes: servers that stay keep their addresses and
    /// their health.
    pub fn succeeded_by(&self, config: config::Upstream) -> Self {
        let pool = self.pool.load();
        let same = (self.config.http2, &self.config.tls) == (config.http2, &config.tls);
        let http2 = pool.endpoints.iter().filter(|_| same).filter_map(|endpoint| endpoint.http2());
        let next = Self::with_http2(config, http2.collect());
        for (index, server) in next.config.servers.iter().enumerate() {
            let before = self.config.servers.iter().position(|s| s.address == server.address);
            let addresses: Vec<_> = before.into_iter().flat_map(|before| pool.addresses(before)).collect();
            if !addresses.is_empty() {
                next.set_addresses(index, &addresses);
            }
        }
        for endpoint in &next.pool.load().endpoints {
            let before = pool.endpoints.iter().find(|before| before.identity == endpoint.identity);
            before
                .into_iter()
                .for_each(|before| endpoint.take_over_health(before, next.config.health.is_some()));
        }
        next
    }

    /// Its configuration.
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How long connecting to a server may take.
    pub fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout
    }

    /// How long the response head may take.
    pub fn response_timeout(&self) -> Duration {
        self.config.response_timeout
    }

    /// How long a server may send nothing in the middle of its answer; `None` is no bound.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.config.read_timeout
    }

    /// Chooses a server that has not been `tried` for a request: the one that its cookie asks for, if that can be used, and otherwise one as
    /// the upstream balances.
    ///
    /// # Errors
    /// When there is none: [`NoServer`].
    pub fn choose(
        &self,
        preference: Preference,
        tried: &[Address],
        now: Timestamp,
    ) -> std::result::Result<Assignment, NoServer> {
        if !self.config.http2 && connection_count::is_at_max() {
            return Err(NoServer::Scarce);
        }
        let pool = self.pool.load();
        if let Some(sticky) = preference.sticky
            && let Some(assignment) = pool.stick(sticky, tried, now)
        {
            return Ok(assignment);
        }
        pool.choose(preference.key, tried, now)
    }

    /// Chooses a server for a new request: see [`choose`](Self::choose).
    ///
    /// # Errors
    /// When there is none: [`NoServer`].
    pub fn choose_first(
        &self,
        preference: Preference,
        now: Timestamp,
    ) -> std::result::Result<Assignment, NoServer> {
        self.budget.earn();
        self.choose(preference, &[], now)
    }

    /// How often a request that failed may be sent again.
    pub fn retries(&self) -> u32 {
        self.config.retries
    }

    /// Whether a request that gets an answer of this status may be sent to another server.
    pub fn retries_on(&self, status: StatusCode) -> bool {
        self.config.retry_on.contains(&status)
    }

    /// Spends one of the retries that the traffic has earned, if there is one left.
    pub fn spend_retry(&self, now: Timestamp) -> bool {
        let running: usize = self.pool.load().endpoints.iter().map(|endpoint| endpoint.running()).sum();
        self.budget.spend(running as u64, now)
    }

    /// Notes that a request has its connection to a server, and whether that has been `reused`.
    pub fn note_connection(&self, server: &mut Assignment, reused: bool) {
        server.note_connection();
        if !reused && server.connected() {
            info!("upstream {:?}, server {}: it takes connections again", self.name(), server.address);
        }
    }

    /// Notes that a server has taken no connection.
    pub fn note_refusal(&self, server: &mut Assignment, now: Timestamp) {
        self.note_failure(server, now);
        server.refused(now);
    }

    /// Notes that a server has answered a request.
    pub fn note_success(&self, server: &mut Assignment) {
        if server.succeeded() {
            info!("upstream {:?}, server {}: it gets its share again", self.name(), server.address);
        }
    }

    /// Notes that a server has failed on a request.
    pub fn note_failure(&self, server: &mut Assignment, now: Timestamp) {
        if let Some(outlier) = &self.config.outlier
            && server.failed(outlier, now)
        {
            let (name, address, time) = (self.name(), &server.address, outlier.eject_for);
            warn!("upstream {name:?}, server {address}: it fails, and gets no requests for {time:?}");
        }
    }

    /// The servers of the configuration, each with its addresses just now.
    pub fn servers(&self) -> Vec<(&UpstreamServer, Vec<Arc<Endpoint>>)> {
        let pool = self.pool.load();
        let of_server = |index: usize| {
            pool.endpoints.iter().filter(move |endpoint| endpoint.server == index).cloned().collect()
        };
        self.config.servers.iter().enumerate().map(|(index, server)| (server, of_server(index))).collect()
    }

    /// Whether any server can be used.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.pool.load().endpoints.iter().any(|endpoint| endpoint.health(now).is_usable())
    }

    /// How each server does: `127.0.0.1:9000 is unhealthy, users.internal:80 has no address`.
    pub fn state_of_servers(&self, now: Timestamp) -> String {
        let of_server = |(server, endpoints): (&UpstreamServer, Vec<Arc<Endpoint>>)| match endpoints.first() {
            None => format!("{server} has no address"),
            Some(endpoint) => format!("{server} is {}", endpoint.health(now).label()),
        };
        self.servers().into_iter().map(of_server).collect::<Vec<_>>().join(", ")
    }

    /// Whether a failure may be logged in this second (of any clock), so that an outage does not flood the log.
    pub fn may_warn(&self, second: u64) -> bool {
        // Relaxed: a line too many does no harm.
        self.last_warned.swap(second + 1, Ordering::Relaxed) != second + 1
    }

    /// How a request of this thread connects to its server, within `connect_timeout`.
    ///
    /// # Errors
    /// When its address cannot be connected to: see [`HttpPeer::new_uds`].
    pub fn peer(&self, server: &Assignment, connect_timeout: Duration) -> Result<Box<HttpPeer>> {
        let mut peer = self.peer_of(server, connect_timeout)?;
        // Pingora uses an idle connection again for a peer of the same group.
        peer.group_key = match server.connection_number() {
            Some(number) => number,
            // With connections of their own, threads could have more than `max_connections` together.
            None if self.config.max_connections.is_some() => http1_group(peer.group_key, SHARED),
            None => http1_group(peer.group_key, thread_number() as u64),
        };
        Ok(peer)
    }

    /// How to connect to an endpoint of this upstream, within `connect_timeout`.
    fn peer_of(&self, server: &Endpoint, connect_timeout: Duration) -> Result<Box<HttpPeer>> {
        let mut peer = Box::new(match &self.tls {
            None => tls::peer_at(&server.address, false, String::new())?,
            Some(tls) => tls.peer(&server.address, self.config.servers[server.server].host())?,
        });
        if self.config.http2 {
            // A server that speaks TLS may choose HTTP/1.1 instead.
            peer.options.set_http_version(2, if self.tls.is_some() { 1 } else { 2 });
            peer.options.max_h2_streams = HTTP2_STREAMS;
            peer.options.h2_stream_window_size = Some(HTTP2_WINDOW);
            peer.options.h2_connection_window_size = Some(HTTP2_CONNECTION_WINDOW);
        }
        peer.options.connection_timeout = Some(connect_timeout);
        peer.options.total_connection_timeout = Some(connect_timeout);
        peer.options.idle_timeout = Some(POOLED_IDLE);
        peer.options.tcp_keepalive = Some(TcpKeepalive {
            idle: KEEPALIVE_IDLE,
            interval: KEEPALIVE_INTERVAL,
            count: KEEPALIVE_PROBES,
            // A server that takes nothing for that long is too late for its request, and its connection is of no use to others either.
            #[cfg(target_os = "linux")]
            user_timeout: self.config.response_timeout,
        });
        Ok(peer)
    }

    /// The connections of an endpoint with this identity, where HTTP/2 is spoken.
    fn http2(&self, identity: u64) -> Option<Arc<Http2Connections>> {
        let before =
            self.http2.iter().find(|(before, _)| *before == identity).map(|(_, http2)| http2.clone());
        self.config
            .http2
            .then(|| before.unwrap_or_else(|| Arc::new(Http2Connections::new(Clock::monotonic()))))
    }

    /// What each of its endpoints may have at a time.
    fn bounds(&self) -> Bounds {
        Bounds { requests: self.config.max_connections, connects: self.config.max_pending_connects }
    }

    /// Notes the addresses of the server with this index. Requests that look for a server meanwhile see the old
    /// addresses or the new ones.
    fn set_addresses(&self, server: usize, addresses: &[Address]) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.pool.load();
        let known = |server: usize, address: &Address| {
            old.endpoints.iter().find(|known| known.server == server && known.address == *address).cloned()
        };
        let mut endpoints = Vec::new();
        for (index, config) in self.config.servers.iter().enumerate() {
            let of_server = if index == server { addresses.to_vec() } else { old.addresses(index).collect() };
            endpoints.extend(of_server.into_iter().map(|address| {
                known(index, &address).unwrap_or_else(|| {
                    let http2 = |identity| self.http2(identity);
                    let endpoint = Endpoint::new(index, config, address, self.bounds(), http2);
                    let sticky = self.config.sticky.as_ref();
                    Arc::new(endpoint.known_by(sticky.map(|sticky| (sticky, self.name())), config))
                })
            }));
        }
        self.pool.store(Arc::new(Pool::new(endpoints, &self.config.balance)));
    }
}

/// The address of a server; `None` if it is given by a name that has to be looked up.
fn known_address(server: &UpstreamServer) -> Option<Address> {
    match &server.address {
        ServerAddress::Network { host, port } => {
            Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, *port).into())
        }
        ServerAddress::Socket(path) => Some(Address::Socket(path.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Balance;
    use crate::tls::ClientTls;
    use futures_util::FutureExt as _;
    use pingora::upstreams::peer::Peer as _;
    use std::net::SocketAddr;
    use std::thread;

    const NOW: Timestamp = Timestamp::from_nanos(0);

    fn upstream(hosts: &[&str]) -> Upstream {
        let server = |host: &&str| UpstreamServer::named(host, 80);
        Upstream::new(config::Upstream {
            name: "u".to_owned(),
            servers: hosts.iter().map(server).collect(),
            balance: Balance::RoundRobin,
            sticky: None,
            tls: None,
            http2: false,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            read_timeout: None,
            retries: 1,
            retry_on: Vec::new(),
            max_connections: None,
            max_pending_connects: None,
            health: None,
            outlier: None,
        })
    }

    fn turns(upstream: &Upstream, count: usize) -> Vec<String> {
        let turn = |_| ip(&upstream.choose(Preference::default(), &[], NOW).unwrap().address);
        (0..count).map(turn).collect()
    }

    fn addresses(ips: &[&str]) -> Vec<Address> {
        ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 80).into()).collect()
    }

    fn ip(address: &Address) -> String {
        match address {
            Address::Network(address) => address.ip().to_string(),
            Address::Socket(path) => panic!("{path}"),
        }
    }

    #[test]
    fn a_server_without_an_address_has_no_turn() {
        let upstream = upstream(&["name.invalid", "2001:db8::1"]);
        assert!(upstream.is_usable(NOW));
        assert_eq!(upstream.state_of_servers(NOW), "name.invalid:80 has no address, [2001:db8::1]:80 is up");
        assert_eq!(turns(&upstream, 2), ["2001:db8::1", "2001:db8::1"]);
    }

    #[test]
    fn all_addresses_of_a_name_have_their_turn() {
        let upstream = upstream(&["name.invalid", "192.0.2.9"]);
        upstream.set_addresses(0, &addresses(&["192.0.2.1", "192.0.2.2"]));
        assert_eq!(turns(&upstream, 4), ["192.0.2.1", "192.0.2.2", "192.0.2.9", "192.0.2.1"]);
    }

    #[test]
    fn an_address_that_stays_keeps_its_requests_when_a_name_moves() {
        let upstream = upstream(&["name.invalid"]);
        assert!(!upstream.is_usable(NOW));
        assert_eq!(
            upstream.choose(Preference::default(), &[], NOW).map(drop),
            Err(NoServer::Unusable(Duration::ZERO))
        );
        upstream.set_addresses(0, &addresses(&["192.0.2.1", "192.0.2.2"]));
        let (first, second) = (
            upstream.choose(Preference::default(), &[], NOW).unwrap(),
            upstream.choose(Preference::default(), &[], NOW).unwrap(),
        );
        upstream.set_addresses(0, &addresses(&["192.0.2.2", "192.0.2.3"]));
        assert_eq!(turns(&upstream, 2), ["192.0.2.2", "192.0.2.3"]);
        let running = || upstream.pool.load().endpoints.iter().map(|e| e.running()).collect::<Vec<_>>();
        assert_eq!(running(), [1, 0]);
        assert_eq!(ip(&first.address), "192.0.2.1", "what runs there goes on");
        drop(second);
        assert_eq!(running(), [0, 0]);
    }

    #[test]
    fn a_server_that_stays_stands_as_it_did() {
        let before = upstream(&["192.0.2.1", "name.invalid"]);
        before.set_addresses(1, &addresses(&["192.0.2.7"]));
        before.choose(Preference::default(), &[], NOW).unwrap().refused(NOW);
        let mut config = upstream(&["192.0.2.9", "name.invalid", "192.0.2.1"]).config;
        config.servers[2].weight = 5;
        let after = before.succeeded_by(config);
        let states = |upstream: &Upstream| {
            let pool = upstream.pool.load();
            let state = |e: &Arc<Endpoint>| (ip(&e.address), e.health(NOW).label());
            pool.endpoints.iter().map(state).collect::<Vec<_>>()
        };
        let state = |ip: &str, label| (ip.to_owned(), label);
        let expected = [state("192.0.2.9", "up"), state("192.0.2.7", "up"), state("192.0.2.1", "refusing")];
        assert_eq!(states(&after), expected);
    }

    /// What Pingora knows the connections of an upstream by that it may use again: on this thread, and on another one.
    fn reuse_hashes(config: config::Upstream) -> [u64; 2] {
        let upstream = Upstream::new(config);
        let hash = || {
            let assignment = upstream.choose(Preference::default(), &[], NOW).unwrap();
            upstream.peer(&assignment, Duration::from_secs(1)).unwrap().reuse_hash()
        };
        let here = hash();
        assert_eq!(here, hash());
        [here, thread::scope(|scope| scope.spawn(hash).join().unwrap())]
    }

    #[test]
    fn each_thread_has_connections_of_its_own() {
        let mut config = upstream(&["192.0.2.1"]).config;
        let [here, elsewhere] = reuse_hashes(config.clone());
        assert_ne!(here, elsewhere);
        let authorities = [].into();
        config.tls = Some(ClientTls { authorities, server_name: None, verify: true, identity: None });
        let [with_tls, with_tls_elsewhere] = reuse_hashes(config.clone());
        assert_ne!(with_tls, with_tls_elsewhere);
        let [with_other_tls, _] = reuse_hashes(config);
        assert_ne!(with_tls, with_other_tls);
    }

    #[test]
    fn threads_share_connections_of_which_a_server_may_have_so_many() {
        let mut config = upstream(&["192.0.2.1"]).config;
        config.max_connections = Some(8);
        let [here, elsewhere] = reuse_hashes(config);
        assert_eq!(here, elsewhere);
    }

    #[test]
    fn connections_outlive_a_reload_that_does_not_change_how_they_are_made() {
        let mut config = upstream(&["192.0.2.1"]).config;
        config.http2 = true;
        let before = Upstream::new(config.clone());
        let number = |upstream: &Upstream| {
            let mut assignment = upstream.choose(Preference::default(), &[], NOW).unwrap();
            assert!(assignment.connect(1, Duration::ZERO).now_or_never().unwrap());
            assignment.connection_number()
        };
        let after = before.succeeded_by(config.clone());
        assert!(number(&before).is_some());
        assert_eq!(number(&before), number(&after));
        config.http2 = false;
        let without = after.succeeded_by(config.clone());
        assert_eq!(number(&without), None);
        config.http2 = true;
        assert_ne!(number(&without.succeeded_by(config)), number(&before));
    }

    #[test]
    fn nobody_stays_unhealthy_who_is_not_checked_any_more() {
        let before = upstream(&["192.0.2.1"]);
        let time = Duration::from_secs(1);
        let health = config::Health {
            path: "/".to_owned(),
            method: http::Method::GET,
            host: None,
            statuses: Vec::new(),
            body: String::new(),
            interval: time,
            timeout: time,
            unhealthy_after: 1,
            healthy_after: 1,
        };
        before.pool.load().endpoints[0].checked(false, &health);
        assert!(!before.is_usable(NOW));
        let mut config = before.config.clone();
        assert!(before.succeeded_by(config.clone()).is_usable(NOW));
        config.health = Some(health);
        assert!(!before.succeeded_by(config).is_usable(NOW));
    }

    #[test]
    fn an_outage_is_warned_of_once_a_second() {
        let upstream = upstream(&["192.0.2.1"]);
        assert!(upstream.may_warn(0));
        assert!(!upstream.may_warn(0));
        assert!(upstream.may_warn(1));
    }
}
