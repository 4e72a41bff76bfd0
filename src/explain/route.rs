//! The route of a request and its upstream, in words.

use http::{HeaderMap, HeaderValue, header};

use super::explanation::{Route, Upstream};
use super::near::listed;
use super::words::duration;
use crate::config::{self, Action, Balance, Config, HeaderChanges, Split};
use crate::engine::Forward;
use crate::limit::key::Key;
use crate::route::Share;

/// A route.
pub(super) fn explained(route: &config::Route, asked: &HeaderMap) -> Route {
    let mut changes = Vec::new();
    if route.is_exempt {
        changes.push("server.limits do not hold here (server_limits = false)".to_owned());
    }
    changes.extend(header_changes("answers", &route.response_headers));
    if !route.compression.is_empty() {
        let codings: Vec<_> = route.compression.iter().map(|coding| coding.name().to_owned()).collect();
        changes.push(format!("answers are compressed with {}, as the client takes it", listed(&codings)));
    }
    if !route.is_logged {
        changes.push("requests have no line in the access log (access_log = false)".to_owned());
    }
    if let Some(cors) = &route.cors {
        let origin = asked.get(header::ORIGIN);
        let allowed = cors.disclosure(origin).next().is_some();
        changes.push(match origin.map(HeaderValue::as_bytes).map(String::from_utf8_lossy) {
            None => "CORS: the gateway answers for the route; this request names no Origin".to_owned(),
            Some(origin) if allowed => format!("CORS: scripts of {origin} may read the answer"),
            Some(origin) => format!("CORS: scripts of {origin} may not read the answer"),
        });
    }
    Route {
        name: route.name.clone(),
        file: route.file.as_deref().map(str::to_owned),
        line: route.line,
        hosts: route.hosts.iter().map(ToString::to_string).collect(),
        path: route.path.to_string(),
        methods: route.methods.iter().map(ToString::to_string).collect(),
        requirements: route.requirements.iter().map(ToString::to_string).collect(),
        timeout_seconds: route.timeout.map(|timeout| timeout.as_secs_f64()),
        max_body_size: route.max_body_size,
        changes,
    }
}

/// The names of the fields that are changed. Their values may be secrets.
fn header_changes(of: &str, changes: &HeaderChanges) -> Option<String> {
    let names =
        |verb: &str, names: Vec<String>| (!names.is_empty()).then(|| format!("{verb} {}", listed(&names)));
    let removed = names("lose", changes.remove.iter().map(ToString::to_string).collect());
    let set = names("get", changes.set.iter().map(|(name, _)| name.to_string()).collect());
    let both: Vec<_> = removed.into_iter().chain(set).collect();
    (!both.is_empty()).then(|| format!("{of} {}", both.join(" and ")))
}

/// The upstream that a request is sent to. `split_key` is the value by which it is chosen among several, and `key` the one by which it chooses
/// a server, if there are such values.
pub(super) fn upstream(
    config: &Config,
    forward: &Forward,
    split_key: Option<&[String]>,
    key: Option<&[String]>,
) -> Upstream {
    let upstream = &config.upstreams[forward.upstream];
    let weights = upstream.servers.iter().any(|server| server.weight != 1);
    let server = |server: &config::UpstreamServer| match weights {
        true => format!("{server} (weight {})", server.weight),
        false => server.to_string(),
    };
    let parts = |key: &Key| key.parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let choice = match &upstream.balance {
        _ if upstream.servers.len() == 1 => "the only one".to_owned(),
        Balance::RoundRobin => "they take turns".to_owned(),
        Balance::LeastRequests => "the one with the fewest requests for its weight".to_owned(),
        Balance::Random => "one at random".to_owned(),
        Balance::Hash(by) => match key {
            Some(key) if forward.preference.key.is_some() => {
                format!("the same one for every request with this {}: {}", parts(by), key.join(", "))
            }
            _ => format!("the same one for all requests that have several values of {}", parts(by)),
        },
    };
    Upstream {
        name: upstream.name.clone(),
        shares: match &config.routes[forward.route].action {
            Action::Proxy { to, .. } => to.split().map(|split| shares(config, split, split_key)),
            _ => None,
        },
        servers: upstream.servers.iter().map(server).collect(),
        choice: match &upstream.sticky {
            Some(sticky) => {
                let cookie = &sticky.cookie;
                format!(
                    "the one that the cookie `{cookie}` asks for, if it can be used, and otherwise {choice}"
                )
            }
            None => choice,
        },
        protocol: if upstream.http2 { "HTTP/2" } else { "HTTP/1.1" },
        tls: upstream.tls.is_some(),
        connect_timeout_seconds: upstream.connect_timeout.as_secs_f64(),
        response_timeout_seconds: upstream.response_timeout.as_secs_f64(),
        read_timeout_seconds: upstream.read_timeout.map(|timeout| timeout.as_secs_f64()),
        retries: retries(upstream),
        usable: None,
        state: None,
    }
}

/// What each of several upstreams gets, and how one is chosen, in words.
fn shares(config: &Config, split: &Split, key: Option<&[String]>) -> String {
    let share = |share: &Share| {
        let percent = (split.shares.fraction(share) * 10_000.0).round() / 100.0;
        format!("{:?} {percent} %", config.upstreams[share.target].name)
    };
    let shares = listed(&split.shares.all().iter().map(share).collect::<Vec<_>>());
    match (&split.by, key) {
        (Some(by), Some(key)) => {
            let parts: Vec<_> = by.parts.iter().map(ToString::to_string).collect();
            format!(
                "of {shares}: the same one for every request with this {}: {}",
                parts.join(", "),
                key.join(", ")
            )
        }
        _ => format!("of {shares}: drawn at random for each request; told is the one with the largest share"),
    }
}

/// How often a request is sent again, in words.
fn retries(upstream: &config::Upstream) -> String {
    let often = match upstream.retries {
        0 => return "never sent again".to_owned(),
        1 => "sent again once, to another server, where that is safe".to_owned(),
        retries => format!("sent again up to {retries} times, to other servers, where that is safe"),
    };
    let statuses: Vec<_> = upstream.retry_on.iter().map(|status| status.as_str().to_owned()).collect();
    match statuses.is_empty() {
        true => often,
        false => format!("{often}, also after an answer of {}", listed(&statuses)),
    }
}

/// The timeouts of an upstream, in words.
pub(super) fn timeouts(upstream: &Upstream) -> String {
    let time = |seconds| duration(std::time::Duration::from_secs_f64(seconds));
    let mut told = vec![
        format!("connect {}", time(upstream.connect_timeout_seconds)),
        format!("response {}", time(upstream.response_timeout_seconds)),
    ];
    told.extend(upstream.read_timeout_seconds.map(|seconds| format!("silence {}", time(seconds))));
    told.join(", ")
}
