//! Whose bucket a request takes from: from a request's facts to a hash.
//!
//! A key is a list of parts, each a fact of the request. The hash is keyed with a random secret (SipHash-1-3,
//! 128 bits), so that nobody outside can find two requests that share a bucket.

use http::HeaderName;

/// Whose bucket: one bucket for each combination of these parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The parts; at least one.
    pub parts: Vec<KeyPart>,
    /// What happens when a part is not there.
    pub missing: MissingKey,
    /// How many leading bits of an IPv6 client address count, 1 to 128.
    pub ipv6_prefix: u8,
}

/// A fact of a request that a key is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address.
    ClientIp,
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
    /// Nothing: everybody shares one bucket.
    Global,
}

/// What happens to a request that lacks a part of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The client's address stands in for the part.
    #[default]
    ClientIp,
    /// The request is answered with 400.
    Reject,
    /// All requests that lack the part share a bucket.
    Shared,
}
