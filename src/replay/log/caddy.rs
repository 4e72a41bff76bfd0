//! Lines of Caddy's access log in JSON, which is how it writes it unless it is told otherwise.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use super::fields::{Wanted, add_field};
use super::format::Format;
use super::json::{Members, Text, is_told, need, object};
use super::request;
use super::stamp::{rfc_3339, unix_seconds};
use super::unreadable::Unreadable;
use crate::replay::record::Record;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    ts: Option<Time<'a>>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
    status: Option<u64>,
    #[serde(borrow)]
    duration: Option<Took<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    remote_ip: Option<Text<'a>>,
    #[serde(borrow)]
    client_ip: Option<Text<'a>>,
    #[serde(borrow)]
    proto: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    uri: Option<Text<'a>>,
}

/// When it ended: by `time_format`, seconds since 1970 or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time<'a> {
    Seconds(f64),
    #[serde(borrow)]
    Written(Text<'a>),
}

/// How long it took: by `duration_format`, seconds or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Took<'a> {
    Seconds(f64),
    #[serde(borrow)]
    Written(#[expect(dead_code, reason = "it is not read: a record may be without it")] Text<'a>),
}

/// The short names of fields, and where they are.
const SHORT: [(&str, &str); 4] = [
    ("client", "request.client_ip"),
    ("user", "user_id"),
    ("referer", "request.headers.Referer"),
    ("user_agent", "request.headers.User-Agent"),
];

/// Reads a line.
pub(super) fn read(line: &[u8], wanted: &Wanted) -> Result<Record, Unreadable> {
    let Line { ts, request, status, duration } = object(line)?;
    let request = need(request, "a request")?;
    let ended = match need(ts, "a time")? {
        Time::Seconds(seconds) => unix_seconds(seconds)?,
        Time::Written(text) => rfc_3339(text.bytes())?,
    };
    let took = match duration {
        Some(Took::Seconds(seconds)) => Some(request::duration(seconds, Duration::from_secs(1))?),
        Some(Took::Written(_)) | None => None,
    };
    // Older versions write only the address of the peer.
    let client = request::client(need(request.client_ip.or(request.remote_ip), "a client")?.bytes())?;
    let mut headers = HeaderMap::new();
    wanted.set_host(&mut headers, request.host.as_ref().map(Text::bytes));
    if wanted.has_fields() || wanted.has_mappings() {
        add_fields(&mut headers, line, wanted);
    }
    Ok(Record {
        ended,
        took,
        client,
        method: request::method(need(request.method, "a method")?.bytes())?,
        version: request::version(need(request.proto, "a protocol")?.bytes())?,
        target: request::target(need(request.uri, "a path")?.bytes())?.to_vec(),
        headers,
        status: request::status(need(status, "a status")?)?,
        own: None,
    })
}

fn add_fields(headers: &mut HeaderMap, line: &[u8], wanted: &Wanted) {
    let members = Members::of(line);
    for name in wanted.fields_of(Format::Caddy) {
        for value in members.all(&["request", "headers"], name.as_str()).filter(|value| is_told(value)) {
            add_field(headers, name, value.as_bytes());
        }
    }
    wanted.add_mapped(headers, |field| {
        let short = SHORT.iter().find(|(name, _)| *name == field);
        members.get(short.map_or(field, |(_, path)| path))
    });
}

#[cfg(test)]
mod tests;
