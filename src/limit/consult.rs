//! What a limit makes of a request, without taking anything.

use std::time::Duration;

use ipnet::IpNet;

use super::asked::Asked;
use super::bucket::Wait;
use super::key::{Inputs, NoValue};
use super::reading::Remaining;
use super::report::Report;
use super::rule::{Override, PlanTerms, Terms};
use super::{Claimed, Claims, Limiter, Refusal, settle_refusal};
use crate::clock::Timestamp;

/// What a limit makes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It does not count requests with this method.
    Uncounted,
    /// It never counts clients of this network.
    Exempt(&'a IpNet),
    /// The request has no value of its key, and is refused.
    NoKey(NoValue),
    /// It never counts whom these terms are for.
    Unlimited(OwnTerms<'a>),
    /// It counts the request.
    Counted {
        /// The terms that hold for this client instead of its own, if there are any.
        own: Option<OwnTerms<'a>>,
        /// What is left now.
        remaining: Remaining,
        /// How long until there is enough, if there is not; zero where that is not known.
        lacks: Option<Duration>,
    },
}

/// The terms that hold for a client instead of the limit's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTerms<'a> {
    /// Those of an override, which comes before a plan.
    Override(&'a Override),
    /// Those of the plan of its consumer.
    Plan(&'a PlanTerms),
}

impl OwnTerms<'_> {
    /// The terms.
    pub fn terms(self) -> Terms {
        match self {
            Self::Override(own) => own.terms,
            Self::Plan(plan) => plan.terms,
        }
    }
}

impl Limiter {
    /// What the limit with this index makes of a request.
    pub fn consult<'a>(&'a self, index: usize, inputs: &Inputs<'_>, now: Timestamp) -> Standing<'a> {
        let rule = self.limits[index].rule();
        let claimed = match self.claim(index, inputs) {
            Ok(claimed) => claimed,
            Err(why) => return Standing::NoKey(why),
        };
        let fingerprint = rule.key.fingerprint(inputs, self.limits[index].secret()).ok();
        let is_ours = |own: &&Override| {
            fingerprint.is_some()
                && rule.key.fingerprint_of(&[&own.value], self.limits[index].secret()).ok() == fingerprint
        };
        let is_its_plan = |plan: &&PlanTerms| Some(plan.plan) == inputs.plan();
        let of_plan = || rule.plans.iter().find(is_its_plan).map(OwnTerms::Plan);
        let own = rule.overrides.iter().find(is_ours).map(OwnTerms::Override).or_else(of_plan);
        match claimed {
            Claimed::Uncounted => Standing::Uncounted,
            Claimed::Exempt => {
                let address = inputs.client.address();
                let exempts = |network: &&IpNet| address.is_some_and(|address| network.contains(&address));
                match (rule.exempt.iter().find(exempts), own) {
                    (Some(network), _) => Standing::Exempt(network),
                    (None, Some(own)) => Standing::Unlimited(own),
                    (None, None) => Standing::Uncounted,
                }
            }
            Claimed::Client(claim) => {
                if inputs.caller.is_some() {
                    claim.limit.settle_plans(claim.client, inputs, now);
                }
                let Asked { verdict, remaining } = claim.look(inputs, now);
                Standing::Counted { own, remaining, lacks: verdict.err().map(|Wait(wait)| wait) }
            }
        }
    }

    /// What the limits would decide about the claims of a request together, and what each would report.
    pub fn foresee(&self, claims: &Claims<'_>, now: Timestamp) -> (Vec<Report>, Result<(), Refusal>) {
        claims.settle_plans(now);
        let Claims { inputs, claims, .. } = claims;
        let mut reports: Vec<_> = claims.iter().map(|claim| claim.report(claim.look(inputs, now))).collect();
        let verdict = settle_refusal(&mut reports);
        (reports, verdict)
    }
}
