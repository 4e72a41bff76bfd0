//! Requests that fail upstream and are sent again, where nobody can tell.

use std::sync::atomic::{AtomicUsize, Ordering};

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::upstream::{Exchange, RawUpstream, dead_address};
use crate::support::{backends, before_servers, eventually, http2, quoted, to_upstream};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that does this first, and then answers; the gateway asks it before the other one, which is a mock backend.
struct Pair {
    gateway: Gateway,
    first: RawUpstream,
    other: MockBackend,
}

impl Pair {
    /// The first server is the one that `handle` is; each connection is handed to it.
    fn start(settings: &str, handle: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Self {
        let first = RawUpstream::start(handle);
        let other = backends(1).remove(0);
        let servers = [quoted(first.address()), quoted(other.addr())];
        // The turns begin with the first server, and each test sends one request.
        let gateway = Gateway::start(&before_servers(&servers, settings));
        Self { gateway, first, other }
    }

    /// Checks how many requests each server has seen, and how many attempts were further ones.
    #[track_caller]
    fn saw(&self, first: usize, other: usize, retries: u32) {
        let seen = || (self.first.received().len(), self.other.requests().len());
        eventually("the servers have seen their requests", || (seen() == (first, other)).then_some(()));
        self.gateway.metric_becomes(r#"gateway_upstream_retries_total{upstream="main"}"#, retries.into());
    }
}

fn hang_up(exchange: &mut Exchange) {
    exchange.read_head();
}

#[test]
fn an_idempotent_request_goes_on_to_another_server() {
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
        let pair = Pair::start("", hang_up);
        let mut connection = pair.gateway.connect();
        connection.send(request(method, "/echo/x", &[], ""));
        assert_eq!(connection.response_head().status, 200, "{method}");
        pair.saw(1, 1, 1);
        let kind = r#"gateway_upstream_errors_total{kind="closed",upstream="main"}"#;
        pair.gateway.metric_becomes(kind, 1.0);
    }
}

#[test]
fn what_may_not_be_done_twice_is_not_sent_twice() {
    for method in ["POST", "PATCH"] {
        let pair = Pair::start("retries = 3", hang_up);
        pair.gateway.raw(request(method, "/echo", &[], "body")).is_problem(502);
        pair.saw(1, 0, 0);
    }
}

#[test]
fn a_body_is_sent_again_whole_or_not_at_all() {
    let small = "x".repeat(60_000);
    let pair = Pair::start("", |exchange| {
        exchange.read_head();
        exchange.read_exactly(60_000);
    });
    let echoed = pair.gateway.raw(request("PUT", "/echo", &[], &small));
    assert_eq!(echoed.json()["body"], small);
    pair.saw(1, 1, 1);

    let large = "x".repeat(100_000);
    let pair = Pair::start("", |exchange| {
        exchange.read_head();
        exchange.read_exactly(100_000);
    });
    pair.gateway.raw(request("PUT", "/echo", &[], &large)).is_problem(502);
    pair.saw(1, 0, 0);
}

#[test]
fn a_client_of_http2_is_spared_as_well() {
    let pair = Pair::start("", |exchange| {
        exchange.read_head();
        // The body's chunk and the last one.
        exchange.read_exactly("5\r\nhello\r\n0\r\n\r\n".len());
    });
    let mut client = http2::Connection::open(pair.gateway.address());
    let echoed = client.send(http2::request("PUT", "/echo", &[]), "hello");
    assert_eq!(echoed.json()["body"], "hello");
    pair.saw(1, 1, 1);
}

#[test]
fn without_retries_a_request_fails_with_its_server() {
    let pair = Pair::start("retries = 0", hang_up);
    pair.gateway.get("/users").is_problem(502);
    pair.saw(1, 0, 0);
    assert_eq!(pair.gateway.get("/users").status, 200);
}

#[test]
fn what_has_been_answered_is_not_asked_again() {
    for (answer, status) in [
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", Some(500)),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Some(503)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", None),
        ("garbage\r\n\r\n", Some(502)),
    ] {
        let pair = Pair::start("", move |exchange| {
            exchange.read_head();
            exchange.write(answer);
        });
        let mut connection = pair.gateway.connect();
        connection.send(request("GET", "/users", &[], ""));
        let head = connection.response_head();
        match status {
            Some(status) => assert_eq!(head.status, status),
            None => assert_eq!(connection.rest(), b"ab"),
        }
        pair.saw(1, 0, 0);
    }
}

/// An answer of this status whose body says so.
fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\nfirst")
}

#[test]
fn another_server_is_asked_after_an_answer_of_a_status_that_is_named() {
    for (settings, status, body, seen) in [
        ("retry_on = [502, 503, 504]", 502, "", (200, 1)),
        ("retry_on = [502, 503, 504]", 503, "", (200, 1)),
        ("retry_on = [503]", 504, "", (504, 0)),
        ("retry_on = [503]", 500, "", (500, 0)),
        ("retry_on = [503]", 503, "body", (503, 0)),
        ("retry_on = []", 503, "", (503, 0)),
    ] {
        let pair = Pair::start(settings, move |exchange| {
            exchange.read_head();
            exchange.read_exactly(body.len());
            exchange.write(answer(status));
        });
        let got = pair.gateway.raw(request("PUT", "/echo/x", &[], body));
        let (expected, others) = seen;
        assert_eq!(got.status, expected, "{settings} {status}");
        assert_eq!(got.text() == "first", others == 0, "{settings} {status}");
        pair.saw(1, others, u32::try_from(others).unwrap());
        let class = format!("{}xx", status / 100);
        let answered = r#"gateway_upstream_requests_total{code="CLASS",server="SERVER",upstream="main"}"#;
        let answered = answered.replace("CLASS", &class).replace("SERVER", &pair.first.address().to_string());
        pair.gateway.metric_becomes(&answered, 1.0);
        if others == 1 {
            let other = answered.replace(&class, "2xx");
            let other = other.replace(&pair.first.address().to_string(), &pair.other.addr().to_string());
            pair.gateway.metric_becomes(&other, 1.0);
            // The connection serves what comes next, and the answer that was left out counts nowhere as the request's.
            pair.gateway
                .metric_becomes(r#"gateway_requests_total{code="200",method="PUT",route="all"}"#, 1.0);
        }
    }
    let pair = Pair::start("retry_on = [503]", |exchange| {
        exchange.read_head();
        exchange.write(answer(503));
    });
    assert_eq!(pair.gateway.raw(request("POST", "/echo/x", &[], "")).status, 503);
    pair.saw(1, 0, 0);
}

#[test]
fn the_last_answer_is_passed_on_when_no_more_servers_are_asked() {
    let busy = |exchange: &mut Exchange| {
        exchange.read_head();
        exchange.write(answer(503));
    };
    for (servers, retries, seen) in [(1, 3, 1), (3, 1, 2), (3, 5, 3)] {
        let upstreams: Vec<_> = (0..servers).map(|_| RawUpstream::start(busy)).collect();
        let addresses: Vec<_> = upstreams.iter().map(|server| quoted(server.address())).collect();
        let settings = format!("retry_on = [503]\nretries = {retries}");
        let gateway = Gateway::start(&before_servers(&addresses, &settings));
        for target in ["/users", "/users?again"] {
            let answer = gateway.get(target);
            assert_eq!((answer.status, answer.text()), (503, "first".to_owned()), "{servers} {retries}");
        }
        let asked: usize = upstreams.iter().map(|server| server.received().len()).sum();
        assert_eq!(asked, 2 * seen, "{servers} servers, {retries} retries");
    }
}

#[test]
fn a_client_of_http2_gets_the_answer_of_the_other_server() {
    let pair = Pair::start("retry_on = [503]", |exchange| {
        exchange.read_head();
        exchange.write(answer(503));
    });
    let mut client = http2::Connection::open(pair.gateway.address());
    assert_eq!(client.send(http2::request("GET", "/echo", &[]), "").status, 200);
    pair.saw(1, 1, 1);
}

#[test]
fn a_late_answer_is_not_asked_for_again() {
    let pair = Pair::start("response_timeout = \"1s\"", |exchange| {
        exchange.read_head();
        exchange.wait_for_close();
    });
    pair.gateway.get("/users").is_problem(504);
    pair.saw(1, 0, 0);
}

#[test]
fn retries_end() {
    let servers: Vec<_> = (0..4).map(|_| RawUpstream::start(hang_up)).collect();
    let addresses: Vec<_> = servers.iter().map(|server| quoted(server.address())).collect();
    let gateway = Gateway::start(&before_servers(&addresses, "retries = 2"));
    gateway.get("/").is_problem(502);
    let seen: Vec<_> = servers.iter().map(|server| server.received().len()).collect();
    assert_eq!(seen.iter().sum::<usize>(), 3, "{seen:?}");
    assert!(seen.iter().all(|&count| count <= 1), "each time another server: {seen:?}");
}

#[test]
fn a_server_that_takes_no_connection_is_asked_by_one_request_now_and_then() {
    let other = backends(1).remove(0);
    let (dead, held) = dead_address();
    let gateway = Gateway::start(&before_servers(&[quoted(dead), quoted(other.addr())], "retries = 0"));
    let up = format!(r#"gateway_upstream_server_up{{server="{dead}",upstream="main"}}"#);
    gateway.metric_becomes(&up, 1.0);
    let post = || gateway.raw(request("POST", "/echo", &[], "body"));
    assert!((0..100).all(|_| post().status == 200));
    gateway.metric_becomes(&up, 0.0);
    let asked = gateway.metric(r#"gateway_upstream_errors_total{kind="connect",upstream="main"}"#);
    assert!((1.0..50.0).contains(&asked), "{asked}");
    assert_eq!(gateway.admin_get("/ready").status, 200);
    drop(held);
    let _back = MockBackend::builder().name("back").listen(dead).start_blocking().unwrap();
    eventually("it is asked again", || (post().header("x-backend") == Some("back")).then_some(()));
    gateway.wait_for_log_line(&format!("server {dead}: it takes connections again"));
    gateway.metric_becomes(&up, 1.0);
}

/// A server that closes the connection instead of answering the second request. The gateway cannot tell that from a
/// connection that was closed just before.
fn closing_just_then() -> RawUpstream {
    let seen = AtomicUsize::new(0);
    RawUpstream::start(move |exchange| {
        while exchange.read_head() && seen.fetch_add(1, Ordering::SeqCst) != 1 {
            exchange.write(OK);
        }
    })
}

#[test]
fn a_connection_that_was_closed_just_then_is_not_the_client_s_trouble() {
    let upstream = closing_just_then();
    let gateway = Gateway::start(&to_upstream(upstream.address(), "---\nretries = 0"));
    let mut connection = gateway.connect();
    let answers: Vec<Response> = (0..3).map(|_| connection.get("/")).collect();
    assert!(answers.iter().all(|answer| answer.text() == "ok"), "{answers:?}");
    assert_eq!(upstream.received().len(), 4);
    gateway.metric_becomes(r#"gateway_upstream_retries_total{upstream="main"}"#, 1.0);
    assert_eq!(gateway.metric(r#"gateway_upstream_errors_total{kind="closed",upstream="main"}"#), 0.0);
}

#[test]
fn a_post_on_a_connection_that_was_closed_just_then_is_not_sent_twice() {
    let upstream = closing_just_then();
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/").text(), "ok");
    connection.send(request("POST", "/", &[], ""));
    connection.response().is_problem(502);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn an_outage_is_not_multiplied() {
    let servers: Vec<_> = (0..2).map(|_| RawUpstream::start(hang_up)).collect();
    let addresses: Vec<_> = servers.iter().map(|server| quoted(server.address())).collect();
    let gateway = Gateway::start(&before_servers(&addresses, "retries = 1"));
    let requests = 600;
    for _ in 0..requests {
        gateway.get("/").is_problem(502);
    }
    let seen: usize = servers.iter().map(|server| server.received().len()).sum();
    let retries = gateway.metric(r#"gateway_upstream_retries_total{upstream="main"}"#);
    // A hundred at the start, a fifth of the requests, and ten a second, however long it took.
    let seconds = gateway.admin_get("/stats").json()["uptime_seconds"].as_f64().unwrap();
    let earned = 100.0 + 600.0 / 5.0;
    assert!((earned - 1.0..=earned + 10.0 * seconds).contains(&retries), "{retries} in {seconds} s");
    assert_eq!(seen, requests + retries as usize);
}
