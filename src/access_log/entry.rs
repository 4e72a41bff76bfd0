//! A request that has been answered, as the log tells it.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::address::Address;
use crate::client::ClientId;

/// Names of limits. More than these are unusual, and take memory of their own.
pub type Names<'a> = SmallVec<[&'a str; 4]>;

/// Limits, and the whole tokens that are left; `None` for a client that the limit does not count.
pub type Tokens<'a> = SmallVec<[(&'a str, Option<u32>); 4]>;

/// Parts of keys, and their values; `None` for a request without one. Few requests have any.
pub type Keys<'a> = SmallVec<[(&'a str, Option<&'a str>); 1]>;

/// Limits that charge by the answer, and the tokens that they took.
pub type Costs<'a> = SmallVec<[(&'a str, u32); 1]>;

/// A request that has been answered.
#[derive(Clone)]
pub struct Entry<'a> {
    /// When it ended.
    pub time: Timestamp,
    /// Its name.
    pub request_id: &'a str,
    /// Who asked.
    pub client: &'a ClientId,
    /// The consumer that has proved to be calling.
    pub consumer: Option<&'a str>,
    /// The plan by which it was counted.
    pub plan: Option<&'a str>,
    /// The method.
    pub method: &'a str,
    /// The host that was asked for, as it was sent.
    pub host: Cow<'a, str>,
    /// The request target, as it was sent.
    pub path: &'a str,
    /// The protocol, such as `HTTP/1.1`: nothing that anybody sends, so there is nothing to escape.
    pub protocol: &'static str,
    /// The route, or an empty text.
    pub route: &'a str,
    /// The status; 499 when the client left before it was answered.
    pub status: u16,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// From the whole head to the end.
    pub duration: Duration,
    /// The server that was asked.
    pub upstream: Option<&'a Address>,
    /// How long its response head took.
    pub upstream_duration: Option<Duration>,
    /// The limits that applied, with the tokens that they have left for this client.
    pub limits: Tokens<'a>,
    /// The values of header fields and cookies by which it was counted, by the names of the parts of keys; `None`: it has none.
    pub keys: Keys<'a>,
    /// What it cost in the end, by the limits that charge by the answer.
    pub costs: Costs<'a>,
    /// How long after the head those costs were settled.
    pub settled: Option<Duration>,
    /// The limits that refused it.
    pub refused_by: Names<'a>,
    /// The limits on trial that would have refused it.
    pub would_refuse: Names<'a>,
    /// What went wrong.
    pub error: Option<&'a str>,
    /// The trace that the client says it belongs to.
    pub trace_id: Option<u128>,
    /// `Referer`.
    pub referer: Cow<'a, str>,
    /// `User-Agent`.
    pub user_agent: Cow<'a, str>,
    /// The share of requests like this one that have a line, if not all have.
    pub sample: Option<f64>,
}

#[cfg(test)]
impl<'a> Entry<'a> {
    /// Of a request that could not be read.
    pub(super) fn unread(time: Timestamp, client: &'a ClientId) -> Self {
        Self {
            time,
            request_id: "",
            client,
            consumer: None,
            plan: None,
            method: "-",
            host: Cow::Borrowed(""),
            path: "-",
            protocol: "-",
            route: "",
            status: 400,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            upstream: None,
            upstream_duration: None,
            limits: Tokens::new(),
            keys: Keys::new(),
            costs: Costs::new(),
            settled: None,
            refused_by: Names::new(),
            would_refuse: Names::new(),
            error: None,
            trace_id: None,
            referer: Cow::Borrowed(""),
            user_agent: Cow::Borrowed(""),
            sample: None,
        }
    }
}
