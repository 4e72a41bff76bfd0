//! A request that a log tells of.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Version};

use crate::client::ClientId;

/// Nanoseconds since 1970 by the clock of the machine that wrote the log. 64 bits last until the year 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub i64);

impl Stamp {
    /// In RFC 3339, to the microsecond.
    pub fn rfc_3339(self) -> String {
        let time = jiff::Timestamp::from_nanosecond(self.0.into()).unwrap_or_default();
        format!("{time:.6}")
    }
}

/// A request that a log tells of.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it ended, as the log says it: rounded down to the log's unit of time.
    pub ended: Stamp,
    /// How long it took, if the log says so.
    pub took: Option<Duration>,
    /// Who sent it.
    pub client: ClientId,
    /// The method.
    pub method: Method,
    /// The version of HTTP.
    pub version: Version,
    /// Path and query, as the client sent them.
    pub target: Vec<u8>,
    /// `Host`, and those other fields of the request that the configuration asks for and the log, or a mapping, has.
    pub headers: HeaderMap,
    /// The status of the answer.
    pub status: Option<StatusCode>,
    /// What only the gateway's own log tells.
    pub own: Option<Box<Own>>,
}

/// What the gateway's own log tells of a request beside what every log tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Own {
    /// The consumer that had proved to be calling.
    pub consumer: Option<String>,
    /// The plan by which it was counted.
    pub plan: Option<String>,
    /// The share of requests like it that the log has, if it has not all of them.
    pub sample: Option<f64>,
    /// The limits that were asked about it. Empty if none was: the request was answered before, or has no limits.
    pub limits: Vec<String>,
    /// The limits that refused it.
    pub refused_by: Vec<String>,
    /// What it cost in the end, by the limits that charge by the answer.
    pub costs: Vec<(String, u32)>,
    /// How long after its head those costs were settled.
    pub settled: Option<Duration>,
    /// The request was answered without asking any limit, although its route may have some: its head could not be used, or it was
    /// a preflight.
    pub was_not_asked: bool,
}

impl Record {
    /// When it began, as far as the log knows: when it ended, less the time that it took.
    pub fn began(&self) -> Stamp {
        let took = self.took.map_or(0, |took| i64::try_from(took.as_nanos()).unwrap_or(i64::MAX));
        Stamp(self.ended.0.saturating_sub(took))
    }
}
