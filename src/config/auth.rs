//! How callers prove who they are, and who is let in.

use http::HeaderName;
use ipnet::IpNet;

/// `[auth]`: how callers prove who they are, and what upstreams are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The field that names the consumer to upstreams.
    pub consumer_header: HeaderName,
    /// The field that names its plan to upstreams.
    pub plan_header: HeaderName,
    /// `[auth.api_key]`
    pub api_key: ApiKey,
}

/// `[auth.api_key]`: where requests have their keys; at least one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// A header field.
    pub header: Option<HeaderName>,
    /// A parameter of the query.
    pub query: Option<String>,
    /// Whether upstreams get the key too.
    pub keep: bool,
}

/// A way to prove who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// An API key.
    ApiKey,
}

/// Who may use a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The ways to prove who is calling, in the order in which they are tried; empty asks nobody.
    pub ways: Vec<Way>,
    /// Whether a request without credentials is let in.
    pub lets_strangers_in: bool,
    /// Who is let in; `None` is everybody.
    pub allow: Option<Vec<Subject>>,
    /// Who is not let in, also if `allow` has it.
    pub deny: Vec<Subject>,
}

/// Whom `allow` or `deny` is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The consumer of this name.
    Consumer(String),
    /// The consumers whose plan has this index.
    Plan(usize),
    /// The clients with these addresses.
    Network(IpNet),
}
