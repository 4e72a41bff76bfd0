//! The configuration that the program uses: valid, typed, complete.
//!
//! A file is parsed into a tree of values with their places (`document`), and the tree is checked and turned into a [`Config`]
//! (`validate`). All problems of the file are reported at once, each as a [`Problem`] with its place. A [`Config`] need not be checked
//! again: references are indices that exist, and defaults are filled in.

mod access_log;
mod advice;
mod auth;
mod destination;
mod document;
mod env;
mod excerpt;
mod forward_auth;
mod glob;
mod include;
mod item;
mod lenient;
mod lines;
mod listener;
mod load;
mod permissions;
mod problem;
mod schema;
mod secret_file;
mod secrets;
mod section;
mod shared_store;
mod shown;
mod source;
mod suggest;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod validate;
mod value;
mod values;
mod warning;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use ipnet::IpNet;

pub use access_log::{AccessLog, LogFormat, LogTarget, Member, Members};
pub use auth::{Access, ApiKey, Auth, Basic, ClientCertificates, Jwks, Jwt, JwtKeys, Subject, Way};
pub use destination::{Destination, Split};
pub use env::Env;
pub use excerpt::{Excerpt, Excerpts};
pub use forward_auth::{ForwardAuth, WithoutAnswer};
pub use lenient::admin_listen;
pub use listener::{Address, Listener};
pub use load::{LoadError, read, variable};
pub use problem::{Place, Position, Problem, Problems, Span};
pub use shared_store::{SharedStore, StoreKind};
pub use source::Source;
pub use warning::{Lint, Warning};

use crate::compression::Coding;
use crate::consumer::Consumers;
use crate::cors::Cors;
use crate::error_page::Pages;
use crate::limit::Rule;
use crate::limit::key::Key;
use crate::route::pattern::{HostPattern, PathPattern, Template};
use crate::route::{Conditions, Requirement, Rewrite};
use crate::sticky::Sticky;
use crate::tls::{ClientTls, ServerTls};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[admin]`; `None` when its `listen` is `"off"`.
    pub admin: Option<Admin>,
    /// `[access_log]`; `None` when its `path` is `"off"`.
    pub access_log: Option<AccessLog>,
    /// `[limiter]`
    pub limiter: Limiter,
    /// `[tracing]`; `None` passes the trace fields of requests on unchanged.
    pub tracing: Option<Tracing>,
    /// The names of `[plans.*]`, in the order of the file.
    pub plans: Vec<String>,
    /// `[consumers.*]`, those of other files included.
    pub consumers: Arc<Consumers>,
    /// `[auth]`; `None` if nobody proves anything in this file, and the fields of [`Auth`] mean nothing.
    pub auth: Option<Auth>,
    /// The index of the limit on tries of wrong credentials.
    pub auth_failures: Option<usize>,
    /// `[limits.*]`, in the order of the file, and then the one that `server.auth_failures` makes.
    pub limits: Vec<Rule>,
    /// `[upstreams.*]`, in the order of the file.
    pub upstreams: Vec<Upstream>,
    /// `[[routes]]`, in the order of the file.
    pub routes: Vec<Route>,
    /// `[errors]`: the pages of answers to requests without a route.
    pub errors: Pages,
    /// The other files that the configuration names, such as certificates.
    pub files: Vec<PathBuf>,
    /// Those of these files that have private keys.
    pub keys: Vec<PathBuf>,
    /// Those that have other secrets: values of `${file:…}`, secrets of tokens, hashes of passwords.
    pub secrets: Vec<PathBuf>,
    /// The content of the file, without secrets.
    pub shown: serde_json::Value,
    /// What the file says and its author probably does not mean.
    pub advice: Vec<Warning>,
}

/// How much memory the process may take before requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxMemory {
    /// Nine tenths of the memory of the container or the machine.
    OfWhatThereIs,
    /// This many bytes.
    Bytes(u64),
    /// No bound.
    Unbounded,
}

/// `[server]`: where clients connect, and what holds for their connections.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen; at least one, each address once.
    pub listen: Vec<Listener>,
    /// `[server.tls]`: for the listeners that speak TLS, if there are any.
    pub tls: Option<ServerTls>,
    /// Worker threads; `None` is one for each CPU.
    pub threads: Option<usize>,
    /// The peers whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether fields are passed on whose names have other characters than letters, digits and `-`.
    pub underscores_in_headers: bool,
    /// How long a drain waits for running requests.
    pub drain_timeout: Duration,
    /// How long a client may take to send a whole request head.
    pub header_timeout: Duration,
    /// How long a client may send nothing of a body that it has begun.
    pub body_timeout: Duration,
    /// How much memory the process may take before requests are refused.
    pub max_memory: MaxMemory,
    /// How long a tunnel, such as a WebSocket, may be idle before it is closed.
    pub tunnel_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub idle_timeout: Duration,
    /// The largest request head, in bytes.
    pub max_header_size: usize,
    /// The largest request body, in bytes, where the route does not say.
    pub max_body_size: u64,
    /// How many connections all clients together may have open at a time; `None` is what the system's descriptors allow for.
    pub max_connections: Option<usize>,
    /// How many connections a client may have open at a time; `None` is no bound.
    pub max_connections_per_client: Option<u32>,
    /// How many requests a connection carries; `None` is no bound.
    pub max_requests_per_connection: Option<u64>,
    /// Whether the configuration is loaded again whenever its file or a file that it names changes.
    pub watch: bool,
    /// The `Server` field of every answer; `None` sends none.
    pub server_header: Option<HeaderValue>,
    /// What is changed in every answer. Routes have it among their own changes; `set` is for the gateway's own answers too.
    pub response_headers: HeaderChanges,
    /// The field in which trusted proxies name the client; `None` is `X-Forwarded-For` and `Forwarded`.
    pub client_ip_header: Option<HeaderName>,
    /// `https_redirect`: where a request in the clear is sent; `None` takes it as it is.
    pub https_redirect: Option<HttpsRedirect>,
}

/// `server.https_redirect` and `https_port`: how a client that came in the clear is sent to HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpsRedirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The port of HTTPS; `None` is 443, which a URL does not name.
    pub port: Option<u16>,
}

/// `[admin]`: the side port.
#[derive(Clone)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The token that calls must present which change state; `None` refuses all such calls.
    pub token: Option<String>,
    /// Hosts under which a browser may open it.
    pub hosts: Vec<HostPattern>,
    /// When `/ready` says that the gateway can do its work.
    pub ready: Ready,
}

/// When `/ready` says that the gateway can do its work. While it drains it cannot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// When each upstream has a usable server.
    #[default]
    AllUpstreams,
    /// When one upstream has a usable server, or there is none.
    AnyUpstream,
    /// Always: what is sent on is not its business.
    Serving,
}

impl fmt::Debug for Admin {
    /// Without the token, which must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        let mut shown = f.debug_struct("Admin");
        shown.field("listen", &self.listen).field("token", &token).field("hosts", &self.hosts);
        shown.field("ready", &self.ready).finish()
    }
}

/// `[limiter]`: settings of the buckets of all limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limiter {
    /// The buckets of a limit that does not set its own number.
    pub max_clients: usize,
    /// The file to which buckets are saved over a restart; `None` saves none.
    pub snapshot: Option<PathBuf>,
    /// How often it is written.
    pub snapshot_interval: Duration,
    /// `[limiter.shared]`: the store of the limits that several gateways keep together; `None` if there is none.
    pub shared: Option<SharedStore>,
}

/// `[tracing]`: the traces that requests belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Where spans are sent, the whole URL; `None` sends none.
    pub endpoint: Option<Uri>,
    /// The share of requests whose spans are recorded, from 0 to 1.
    pub sample_ratio: f64,
    /// The name of the gateway in traces.
    pub service_name: String,
}

/// `[upstreams.NAME]`: servers that requests are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, unique.
    pub name: String,
    /// The servers; at least one.
    pub servers: Vec<UpstreamServer>,
    /// How requests are balanced over the servers.
    pub balance: Balance,
    /// The cookie by which a client comes back to its server; `None` sets none.
    pub sticky: Option<Sticky>,
    /// How TLS is spoken with its servers; `None` speaks none.
    pub tls: Option<ClientTls>,
    /// Whether HTTP/2 is spoken with them.
    pub http2: bool,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the response head may take.
    pub response_timeout: Duration,
    /// How long it may send nothing in the middle of its answer; `None` is no bound.
    pub read_timeout: Option<Duration>,
    /// How often a request that failed is sent again, where that is safe.
    pub retries: u32,
    /// The statuses of answers that are not passed on where another server can be asked.
    pub retry_on: Vec<StatusCode>,
    /// How many requests a server may have at once; `None` is no bound.
    pub max_connections: Option<usize>,
    /// How many requests may be connected to a server at a time; `None` is no bound.
    pub max_pending_connects: Option<usize>,
    /// How its servers are checked; `None` does not check them.
    pub health: Option<Health>,
    /// When a server that fails gets no requests for a while; `None` is never.
    pub outlier: Option<Outlier>,
}

/// `[upstreams.NAME.health]`: how servers are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The path of a check, perhaps with a query.
    pub path: String,
    /// The method of a check.
    pub method: Method,
    /// The host of a check; `None` is the server as it is configured.
    pub host: Option<String>,
    /// The statuses with which a check passes; empty is 200 to 399.
    pub statuses: Vec<StatusCode>,
    /// What must be in the body for a check to pass; empty is anything.
    pub body: String,
    /// How often a server is checked.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Checks in a row that fail before a server gets no more requests; at least 1.
    pub unhealthy_after: u32,
    /// Checks in a row that pass before it gets requests again; at least 1.
    pub healthy_after: u32,
}

/// `[upstreams.NAME.outlier]`: when a server that fails on requests is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Requests in a row that fail before a server is ejected; at least 1.
    pub consecutive_failures: u32,
    /// How long it gets no requests then.
    pub eject_for: Duration,
}

/// How requests are balanced over the servers of an upstream, by weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// The servers take turns.
    RoundRobin,
    /// The server with the fewest requests for its weight gets the next.
    LeastRequests,
    /// A random server.
    Random,
    /// Requests with the same value of a key go to the same server.
    Hash(Key),
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// Where it is.
    pub address: ServerAddress,
    /// Its weight against the other servers, from 1 to 1000.
    pub weight: u32,
}

/// Where a server is, as the file says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A port of a machine.
    Network {
        /// A host name or an IP address (IPv6 without its brackets).
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Socket(Arc<str>),
}

impl UpstreamServer {
    /// The host in the `Host` field and in TLS: that of the address, and `localhost` for a socket.
    pub fn host(&self) -> &str {
        match &self.address {
            ServerAddress::Network { host, .. } => host,
            ServerAddress::Socket(_) => "localhost",
        }
    }
}

impl fmt::Display for UpstreamServer {
    /// The address as the file has it: an IPv6 address with its brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            ServerAddress::Network { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            ServerAddress::Network { host, port } => write!(f, "{host}:{port}"),
            ServerAddress::Socket(path) => write!(f, "unix:{path}"),
        }
    }
}

#[cfg(test)]
impl UpstreamServer {
    /// A server at an address, with the default weight.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self::named(&address.ip().to_string(), address.port())
    }

    /// The same, at a port of a host.
    pub(crate) fn named(host: &str, port: u16) -> Self {
        Self { address: ServerAddress::Network { host: host.to_owned(), port }, weight: 1 }
    }
}

/// `[[routes]]`
#[derive(Clone, Debug)]
pub struct Route {
    /// The included file that has it; `None` if it is the config file itself.
    pub file: Option<Arc<str>>,
    /// The line of the file where it begins.
    pub line: usize,
    /// Its name, unique: in metrics and logs.
    pub name: String,
    /// The hosts it matches; empty is any.
    pub hosts: Vec<HostPattern>,
    /// The paths it matches.
    pub path: PathPattern,
    /// Whether an encoded slash (`%2F`) is a character of its segment, here and for the upstream. Otherwise it is refused.
    pub keeps_encoded_slashes: bool,
    /// The methods it matches; empty is any.
    pub methods: Vec<Method>,
    /// The header fields and parameters that it asks for: fields first, each in the order of their names.
    pub requirements: Vec<Requirement>,
    /// Indices into [`Config::limits`]: the server's, then the route's own, each once.
    pub limits: Vec<usize>,
    /// Whether it has not the limits that all other routes have.
    pub is_exempt: bool,
    /// Who may use it.
    pub access: Access,
    /// What is done with a request.
    pub action: Action,
    /// How long the whole exchange may take; `None` is no bound.
    pub timeout: Option<Duration>,
    /// The largest request body, in bytes.
    pub max_body_size: u64,
    /// Changes to the request's header fields before it goes upstream.
    pub request_headers: HeaderChanges,
    /// Changes to the response's header fields before it goes to the client.
    pub response_headers: HeaderChanges,
    /// The codings by which answers may be compressed, the preferred first; empty compresses none.
    pub compression: Vec<Coding>,
    /// Whether its requests have lines in the access log.
    pub is_logged: bool,
    /// What scripts of other origins may do; `None` leaves that to the upstream.
    pub cors: Option<Cors>,
    /// The pages of its errors and refusals: its own, and then those of `[errors]`.
    pub errors: Pages,
}

impl Route {
    /// Which requests it takes.
    pub fn conditions(&self) -> Conditions<'_> {
        Conditions {
            hosts: &self.hosts,
            path: &self.path,
            methods: &self.methods,
            requirements: &self.requirements,
        }
    }
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward it.
    Proxy {
        /// The upstream that it goes to.
        to: Destination,
        /// The path that the upstream receives.
        rewrite: Rewrite,
    },
    /// Redirect the client.
    Redirect {
        /// The new path or URL; the query is carried over.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Answer it.
    Respond {
        /// 200 to 599.
        status: StatusCode,
        /// The body.
        body: String,
        /// The `Content-Type` of the body.
        content_type: HeaderValue,
    },
}

/// Header fields to change: first `remove`, then `set`.
#[derive(Clone, Debug, Default)]
pub struct HeaderChanges {
    /// Fields that are removed.
    pub remove: Vec<HeaderName>,
    /// Fields that are set, in place of what was there.
    pub set: Vec<(HeaderName, HeaderValue)>,
}
