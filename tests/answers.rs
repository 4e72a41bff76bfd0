//! Answers as each client can read them: clients of HTTP/1.0, interim answers, answers without a body, and answers to those who have
//! not finished asking.

use std::io::{Read as _, Write as _};

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::http2::{self, DATA, END_STREAM, Frames, HEADERS};
use crate::support::upstream::RawUpstream;
use crate::support::{forwarding, to_upstream};

/// A gateway in front of a server that gives this answer.
fn in_front_of(answer: &'static str) -> (Gateway, RawUpstream) {
    let upstream = RawUpstream::answering(answer);
    (Gateway::start(&to_upstream(upstream.address(), "")), upstream)
}

/// All that a client gets who asks this, until the connection closes.
#[track_caller]
fn all_of(gateway: &Gateway, text: &str) -> String {
    let mut connection = gateway.connect();
    connection.send(text);
    String::from_utf8(connection.rest()).unwrap()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

#[test]
fn a_client_of_http10_gets_no_chunks() {
    for answer in [CHUNKED, "HTTP/1.0 200 OK\r\n\r\nhello"] {
        let (gateway, _upstream) = in_front_of(answer);
        let text = all_of(&gateway, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
        assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
        assert!(
            text.contains("\r\nConnection: close\r\n"),
            "where it ends shows when the connection does: {text}"
        );
    }
}

#[test]
fn the_version_of_the_upstream_is_its_own_matter() {
    let (gateway, _upstream) = in_front_of("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let mut connection = gateway.connect();
    connection.send(request("GET", "/", &[], ""));
    assert_eq!(connection.line(), "HTTP/1.1 200 OK");
}

#[test]
fn interim_answers_reach_those_who_know_them() {
    let (gateway, _upstream) = in_front_of(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let text = all_of(&gateway, &request("GET", "/", &[("Connection", "close")], ""));
    assert!(text.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"), "{text}");
    let text = all_of(&gateway, "GET / HTTP/1.0\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    let mut frames = Frames::open(gateway.address());
    let get = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
    frames.send_headers(1, &get, true);
    // Two heads, and only then the body.
    let kinds: Vec<u8> = (0..3).map(|_| frames.next_of(&[HEADERS, DATA]).unwrap().kind).collect();
    assert_eq!(kinds, [HEADERS, HEADERS, DATA]);
    let log = gateway.access_log(3);
    assert!(log.iter().all(|line| line["status"] == 200), "{log:?}");
}

#[test]
fn a_client_that_leaves_after_100_was_not_answered() {
    let upstream = RawUpstream::start(|exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 100 Continue\r\n\r\n");
        exchange.wait_for_close();
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(connection.line(), "HTTP/1.1 100 Continue");
    drop(connection);
    assert_eq!(gateway.access_log(1)[0]["status"], 499);
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="POST",route="all"}"#, 1.0);
}

#[test]
fn an_answer_without_a_body_has_none() {
    for (method, answer, length) in [
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 34\r\n\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 34\r\nETag: \"a\"\r\n\r\n", Some("34")),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n", Some("34")),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ] {
        let (gateway, _upstream) = in_front_of(answer);
        let mut connection = gateway.connect();
        // The next answer begins where this one ends.
        for _ in 0..2 {
            connection.send(request(method, "/", &[], ""));
            let head = connection.response_head();
            assert_eq!(head.header("content-length"), length, "{method} {answer}");
        }
        let mut frames = Frames::open(gateway.address());
        let target = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "a")];
        frames.send_headers(1, &target, true);
        let head = frames.next_of(&[HEADERS]).unwrap();
        assert_eq!(head.flags & END_STREAM, END_STREAM, "{method} {answer}: the head is all");
    }
}

#[test]
fn the_date_of_the_upstream_stays() {
    let (gateway, _upstream) =
        in_front_of("HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(gateway.get("/").header("date"), Some("Tue, 15 Nov 1994 08:12:31 GMT"));
}

#[test]
fn an_early_answer_over_http2_is_read() {
    let (gateway, _backend) = forwarding("");
    let mut connection = http2::Connection::open(gateway.address());
    for _ in 0..10 {
        // All of the body is taken, so no client that looks at its answer only afterwards loses it.
        let response = connection.send(http2::request("POST", "/a%2fb", &[]), vec![b'x'; 300_000]);
        assert_eq!(response.status, 400);
    }
}

#[test]
fn whoever_is_mistaken_about_http2_is_told_so() {
    let (gateway, _backend) = forwarding("");
    let mut socket = std::net::TcpStream::connect(gateway.address()).unwrap();
    socket.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").unwrap();
    let mut told = Vec::new();
    socket.read_to_end(&mut told).unwrap();
    // Settings, then to go away: the last stream, and PROTOCOL_ERROR.
    assert_eq!(told, *b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01");
}

#[test]
fn every_answer_has_the_fields_of_the_server() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let upstream = backend.addr();
    let gateway = Gateway::start(&format!(
        r#"
        [server.response_headers]
        set = {{ Strict-Transport-Security = "max-age=9", X-Frame-Options = "DENY", Content-Type = "text/x", Retry-After = "7" }}
        remove = ["X-Backend"]
        [limits.none]
        rate = "1/h"
        [upstreams.main]
        servers = ["{upstream}"]
        [[routes]]
        name = "all"
        path = "/users/*"
        upstream = "main"
        [[routes]]
        name = "own"
        path = "/own"
        respond = {{ body = "ok" }}
        limits = ["none"]
        response_headers = {{ set = {{ X-Frame-Options = "SAMEORIGIN" }}, remove = ["Strict-Transport-Security"] }}
        "#
    ));
    let told = |answer: &crate::support::http::Response| {
        let field = |name| answer.header(name).unwrap_or("-").to_owned();
        (answer.status, field("strict-transport-security"), field("x-frame-options"), field("content-type"))
    };
    let expected = |status, hsts: &str, frames: &str, content_type: &str| {
        (status, hsts.to_owned(), frames.to_owned(), content_type.to_owned())
    };
    let problem = "application/problem+json";
    let mut http2 = http2::Connection::open(gateway.address());
    for answer in [gateway.get("/nowhere"), http2.get("/nowhere")] {
        assert_eq!(told(&answer), expected(404, "max-age=9", "DENY", problem));
    }
    assert_eq!(told(&gateway.get("/users")), expected(200, "max-age=9", "DENY", "text/x"));
    // What a route says of a field holds, for its answer and for its refusal.
    assert_eq!(told(&gateway.get("/own")), expected(200, "-", "SAMEORIGIN", "text/x"));
    let refused = gateway.get("/own");
    assert_eq!(told(&refused), expected(429, "-", "SAMEORIGIN", problem));
    assert_ne!(refused.header("retry-after"), Some("7"));
    // Heads that cannot be read.
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(told(&connection.response()), expected(400, "max-age=9", "DENY", problem));
    let answer = http2.send(http2::request("GET", "/", &[("x-other", " outer space ")]), "");
    assert_eq!(told(&answer), expected(400, "max-age=9", "DENY", problem));
}
