//! `[upstreams.*]`.

use std::time::Duration;

use http::Method;
use http::uri::Authority;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, any_of, quoted, together};
use super::super::section::Section;
use super::super::suggest;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::method;
use super::super::value::{address, key};
use super::super::values::Values;
use super::super::{Balance, Health, Outlier, Upstream, UpstreamServer};
use super::shared::{DURATION, DURATION_OR_ZERO, METHOD, status};
use super::{sticky, tls};
use crate::limit::key::Key;

/// The most retries of a request.
const MAX_RETRIES: u64 = 10;

/// How many requests are connected to a server at a time by default. So many sockets can be held while the server takes no connections.
const DEFAULT_PENDING_CONNECTS: u64 = 1024;

const PATH: &str = "a path such as \"/health\"";
const HOST: &str = "a host such as \"api.example.com\"";
const BODY: &str = "a text such as \"ok\"";
const BALANCE: &str = "a way to balance such as \"round_robin\"";
const SERVER: &str = "a server such as \"127.0.0.1:9000\"";

pub(super) static UPSTREAM: Table = Table::new(
    "An upstream: one or more servers that provide the same service.",
    &[
        Setting::new(
            "servers",
            Kind::List(&Kind::Either(&[Kind::Pattern(&[address::SERVER]), Kind::Table(&SERVER_TABLE)]), 1),
            "The servers: `\"HOST:PORT\"`, `\"unix:/PATH\"`, or a table with an address and a weight.",
        )
        .example(r#"["10.0.0.1:9000", { address = "10.0.0.2:9000", weight = 2 }]"#)
        .required(),
        Setting::new(
            "balance",
            Kind::Pattern(&["round_robin|least_requests|random", key::HASH]),
            "Which server gets the next request: `round_robin`, `least_requests`, `random`, or `hash:KEY` with a \
             part of a limit's key.",
        )
        .example(r#""hash:client_ip""#)
        .or("\"round_robin\""),
        Setting::new(
            "tls",
            Kind::Either(&[Kind::Boolean, Kind::Table(&tls::CLIENT_TLS)]),
            "Whether servers are spoken to over TLS: `true` verifies them by the system's certificate \
             authorities, a table says how else.",
        )
        .example("true")
        .or("false"),
        Setting::new(
            "sticky",
            Kind::Table(&sticky::STICKY),
            "A cookie by which a client comes back to the server that answered it. Without this table there is none.",
        ),
        Setting::new(
            "http2",
            Kind::Boolean,
            "Whether HTTP/2 is spoken with the servers. gRPC needs it.",
        ).or("false"),
        Setting::new(
            "connect_timeout",
            DURATION,
            "How long it may take to connect to a server, the TLS handshake included. After that another \
             server is tried, and the request gets 504 if none is left.",
        )
        .example(r#""500ms""#).or("\"2s\""),
        Setting::new(
            "response_timeout",
            DURATION,
            "How long a server may take to send the head of its answer after the last piece of the \
             request, and how long it may read nothing of a request. After that the request gets 504.",
        )
        .example(r#""10s""#)
            .or("\"30s\""),
        Setting::new(
            "read_timeout",
            DURATION_OR_ZERO,
            "How long a server may send nothing in the middle of its answer. The client's connection is closed \
             after. `0` is no bound.",
        )
        .example(r#""1h""#)
        .or("\"5m\""),
        Setting::new(
            "retries",
            Kind::Integer(0, MAX_RETRIES),
            "How often a request that failed is sent to another server, where that is safe.",
        )
        .example("2")
        .or("1"),
        Setting::new(
            "retry_on",
            Kind::List(&Kind::Integer(502, 504), 0),
            "Statuses of an answer for which an idempotent request without a body is sent to another server, \
             within `retries`.",
        )
        .example("[502, 503]")
        .or("[]"),
        Setting::new(
            "max_connections",
            Kind::Integer(0, 1_000_000),
            "How many requests each server may have at once. When all servers are full, a request gets 503. `0` \
             is no bound.",
        )
        .example("100")
        .or("0"),
        Setting::new(
            "max_pending_connects",
            Kind::Integer(0, 1_000_000),
            "How many requests may be connecting to one server at a time. Others wait for half of \
             `connect_timeout`, and then get 503. `0` is no bound.",
        )
        .example("64")
        .or("1024"),
        Setting::new(
            "health",
            Kind::Table(&HEALTH),
            "Health checks of every server. Without this table servers are not checked.",
        ),
        Setting::new(
            "outlier",
            Kind::Table(&OUTLIER),
            "Ejection of servers by how requests fare. Without this table no server is ejected.",
        ),
    ],
);

static SERVER_TABLE: Table = Table::new(
    "A server of an upstream.",
    &[
        Setting::new(
            "address",
            Kind::Pattern(&[address::SERVER]),
            "The server: `\"HOST:PORT\"` or `\"unix:/PATH\"`.",
        )
        .example(r#""10.0.0.2:9000""#)
        .required(),
        Setting::new(
            "weight",
            Kind::Integer(1, 1000),
            "The server's share of the requests, against the weights of the others.",
        )
        .example("2")
        .or("1"),
    ],
);

static HEALTH: Table = Table::new(
    "Health checks: how every server is asked whether it can serve.",
    &[
        Setting::new(
            "path",
            Kind::Pattern(&["/[!\"$-~]*"]),
            "The path that a check asks for; a query may follow.",
        )
        .example(r#""/health""#)
        .required(),
        Setting::new("method", METHOD, "The method of a check.").example(r#""HEAD""#).or("\"GET\""),
        Setting::new(
            "host",
            Kind::Text,
            "The `Host` of a check. If it is empty, a check has the host and port that `servers` names, \
             or `localhost` for a Unix socket.",
        )
        .example(r#""api.example.com""#)
        .or("\"\""),
        Setting::new(
            "statuses",
            Kind::List(&Kind::Integer(200, 599), 0),
            "The statuses with which a check passes. If the list is empty, a check passes with 200 to \
             399.",
        )
        .example("[200, 204]")
        .or("[]"),
        Setting::new(
            "body",
            Kind::Text,
            "A text that must be in the first 64 KiB of the answer's body. If it is empty, every body \
             passes.",
        )
        .example(r#""ok""#)
        .or("\"\""),
        Setting::new("interval", DURATION, "How often each server is checked.")
            .example(r#""10s""#)
            .or("\"5s\""),
        Setting::new("timeout", DURATION, "How long the answer to a check may take.")
            .example(r#""1s""#)
            .or("\"2s\""),
        Setting::new(
            "unhealthy_after",
            TIMES,
            "How many checks in a row fail before a server gets no more requests.",
        )
        .example("2")
        .or("3"),
        Setting::new("healthy_after", TIMES, "How many checks in a row pass before a server is tried again.")
            .example("3")
            .or("2"),
    ],
);

static OUTLIER: Table = Table::new(
    "Outlier detection: when a server that fails requests is ejected.",
    &[
        Setting::new("consecutive_failures", TIMES, "How many failures in a row eject a server.")
            .example("10")
            .or("5"),
        Setting::new(
            "eject_for",
            DURATION,
            "How long an ejected server gets no requests. After that it is tried with one request at a time.",
        )
        .example(r#""30s""#)
        .or("\"10s\""),
    ],
);

/// So many times in a row.
const TIMES: Kind = Kind::Integer(1, 1000);

/// Reads `[upstreams.*]`.
pub(super) fn all(items: &Checked<Vec<(&str, Item<'_>)>>, underscores: bool) -> Checked<Vec<Upstream>> {
    let items = items.as_ref().map_err(|reported| *reported)?;
    together(items.iter().map(|(name, item)| upstream(name, item, underscores)))
}

fn upstream(name: &str, item: &Item<'_>, underscores: bool) -> Checked<Upstream> {
    let title = format!("[upstreams.{}]", name.escape_debug());
    let example = "[upstreams.NAME] with a name of its own for each upstream, and its keys below";
    let section = item.section(&UPSTREAM, title, example)?;
    let servers = section.required("servers", "servers = [\"127.0.0.1:9000\"]", servers);
    let balance = section
        .or("balance", Balance::RoundRobin, |item| item.parse(BALANCE, |text| balance(text, underscores)));
    let tls = section.or("tls", None, |item| tls::client(name, &item));
    let sticky = section.optional("sticky", |item| sticky::sticky(name, &item));
    let http2 = section.or("http2", false, |item| item.boolean());
    let connect_timeout = section.or("connect_timeout", Duration::from_secs(2), |item| item.duration());
    let response_timeout = section.or("response_timeout", Duration::from_secs(30), |item| item.duration());
    let read_timeout = section.or("read_timeout", Duration::from_secs(300), |item| item.duration_or_zero());
    let retries = section.or("retries", 1, |item| item.integer(0..=MAX_RETRIES));
    let retry_on = section.or("retry_on", Vec::new(), |item| {
        item.values("statuses", |item| status(&item, 502, 504)).each_once().all()
    });
    let idle = match (&retries, &retry_on) {
        (Ok(0), Ok(statuses)) if !statuses.is_empty() => {
            section.useless(&["retry_on"], "with retries = 0", "raise `retries`, or leave it out")
        }
        _ => Ok(()),
    };
    let max_connections = section.or("max_connections", 0, |item| item.integer(0..=1_000_000));
    let max_pending_connects =
        section.or("max_pending_connects", DEFAULT_PENDING_CONNECTS, |item| item.integer(0..=1_000_000));
    let health = section.optional("health", |item| health(name, &item));
    let outlier = section.optional("outlier", |item| outlier(name, &item));
    section.finish();
    idle?;
    Ok(Upstream {
        name: name.to_owned(),
        servers: servers?,
        balance: balance?,
        sticky: sticky?,
        tls: tls?,
        http2: http2?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        read_timeout: Some(read_timeout?).filter(|timeout| !timeout.is_zero()),
        retries: u32::try_from(retries?).unwrap_or(1),
        retry_on: retry_on?,
        max_connections: bound(max_connections?),
        max_pending_connects: bound(max_pending_connects?),
        health: health?,
        outlier: outlier?,
    })
}

/// A bound, where zero is none.
fn bound(most: u64) -> Option<usize> {
    usize::try_from(most).ok().filter(|&most| most > 0)
}

/// `[upstreams.NAME.health]`
fn health(name: &str, item: &Item<'_>) -> Checked<Health> {
    let section = subsection(&HEALTH, name, "health", item)?;
    let path = section.required("path", "path = \"/health\"", |item| item.parse(PATH, path));
    let method = section.or("method", Method::GET, |item| item.parse("a method such as \"GET\"", method));
    let host = section.or("host", None, |item| item.parse(HOST, host));
    let statuses = section.or("statuses", Vec::new(), |item| {
        item.values("statuses", |item| status(&item, 200, 599)).each_once().all()
    });
    let body = section.or("body", String::new(), |item| item.parse(BODY, |text| Ok(text.to_owned())));
    if let (Ok(Method::HEAD), Ok(text), Some(item)) = (&method, &body, section.get("body"))
        && !text.is_empty()
    {
        let fault = Fault::new("an answer to HEAD has no body");
        return Err(item.report(fault.hint("ask with another method, or leave `body` out")));
    }
    let interval = section.or("interval", Duration::from_secs(5), |item| item.duration());
    let timeout = section.or("timeout", Duration::from_secs(2), |item| item.duration());
    let unhealthy_after = section.or("unhealthy_after", 3, times);
    let healthy_after = section.or("healthy_after", 2, times);
    section.finish();
    Ok(Health {
        path: path?,
        method: method?,
        host: host?,
        statuses: statuses?,
        body: body?,
        interval: interval?,
        timeout: timeout?,
        unhealthy_after: unhealthy_after?,
        healthy_after: healthy_after?,
    })
}

/// `[upstreams.NAME.outlier]`
fn outlier(name: &str, item: &Item<'_>) -> Checked<Outlier> {
    let section = subsection(&OUTLIER, name, "outlier", item)?;
    let consecutive_failures = section.or("consecutive_failures", 5, times);
    let eject_for = section.or("eject_for", Duration::from_secs(10), |item| item.duration());
    section.finish();
    Ok(Outlier { consecutive_failures: consecutive_failures?, eject_for: eject_for? })
}

/// `[upstreams.NAME.KEY]`
fn subsection<'a>(table: &'static Table, name: &str, key: &str, item: &Item<'a>) -> Checked<Section<'a>> {
    let title = format!("[upstreams.{}.{key}]", name.escape_debug());
    item.section(table, title.clone(), &format!("{title}, and its keys below"))
}

/// A number of times in a row.
fn times(item: Item<'_>) -> Checked<u32> {
    Ok(u32::try_from(item.integer(1..=1000)?).unwrap_or(1))
}

/// The host of a health check, perhaps with a port; empty is the server.
fn host(text: &str) -> Result<Option<String>, Fault> {
    let is_host = |authority: &Authority| !authority.as_str().contains('@');
    match text.is_empty() || text.parse().is_ok_and(|authority| is_host(&authority)) {
        true => Ok(Some(text.to_owned()).filter(|host| !host.is_empty())),
        false => Err(Fault::new(format!("{} is not a host", quoted(text)))
            .hint("write a name, with a port if need be, such as \"api.example.com\"")),
    }
}

/// The path of a health check.
fn path(text: &str) -> Result<String, Fault> {
    let fault = || Fault::new(format!("{} is not a path", quoted(text)));
    if !text.starts_with('/') {
        return Err(fault().hint("it begins with a slash, such as \"/health\""));
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        true => Ok(text.to_owned()),
        false => Err(fault().hint("escape what is not ASCII, spaces and `#`, such as \"/is%20it%20well\"")),
    }
}

/// A way to balance: `round_robin`, `hash:header:X-User`.
fn balance(text: &str, underscores: bool) -> Result<Balance, Fault> {
    const WAYS: [&str; 4] = ["round_robin", "least_requests", "random", "hash:KEY"];
    match text {
        "round_robin" => Ok(Balance::RoundRobin),
        "least_requests" => Ok(Balance::LeastRequests),
        "random" => Ok(Balance::Random),
        "hash" => Err(Fault::new("\"hash\" does not say by which key")
            .hint("write \"hash:\" and a key as limits have, such as \"hash:client_ip\"")),
        _ => match text.strip_prefix("hash:") {
            Some(part) => key::part(part, underscores).map(|part| Balance::Hash(Key::of(vec![part]))),
            None => {
                let fault = Fault::new(format!("{} is not a way to balance", quoted(text)));
                Err(match suggest::nearest(text, WAYS) {
                    Some(near) => fault.hint(format!("did you mean {}?", quoted(near))),
                    None => fault.hint(format!("write {}", any_of(&WAYS.map(quoted)))),
                })
            }
        },
    }
}

fn servers(item: Item<'_>) -> Checked<Vec<UpstreamServer>> {
    let servers: Values<'_, UpstreamServer> = item.values("servers", server);
    let servers = servers.each_once_by(|server| server.address.clone()).all()?;
    if servers.is_empty() {
        return Err(item.report(
            Fault::new("an upstream without servers answers nobody")
                .hint("write one server at least, such as servers = [\"127.0.0.1:9000\"]"),
        ));
    }
    Ok(servers)
}

/// An entry of `servers`: an address, or a table with one.
fn server(item: Item<'_>) -> Checked<UpstreamServer> {
    let (address, weight) = if item.is_table() {
        let section = item.section(&SERVER_TABLE, "a server".into(), "{ address = \"127.0.0.1:9000\" }")?;
        let address = section
            .required("address", "address = \"127.0.0.1:9000\"", |item| item.parse(SERVER, address::server));
        let weight = section.or("weight", 1, |item| item.integer(1..=1000));
        section.finish();
        (address?, weight?)
    } else {
        (item.parse(SERVER, address::server)?, 1)
    };
    Ok(UpstreamServer { address, weight: u32::try_from(weight).unwrap_or(1) })
}
