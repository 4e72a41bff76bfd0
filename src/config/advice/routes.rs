//! `[[routes]]`.

use std::collections::HashMap;

use http::Method;

use super::super::document::Node;
use super::super::{Action, Config, Lint, Route};
use super::findings::{Findings, value};
use crate::route::pattern::{HostPattern, PathPattern, Segment, Tail, Template};
use crate::route::{Match, Table};

/// Looks at all routes.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    let limited = config.routes.iter().find(|route| !route.limits.is_empty());
    let limits: HashMap<&str, usize> = config.limits.iter().map(|limit| &*limit.name).zip(0..).collect();
    let mut table = None;
    let of_file = findings.routes();
    for (index, (route, node)) in config.routes.iter().zip(of_file).enumerate() {
        let is_unlimited = route.limits.is_empty() && !route.is_exempt;
        if let (Action::Proxy { .. }, true, Some(other)) = (&route.action, is_unlimited, limited) {
            let message = format!(
                "the route {:?} has no limit, while others have some, such as {:?}; give it `limits`, \
                 or put a limit on every route with `limits` of [server]",
                route.name, other.name
            );
            findings.add(Lint::UnlimitedRoute, value(node, "name"), message);
        }
        uncounted(config, route, node, &limits, findings);
        short_timeout(config, route, node, findings);
        if let Action::Redirect { to, .. } = &route.action {
            let table = table.get_or_insert_with(|| Table::new(config.routes.iter().map(Route::conditions)));
            if leads_back(table, route, index, to) {
                let message = "whoever is redirected comes to this route again, and so on for ever; redirect to a path that another route has";
                let place =
                    node.entry("redirect").map(|entry| value(&entry.node, "to").unwrap_or(&entry.span));
                findings.add(Lint::RedirectLoop, place, message.to_owned());
            }
        }
    }
}

/// Warns of the limits of a route that count none of its methods.
fn uncounted(
    config: &Config,
    route: &Route,
    node: &Node,
    limits: &HashMap<&str, usize>,
    findings: &mut Findings<'_>,
) {
    if route.methods.is_empty() {
        return;
    }
    // Who names GET takes HEAD too.
    let takes = |method: &Method| {
        route.methods.contains(method) || (*method == Method::HEAD && route.methods.contains(&Method::GET))
    };
    for name in node.entry("limits").map_or(&[][..], |entry| entry.node.list()) {
        let index = name.text().and_then(|name| limits.get(name));
        let Some(rule) = index.and_then(|&index| config.limits.get(index)) else { continue };
        if !rule.methods.is_empty() && !rule.methods.iter().any(takes) {
            let message = format!(
                "the limit `{}` counts none of the methods that this route takes; leave it out here, or change its `methods`",
                rule.name
            );
            findings.add(Lint::UncountedRoute, Some(&name.span), message);
        }
    }
}

/// Warns of a route that gives up before its upstream's connection may have failed, if another server could be tried, or the file says
/// how long connecting may take.
fn short_timeout(config: &Config, route: &Route, node: &Node, findings: &mut Findings<'_>) {
    let (Action::Proxy { to, .. }, Some(timeout)) = (&route.action, route.timeout) else { return };
    let is_cut_short = |upstream: &usize| {
        let of_file = findings.named("upstreams").get(*upstream);
        let is_written = of_file.is_some_and(|entry| entry.node.entry("connect_timeout").is_some());
        let upstream = &config.upstreams[*upstream];
        timeout < upstream.connect_timeout && (is_written || upstream.servers.len() > 1)
    };
    if let Some(upstream) = to.upstreams().find(is_cut_short) {
        let upstream = &config.upstreams[upstream];
        let message = format!(
            "the route gives up before connecting to a server of `{}` may have failed, so no other server is tried; \
             raise `timeout`, or lower the `connect_timeout` of the upstream",
            upstream.name
        );
        findings.add(Lint::ShortTimeout, value(node, "timeout"), message);
    }
}

/// Whether a redirect leads to the route that it comes from, and so on for ever.
fn leads_back(table: &Table, route: &Route, index: usize, to: &Template) -> bool {
    let host = route.hosts.first().map_or_else(String::new, |host| match host {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Wildcard(domain) => format!("any.{domain}"),
    });
    let method = route.methods.first().unwrap_or(&Method::GET);
    let found = |path: &str| match table.find(&host, path, method) {
        Match::Found { route, captures } if route.index() == index => Some(captures),
        _ => None,
    };
    let path = example(&route.path);
    // A URL is no path of a route.
    found(&path).is_some_and(|captures| found(&to.apply(&path, &captures)).is_some())
}

/// A path that a pattern matches.
fn example(pattern: &PathPattern) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Parameter(_) => "/any".to_owned(),
    };
    let mut path: String = pattern.segments.iter().map(segment).collect();
    match &pattern.tail {
        Tail::None => {}
        Tail::All => path.push_str("/any"),
        Tail::Ending(ending) => path.push_str(&format!("/any{ending}")),
    }
    path
}
