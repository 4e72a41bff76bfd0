//! The inputs of a request that keys are made of.

use http::{HeaderMap, Method};

use crate::client::ClientId;

/// Who has proved to be calling.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The name of the consumer.
    pub consumer: &'a str,
    /// Its plan: the index by which rules name it.
    pub plan: Option<usize>,
}

/// The inputs of a request that keys are made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The client.
    pub client: &'a ClientId,
    /// The consumer, if one has proved to be calling.
    pub caller: Option<Caller<'a>>,
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

impl Inputs<'_> {
    /// The plan of the consumer.
    #[inline]
    pub fn plan(&self) -> Option<usize> {
        self.caller.and_then(|caller| caller.plan)
    }
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
