//! `[upstreams.*]`.

use std::time::Duration;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, any_of, quoted};
use super::super::suggest;
use super::super::value::{address, key};
use super::super::values::Values;
use super::super::{Balance, Upstream, UpstreamServer};
use super::together;
use crate::limit::key::Key;

const BALANCE: &str = "a way to balance such as \"round_robin\"";
const SERVER: &str = "a server such as \"127.0.0.1:9000\"";

/// Reads `[upstreams.*]`.
pub(super) fn all(items: &Checked<Vec<(&str, Item<'_>)>>) -> Checked<Vec<Upstream>> {
    let items = items.as_ref().map_err(|reported| *reported)?;
    together(items.iter().map(|(name, item)| upstream(name, item)))
}

fn upstream(name: &str, item: &Item<'_>) -> Checked<Upstream> {
    let title = format!("[upstreams.{}]", name.escape_debug());
    let example = "[upstreams.NAME] with a name of its own for each upstream, and its keys below";
    let section = item.section(title, example)?;
    let servers = section.required("servers", "servers = [\"127.0.0.1:9000\"]", servers);
    let balance = section.or("balance", Balance::RoundRobin, |item| item.parse(BALANCE, balance));
    let connect_timeout = section.or("connect_timeout", Duration::from_secs(2), |item| item.duration());
    let response_timeout = section.or("response_timeout", Duration::from_secs(30), |item| item.duration());
    let max_connections = section.or("max_connections", 0, |item| item.integer(0..=1_000_000));
    section.finish();
    Ok(Upstream {
        name: name.to_owned(),
        servers: servers?,
        balance: balance?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        max_connections: usize::try_from(max_connections?).ok().filter(|&max| max > 0),
    })
}

/// A way to balance: `round_robin`, `hash:header:X-User`.
fn balance(text: &str) -> Result<Balance, Fault> {
    const WAYS: [&str; 4] = ["round_robin", "least_requests", "random", "hash:KEY"];
    match text {
        "round_robin" => Ok(Balance::RoundRobin),
        "least_requests" => Ok(Balance::LeastRequests),
        "random" => Ok(Balance::Random),
        "hash" => Err(Fault::new("\"hash\" does not say by which key")
            .hint("write \"hash:\" and a key as limits have, such as \"hash:client_ip\"")),
        _ => match text.strip_prefix("hash:") {
            Some(part) => key::part(part).map(|part| Balance::Hash(Key::of(vec![part]))),
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
    let servers = servers.each_once(|a, b| a.host == b.host && a.port == b.port).all()?;
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
        let section = item.section("a server".into(), "{ address = \"127.0.0.1:9000\" }")?;
        let address = section
            .required("address", "address = \"127.0.0.1:9000\"", |item| item.parse(SERVER, address::server));
        let weight = section.or("weight", 1, |item| item.integer(1..=1000));
        section.finish();
        (address?, weight?)
    } else {
        (item.parse(SERVER, address::server)?, 1)
    };
    let (host, port) = address;
    Ok(UpstreamServer { host, port, weight: u32::try_from(weight).unwrap_or(1) })
}
