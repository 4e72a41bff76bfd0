//! Clients that send what no proper client would: each gets the right answer, and nobody else notices.

use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::RawUpstream;
use crate::support::{forwarding, to_upstream};

/// What every test ends with: others are served as ever.
#[track_caller]
fn still_serves(gateway: &Gateway) {
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn a_malformed_head_is_refused_and_the_connection_closed() {
    let (gateway, backend) = forwarding("");
    let malformed: [&[u8]; 14] = [
        b"\r\n\r\n\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"G\xffT / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for text in malformed {
        let mut connection = gateway.connect();
        connection.send(text);
        connection.response().is_problem(400);
        assert!(connection.is_closed(), "{:?}", String::from_utf8_lossy(text));
    }
    assert_eq!(backend.count(), 0);
    gateway.metric_becomes(r#"gateway_requests_total{code="400",method="OTHER",route=""}"#, 14.0);
    still_serves(&gateway);
    // One line for each.
    let log = gateway.access_log(15);
    let refused = log.iter().filter(|line| line["status"] == 400 && line["request_id"] != "").count();
    assert_eq!((refused, log.len()), (14, 15));
}

#[test]
fn empty_lines_before_a_request_are_no_part_of_it() {
    let (gateway, backend) = forwarding("idle_timeout = \"2s\"");
    let mut connection = gateway.connect();
    connection.send("\r\n\r\nGET /users HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.response().status, 200);
    // What some clients send after a body.
    connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n");
    assert_eq!(connection.response().json()["body"], "x");
    connection.send("\r\nGET http://a/users HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(connection.response().status, 200);
    // Whoever sends nothing else is idle: closed without a word.
    connection.send("\r\n\r");
    assert!(connection.is_closed());
    assert_eq!(backend.count(), 3);
    assert_eq!(gateway.access_log(3).len(), 3);
}

#[test]
fn a_message_that_two_parsers_could_read_differently_is_refused() {
    let (gateway, backend) = forwarding("");
    for fields in [
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: 3 3",
        "Content-Length: 0x3",
        "Content-Length: -0",
        "Content-Length: 18446744073709551616",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding : chunked",
    ] {
        let mut connection = gateway.connect();
        connection.send(format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n"));
        connection.response().is_problem(400);
        assert!(connection.is_closed(), "{fields}");
    }
    let mut connection = gateway.connect();
    connection.send("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    connection.response().is_problem(400);
    assert_eq!(backend.count(), 0);
    still_serves(&gateway);
}

#[test]
fn what_follows_a_body_is_not_smuggled_into_it() {
    let upstream = RawUpstream::start(|exchange| {
        while exchange.read_head() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    connection.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET /b%2f HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(connection.response().status, 200);
    connection.response().is_problem(400);
    let heads = upstream.received();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with("POST /a HTTP/1.1\r\n"), "{heads:?}");
}

#[test]
fn malformed_chunks_are_refused() {
    let (gateway, _backend) = forwarding("");
    for body in [
        "x\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "3;a=\r\nabc\r\n0\r\n\r\n",
        "3 ;a\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        &format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(2000)),
        &format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "a".repeat(1000)).repeat(20)),
    ] {
        let mut connection = gateway.connect();
        connection
            .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        connection.response().is_problem(400);
        assert!(connection.is_closed(), "{body}");
    }
    still_serves(&gateway);
}

#[test]
fn a_head_of_a_mebibyte_is_refused() {
    let (gateway, backend) = forwarding("");
    let mut connection = gateway.connect();
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    // The answer may come before all of it has gone out.
    let _ = connection.try_send(head);
    connection.response().is_problem(431);
    assert!(connection.is_closed());

    let mut connection = gateway.connect();
    connection.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(300)));
    connection.response().is_problem(431);
    assert_eq!(backend.count(), 0);
    still_serves(&gateway);
}

#[test]
fn a_head_may_be_as_large_as_the_config_says() {
    let (gateway, _backend) = forwarding("max_header_size = \"2KiB\"");
    let head = |size: usize| {
        let rest = "GET /users HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET /users HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size - rest))
    };
    assert_eq!(gateway.raw(head(2048)).status, 200);
    gateway.raw(head(2049)).is_problem(431);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let (gateway, backend) = forwarding("max_body_size = \"1KiB\"");
    // By its length, before any of it is read.
    let mut connection = gateway.connect();
    connection.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    connection.response().is_problem(413);
    assert_eq!(backend.count(), 0);
    // By counting.
    let mut connection = gateway.connect();
    connection.send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..3 {
        let _ = connection.try_send(format!("200\r\n{}\r\n", "x".repeat(512)));
    }
    connection.response().is_problem(413);
    assert!(connection.is_closed());
    // Up to the limit is fine.
    let full = gateway.raw(request("POST", "/upload", &[], &"x".repeat(1024)));
    assert_eq!(full.json()["length"], 1024);
}

#[test]
fn a_route_may_take_larger_or_no_bodies() {
    let (gateway, _backend) = forwarding("max_body_size = \"1KiB\"\n---\n---\nmax_body_size = \"4KiB\"");
    assert_eq!(gateway.raw(request("POST", "/upload", &[], &"x".repeat(4096))).status, 200);
    gateway.raw(request("POST", "/upload", &[], &"x".repeat(4097))).is_problem(413);
}

#[test]
fn a_path_that_cannot_be_read_safely_is_refused() {
    let (gateway, backend) = forwarding("");
    for target in [
        "/a/..%2f..%2fetc",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/../etc",
        "/%2e%2e/etc",
        "/a/%2e%2e/%2e%2e/etc",
        "/a%00",
        "/a%0d%0aX:1",
        "/a%",
        "/a%zz",
        "/a/..;/b",
        "/a//../b",
        "/a#b",
    ] {
        gateway.get(target).is_problem(400);
    }
    assert_eq!(backend.count(), 0);
    still_serves(&gateway);
}

#[test]
fn the_target_and_the_host_field_must_agree() {
    let (gateway, backend) = forwarding("");
    gateway.get_with("http://a.example/users", &[("Host", "b.example")]).is_problem(400);
    gateway.raw("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n").is_problem(400);
    gateway.raw("GET a HTTP/1.1\r\nHost: a\r\n\r\n").is_problem(400);
    gateway.raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").is_problem(405);
    assert_eq!(backend.count(), 0);
    assert_eq!(gateway.get_with("http://a.example/users", &[("Host", "a.example")]).status, 200);
}

#[test]
fn a_head_that_trickles_in_has_a_deadline() {
    let (gateway, _backend) = forwarding("header_timeout = \"300ms\"");
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
    // A byte now and then does not move the deadline.
    let answered = (0..200).any(|_| {
        let _ = connection.try_send("x");
        connection.has_something_within(Duration::from_millis(50))
    });
    assert!(answered, "no answer after ten seconds");
    connection.response().is_problem(408);
    still_serves(&gateway);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let (gateway, _backend) = forwarding("idle_timeout = \"200ms\"");
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/users").status, 200);
    assert!(connection.is_closed());
    assert!(gateway.connect().is_closed());
}

#[test]
fn a_body_that_stalls_does_not_hold_a_route_with_a_timeout() {
    let (gateway, _backend) = forwarding("---\n---\ntimeout = \"300ms\"");
    let mut connection = gateway.connect();
    connection.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab");
    connection.response().is_problem(408);
    assert!(connection.is_closed());
    still_serves(&gateway);
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let (gateway, _backend) = forwarding("");
    let in_flight = r#"gateway_requests_in_flight{route="all"}"#;
    let mut connection = gateway.connect();
    connection.send(request("GET", "/users?delay=30s", &[], ""));
    gateway.metric_becomes(in_flight, 1.0);
    drop(connection);
    gateway.metric_becomes(in_flight, 0.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 1.0);
    assert_eq!(gateway.access_log(1)[0]["status"], 499);
}

#[test]
fn nothing_a_client_sends_becomes_a_label() {
    let (gateway, _backend) = forwarding("");
    gateway.raw(request("SECRETVERB", "/echo/secretpath", &[("Host", "secrethost.example")], ""));
    gateway.get_with("/nothing%2f", &[("Host", "secrethost.example")]);
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="OTHER",route="all"}"#, 1.0);
    let metrics = gateway.admin_get("/metrics").text().to_lowercase();
    assert!(!metrics.contains("secret"), "{metrics}");
}

#[test]
fn the_side_port_is_out_of_reach_for_clients() {
    let (gateway, backend) = forwarding("");
    let host = gateway.admin().to_string();
    for target in ["/metrics", "/stats", "/ready", &format!("http://{host}/metrics")] {
        let response = gateway.get_with(target, &[("Host", &host)]);
        assert_eq!(response.status, 404, "{target}");
        assert_eq!(response.header("x-backend"), Some("mock"), "it is the upstream that does not know it");
    }
    assert_eq!(backend.count(), 4);
}
