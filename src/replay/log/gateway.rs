//! Lines of the gateway's own log, as `access_log/json.rs` writes them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderMap, Method, StatusCode, Version};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::fields::{Wanted, add_cookie, add_field};
use super::format::Format;
use super::json::{Members, Text, need, object};
use super::request;
use super::stamp::rfc_3339;
use super::unreadable::Unreadable;
use crate::replay::record::{Own, Record};

const MILLISECOND: Duration = Duration::from_millis(1);

/// What is in the place of a method, a path and a protocol that could not be read.
const UNREAD: &str = "-";

#[derive(serde::Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    client: Option<Text<'a>>,
    #[serde(borrow)]
    consumer: Option<Text<'a>>,
    #[serde(borrow)]
    plan: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow)]
    protocol: Option<Text<'a>>,
    #[serde(borrow)]
    route: Option<Text<'a>>,
    status: Option<u64>,
    duration_ms: Option<f64>,
    upstream: Option<IgnoredAny>,
    #[serde(borrow)]
    limits: Option<Entries<'a, IgnoredAny>>,
    refused_by: Option<Vec<String>>,
    #[serde(borrow)]
    costs: Option<Entries<'a, u32>>,
    settled_ms: Option<f64>,
    sample: Option<f64>,
    #[serde(borrow)]
    keys: Option<Entries<'a, Option<Text<'a>>>>,
    #[serde(borrow)]
    referer: Option<Text<'a>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
}

/// The members of an object, in their order.
struct Entries<'a, T>(Vec<(Text<'a>, T)>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Entries<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

/// Reads a line.
pub(super) fn read(line: &[u8], wanted: &Wanted) -> Result<Record, Unreadable> {
    let parsed: Line<'_> = object(line)?;
    let ended = rfc_3339(need(parsed.time, "a time")?.bytes())?;
    let client = request::client(need(parsed.client, "a client")?.bytes())?;
    let status = request::status(need(parsed.status, "a status")?)?;
    // Only this tells its lines from those of other programs, if nothing of the request could be read.
    let milliseconds = need(parsed.duration_ms, "a duration")?;
    let was_read = parsed.method.as_ref().is_some_and(|method| method.0 != UNREAD);
    let (method, version, target) = if was_read {
        (
            request::method(need(parsed.method, "a method")?.bytes())?,
            request::version(need(parsed.protocol, "a protocol")?.bytes())?,
            request::target(need(parsed.path, "a path")?.bytes())?.to_vec(),
        )
    } else {
        let none = Method::from_bytes(UNREAD.as_bytes()).unwrap_or_default();
        (none, Version::HTTP_11, UNREAD.as_bytes().to_vec())
    };
    let has_limits = parsed.limits.is_some();
    let was_not_asked = !was_read
        || !has_limits
            && match status {
                Some(StatusCode::BAD_REQUEST | StatusCode::EXPECTATION_FAILED) => true,
                // A redirect to HTTPS.
                Some(status) if status.is_redirection() => {
                    parsed.upstream.is_none() && parsed.route.is_some_and(|route| route.0.is_empty())
                }
                // A preflight that the gateway answered.
                Some(StatusCode::NO_CONTENT) => method == Method::OPTIONS && parsed.upstream.is_none(),
                _ => false,
            };
    let own = Own {
        consumer: parsed.consumer.map(|name| name.0.into_owned()),
        plan: parsed.plan.map(|name| name.0.into_owned()),
        sample: parsed.sample.filter(|share| *share > 0.0 && *share < 1.0),
        limits: names(parsed.limits),
        refused_by: parsed.refused_by.unwrap_or_default(),
        costs: parsed.costs.map_or_else(Vec::new, |costs| {
            costs.0.into_iter().map(|(name, cost)| (name.0.into_owned(), cost)).collect()
        }),
        settled: parsed.settled_ms.map(|after| request::duration(after, MILLISECOND)).transpose()?,
        was_not_asked,
    };
    let mut headers = HeaderMap::new();
    wanted.set_host(&mut headers, parsed.host.as_ref().map(Text::bytes));
    for (part, value) in parsed.keys.iter().flat_map(|keys| &keys.0) {
        if let Some(value) = value {
            add_key(&mut headers, &part.0, &value.0);
        }
    }
    for name in wanted.fields_of(Format::Gateway) {
        let shown = match *name {
            REFERER => &parsed.referer,
            USER_AGENT => &parsed.user_agent,
            _ => continue,
        };
        if let Some(value) = shown.as_ref().filter(|_| !headers.contains_key(name)) {
            add_field(&mut headers, name, value.bytes());
        }
    }
    if wanted.has_mappings() {
        let members = Members::of(line);
        wanted.add_mapped(&mut headers, |field| members.get(field));
    }
    Ok(Record {
        ended,
        took: Some(request::duration(milliseconds, MILLISECOND)?),
        client,
        method,
        version,
        target,
        headers,
        status,
        own: Some(Box::new(own)),
    })
}

/// Adds the field or the cookie that a part of a key is about, with the value that the log shows of it.
fn add_key(headers: &mut HeaderMap, part: &str, value: &str) {
    match part.split_once(':') {
        Some(("header", name)) => {
            // `Host` is shown as it was sent.
            if let Some(name) = name.parse().ok().filter(|name| *name != HOST) {
                add_field(headers, &name, value.as_bytes());
            }
        }
        Some(("cookie", name)) => add_cookie(headers, name, value),
        _ => {}
    }
}

fn names(entries: Option<Entries<'_, IgnoredAny>>) -> Vec<String> {
    let entries = entries.map_or_else(Vec::new, |entries| entries.0);
    entries.into_iter().map(|(name, _)| name.0.into_owned()).collect()
}

#[cfg(test)]
mod tests;
