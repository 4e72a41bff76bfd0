//! Lines of Traefik's access log in JSON. Its other format is the combined one, with more after it.

use std::time::Duration;

use http::HeaderMap;
use serde::Deserialize;

use super::fields::Wanted;
use super::json::{Members, Text, need, object};
use super::request;
use super::stamp::rfc_3339;
use super::unreadable::Unreadable;
use crate::replay::record::{Record, Stamp};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    /// When it began.
    #[serde(borrow, rename = "StartUTC")]
    start: Option<Text<'a>>,
    /// When the line was written, to the second.
    #[serde(borrow, rename = "time")]
    time: Option<Text<'a>>,
    /// In nanoseconds.
    duration: Option<f64>,
    /// The address of the peer, or what `X-Forwarded-For` says if the request has it.
    #[serde(borrow)]
    client_host: Option<Text<'a>>,
    #[serde(borrow)]
    request_host: Option<Text<'a>>,
    #[serde(borrow)]
    request_method: Option<Text<'a>>,
    #[serde(borrow)]
    request_path: Option<Text<'a>>,
    #[serde(borrow)]
    request_protocol: Option<Text<'a>>,
    downstream_status: Option<u64>,
}

/// The short names of fields, and where they are.
const SHORT: [(&str, &str); 4] = [
    ("client", "ClientHost"),
    ("user", "ClientUsername"),
    ("referer", "request_Referer"),
    ("user_agent", "request_User-Agent"),
];

/// Reads a line.
pub(super) fn read(line: &[u8], wanted: &Wanted) -> Result<Record, Unreadable> {
    let parsed: Line<'_> = object(line)?;
    let took =
        parsed.duration.map(|number| request::duration(number, Duration::from_nanos(1))).transpose()?;
    let ended = match parsed.start {
        Some(start) => after(rfc_3339(start.bytes())?, took.unwrap_or_default()),
        None => rfc_3339(need(parsed.time, "a time")?.bytes())?,
    };
    let clients = need(parsed.client_host, "a client")?;
    // Of several, the last one is whom the nearest proxy has seen. Those before it were written by others.
    let client = clients.0.rsplit(',').next().unwrap_or_default().trim();
    let mut headers = HeaderMap::new();
    wanted.set_host(&mut headers, parsed.request_host.as_ref().map(Text::bytes));
    if wanted.has_mappings() {
        let members = Members::of(line);
        wanted.add_mapped(&mut headers, |field| {
            let short = SHORT.iter().find(|(name, _)| *name == field);
            members.get(short.map_or(field, |(_, path)| path))
        });
    }
    Ok(Record {
        ended,
        took,
        client: request::client(client.as_bytes())?,
        method: request::method(need(parsed.request_method, "a method")?.bytes())?,
        version: request::version(need(parsed.request_protocol, "a protocol")?.bytes())?,
        target: request::target(need(parsed.request_path, "a path")?.bytes())?.to_vec(),
        headers,
        status: request::status(need(parsed.downstream_status, "a status")?)?,
        own: None,
    })
}

fn after(start: Stamp, took: Duration) -> Stamp {
    Stamp(start.0.saturating_add(i64::try_from(took.as_nanos()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
