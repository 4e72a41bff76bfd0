//! Upstreams that fail at every stage of an exchange: the client gets a whole answer or a closed connection, never
//! a mixture of two, and learns nothing of what lies behind the gateway.

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response, request};
use crate::support::to_upstream;
use crate::support::upstream::{Exchange, RawUpstream, dead_address, full_address};

/// Checks an answer about a failure: the status, and that it names no address.
#[track_caller]
fn is_failure(response: &Response, status: u16) {
    response.is_problem(status);
    let text = format!("{response:?} {}", response.text());
    assert!(!text.contains("127.0.0.1"), "{text}");
}

#[track_caller]
fn counted(gateway: &Gateway, kind: &str, count: u32) {
    let series = format!(r#"gateway_upstream_errors_total{{kind="{kind}",upstream="main"}}"#);
    gateway.metric_becomes(&series, count.into());
}

/// A gateway before a server that does this with each connection.
fn before(handle: impl Fn(&mut Exchange) + Send + Sync + 'static) -> (Gateway, RawUpstream) {
    let upstream = RawUpstream::start(handle);
    let gateway = Gateway::start(&to_upstream(upstream.address(), "---\nresponse_timeout = \"1s\""));
    (gateway, upstream)
}

#[test]
fn an_upstream_that_is_down() {
    let (address, _held) = dead_address();
    let gateway = Gateway::start(&to_upstream(address, ""));
    for count in 1..=3 {
        is_failure(&gateway.get("/"), 502);
        counted(&gateway, "connect", count);
    }
    is_failure(&gateway.raw(request("POST", "/", &[], "body")), 502);
    // The log names the server, which the client does not learn.
    gateway.wait_for_log_line(&address.to_string());
    let log = gateway.access_log(4);
    assert_eq!(log[0]["upstream"], address.to_string());
    assert_eq!(log[0]["status"], 502);
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let (address, held) = dead_address();
    let gateway = Gateway::start(&to_upstream(address, ""));
    is_failure(&gateway.get("/users"), 502);
    drop(held);
    let _backend = mock_backend::MockBackend::builder().listen(address).start_blocking().unwrap();
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn a_name_that_leads_nowhere() {
    let config = "[upstreams.main]\nservers = [\"nowhere.invalid:80\"]\n[[routes]]\nname = \"all\"\npath = \"/*\"\n\
                  upstream = \"main\"";
    let gateway = Gateway::start(config);
    let response = gateway.get("/");
    is_failure(&response, 503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert!(!response.text().contains("nowhere"));
    counted(&gateway, "no_server", 1);
    assert_eq!(gateway.access_log(1)[0]["error"], "no server of the upstream can be used");
    let ready = gateway.admin_get("/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("nowhere.invalid"), "{}", ready.text());
}

#[test]
fn an_upstream_that_closes_or_resets_before_it_answers() {
    let (gateway, _upstream) = before(|exchange| {
        exchange.read_head();
    });
    is_failure(&gateway.get("/"), 502);
    counted(&gateway, "closed", 1);
    let (gateway, _upstream) = before(|exchange| {
        exchange.read_head();
        exchange.reset();
    });
    is_failure(&gateway.get("/"), 502);
    counted(&gateway, "closed", 1);
    is_failure(&gateway.raw(request("POST", "/", &[], &"x".repeat(100_000))), 502);
}

#[test]
fn an_upstream_that_sends_garbage() {
    for garbage in [
        "garbage\r\n\r\n",
        "\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nabc",
    ] {
        let upstream = RawUpstream::answering(garbage);
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let mut connection = gateway.connect();
        connection.send(request("GET", "/", &[], ""));
        let response = connection.response();
        assert_eq!(response.status, 502, "{garbage}");
        is_failure(&response, 502);
        // Empty lines before a status line are passed over, so nothing else is no answer at all.
        counted(&gateway, if garbage.trim().is_empty() { "closed" } else { "bad_response" }, 1);
        // The client has its whole answer, so its connection goes on.
        connection.send(request("GET", "/", &[], ""));
        assert_eq!(connection.response().status, 502, "{garbage}");
    }
}

/// Pingora takes the length away before anybody sees it, as RFC 9112, section 6.3, allows: what goes on has one
/// meaning.
#[test]
fn a_length_beside_a_coding_is_dropped() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let response = gateway.get("/");
    assert_eq!(response.text(), "abc");
    assert!(response.headers.iter().all(|(name, _)| name != "content-length"), "{response:?}");
}

#[test]
fn an_upstream_with_a_head_without_end() {
    let (gateway, _upstream) = before(|exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\n");
        let field = format!("X: {}\r\n", "x".repeat(1000));
        for _ in 0..4000 {
            exchange.write(&field);
        }
        exchange.wait_for_close();
    });
    let response = gateway.get("/");
    assert!(matches!(response.status, 502 | 504), "{response:?}");
    is_failure(&response, response.status);
}

#[test]
fn half_an_answer_ends_with_the_connection() {
    for (sent, seen) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", "01234"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n", "5\r\n01234\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nzz\r\n", "5\r\n01234\r\n"),
    ] {
        let upstream = RawUpstream::answering(sent);
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let mut connection = gateway.connect();
        connection.send(request("GET", "/", &[], ""));
        assert_eq!(connection.response_head().status, 200);
        assert_eq!(String::from_utf8_lossy(&connection.rest()), seen, "after {sent:?}");
        counted(&gateway, if sent.contains("zz") { "bad_response" } else { "closed" }, 1);
    }
}

#[test]
fn an_answer_without_a_length_ends_with_its_connection() {
    let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\n\r\nto the end");
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    assert_eq!(gateway.get("/").text(), "to the end");
}

#[test]
fn what_an_upstream_sends_beyond_its_answer_reaches_nobody() {
    let upstream = RawUpstream::start(|exchange| {
        while exchange.read_head() {
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    for _ in 0..3 {
        assert_eq!(connection.get("/").text(), "ok");
    }
}

#[test]
fn an_answer_before_the_request_is_whole() {
    let (gateway, _upstream) = before(|exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab");
    let response = connection.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn a_pooled_connection_that_the_upstream_has_closed_is_not_the_client_s_trouble() {
    let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    for _ in 0..20 {
        assert_eq!(connection.get("/").status, 200);
    }
}

#[test]
fn no_more_requests_wait_for_a_connection_than_may() {
    let (address, _full) = full_address();
    let settings = "---\nmax_pending_connects = 2\nconnect_timeout = \"4s\"";
    let gateway = Gateway::start(&to_upstream(address, settings));
    // Which of the three comes last, only the gateway knows.
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(request("GET", "/", &[], "")));
    counted(&gateway, "full", 1);
    let mut responses: Vec<_> = clients.iter_mut().map(Connection::response).collect();
    responses.sort_by_key(|response| response.status);
    is_failure(&responses[0], 503);
    assert_eq!(responses[0].header("retry-after"), Some("1"));
    is_failure(&responses[1], 504);
    is_failure(&responses[2], 504);
}
