//! Warnings about a valid configuration that an operator would hardly want. `check` and a start print them; nothing is refused.

use super::Config;
use crate::limit::key::KeyPart;
use crate::limit::{Mode, Rule};

impl Config {
    /// A line for each limit whose keys clients may make up, on routes without another limit by address.
    pub(super) fn unguarded_limits(&self) -> Vec<String> {
        let mut routes_of = vec![Vec::new(); self.limits.len()];
        for route in &self.routes {
            let rules = || route.limits.iter().map(|&limit| (limit, &self.limits[limit]));
            if rules().any(|(_, rule)| made_up(rule).is_some()) && !rules().any(|(_, rule)| guards(rule)) {
                for (limit, _) in rules() {
                    routes_of[limit].push(&*route.name);
                }
            }
        }
        let of_limit = |(rule, routes): (&Rule, Vec<&str>)| {
            let (part, (first, others)) = (made_up(rule)?, routes.split_first()?);
            let more = match others.len() {
                0 => String::new(),
                1 => " and another one".to_owned(),
                more => format!(" and {more} others"),
            };
            Some(format!(
                "the limit {:?} goes by `{part}`, which clients make up, and the route {first:?}{more} has no limit by `client_ip` beside it: \
                 whoever sends another value with each request is never refused, and fills its buckets; \
                 give the route such a limit too",
                rule.name
            ))
        };
        self.limits.iter().zip(routes_of).filter_map(of_limit).collect()
    }
}

/// The part of a limit's key that a client may make up, if the limit keeps a bucket for each.
fn made_up(rule: &Rule) -> Option<&KeyPart> {
    rule.rate()?;
    let is_made_up =
        |part: &&KeyPart| matches!(part, KeyPart::Header(_) | KeyPart::Cookie(_) | KeyPart::Query(_));
    rule.key.parts.iter().find(is_made_up)
}

/// Whether a limit bounds what an address may send, whatever keys it uses.
fn guards(rule: &Rule) -> bool {
    rule.rate().is_some()
        && rule.key.parts == [KeyPart::ClientIp]
        && rule.mode == Mode::Enforce
        && rule.methods.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(limits: &str, routes: &[&str]) -> Vec<String> {
        let route = |(n, limits): (usize, &&str)| {
            format!(
                "[[routes]]\nname = \"r{n}\"\npath = \"/{n}\"\nrespond = {{ body = \"\" }}\nlimits = [{limits}]\n"
            )
        };
        let routes: String = routes.iter().enumerate().map(route).collect();
        let text = format!("{routes}[limits.key]\nrate = \"1/s\"\n{limits}");
        Config::parse("gateway.toml", &text, &|_| None).unwrap_or_else(|e| panic!("{e}")).unguarded_limits()
    }

    #[test]
    fn a_key_that_clients_make_up_wants_a_limit_by_address_beside_it() {
        let address = "\n[limits.ip]\nrate = \"9/s\"";
        for key in ["\"header:X-Key\"", "\"cookie:sid\"", "[\"client_ip\", \"query:user\"]"] {
            let told = advice(&format!("key = {key}{address}"), &["\"key\"", "\"key\", \"ip\"", "\"key\""]);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(
                told[0].contains("the route \"r0\" and another one has no limit by `client_ip`"),
                "{told:?}"
            );
        }
        for key in ["\"client_ip\"", "\"route\"", "\"global\""] {
            assert_eq!(advice(&format!("key = {key}"), &["\"key\""]), Vec::<String>::new());
        }
    }

    #[test]
    fn a_limit_that_lets_some_requests_by_guards_nothing() {
        let beside =
            |ip: &str| advice(&format!("key = \"cookie:a\"\n[limits.ip]\n{ip}"), &["\"key\", \"ip\""]).len();
        assert_eq!(beside("rate = \"9/s\""), 0);
        for lax in ["mode = \"dry_run\"", "methods = [\"GET\"]", "key = [\"client_ip\", \"path\"]"] {
            assert_eq!(beside(&format!("rate = \"9/s\"\n{lax}")), 1, "{lax}");
        }
        assert_eq!(beside("max_in_flight = 5"), 1);
    }

    #[test]
    fn requests_at_a_time_take_no_buckets() {
        assert_eq!(advice("[limits.n]\nmax_in_flight = 1\nkey = \"cookie:a\"", &["\"n\""]).len(), 0);
    }
}
