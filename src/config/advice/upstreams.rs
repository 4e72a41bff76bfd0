//! `[upstreams.*]`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::{Action, Config, Lint};
use super::findings::{Findings, value};

/// Looks at all upstreams.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    let mut used = vec![false; config.upstreams.len()];
    for route in &config.routes {
        if let Action::Proxy { to, .. } = &route.action {
            to.upstreams().for_each(|upstream| used[upstream] = true);
        }
    }
    let mut cookies = HashMap::new();
    let of_file = findings.named("upstreams");
    for ((upstream, entry), used) in config.upstreams.iter().zip(of_file).zip(used) {
        if !used {
            let message = format!(
                "no route uses the upstream `{}`; name it as the `upstream` of a route, or leave it out",
                upstream.name
            );
            findings.add(Lint::UnusedUpstream, Some(&entry.span), message);
        }
        if let Some(sticky) = &upstream.sticky {
            match cookies.entry(&sticky.cookie) {
                Entry::Vacant(new) => drop(new.insert(&upstream.name)),
                Entry::Occupied(known) => {
                    let place = entry.node.entry("sticky").and_then(|sticky| value(&sticky.node, "cookie"));
                    let message = format!(
                        "the upstream `{}` has a cookie of this name too, so a client that uses both comes back to the servers of \
                         neither; give each cookie a name of its own",
                        known.get()
                    );
                    findings.add(Lint::SameCookie, place, message);
                }
            }
        }
        if upstream.tls.as_ref().is_some_and(|tls| !tls.verify) {
            let place = entry.node.entry("tls").and_then(|tls| value(&tls.node, "insecure"));
            let message = "nobody verifies who answers here, so whoever is in between can read and change everything; \
                           name the authority of the servers with `ca` instead";
            findings.add(Lint::UnverifiedUpstream, place, message.to_owned());
        }
    }
}
