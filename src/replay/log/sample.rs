//! A record for the tests, of which only the time matters.

use std::net::Ipv4Addr;

use http::{HeaderMap, Method, Version};

use crate::client::ClientId;
use crate::replay::record::{Record, Stamp};

/// A record that ended then.
pub(super) fn ended(nanoseconds: i64) -> Box<Record> {
    Box::new(Record {
        ended: Stamp(nanoseconds),
        took: None,
        client: ClientId::Address(Ipv4Addr::LOCALHOST.into()),
        method: Method::GET,
        version: Version::HTTP_11,
        target: b"/".to_vec(),
        headers: HeaderMap::new(),
        status: None,
        own: None,
    })
}
