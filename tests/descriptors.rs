//! A process that runs out of descriptors: nobody else is blamed for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::upstream::{RawUpstream, full_address};
use crate::support::{eventually, http2, to_upstream};

/// Few enough to be used up by a test.
const DESCRIPTORS: usize = 64;

const SETTINGS: &str = "max_connections = 1000
---
outlier = { consecutive_failures = 1, eject_for = \"1h\" }
health = { path = \"/health\", interval = \"20ms\", unhealthy_after = 1 }";

/// A server that closes each connection after its answer, so that the next request needs another one.
fn upstream() -> RawUpstream {
    RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

#[test]
fn a_gateway_without_descriptors_blames_no_server() {
    let upstream = upstream();
    let gateway = Gateway::with_descriptors(DESCRIPTORS, &to_upstream(upstream.address(), SETTINGS));
    let mut clients: Vec<_> = (0..4).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    // Those that are not accepted any more wait, and are accepted as soon as anything is free.
    let idle: Vec<_> = (0..DESCRIPTORS).map(|_| Connection::open(gateway.address())).collect();
    gateway.wait_for_log_line("accepts no connections for a moment");
    gateway.wait_for_log_line("its servers cannot be checked just now");
    for client in &mut clients {
        // A check that has just ended leaves a descriptor for a moment.
        let refused = eventually("nothing is left", || {
            let response = client.get("/");
            (response.status != 200).then_some(response)
        });
        refused.is_problem(503);
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    drop(idle);
    // The very next one is answered: nothing was noted against the server.
    assert_eq!(gateway.get("/").status, 200);
    let errors = |kind: &str| {
        gateway.metric(&format!(r#"gateway_upstream_errors_total{{kind="{kind}",upstream="main"}}"#))
    };
    assert_eq!((errors("local"), errors("bad_response"), errors("connect")), (4.0, 0.0, 0.0));
    let log = gateway.log();
    for blame in ["unhealthy", "gets no requests"] {
        assert!(!log.contains(blame), "{blame}");
    }
}

#[test]
fn clients_leave_descriptors_for_what_must_go_on() {
    let upstream = upstream();
    let settings = SETTINGS.replace("max_connections = 1000", "");
    let gateway = Gateway::with_descriptors(128, &to_upstream(upstream.address(), &settings));
    let idle: Vec<_> = (0..200).map(|_| Connection::open(gateway.address())).collect();
    gateway.wait_for_log_line("those that wait longest for a request make room");
    // Requests, health checks and the side port all get what they need.
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let most = 40;
    let open = format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address());
    eventually("no more are open than may be", || (gateway.metric(&open) <= f64::from(most)).then_some(()));
    let displaced = format!(r#"gateway_connections_displaced_total{{listener="{}"}}"#, gateway.address());
    assert!(gateway.metric(&displaced) >= f64::from(200 - most));
    let log = gateway.log();
    for shortage in ["Too many open files", "accepts no connections", "cannot be checked", "unhealthy"] {
        assert!(!log.contains(shortage), "{shortage}");
    }
    drop(idle);
}

#[test]
fn the_bound_on_descriptors_is_raised() {
    let upstream = upstream();
    let gateway = Gateway::with_soft_descriptors(64, &to_upstream(upstream.address(), ""));
    let clients: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    assert_eq!(gateway.get("/").status, 200);
    drop(clients);
    assert!(!gateway.log().contains("make room"), "{}", gateway.log());
}

#[test]
fn whoever_waits_for_a_request_makes_room_and_nobody_with_one() {
    let over = Arc::new(AtomicBool::new(false));
    let held = over.clone();
    let upstream = RawUpstream::start(move |exchange| {
        while let Some(head) = exchange.read_head_text() {
            while head.starts_with("GET /slow") && !held.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), "max_connections = 3"));
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = gateway.connect();
            assert_eq!(client.get("/").status, 200);
            client
        })
        .collect();
    // The oldest has a request. Of the others one makes room; which of them began to wait first, only the gateway knows.
    clients[0].send(request("GET", "/slow", &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    assert_eq!(gateway.get("/").status, 200);
    let tick = std::time::Duration::from_millis(10);
    let left = eventually("one is closed", || (1..3).find(|&n| clients[n].has_something_within(tick)));
    assert!(clients[left].is_closed());
    let other = 3 - left;
    assert_eq!(clients[other].get("/").status, 200);
    clients[other].send(request("GET", "/slow", &[], ""));
    // The connection of `get` above is gone.
    gateway.metric_becomes(&format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address()), 2.0);
    let mut third = gateway.connect();
    third.send(request("GET", "/slow", &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 3.0);
    let turned_away = format!(r#"gateway_connections_turned_away_total{{listener="{}"}}"#, gateway.address());
    assert!(Connection::open(gateway.address()).is_closed());
    gateway.metric_becomes(&turned_away, 1.0);
    over.store(true, Ordering::SeqCst);
    for client in [&mut clients[0], &mut third] {
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn requests_leave_descriptors_for_what_must_go_on() {
    let (address, _full) = full_address();
    let settings = "---\nconnect_timeout = \"20s\"";
    let gateway = Gateway::with_descriptors(128, &to_upstream(address, settings));
    // Over HTTP/2 a client makes more requests than it has connections.
    let mut client = http2::Connection::open(gateway.address());
    let mut waiting: Vec<_> = (0..40).map(|_| client.start(http2::request("GET", "/", &[]), true)).collect();
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 40.0);
    let refused = client.get("/");
    refused.is_problem(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    gateway.metric_becomes(r#"gateway_upstream_errors_total{kind="local",upstream="main"}"#, 1.0);
    drop(waiting.pop());
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 39.0);
    let _another = client.start(http2::request("GET", "/", &[]), true);
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 40.0);
}
