//! The side port and those that it is not for: pages from elsewhere, and clients that hold on to connections.

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Connection, request};

/// What a browser sends with whatever a page asks for.
const BROWSER: (&str, &str) = ("Accept-Language", "en");

#[test]
fn a_page_from_elsewhere_cannot_use_it() {
    let (gateway, _backend) = forwarding("");
    let own = format!("http://{}", gateway.admin());
    let host = gateway.admin().to_string();
    let ask = |fields: &[(&str, &str)]| http::get(gateway.admin(), "/stats", fields).status;
    assert_eq!(ask(&[("Host", &host), BROWSER, ("Origin", &own), ("Sec-Fetch-Site", "same-origin")]), 200);
    assert_eq!(ask(&[("Host", &host), BROWSER, ("Origin", "http://evil.example")]), 403);
    assert_eq!(ask(&[("Host", &host), BROWSER, ("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(ask(&[("Host", "rebound.example:8001"), BROWSER]), 403);
    assert_eq!(ask(&[("Host", "gateway.prod.example:8001"), ("User-Agent", "Prometheus/3.5")]), 200);
}

#[test]
fn the_names_by_which_a_browser_may_open_it_are_configured() {
    let gateway = Gateway::start_with_admin(
        "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }",
        "hosts = [\"gateway.example.com\"]",
    );
    let by = |host| http::get(gateway.admin(), "/stats", &[("Host", host), BROWSER]);
    assert_eq!(by("gateway.example.com:8001").status, 200);
    let refused = by("other.example.com:8001");
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].as_str().unwrap().contains("`hosts` in [admin]"));
}

#[test]
fn every_answer_says_to_browsers_what_they_may_do_with_it() {
    let (gateway, _backend) = forwarding("");
    for path in ["/metrics", "/health", "/config", "/nothing", "/limits/none/clients/x"] {
        let answer = gateway.admin_get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn whoever_holds_on_to_connections_keeps_nobody_else_out() {
    let (gateway, _backend) = forwarding("");
    let mut asking = Connection::open(gateway.admin());
    let mut held: Vec<_> = (0..400)
        .map(|index| {
            let mut connection = Connection::open(gateway.admin());
            connection.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
            if index % 50 == 0 {
                // One that asks now and then stays.
                assert_eq!(asking.get("/health").status, 200);
            }
            connection
        })
        .collect();
    assert_eq!(gateway.admin_get("/metrics").status, 200);
    assert_eq!(asking.get("/health").status, 200);
    assert!(held[0].is_closed(), "the first has lost its place");
    let last = held.last_mut().unwrap();
    last.send("\r\n");
    assert_eq!(last.response().status, 200);
}

#[test]
fn a_body_that_nobody_asked_for_is_not_gathered() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.admin());
    connection.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\n\r\nx");
    assert_eq!(connection.response().status, 403);
    assert!(connection.is_closed());
    let mut connection = Connection::open(gateway.admin());
    let head = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // It may be refused before it is sent.
    let _ = connection.try_send(&head);
    assert!(connection.try_response().is_none_or(|answer| answer.status == 431));
}

#[test]
fn a_head_request_has_no_body() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.admin());
    connection.send(request("HEAD", "/health", &[], ""));
    assert_eq!(connection.response_head().status, 200);
    assert_eq!(connection.get("/health").text(), "ok\n");
}
