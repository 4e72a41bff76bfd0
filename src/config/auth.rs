//! How callers prove who they are, and who is let in.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::password::Users;

/// `[auth]`: how callers prove who they are, and what upstreams are told of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The field that names the consumer to upstreams.
    pub consumer_header: HeaderName,
    /// The field that names its plan to upstreams.
    pub plan_header: HeaderName,
    /// `[auth.api_key]`
    pub api_key: ApiKey,
    /// `[auth.basic]`; `None` where it is left out.
    pub basic: Option<Basic>,
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

/// `[auth.basic]`: names and passwords (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// Who has which password.
    pub users: Arc<Users>,
    /// What a browser shows when it asks for a password. It has no characters but visible ones of ASCII, and spaces.
    pub realm: String,
    /// Whether upstreams get name and password too.
    pub keep: bool,
    /// How long a password that was right is known without making its hash again; zero turns that off.
    pub cache: Duration,
}

/// A way to prove who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// An API key.
    ApiKey,
    /// A name and a password.
    Basic,
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
