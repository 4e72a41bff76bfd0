//! How callers prove who they are, and who is let in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};
use ipnet::IpNet;

use super::forward_auth::ForwardAuth;
use crate::client_certificate::NameKind;
use crate::jwt::{KeySet, Rules};
use crate::password::Users;
use crate::tls::Authorities;

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
    /// `[auth.jwt]`; it is there if a route goes by tokens.
    pub jwt: Option<Jwt>,
    /// `[auth.forward]`; `None` where it is left out.
    pub forward: Option<ForwardAuth>,
    /// `[auth.client_certificate]`
    pub client_certificate: ClientCertificates,
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

/// `[auth.jwt]`: which tokens are believed, and where requests have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// The keys that verify them.
    pub keys: JwtKeys,
    /// What they must say.
    pub rules: Rules,
    /// The field that has the token.
    pub header: HeaderName,
    /// Whether upstreams get the token too.
    pub keep: bool,
}

/// Where the keys are that verify tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtKeys {
    /// They have been read from the file, or from one that it names.
    Read(Arc<KeySet>),
    /// A server shows them.
    Shown(Jwks),
}

/// A server that shows the keys of an issuer, and how it is asked for them.
#[derive(Clone, PartialEq, Eq)]
pub struct Jwks {
    /// Where they are: http or https.
    pub url: Uri,
    /// Who may vouch for the server; empty where it does not speak TLS.
    pub authorities: Authorities,
    /// How often they are fetched.
    pub refresh: Duration,
    /// How long fetching them may take.
    pub timeout: Duration,
}

impl fmt::Debug for Jwks {
    /// Without the authorities, of whom there may be hundreds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &self.url)
            .field("refresh", &self.refresh)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// `[auth.client_certificate]`: what certificates of clients say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The name in a certificate that is the name of its consumer, if no consumer lists one of its names.
    pub name_from: Option<NameKind>,
    /// Whether trusted proxies say which certificate a client has shown to them.
    pub from_proxy: bool,
}

/// A way to prove who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// An API key.
    ApiKey,
    /// A name and a password.
    Basic,
    /// A signed token.
    Jwt,
    /// The answer of a service that is asked.
    Forward,
    /// A certificate that the client has shown.
    ClientCertificate,
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
