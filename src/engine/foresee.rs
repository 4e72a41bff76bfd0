//! The steps of a request that nobody has sent: what would become of it, without taking anything.

use std::sync::Arc;

use super::{Course, Engine, Facts, Located, Reply};
use crate::clock::Timestamp;
use crate::config::{Action, Balance};
use crate::consumer::Consumer;
use crate::limit::Standing;
use crate::route::Shares;

/// What would become of a request.
pub struct Foreseen<'a> {
    /// The consumer, if one has proved to be calling, and the plan of it.
    pub consumer: Option<Arc<Consumer>>,
    /// Why its route lets the caller in or not, in words.
    pub gate: Option<&'static str>,
    /// What each limit of its route makes of it, as far as the request comes there.
    pub limits: Vec<ForeseenLimit<'a>>,
    /// The answer that it gets from limits as they stand now.
    pub refusal: Option<Reply>,
    /// What is done with it if no limit refuses it.
    pub course: Course,
    /// The value by which one of several upstreams is chosen, if the route goes by one, as it may be shown.
    pub split_key: Option<Vec<String>>,
    /// The value by which the upstream chooses a server, if it goes by one, as it may be shown.
    pub server_key: Option<Vec<String>>,
}

/// What a limit makes of a request.
pub struct ForeseenLimit<'a> {
    /// The index of the limit.
    pub limit: usize,
    /// The value of its key, as it may be shown.
    pub key: Vec<String>,
    /// What it makes of the request.
    pub standing: Standing<'a>,
}

impl Engine {
    /// What would become of a request to this route. `plainly` shows values of keys that may be credentials.
    pub async fn foresee<'a>(
        &'a self,
        located: &Located<'a>,
        facts: &Facts<'_>,
        now: Timestamp,
        plainly: bool,
    ) -> Foreseen<'a> {
        let answered = |reply| Foreseen {
            consumer: None,
            gate: None,
            limits: Vec::new(),
            refusal: None,
            course: Course::Answer(reply),
            split_key: None,
            server_key: None,
        };
        if located.is_preflight() {
            return answered(Reply::permission());
        }
        let principal = match self.identify(located, facts, now, None).await {
            Ok(principal) => principal,
            Err(reply) => {
                let gate = self.gates[located.route_index()].why(facts.client, None);
                return Foreseen { gate, ..answered(reply) };
            }
        };
        let gate = self.gates[located.route_index()].why(facts.client, principal.consumer.as_deref());
        if let Err(reply) = self.let_in(located, &principal) {
            return Foreseen { consumer: principal.consumer, gate, ..answered(reply) };
        }
        let inputs = located.inputs(facts, &principal);
        let (limiter, secret) = (&self.limiter, self.limiter.secret());
        let limit = |&limit: &usize| {
            let rule = limiter.limits()[limit].rule();
            let key = rule.key.shown(&inputs, secret, plainly || rule.show_keys);
            ForeseenLimit { limit, key, standing: limiter.consult(limit, &inputs, now) }
        };
        let limits: Vec<_> = located.route().limits.iter().map(limit).collect();
        let (refusal, course) = match self.claims(located, &inputs) {
            Err(reply) => (None, Course::Answer(reply)),
            Ok(claims) => {
                let (reports, verdict) = limiter.foresee(&claims, now);
                let refusal = verdict.err().map(|refusal| self.refused(refusal, &reports));
                (
                    refusal,
                    self.course(located, facts, &inputs, Shares::largest).unwrap_or_else(Course::Answer),
                )
            }
        };
        let server_key = match &course {
            Course::Forward(forward) => match &self.config.upstreams[forward.upstream].balance {
                Balance::Hash(key) => Some(key.shown(&inputs, secret, plainly)),
                _ => None,
            },
            Course::Answer(_) => None,
        };
        let split_key = match &located.route().action {
            Action::Proxy { to, .. } => to.split().and_then(|split| split.by.as_ref()),
            _ => None,
        };
        let split_key = split_key.map(|key| key.shown(&inputs, secret, plainly));
        Foreseen {
            consumer: principal.consumer.clone(),
            gate,
            limits,
            refusal,
            course,
            split_key,
            server_key,
        }
    }
}
