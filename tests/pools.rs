//! Upstreams of several servers: who gets which request.

use std::collections::BTreeMap;

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::dead_address;
use crate::support::{backends, before_servers, eventually, quoted};

/// A gateway before these servers, given as TOML, with these settings of the upstream.
#[track_caller]
fn before(servers: &[String], settings: &str) -> Gateway {
    Gateway::start(&before_servers(servers, settings))
}

/// Which servers answer requests with this header field, sent one after the other.
fn answers(gateway: &Gateway, count: usize, field: (&str, &str)) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut connection = gateway.connect();
    for _ in 0..count {
        let response = connection.get_with("/users", &[field]);
        assert_eq!(response.status, 200);
        *counts.entry(response.header("x-backend").unwrap().to_owned()).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn weights_are_shares() {
    let backends = backends(2);
    let heavy = format!("{{ address = \"{}\", weight = 3 }}", backends[1].addr());
    let gateway = before(&[quoted(backends[0].addr()), heavy], "");
    assert_eq!(answers(&gateway, 40, ("x", "y")), counts([("a", 10), ("b", 30)]));
}

#[test]
fn a_server_that_takes_no_connection_costs_no_request() {
    let backends = backends(1);
    let (dead, _held) = dead_address();
    let gateway = before(&[quoted(dead), quoted(backends[0].addr())], "");
    assert_eq!(answers(&gateway, 10, ("x", "y")), counts([("a", 10)]));
    let post = gateway.raw(request("POST", "/echo", &[], "body"));
    assert_eq!(post.json()["body"], "body");
}

#[test]
fn the_fewest_running_requests_win() {
    let backends = backends(2);
    let gateway =
        before(&[quoted(backends[0].addr()), quoted(backends[1].addr())], "balance = \"least_requests\"");
    let mut busy = gateway.connect();
    busy.send(request("GET", "/sse", &[], ""));
    let taken = busy.response_head().header("x-backend").unwrap().to_owned();
    let other = if taken == "a" { "b" } else { "a" };
    assert_eq!(answers(&gateway, 10, ("x", "y")), counts([(other, 10)]));
}

#[test]
fn a_key_decides_and_a_server_that_leaves_moves_its_own_keys_alone() {
    let mut backends = backends(3);
    let servers: Vec<_> = backends.iter().map(|backend| quoted(backend.addr())).collect();
    let gateway = before(&servers, "balance = \"hash:header:X-User\"");
    let of_user = |user: usize| {
        let answers = answers(&gateway, 3, ("X-User", &user.to_string()));
        assert_eq!(answers.len(), 1, "a user has one server");
        answers.into_keys().next().unwrap()
    };
    let homes: Vec<_> = (0..30).map(of_user).collect();
    let gone = homes[0].clone();
    backends.retain(|backend| gateway_name(backend) != gone);
    for (user, home) in homes.iter().enumerate() {
        let now = of_user(user);
        assert!(now != gone && (now == *home || *home == gone), "{user}: {home} to {now}");
    }
}

/// The name that a backend answers with.
fn gateway_name(backend: &MockBackend) -> String {
    crate::support::http::get(backend.addr(), "/users", &[]).header("x-backend").unwrap().to_owned()
}

#[test]
fn a_full_server_lets_another_one_take_the_request_and_full_servers_answer_503() {
    let backends = backends(2);
    let servers: Vec<_> = backends.iter().map(|backend| quoted(backend.addr())).collect();
    let gateway = before(&servers, "max_connections = 1");
    let take = || {
        let mut connection = gateway.connect();
        connection.send(request("GET", "/sse", &[], ""));
        let taken = connection.response_head().header("x-backend").unwrap().to_owned();
        (taken, connection)
    };
    let (one, two) = (take(), take());
    assert_ne!(one.0, two.0);
    let response = gateway.get("/users");
    response.is_problem(503);
    assert_eq!(response.header("retry-after"), Some("1"));
    gateway.metric_becomes(r#"gateway_upstream_errors_total{kind="full",upstream="main"}"#, 1.0);
    let freed = one.0.clone();
    drop(one);
    let answer =
        eventually("there is room again", || Some(gateway.get("/users")).filter(|r| r.status == 200));
    assert_eq!(answer.header("x-backend"), Some(freed.as_str()));
}
