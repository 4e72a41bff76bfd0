//! The inputs of a request that keys are made of.

use http::{HeaderMap, Method};

use crate::client::ClientId;

/// The inputs of a request that keys are made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// The method.
    pub method: &'a Method,
    /// The host that was asked for, in lower case, without the port.
    pub host: &'a str,
    /// The normalised path.
    pub path: &'a str,
    /// What follows the `?`, as the client sent it.
    pub query: Option<&'a str>,
    /// The name of the route that matched.
    pub route: &'a str,
    /// The request's header fields.
    pub headers: &'a HeaderMap,
}

/// Why a request has no value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoValue {
    /// A part of the key is not there, and the limit says to reject the request.
    Missing,
    /// A part is there more than once, with different values. The upstream may use either, so a client could be counted by one value
    /// and use the other.
    Ambiguous,
}
