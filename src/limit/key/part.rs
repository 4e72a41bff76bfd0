//! The parts that keys are made of. What a request's value of each is stands in `reading.rs`, and how the configuration spells each in
//! `config/value/key.rs`: a new part is added in these three files.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

/// A fact of a request that a key is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The client's address.
    ClientIp,
    /// The consumer that has proved to be calling.
    Consumer,
    /// The value of a request header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(String),
    /// The value of a query parameter.
    Query(String),
    /// The route that matched.
    Route,
    /// The host that was asked for, in lower case, without the port.
    Host,
    /// The normalised path.
    Path,
    /// Nothing: all clients share one bucket.
    Global,
}

impl KeyPart {
    /// What a request must carry to have a value of this part.
    pub(super) fn in_words(&self) -> Cow<'static, str> {
        match self {
            Self::ClientIp => "a client address".into(),
            Self::Consumer => "the credentials of a consumer".into(),
            Self::Header(name) => format!("one header field {name}").into(),
            Self::Cookie(name) => format!("one cookie {name}").into(),
            Self::Query(name) => format!("one query parameter {name}").into(),
            Self::Route => "a route".into(),
            Self::Host => "a host".into(),
            Self::Path => "a path".into(),
            Self::Global => "nothing".into(),
        }
    }

    /// A value as requests have it, for one that a person wrote: the host of a request is in lower case.
    pub fn normal<'a>(&self, value: &'a str) -> Cow<'a, str> {
        match self {
            Self::Host => value.to_lowercase().into(),
            _ => value.into(),
        }
    }

    /// Whether its value stands in the header fields of a request, and so in no log that tells only the request line.
    pub fn is_in_fields(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Cookie(_))
    }

    /// Whether its value may be what a client proves who it is with.
    pub fn is_secret(&self) -> bool {
        match self {
            Self::Header(_) | Self::Cookie(_) | Self::Query(_) => true,
            Self::ClientIp | Self::Consumer | Self::Route | Self::Host | Self::Path | Self::Global => false,
        }
    }
}

impl fmt::Display for KeyPart {
    /// As in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientIp => f.write_str("client_ip"),
            Self::Consumer => f.write_str("consumer"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Global => f.write_str("global"),
        }
    }
}
