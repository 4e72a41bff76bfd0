//! What limits make of a request, in words.

use super::explanation::Limit;
use super::near::listed;
use super::words::{duration, minutes, quota};
use crate::engine::ForeseenLimit;
use crate::limit::key::{MissingKey, NoValue};
use crate::limit::{Charge, Measure, Mode, OwnTerms, Remaining, Rule, Standing, Terms};

/// What a limit makes of a request. Values of keys that may be credentials are shown if `plainly`. Without a store, what is left of a
/// shared limit is not known.
pub(super) fn explained(rule: &Rule, foreseen: &ForeseenLimit<'_>, plainly: bool, has_store: bool) -> Limit {
    let shared = rule.shared.is_some();
    let own = match foreseen.standing {
        Standing::Counted { own, .. } => own,
        Standing::Unlimited(own) => Some(own),
        _ => None,
    };
    let (left, most, lacks) = match foreseen.standing {
        Standing::Counted { .. } if shared && !has_store => (None, None, false),
        Standing::Counted { remaining, lacks, .. } => {
            let most = match remaining {
                Remaining::Bucket(reading) => reading.quota.burst(),
                Remaining::Window(window) => window.quota,
                Remaining::InFlight { max, .. } => max,
            };
            (Some(remaining.left()), Some(most), lacks.is_some())
        }
        _ => (None, None, false),
    };
    let has_key = !matches!(foreseen.standing, Standing::NoKey(_) | Standing::Uncounted);
    Limit {
        name: rule.name.clone(),
        counts: matches!(foreseen.standing, Standing::Counted { .. }),
        terms: match foreseen.standing {
            Standing::Counted { remaining: Remaining::Window(window), .. } => {
                format!("{}, {} from now", terms(rule, own), minutes(window.ends_in))
            }
            _ => terms(rule, own),
        },
        key: rule.key.parts.iter().map(ToString::to_string).collect(),
        value: if has_key { foreseen.key.clone() } else { Vec::new() },
        mode: match rule.mode {
            Mode::Enforce => "enforce",
            Mode::DryRun => "dry_run",
        },
        status: rule.status.as_u16(),
        cost: rule.rate().map(|rate| rate.cost),
        shared,
        notes: notes(rule, foreseen, own, plainly, has_store),
        left,
        most,
        lacks,
    }
}

/// What it allows a client with these terms of its own.
fn terms(rule: &Rule, own: Option<OwnTerms<'_>>) -> String {
    let cost = rule.rate().map_or(1, |rate| rate.cost);
    let at_a_time = |max: u32| match max {
        1 => "one request at a time".to_owned(),
        _ => format!("{max} requests at a time"),
    };
    match (own.map(OwnTerms::terms), &rule.measure) {
        (Some(Terms::Unlimited), _) => "unlimited".to_owned(),
        (Some(Terms::Rate(own)), Measure::Quota(_, calendar)) => calendar.in_words(own.burst()),
        (Some(Terms::Rate(own)), _) => quota(&own, cost),
        (Some(Terms::InFlight(max)), _) => at_a_time(max),
        (None, Measure::Rate(rate)) => quota(&rate.quota, cost),
        (None, Measure::Quota(rate, calendar)) => calendar.in_words(rate.quota.burst()),
        (None, Measure::InFlight(max)) => at_a_time(*max),
    }
}

fn notes(
    rule: &Rule,
    foreseen: &ForeseenLimit<'_>,
    own: Option<OwnTerms<'_>>,
    plainly: bool,
    has_store: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    match foreseen.standing {
        Standing::Uncounted => {
            let methods: Vec<_> = rule.methods.iter().map(ToString::to_string).collect();
            notes.push(format!("does not count this request: it counts {}", listed(&methods)));
            return notes;
        }
        Standing::Exempt(network) => {
            notes.push(format!("does not count this client: {network} is exempt"));
            return notes;
        }
        Standing::NoKey(NoValue::Missing) => {
            notes.push(format!(
                "refuses the request with 400, which lacks {} (missing_key = \"reject\")",
                rule.key
            ));
        }
        Standing::NoKey(NoValue::Ambiguous) => {
            notes.push(format!(
                "refuses the request with 400: it takes {}, and there are two that differ",
                rule.key
            ));
        }
        Standing::Unlimited(_) | Standing::Counted { .. } => {}
    }
    let hidden = rule.key.parts.iter().any(|part| part.is_secret()) && !plainly && !rule.show_keys;
    notes.extend(own.map(|own| match own {
        OwnTerms::Override(own) if !hidden => format!("by the override for {:?}", own.value),
        OwnTerms::Override(_) => "by an override for this value".to_owned(),
        OwnTerms::Plan(plan) => format!("by the plan {:?}", plan.name),
    }));
    let missing = foreseen.key.iter().any(|value| value.ends_with(')') && value.contains("(no "));
    if missing {
        notes.push(match rule.key.missing {
            MissingKey::ClientIp => {
                "the key is missing: the address of the client stands in for it".to_owned()
            }
            MissingKey::Shared => "the key is missing: all who lack it share this bucket".to_owned(),
            MissingKey::Reject => "the key is missing".to_owned(),
        });
    }
    if let Some(rate) = rule.rate() {
        if rate.cost > 1 {
            notes.push(format!("a request takes {} tokens", rate.cost));
        }
        match &rate.charge {
            Charge::Always => {}
            Charge::OnFailure(failures) => {
                let statuses: Vec<_> = failures.iter().map(|status| status.as_str().to_owned()).collect();
                notes.push(format!("takes tokens only if the answer is one of {}", listed(&statuses)));
            }
            Charge::Header { name, max } => notes.push(format!(
                "the answer names the cost in {name}, at most {max}; without it, it is {}",
                rate.cost
            )),
        }
    }
    if rule.shared.is_some() && matches!(foreseen.standing, Standing::Counted { .. }) {
        notes.push(match has_store {
            true => "shared with other gateways: what is left is what this one knows".to_owned(),
            false => "shared with other gateways: only their store knows what is left".to_owned(),
        });
    }
    if let Standing::Counted { lacks: Some(wait), .. } = foreseen.standing {
        let until = match foreseen.standing {
            _ if wait.is_zero() => String::new(),
            Standing::Counted { remaining: Remaining::Window(_), .. } => format!(" for {}", minutes(wait)),
            _ => format!(" for {}", duration(wait)),
        };
        notes.push(match rule.mode {
            Mode::Enforce => format!("has too little left for the request{until}"),
            Mode::DryRun => format!("has too little left for the request{until}, and lets it pass"),
        });
    }
    notes
}
