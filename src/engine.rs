//! The life of a request, as steps that know neither sockets nor Pingora.
//!
//! ```text
//! Facts        what a request says of itself, and which client it is attributed to
//!   │ locate     → Located: the route, and what the route's pattern captured
//!   │ identify   → Principal: the caller, and what the caller proved            (may wait)
//!   │ claims     → Claims: what each limit wants, and from which client's bucket
//!   │ reserve    → Reservation: every limit got what it wants, or none did      (may wait)
//!   │ conclude   → Forward, or the answer that the configuration has for the route
//!   │ ... the door forwards the request, or sends the reply ...
//!   │ settle     → what the answer costs, where a limit goes by answers
//! Exchange     the whole of it: read by the access log, the metrics and the spans
//! ```
//!
//! Each step takes the value that the step before it made, so a limit cannot be asked before a route and a principal are known.
//! A step that refuses the request returns the [`Reply`] that the client gets. [`Engine::decide`] runs all steps up to the point
//! where the request is forwarded or answered.
//!
//! A door (Pingora's callbacks in `proxy`, a table of requests in the tests) makes the facts, runs the steps, and sends what they
//! say. The engine reads no clock and draws no random numbers: a door passes in both.

mod claims;
mod clients;
mod conclude;
pub mod exchange;
mod facts;
mod identify;
mod locate;
pub mod reply;
mod reserve;
#[cfg(test)]
mod tests;

pub use self::clients::NamedClient;
pub use self::conclude::{Forward, body_too_large};
pub use self::exchange::{Exchange, UpstreamError};
pub use self::facts::{Facts, Peer, Sender};
pub use self::identify::Principal;
pub use self::locate::Located;
pub use self::reply::Reply;
use crate::client::TrustedProxies;
use crate::clock::Timestamp;
use crate::config::{Balance, Config, Route};
use crate::field_names::FieldNames;
use crate::limit::key::KeyPart;
use crate::limit::{Limiter, Reservation};
use crate::route::Table;

/// What a configuration says of requests, ready to decide about them.
pub struct Engine {
    config: Config,
    routes: Table,
    limiter: Limiter,
    trusted_proxies: TrustedProxies,
    field_names: FieldNames,
}

/// What becomes of a request.
pub struct Decision {
    /// The index of the route that the request takes; `None` if it was refused before a route was found.
    pub route: Option<usize>,
    /// What the limits made of the request, and what is held for it. A refused request holds nothing.
    pub reservation: Reservation,
    /// What the door is to do.
    pub course: Course,
}

/// What a door does with a request.
pub enum Course {
    /// Send it to an upstream.
    Forward(Forward),
    /// Send this answer to its client.
    Answer(Reply),
}

impl Engine {
    /// The engine of a configuration whose limits are these.
    pub fn new(config: Config, limiter: Limiter) -> Self {
        Self {
            routes: Table::new(config.routes.iter().map(Route::conditions)),
            trusted_proxies: TrustedProxies::new(&config.server.trusted_proxies),
            field_names: FieldNames::new(config.server.underscores_in_headers, counted_by(&config)),
            config,
            limiter,
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The limits, in the order of the configuration.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The route of this index. Indices come from the configuration itself, so there is one.
    pub fn route(&self, index: usize) -> &Route {
        &self.config.routes[index]
    }

    /// Takes a request through the steps until it is forwarded or answered.
    pub async fn decide(&self, facts: &Facts<'_>, now: Timestamp) -> Decision {
        let mut reservation = Reservation::default();
        let (route, course) = match self.locate(facts) {
            Ok(located) => {
                let course = match self.admit(&located, facts, now, &mut reservation).await {
                    Ok(course) => course,
                    Err(reply) => Course::Answer(reply),
                };
                (Some(located.route_index()), course)
            }
            Err(reply) => (None, Course::Answer(reply)),
        };
        Decision { route, reservation, course }
    }

    /// The steps for a request whose route is known.
    async fn admit(
        &self,
        located: &Located<'_>,
        facts: &Facts<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<Course, Reply> {
        if located.is_preflight() {
            // A browser asks for permission on behalf of a page, without the credentials by which limits count.
            return Err(Reply::permission());
        }
        let principal = self.identify(located, facts).await?;
        let inputs = located.inputs(facts, &principal);
        let claims = self.claims(located, &inputs)?;
        self.reserve(&claims, now, reservation).await?;
        self.conclude(located, facts, &inputs)
    }
}

/// The header fields by which limits count and upstreams choose a server.
fn counted_by(config: &Config) -> impl Iterator<Item = &http::HeaderName> {
    let limits = config.limits.iter().map(|rule| &rule.key);
    let upstreams = config.upstreams.iter().filter_map(|upstream| match &upstream.balance {
        Balance::Hash(key) => Some(key),
        _ => None,
    });
    limits.chain(upstreams).flat_map(|key| &key.parts).filter_map(|part| match part {
        KeyPart::Header(name) => Some(name),
        _ => None,
    })
}
