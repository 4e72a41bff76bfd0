//! The door of a replay: makes the facts of a request from its record, and takes it through the same steps as the door of the gateway, up to
//! where limits decide.

use http::{HeaderMap, Method, StatusCode};
use smallvec::SmallVec;

use super::fate::{Fate, Verdict};
use super::record::{Own, Record};
use crate::client::ClientId;
use crate::config::Route;
use crate::consumer::Consumer;
use crate::engine::{Engine, Facts, Located, Principal, Reply};
use crate::limit::key::{Caller, Inputs};
use crate::limit::{AUTH_FAILURES, Rule};

/// A request that has come to where limits decide, or was answered before.
pub(super) struct Arrival {
    /// What becomes of it if no limit refuses it.
    pub(super) fate: Fate,
    /// The indices of the limits that never count its client.
    pub(super) exempt: SmallVec<[usize; 2]>,
}

/// Lets a request in.
pub(super) fn arrive(engine: &Engine, record: &Record) -> Arrival {
    let arrival = with_inputs(engine, record, |located, principal, inputs| {
        let Ok(claims) = engine.claims(located, inputs) else {
            return Arrival::ended(Verdict::NotAsked, Some(located.route_index()));
        };
        let mut arrival = Arrival::ended(Verdict::Admitted, Some(located.route_index()));
        arrival.fate.buckets.extend(claims.buckets().map(|bucket| (bucket.limit, bucket.client)));
        arrival.fate.consumer.clone_from(&principal.consumer);
        arrival.exempt.extend_from_slice(claims.exempt());
        arrival
    });
    arrival.unwrap_or_else(|(verdict, route)| Arrival::ended(verdict, route))
}

/// How the client that a limit counts for a request is shown: plainly, or each value that the log does not show as a hash.
pub(super) fn shown(engine: &Engine, record: &Record, rule: &Rule) -> Vec<String> {
    // What the gateway's own log tells of a key may be shown: it is a hash already where it must not be.
    let plainly = rule.show_keys || record.own.is_some();
    let shown = with_inputs(engine, record, |_, _, inputs| {
        rule.key.shown(inputs, engine.limiter().secret(), plainly)
    });
    // A request without inputs has not come to a limit.
    shown.unwrap_or_default()
}

/// Goes on with what keys are made of; otherwise says what becomes of the request, and its route.
fn with_inputs<R>(
    engine: &Engine,
    record: &Record,
    go_on: impl FnOnce(&Located<'_>, &Principal<'_>, &Inputs<'_>) -> R,
) -> Result<R, (Verdict, Option<usize>)> {
    if record.own.as_ref().is_some_and(|own| own.was_not_asked) {
        return Err((Verdict::NotAsked, None));
    }
    let facts = Facts {
        client: &record.client,
        method: &record.method,
        version: record.version,
        // Nobody goes by it in a replay, and no log says it.
        tls: false,
        target: &record.target,
        headers: &record.headers,
        certificate: None,
    };
    let located = engine.locate(&facts).map_err(|reply| (verdict_of(&reply), None))?;
    let not_asked = (Verdict::NotAsked, Some(located.route_index()));
    if located.is_preflight() {
        return Err(not_asked);
    }
    if was_kept_out(engine, record, located.route()) {
        return Err(not_asked);
    }
    let own = record.own.as_deref();
    let consumer = own.and_then(|own| own.consumer.as_deref());
    let principal =
        engine.recorded_principal(&record.client, consumer, own.and_then(|own| own.plan.as_deref()));
    let inputs = located.inputs(&facts, &principal);
    Ok(go_on(&located, &principal, &inputs))
}

/// What limits still go by when the keys are known: the client, and the consumer.
pub(super) fn sender<'a>(
    client: &'a ClientId,
    consumer: Option<&'a Consumer>,
    headers: &'a HeaderMap,
) -> Inputs<'a> {
    const METHOD: &Method = &Method::GET;
    let caller = consumer.map(|consumer| Caller { consumer: consumer.name(), plan: consumer.plan() });
    Inputs { client, caller, method: METHOD, host: "", path: "", query: None, route: "", headers }
}

/// Whether the gateway's own log tells of a caller that the route did not let in, so that no limit of the route was asked.
fn was_kept_out(engine: &Engine, record: &Record, route: &Route) -> bool {
    let access = &route.access;
    let asks = !access.ways.is_empty() || access.allow.is_some() || !access.deny.is_empty();
    let Some(own) = record.own.as_deref().filter(|_| asks) else { return false };
    let is_kept_out = matches!(record.status, Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN));
    is_kept_out && own.limits.is_empty() || has_tried_too_often(engine, own, route)
}

/// Whether a request was refused for wrong credentials before it: the limit of those is the only one that was asked.
fn has_tried_too_often(engine: &Engine, own: &Own, route: &Route) -> bool {
    let config = engine.config();
    // Without `auth_failures` in the file that is replayed, the log may still tell of the limit that such a rate makes.
    let name = config.auth_failures.map_or(AUTH_FAILURES, |limit| &config.limits[limit].name);
    // Where the route has that limit too, nobody can tell which of the two uses has refused.
    let is_of_route = route.limits.iter().any(|&limit| config.limits[limit].name == name);
    !is_of_route && own.limits.len() == 1 && matches!(&own.refused_by[..], [refused_by] if refused_by == name)
}

/// What the reply to a request without a route says of it.
fn verdict_of(reply: &Reply) -> Verdict {
    match reply.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Verdict::WithoutRoute,
        _ => Verdict::NotAsked,
    }
}

impl Arrival {
    fn ended(verdict: Verdict, route: Option<usize>) -> Self {
        Self { fate: Fate::new(verdict, route), exempt: SmallVec::new() }
    }
}
