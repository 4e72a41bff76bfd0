//! `[plans.*]`, `[auth.forward]`, guesses of passwords, and what goes by consumers: limits and splits.

use super::super::{Action, Config, Lint, Way, WithoutAnswer};
use super::findings::{Findings, value};
use crate::limit::key::KeyPart;

/// Looks at plans, at the service that is asked, at guesses of passwords, and at what goes by consumers.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    let counts = config.consumers.of_plans(config.plans.len());
    // A token may name any plan.
    let tokens = config.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
    let is_in_tokens = tokens.is_some_and(|jwt| jwt.rules.plan_claim.is_some());
    let service = config.auth.as_ref().and_then(|auth| auth.forward.as_ref());
    if service.is_some_and(|service| service.on_error == WithoutAnswer::Allow) {
        let place = findings.section("auth").and_then(|auth| value(&auth.entry("forward")?.node, "on_error"));
        let message = "whoever can keep the service from answering, by many requests say, comes in as a stranger; \
                       leave it out, unless what strangers may do is harmless";
        findings.add(Lint::LetInOnError, place, message.to_owned());
    }
    // API keys have so many random bits that nobody guesses one; a password is guessed if one may try often enough.
    if config.auth_failures.is_none()
        && let Some(route) = config.routes.iter().find(|route| route.access.ways.contains(&Way::Basic))
    {
        let place = findings.section("auth").and_then(|auth| Some(&auth.entry("basic")?.span));
        let message = format!(
            "the route {:?} goes by passwords, and nothing bounds how many a client may try; \
             write auth_failures = \"5/min\" under [server]",
            route.name
        );
        findings.add(Lint::UnlimitedGuesses, place, message);
    }
    // A service may, too.
    let is_named_elsewhere = is_in_tokens || service.is_some();
    for (entry, count) in findings.named("plans").iter().zip(counts) {
        if count == 0 && !is_named_elsewhere {
            let message = format!(
                "no consumer has the plan `{}`; name it as the `plan` of one, or leave it out",
                entry.name
            );
            findings.add(Lint::UnusedPlan, Some(&entry.span), message);
        }
    }
    for (route, node) in config.routes.iter().zip(findings.routes()) {
        let Action::Proxy { to, .. } = &route.action else { continue };
        let by = to.split().and_then(|split| split.by.as_ref());
        if by.is_some_and(|key| key.parts.contains(&KeyPart::Consumer)) && route.access.ways.is_empty() {
            let message = format!(
                "the route {:?} is split by `consumer`, and asks nobody who it is, so every caller goes by its address; \
                 write auth = [\"api_key\"] there, or split_by = \"client_ip\"",
                route.name
            );
            findings.add(Lint::UnaskedConsumer, value(node, "split_by"), message);
        }
    }
    for (index, (rule, entry)) in config.limits.iter().zip(findings.named("limits")).enumerate() {
        if !rule.key.parts.contains(&KeyPart::Consumer) {
            continue;
        }
        let mut on = config.routes.iter().filter(|route| route.limits.contains(&index));
        if let Some(route) = on.find(|route| route.access.ways.is_empty()) {
            let message = format!(
                "the limit {:?} goes by `consumer`, and the route {:?} asks nobody who it is, so every caller lacks the key; \
                 write auth = [\"api_key\"] there, or give it a limit by `client_ip`",
                rule.name, route.name
            );
            findings.add(Lint::UnaskedConsumer, value(&entry.node, "key"), message);
        }
    }
}
