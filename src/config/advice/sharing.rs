//! `[limiter.shared]`, and the limits that are kept in its store.

use std::net::IpAddr;

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use super::super::document::{Entry, Node};
use super::super::{Config, Lint};
use super::findings::{Findings, value};
use crate::limit::Rule;

/// Looks at the store, and at how much of its buckets gateways would hold.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    for (rule, entry) in config.limits.iter().zip(findings.named("limits")) {
        lease(rule, &entry.node, findings);
    }
    let (Some(store), Some(entry)) = (&config.limiter.shared, of_file(findings)) else { return };
    if config.limits.iter().all(|rule| rule.shared.is_none()) {
        let message =
            "no limit is kept in this store; write `shared = true` in those that are, or leave it out";
        findings.add(Lint::UnusedStore, Some(&entry.span), message.to_owned());
    }
    if store.urls.iter().any(|url| is_open(url)) {
        let place = value(&entry.node, "url").or_else(|| value(&entry.node, "urls"));
        let message = "this store is asked without a password, and is not on this machine: whoever reaches it may empty and fill all buckets; \
                       give the gateways a user with a password, and write it in the URL";
        findings.add(Lint::OpenStore, place, message.to_owned());
    }
}

fn of_file<'a>(findings: &Findings<'a>) -> Option<&'a Entry> {
    findings.section("limiter")?.entry("shared")
}

/// Warns of a lease that no gateway will ever have.
fn lease(rule: &Rule, limit: &Node, findings: &mut Findings<'_>) {
    let (Some(terms), Some(rate)) = (&rule.shared, rule.rate()) else { return };
    // What is taken ahead is one less than the lease.
    if terms.most_ahead.is_some_and(|ahead| ahead > 0 && ahead >= rate.quota.burst() / 2) {
        let message = "all gateways together hold half of a bucket at most, so this bounds nothing; write less, or leave it out";
        findings.add(Lint::LargeLease, value(limit, "lease"), message.to_owned());
    }
}

/// Whether the server at a URL is on another machine, and asked without a password.
fn is_open(url: &str) -> bool {
    let Ok(info) = url.into_connection_info() else { return false };
    let is_far = match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => !is_of_this_machine(host),
        _ => false,
    };
    is_far && info.redis_settings().password().is_none()
}

/// Whether a host of a URL is this machine.
pub(super) fn is_of_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}
