//! API keys, in a header field or a parameter of the query.
//!
//! A key is looked up by its SHA-256, or, if it was right before, by a hash that takes less. Nothing compares the key itself with another one:
//! how long a look-up takes depends on the hash, which says nothing of a key that is nearly right. Keys have so many random bits that a hash
//! without a salt is enough, as it is for random tokens elsewhere: there is no list of them to try.

use std::borrow::Cow;
use std::sync::Arc;

use super::Verified;
use super::proof::{Credentials, Unproven, only_field};
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
        Some(name) => only_field(facts.headers, name, "the request has two fields with an API key")?
            .map(|value| Cow::Borrowed(value.as_bytes())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_take_no_room_and_those_that_are_nearly_right_are_wrong() {
        const KEY: &str = "gwk_alice0123456789";
        let (mut consumers, verified) = (Consumers::default(), Verified::new(640));
        let alice = Consumer::new("alice".to_owned(), None);
        consumers.add(alice, &[KeyHash::of(KEY.as_bytes())]).unwrap();
        let now = Timestamp::default();
        let verify = |key: &[u8]| {
            verify(&consumers, &verified, &Credentials(key.into()), now).map(|one| one.name().to_owned())
        };
        for number in 0..10_000_u32 {
            assert_eq!(verify(format!("gwk_{number}").as_bytes()), Err(WRONG));
        }
        assert_eq!(verified.count(), 0);
        // Before and after the right one is remembered.
        for _ in 0..2 {
            for at in 0..KEY.len() {
                let mut near = KEY.as_bytes().to_vec();
                near[at] ^= 1;
                assert_eq!(verify(&near), Err(WRONG));
                assert_eq!(verify(&KEY.as_bytes()[..at]), Err(WRONG));
            }
            assert_eq!(verify(KEY.as_bytes()).as_deref(), Ok("alice"));
            assert_eq!(verified.count(), 1);
        }
        // The text of the stored hash is no key.
        assert_eq!(verify(KeyHash::of(KEY.as_bytes()).to_string().as_bytes()), Err(WRONG));
    }
}
