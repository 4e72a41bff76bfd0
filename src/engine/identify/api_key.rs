//! API keys, in a header field or a parameter of the query.
//!
//! A key is looked up by its SHA-256, or, if it was right before, by a hash that takes less. How long that takes depends on the hash, which says nothing of a key that is nearly right. Keys have so
//! many random bits that a hash without a salt is enough, as it is for random tokens elsewhere: there is no list of them to try.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderValue;

use super::Verified;
use super::proof::{Credentials, Unproven};
use crate::clock::Timestamp;
use crate::config::ApiKey;
use crate::consumer::{Consumer, Consumers, KeyHash};
use crate::engine::Facts;
use crate::query;

/// The longest key, in bytes. Hashing is quick, but nobody needs a longer one.
const MAX_KEY: usize = 1024;

const WRONG: Unproven = Unproven::Wrong("nobody has this API key");

/// The key of a request to this target; `None` if it has none. An empty one is none.
///
/// # Errors
/// When it has several, or servers could read the query in two ways.
pub(super) fn find<'a>(
    places: &'a ApiKey,
    facts: &'a Facts<'_>,
    query: Option<&'a [u8]>,
) -> Result<Option<Credentials<'a>>, Unproven> {
    let of_header = match &places.header {
        None => None,
        Some(name) => {
            let mut values = facts.headers.get_all(name).iter();
            let first = values.next().map(HeaderValue::as_bytes);
            if values.next().is_some() {
                return Err(Unproven::Ambiguous("the request has two fields with an API key"));
            }
            first.map(Cow::Borrowed)
        }
    };
    let of_query = match (&places.query, query) {
        (Some(name), Some(query)) => of_query(query, name)?,
        _ => None,
    };
    let is_there = |key: &Cow<'_, [u8]>| !key.trim_ascii().is_empty();
    match (of_header.filter(is_there), of_query.filter(is_there)) {
        (Some(_), Some(_)) => {
            Err(Unproven::Ambiguous("the request has an API key in a field and another one in its query"))
        }
        (header, query) => Ok(header.or(query).map(Credentials)),
    }
}

fn of_query<'a>(query: &'a [u8], name: &'a str) -> Result<Option<Cow<'a, [u8]>>, Unproven> {
    if query::is_read_in_two_ways(query, name) {
        return Err(Unproven::Ambiguous("servers could read the API key in the query in two ways"));
    }
    let mut values = query::values(query, name);
    let first = values.next();
    if values.next().is_some() {
        return Err(Unproven::Ambiguous("the query has two API keys"));
    }
    Ok(first.map(|key| match key {
        Cow::Borrowed(key) => Cow::Borrowed(key.as_bytes()),
        Cow::Owned(key) => Cow::Owned(key.into_bytes()),
    }))
}

/// The consumer that has this key.
///
/// # Errors
/// When nobody has it.
pub(super) fn verify(
    consumers: &Consumers,
    verified: &Verified<Arc<Consumer>>,
    key: &Credentials<'_>,
    now: Timestamp,
) -> Result<Arc<Consumer>, Unproven> {
    let key = key.0.trim_ascii();
    if key.len() > MAX_KEY {
        return Err(WRONG);
    }
    if let Some(consumer) = verified.get(&[key], now) {
        return Ok(consumer);
    }
    let consumer = consumers.with_key(&KeyHash::of(key)).ok_or(WRONG)?;
    // It is right as long as there is this configuration.
    verified.insert(&[key], consumer.clone(), Timestamp::MAX, now);
    Ok(consumer.clone())
}

/// What a client is told that has no key, or a wrong one (RFC 9110, section 11.6.1). No scheme for API keys is registered.
pub(super) fn challenge(places: &ApiKey) -> String {
    let mut challenge = "ApiKey realm=\"gateway\"".to_owned();
    if let Some(name) = &places.header {
        challenge.push_str(&format!(", header=\"{name}\""));
    }
    let is_plain =
        |name: &&String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if let Some(name) = places.query.as_ref().filter(is_plain) {
        challenge.push_str(&format!(", query=\"{name}\""));
    }
    challenge
}
