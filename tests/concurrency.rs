//! Limits on requests that run at a time.

use mock_backend::MockBackend;
use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::upstream::dead_address;
use crate::support::{eventually, forwarding, to_upstream};

/// A gateway whose every route lets two requests of a client run at a time.
fn two_at_a_time() -> (Gateway, MockBackend) {
    forwarding("[limits.slots]\nmax_in_flight = 2\n---\n---\nlimits = [\"slots\"]")
}

/// A request that runs until its connection is dropped.
fn endless(gateway: &Gateway) -> (Connection, u16) {
    let mut connection = gateway.connect();
    connection.send(request("GET", "/sse?interval=10ms", &[], ""));
    let status = connection.response_head().status;
    (connection, status)
}

/// Waits until so many clients have running requests.
fn clients_become(gateway: &Gateway, clients: u64) {
    eventually("the number of clients", || {
        (gateway.admin_get("/stats").json()["limits"]["slots"]["clients"] == clients).then_some(())
    });
}

#[test]
fn no_more_than_the_limit_run_at_a_time() {
    let (gateway, backend) = two_at_a_time();
    let (first, status) = endless(&gateway);
    assert_eq!(status, 200);
    let (_second, status) = endless(&gateway);
    assert_eq!(status, 200);
    let mut connection = gateway.connect();
    for _ in 0..3 {
        let refused = connection.get("/users");
        refused.is_problem(429);
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("ratelimit-policy"), Some(r#""slots";q=2;qu="concurrent-requests""#));
        assert_eq!(refused.header("ratelimit"), Some(r#""slots";r=0"#));
        assert_eq!(refused.json()["violated-policies"], json!(["slots"]));
        assert_eq!(refused.json()["detail"], "too many requests at a time: try again in 1 second");
    }
    assert_eq!(backend.count(), 2, "nothing of a refused request goes upstream");
    // The client of the first goes away: its place is free.
    drop(first);
    let response =
        eventually("a place is free", || Some(connection.get("/users")).filter(|r| r.status == 200));
    assert_eq!(response.header("ratelimit"), Some(r#""slots";r=0"#));
    let stats = gateway.admin_get("/stats").json();
    assert_eq!(stats["limits"]["slots"]["clients"], 1);
    assert_eq!(stats["limits"]["slots"]["capacity"], json!(null));
}

#[test]
fn a_finished_request_leaves_its_place_on_the_same_connection() {
    let (gateway, _backend) = two_at_a_time();
    let mut connection = gateway.connect();
    for _ in 0..20 {
        assert_eq!(connection.get("/users").header("ratelimit"), Some(r#""slots";r=1"#));
    }
    clients_become(&gateway, 0);
}

#[test]
fn a_request_that_fails_upstream_leaves_its_place() {
    let (dead, _held) = dead_address();
    let settings = "[limits.slots]\nmax_in_flight = 1\n---\n---\nlimits = [\"slots\"]";
    let gateway = Gateway::start(&to_upstream(dead, settings));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        clients_become(&gateway, 0);
        statuses.push(gateway.get("/users").status);
    }
    assert_eq!(statuses, [502; 5]);
}

#[test]
fn a_request_that_is_too_large_leaves_its_place() {
    let (gateway, _backend) = forwarding(
        "[limits.slots]\nmax_in_flight = 1\n---\n---\nlimits = [\"slots\"]\nmax_body_size = \"1KiB\"",
    );
    for _ in 0..5 {
        clients_become(&gateway, 0);
        assert_eq!(gateway.raw(request("POST", "/echo", &[], &"x".repeat(2000))).status, 413);
    }
}

#[test]
fn a_request_that_a_later_limit_refuses_takes_no_place() {
    let (gateway, _backend) = forwarding(
        "[limits.slots]\nmax_in_flight = 1\n[limits.rate]\nrate = \"1/h\"\n---\n---\nlimits = [\"slots\", \"rate\"]",
    );
    assert_eq!(gateway.get("/users").status, 200);
    clients_become(&gateway, 0);
    for _ in 0..3 {
        let refused = gateway.get("/users");
        assert_eq!(refused.json()["violated-policies"], json!(["rate"]));
        clients_become(&gateway, 0);
    }
}

#[test]
fn an_override_gives_a_client_more_places() {
    let (gateway, _backend) = forwarding(
        "[limits.slots]\nmax_in_flight = 1\nkey = \"header:X-Key\"\n[limits.slots.overrides]\n\
         \"many\" = { max_in_flight = 3 }\n\"all\" = \"unlimited\"\n---\n---\nlimits = [\"slots\"]",
    );
    for (key, places) in [("few", 1), ("many", 3), ("all", 5)] {
        let mut running = Vec::new();
        for place in 0..5 {
            let mut connection = gateway.connect();
            connection.send(request("GET", "/sse?interval=10ms", &[("X-Key", key)], ""));
            let expected = if place < places { 200 } else { 429 };
            assert_eq!(connection.response_head().status, expected, "{key}, {place}");
            running.push(connection);
        }
    }
}

#[test]
fn the_places_of_a_slow_upstream_are_free_when_its_time_is_up() {
    let (gateway, _backend) = forwarding(
        "[limits.slots]\nmax_in_flight = 1\n---\nresponse_timeout = \"50ms\"\n---\nlimits = [\"slots\"]",
    );
    assert_eq!(gateway.get("/users?delay=30s").status, 504);
    clients_become(&gateway, 0);
    assert_eq!(gateway.get("/users").status, 200);
}
