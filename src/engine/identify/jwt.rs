//! Signed tokens, in `Authorization: Bearer` (RFC 6750) or a field of another name.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::proof::{Credentials, Unproven, only_field};
use crate::clock::Timestamp;
use crate::config::{Jwks, Jwt, JwtKeys, Route, Way};
use crate::consumer::Consumer;
use crate::engine::{Engine, Facts};
use crate::jwt::{KeySet, Refused, Remote};

const NO_KEYS: Unproven =
    Unproven::Unverified("the keys by which tokens are verified have not been fetched yet");

const SCHEME: &str = "bearer";

impl Engine {
    /// Whether a request to this route with these fields has a token that its upstream does not get, and in which field.
    pub fn token_field(&self, route: &Route, headers: &HeaderMap) -> Option<&HeaderName> {
        let jwt = self.config.auth.as_ref()?.jwt.as_ref()?;
        let is_taken_out = !jwt.keep && route.access.ways.contains(&Way::Jwt) && is_there(jwt, headers);
        is_taken_out.then_some(&jwt.header)
    }

    /// The keys that are to be fetched, and how, if there are some.
    pub fn shown_keys(&self) -> Option<(&Arc<Remote>, &Jwks)> {
        match &self.config.auth.as_ref()?.jwt.as_ref()?.keys {
            JwtKeys::Shown(jwks) => Some((self.tokens.as_ref()?.remote()?, jwks)),
            JwtKeys::Read(_) => None,
        }
    }
}

/// The token of a request; `None` if it has none. An empty one is none, and so is an `Authorization` of another scheme.
///
/// # Errors
/// When it has several.
pub(super) fn find<'a>(jwt: &'a Jwt, facts: &'a Facts<'_>) -> Result<Option<Credentials<'a>>, Unproven> {
    let value = only_field(facts.headers, &jwt.header, "the request has two fields with a token")?;
    let token = value.and_then(|value| token(&jwt.header, value)).filter(|token| !token.is_empty());
    Ok(token.map(|token| Credentials(Cow::Borrowed(token))))
}

/// The token in a field: behind the scheme, which another field than `Authorization` may leave out.
fn token<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a [u8]> {
    let value = value.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_at_checked(SCHEME.len()).unwrap_or((value, b""));
    let has_scheme = scheme.eq_ignore_ascii_case(SCHEME.as_bytes());
    match (has_scheme, rest.first()) {
        (true, None | Some(b' ')) => Some(rest.trim_ascii()),
        _ if *name == header::AUTHORIZATION => None,
        _ => Some(value),
    }
}

/// Whether the field that tokens are in has one, so that it is taken away. An `Authorization` of another scheme has none.
fn is_there(jwt: &Jwt, headers: &HeaderMap) -> bool {
    headers.get_all(&jwt.header).iter().any(|value| token(&jwt.header, value).is_some())
}

/// The consumer that a token names. Where its key is not known, and `may_wait`, it waits for those that the issuer may have now.
///
/// # Errors
/// When the token proves nothing, or no keys have been fetched yet.
pub(super) async fn verify(
    engine: &Engine,
    token: &Credentials<'_>,
    now: Timestamp,
    may_wait: bool,
) -> Result<Arc<Consumer>, Unproven> {
    let jwt = engine.config.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
    let (Some(jwt), Some(tokens)) = (jwt, &engine.tokens) else {
        return Err(Unproven::Wrong("no tokens are believed here"));
    };
    let token = &*token.0;
    let by = |keys: &KeySet| tokens.consumer(token, keys, &jwt.rules, &engine.config, now);
    let first = tokens.keys().map(|keys| by(&keys));
    let proved = match (first, engine.shown_keys()) {
        // It may be that the issuer has a new key.
        (None | Some(Err(Refused::UnknownKey)), Some((remote, jwks)))
            if may_wait && Box::pin(remote.refetched(now, jwks.timeout)).await =>
        {
            tokens.keys().map(|keys| by(&keys))
        }
        (first, _) => first,
    };
    proved.ok_or(NO_KEYS)?.map_err(|refused| {
        Unproven::Wrong(match refused {
            Refused::UnknownKey => "the token is signed with an unknown key",
            Refused::Wrong(why) => why,
        })
    })
}

/// What a client is told that has no token, or a wrong one (RFC 6750, section 3). `wrong` says what is wrong with it.
pub(super) fn challenge(jwt: &Jwt, wrong: Option<&str>) -> String {
    let mut challenge = "Bearer realm=\"gateway\"".to_owned();
    if jwt.header != header::AUTHORIZATION {
        challenge.push_str(&format!(", header=\"{}\"", jwt.header));
    }
    if let Some(wrong) = wrong {
        challenge.push_str(&format!(", error=\"invalid_token\", error_description=\"{wrong}\""));
    }
    challenge
}
