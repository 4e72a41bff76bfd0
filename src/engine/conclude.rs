//! The step that says where an admitted request goes: to an upstream, or back with the answer that the route has for it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::locate::split_query;
use super::reserve::Reserved;
use super::{Engine, Facts, Located, Reply};
use crate::config::{Action, Balance, Destination, Route, Split, Way};
use crate::limit::key::{Fingerprint, Inputs, Key, KeyPart, Secret};
use crate::query;
use crate::route::{Shares, rewrite};
use crate::sticky::Stickiness;

/// What a door does with a request.
pub enum Course {
    /// Send it to an upstream.
    Forward(Forward),
    /// Send this answer to its client.
    Answer(Reply),
}

/// Where an admitted request goes.
#[derive(Debug)]
pub struct Forward {
    /// The index of its route.
    pub route: usize,
    /// The index of the upstream.
    pub upstream: usize,
    /// Path and query for the upstream, where they are not those that the client sent.
    pub target: Option<Vec<u8>>,
    /// What the request says about which server of the upstream gets it.
    pub preference: Preference,
}

/// What a request says about which server of its upstream gets it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Preference {
    /// A hash of the value by which the upstream chooses a server, if it goes by one.
    pub key: Option<u128>,
    /// The server that its cookie asks for.
    pub sticky: Option<Stickiness>,
}

impl Engine {
    /// Where an admitted request goes.
    ///
    /// # Errors
    /// The answer to a request whose body is larger than the route takes.
    pub(super) fn conclude(
        &self,
        located: &Located<'_>,
        facts: &Facts<'_>,
        inputs: &Inputs<'_>,
        _: Reserved,
    ) -> Result<Course, Reply> {
        self.course(located, facts, inputs, Shares::draw)
    }

    /// Where a request would go if it were admitted. `draw` draws one of several upstreams, where nothing of the request decides.
    ///
    /// # Errors
    /// The answer to a request whose body is larger than the route takes.
    pub(super) fn course(
        &self,
        located: &Located<'_>,
        facts: &Facts<'_>,
        inputs: &Inputs<'_>,
        draw: fn(&Shares) -> usize,
    ) -> Result<Course, Reply> {
        let route = located.route();
        if content_length(facts.headers).is_some_and(|length| length > route.max_body_size) {
            return Err(body_too_large(route));
        }
        Ok(match &route.action {
            Action::Proxy { to, rewrite: how } => {
                let upstream = match to {
                    Destination::One(upstream) => *upstream,
                    Destination::Split(split) => share(split, inputs, draw),
                };
                let path = rewrite(how, located.path(), located.captures());
                Course::Forward(Forward {
                    route: located.route_index(),
                    upstream,
                    target: target(path.as_bytes(), facts.target, self.credential_parameter(route)),
                    preference: self.preference(upstream, inputs),
                })
            }
            Action::Respond { status, body, content_type } => Course::Answer(Reply::plain(
                *status,
                content_type.clone(),
                Bytes::copy_from_slice(body.as_bytes()),
            )),
            Action::Redirect { to, status } => {
                let mut location = to.apply(located.path(), located.captures()).into_bytes();
                let credential = self.credential_parameter(route);
                if let Some(query) = located.query().and_then(|query| carried_over(query, credential)) {
                    let separator = if location.contains(&b'?') { b'&' } else { b'?' };
                    location.push(separator);
                    location.extend_from_slice(&query);
                }
                let Ok(location) = HeaderValue::from_bytes(&location) else {
                    return Err(Reply::bad_request("the query cannot be carried over"));
                };
                let text = HeaderValue::from_static("text/plain");
                Course::Answer(Reply::plain(*status, text, Bytes::new()).with("Location", location))
            }
        })
    }

    /// The parameter of the query that has a credential which neither this route's upstream gets nor the target of its redirect.
    fn credential_parameter(&self, route: &Route) -> Option<&str> {
        let api_key = &self.config.auth.as_ref()?.api_key;
        let is_taken_out = !api_key.keep && route.access.ways.contains(&Way::ApiKey);
        api_key.query.as_deref().filter(|_| is_taken_out)
    }

    /// What a request says about which server of this upstream gets it.
    fn preference(&self, upstream: usize, inputs: &Inputs<'_>) -> Preference {
        let upstream = &self.config.upstreams[upstream];
        let key = match &upstream.balance {
            // The same secret for all gateways, so that they agree on the server.
            Balance::Hash(key) => key.fingerprint(inputs, &Secret::shared()).ok().map(Fingerprint::bits),
            _ => None,
        };
        Preference { key, sticky: upstream.sticky.as_ref().and_then(|sticky| sticky.asked(inputs.headers)) }
    }
}

/// The upstream of a request among several.
#[cold]
fn share(split: &Split, inputs: &Inputs<'_>, draw: fn(&Shares) -> usize) -> usize {
    // The same secret for all gateways, so that they agree on the upstream. A request that has no value, or several, goes by its client's
    // address.
    let secret = Secret::shared();
    let value = |key: &Key| key.fingerprint(inputs, &secret).ok();
    let by_client = || value(&Key::of(vec![KeyPart::ClientIp]));
    let hash = split.by.as_ref().and_then(|key| value(key).or_else(by_client));
    hash.map_or_else(|| draw(&split.shares), |hash| split.shares.of(hash.bits()))
}

/// What a redirect carries over of a query: all but the parameter that has a credential; `None` if nothing is left then.
fn carried_over<'a>(query: &'a [u8], credential: Option<&str>) -> Option<Cow<'a, [u8]>> {
    match credential.and_then(|name| query::without(query, name)) {
        Some(rest) => (!rest.is_empty()).then_some(Cow::Owned(rest)),
        None => Some(Cow::Borrowed(query)),
    }
}

/// This path with the query that the client sent, but without the parameter that has a credential; `None` if the client sent the same.
fn target(path: &[u8], sent: &[u8], credential: Option<&str>) -> Option<Vec<u8>> {
    let (sent_path, query) = split_query(sent);
    match query.zip(credential).and_then(|(query, name)| query::without(query, name)) {
        Some(rest) if rest.is_empty() => Some(path.to_vec()),
        Some(rest) => Some([path, b"?", &rest].concat()),
        None => (path != sent_path).then(|| [path, &sent[sent_path.len()..]].concat()),
    }
}

/// The answer to a body that is larger than the route takes.
pub fn body_too_large(route: &Route) -> Reply {
    let detail =
        format!("the request body is larger than the {} bytes that are taken here", route.max_body_size);
    Reply::problem(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
