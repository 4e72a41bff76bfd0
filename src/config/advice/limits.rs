//! `[limits.*]`.

use super::super::document::{Entry, Node};
use super::super::value::quantity;
use super::super::{Config, Lint};
use super::findings::{Findings, value};
use super::trust::everyone;
use crate::limit::calendar::Period;
use crate::limit::key::{KeyPart, MissingKey};
use crate::limit::{Measure, Mode, Rule, Terms};

/// The length of the prefix that a network of IPv6 usually has, of which one client has all addresses.
const CLIENT_PREFIX: u8 = 64;

/// Looks at all limits.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    let mut used = vec![false; config.limits.len()];
    for limit in config.routes.iter().flat_map(|route| &route.limits) {
        used[*limit] = true;
    }
    if let Some(limit) = config.auth_failures {
        used[limit] = true;
    }
    let unguarded = unguarded(config);
    let of_file = findings.named("limits");
    for (index, (rule, entry)) in config.limits.iter().zip(of_file).enumerate() {
        if !used[index] {
            let message = format!(
                "no route uses the limit `{}`; name it in the `limits` of a route or of [server], or leave it out",
                rule.name
            );
            findings.add(Lint::UnusedLimit, Some(&entry.span), message);
        }
        key(rule, entry, &unguarded[index], findings);
        small_burst(&entry.node, findings);
        if config.limiter.snapshot.is_none() {
            forgotten_quota(rule, &entry.node, findings);
        }
        overrides(rule, &entry.node, findings);
        if let Some(place) = everyone(&rule.exempt, &entry.node, "exempt") {
            let message = "this network is everybody, or nearly, so the limit limits hardly anybody; \
                           name only the networks that are yours";
            findings.add(Lint::ExemptEveryone, Some(place), message.to_owned());
        }
    }
}

/// What is odd about the key of a limit. `routes` are the names of those on which nothing bounds what an address may send.
fn key(rule: &Rule, entry: &Entry, routes: &[&str], findings: &mut Findings<'_>) {
    let made_up = rule.key.parts.iter().find(|part| is_made_up(part));
    let by_address = rule.key.parts.contains(&KeyPart::ClientIp);
    if let (Some(part), Some((first, others))) = (made_up, routes.split_first()) {
        let more = match others.len() {
            0 => String::new(),
            1 => " and another one".to_owned(),
            more => format!(" and {more} others"),
        };
        let message = format!(
            "the limit {:?} goes by `{part}`, which clients make up, and the route {first:?}{more} has no limit by `client_ip` beside it: \
             whoever sends another value with each request is never refused, and fills its buckets; \
             give the route such a limit too",
            rule.name
        );
        findings.add(Lint::UnguardedKey, value(&entry.node, "key"), message);
    }
    if let (Some(part), MissingKey::Shared, Mode::Enforce, false) =
        (made_up, rule.key.missing, rule.mode, by_address)
    {
        let message = format!(
            "all requests without `{part}` share one bucket: a single caller can use it up for the others; \
             write missing_key = \"client_ip\", or \"reject\""
        );
        findings.add(Lint::SharedMissingKey, value(&entry.node, "missing_key"), message);
    }
    if rule.key.ipv6_prefix > CLIENT_PREFIX {
        let message = "a client of IPv6 usually has a whole /64, and with a longer prefix gets a new bucket with each of its addresses; \
                       leave out `ipv6_prefix`, or write 64 or less";
        findings.add(Lint::LongIpv6Prefix, value(&entry.node, "ipv6_prefix"), message.to_owned());
    }
}

/// Warns of a bucket that holds less than comes back in a second, if the file gives its size.
fn small_burst(terms: &Node, findings: &mut Findings<'_>) {
    let (Some(rate_entry), Some(burst)) = (terms.entry("rate"), terms.entry("burst")) else { return };
    let Some(Ok(rate)) = rate_entry.node.text().map(quantity::rate) else { return };
    let a_second = (u128::from(rate.count) * 1000).checked_div(rate.period.as_millis()).unwrap_or_default();
    if burst.node.integer().is_none_or(|size| size >= a_second) {
        return;
    }
    // What a variable holds is not told.
    let enough =
        if rate_entry.node.has_variables() { String::new() } else { format!(" to {a_second} at least") };
    let message = format!(
        "this bucket holds less than what comes back in a second: whoever sends a second's worth at once \
         is refused, although the rate allows it; raise `burst`{enough}, or leave it out"
    );
    findings.add(Lint::SmallBurst, Some(&burst.node.span), message);
}

/// Warns of a quota whose window is longer than a process may run, where nothing keeps the counts.
fn forgotten_quota(rule: &Rule, limit: &Node, findings: &mut Findings<'_>) {
    if rule.calendar().is_some_and(|calendar| calendar.period != Period::Hour) {
        let message = "a restart counts this quota anew for everybody, since nothing keeps the counts; \
                       name a file for them in `limiter.snapshot`";
        findings.add(Lint::ForgottenQuota, value(limit, "quota"), message.to_owned());
    }
}

fn overrides(rule: &Rule, limit: &Node, findings: &mut Findings<'_>) {
    let entries = limit.entry("overrides").map_or(&[][..], |overrides| overrides.node.entries());
    for (of_client, entry) in rule.overrides.iter().zip(entries) {
        let same = match (of_client.terms, &rule.measure) {
            (Terms::Rate(quota), Measure::Rate(rate) | Measure::Quota(rate, _)) => quota == rate.quota,
            (Terms::InFlight(most), Measure::InFlight(of_limit)) => most == *of_limit,
            _ => false,
        };
        if same {
            let message = "this override says the same as the limit itself; leave it out, or write what this client may have";
            findings.add(Lint::RedundantOverride, Some(&entry.node.span), message.to_owned());
        }
        small_burst(&entry.node, findings);
    }
}

/// For each limit that keeps a bucket for each value that clients make up, the routes that have it and no limit by address.
fn unguarded(config: &Config) -> Vec<Vec<&str>> {
    let mut routes_of = vec![Vec::new(); config.limits.len()];
    for route in &config.routes {
        let rules = || route.limits.iter().map(|&limit| (limit, &config.limits[limit]));
        if !rules().any(|(_, rule)| guards(rule)) {
            for (limit, _) in rules().filter(|(_, rule)| keeps_made_up(rule)) {
                routes_of[limit].push(&*route.name);
            }
        }
    }
    routes_of
}

fn is_made_up(part: &KeyPart) -> bool {
    matches!(part, KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_))
}

fn keeps_made_up(rule: &Rule) -> bool {
    rule.rate().is_some() && rule.key.parts.iter().any(is_made_up)
}

/// Whether a limit bounds what an address may send, whatever keys it uses.
fn guards(rule: &Rule) -> bool {
    rule.rate().is_some()
        && rule.key.parts == [KeyPart::ClientIp]
        && rule.mode == Mode::Enforce
        && rule.methods.is_empty()
}
