//! An explanation as people read it.

use std::fmt::{self, Display};

use super::explanation::{Explanation, Limit, Route};
use super::near::listed;
use super::route::timeouts;
use super::words::duration;

/// The column in which texts begin.
const COLUMN: usize = 12;

/// An explanation as text. Lines of the configuration are those of the file with this name.
pub(super) struct Text<'a> {
    pub(super) explanation: &'a Explanation,
    pub(super) file: &'a str,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.explanation;
        let request = &told.request;
        let asked = match &*request.target {
            "*" => format!("* of {}", request.host),
            target => format!("{}://{}{}", request.scheme, request.host, shortened(target)),
        };
        writeln!(f, "{} {asked} from {}\n", request.method, request.from)?;
        line(f, "answer", &told.answer.summary)?;
        for field in &told.answer.fields {
            line(f, "", format_args!("{}: {}", field.name, shortened(&field.value)))?;
        }
        line(f, "client", told.client.identity.as_deref().unwrap_or("nobody"))?;
        for why in &told.client.why {
            line(f, "", why)?;
        }
        if let Some(caller) = &told.caller {
            let plan = caller.plan.as_ref().map_or_else(String::new, |plan| format!(", plan {plan}"));
            line(f, "consumer", format_args!("{}{plan}", caller.consumer.as_deref().unwrap_or("nobody")))?;
            for why in &caller.why {
                line(f, "", why)?;
            }
        }
        for (index, dropped) in told.dropped.iter().enumerate() {
            line(
                f,
                if index == 0 { "dropped" } else { "" },
                format_args!("{}: {}", dropped.name, dropped.why),
            )?;
        }
        self.route(f)?;
        for limit in &told.limits {
            self::limit(f, limit)?;
        }
        if let Some(upstream) = &told.upstream {
            let tls = if upstream.tls { " over TLS" } else { "" };
            line(f, "upstream", format_args!("{}, {}{tls}", upstream.name, upstream.protocol))?;
            if let Some(shares) = &upstream.shares {
                line(f, "", shares)?;
            }
            line(f, "", format_args!("servers {}: {}", listed(&upstream.servers), upstream.choice))?;
            line(f, "", format_args!("timeouts: {}; {}", timeouts(upstream), upstream.retries))?;
        }
        if let Some(sent) = &told.sent {
            let target = shortened(&sent.target);
            line(f, "receives", format_args!("{} {target} {}", sent.method, sent.version))?;
            for field in &sent.fields {
                line(f, "", format_args!("{}: {}", field.name, shortened(&field.value)))?;
            }
        }
        Ok(())
    }
}

impl Text<'_> {
    fn route(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.explanation;
        match &told.route {
            Some(route) => {
                let file = route.file.as_deref().unwrap_or(self.file);
                let place = format_args!("{file}:{}", route.line);
                line(f, "route", format_args!("{} ({place}): {}", route.name, conditions(route)))?;
                let body = format!("bodies up to {} bytes", route.max_body_size);
                let timeout = route.timeout_seconds.map(std::time::Duration::from_secs_f64).map(duration);
                let timeout =
                    timeout.map_or_else(String::new, |time| format!(", the whole exchange within {time}"));
                line(f, "", format_args!("{body}{timeout}"))?;
                for change in &route.changes {
                    line(f, "", change)?;
                }
            }
            None => line(f, "route", "none")?,
        }
        for (index, miss) in told.near_misses.iter().enumerate() {
            let label = if index == 0 { "near miss" } else { "" };
            let file = miss.file.as_deref().unwrap_or(self.file);
            let place = format_args!("{file}:{}", miss.line);
            line(f, label, format_args!("{} ({place}): {}: {}", miss.route, miss.path, miss.why.join("; ")))?;
        }
        match told.more_near_misses {
            0 => Ok(()),
            more => line(f, "", format_args!("and {more} more")),
        }
    }
}

/// Which requests a route takes.
fn conditions(route: &Route) -> String {
    let methods = if route.methods.is_empty() { "any method".to_owned() } else { listed(&route.methods) };
    let hosts = if route.hosts.is_empty() { "any host".to_owned() } else { listed(&route.hosts) };
    let mut conditions = vec![methods, hosts, route.path.clone()];
    conditions.extend(route.requirements.iter().map(|requirement| format!("with {requirement}")));
    conditions.join(", ")
}

fn limit(f: &mut fmt::Formatter<'_>, limit: &Limit) -> fmt::Result {
    let dry = if limit.mode == "dry_run" { ", dry run: refuses nobody" } else { "" };
    line(f, "limit", format_args!("{}: {}, {}{dry}", limit.name, limit.terms, whose(&limit.key)))?;
    if !limit.value.is_empty() {
        let value: Vec<_> = limit.value.iter().map(|value| shortened(value)).collect();
        line(f, "", format_args!("here {}", value.join(" and ")))?;
    }
    for note in &limit.notes {
        line(f, "", note)?;
    }
    if let (Some(left), Some(most)) = (limit.left, limit.most) {
        line(f, "", format_args!("{left} of {most} left; a refusal is {}", limit.status))?;
    }
    Ok(())
}

/// Whose bucket a limit with this key has.
fn whose(key: &[String]) -> String {
    match key {
        [part] if part == "global" => "for everybody together".to_owned(),
        parts => format!("for each {}", parts.join(" and ")),
    }
}

fn line(f: &mut fmt::Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "{label:COLUMN$}{text}")
}

/// A text that fits a screen.
fn shortened(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}… ({} bytes)", &text[..at], text.len()),
        None => text.to_owned(),
    }
}
