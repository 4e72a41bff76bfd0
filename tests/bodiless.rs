//! Messages without a body: what their heads say, from and to every protocol (RFC 9110, sections 6.4.1 and 8.6).

use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::http2::{self, Upstream};
use crate::support::to_upstream;
use crate::support::upstream::RawUpstream;

/// What a client gets: the status, the fields that frame a body, and how long the body is.
type Seen = (u16, Vec<String>, usize);

const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

fn of(response: &Response) -> Seen {
    let framing = response.headers.iter().filter(|(name, _)| FRAMING.contains(&name.as_str()));
    (response.status, framing.map(|(name, value)| format!("{name}: {value}")).collect(), response.body.len())
}

/// What clients of both protocols get for this.
fn seen(gateway: &Gateway, method: &str) -> [Seen; 2] {
    let mut client = gateway.connect();
    client.send(request(method, "/", &[], ""));
    let mut read = || if method == "HEAD" { client.response_head() } else { client.response() };
    let interim = read();
    let first = if interim.status == 103 { read() } else { interim };
    // Nothing of it is left for the next one.
    client.send(request("GET", "/next", &[], ""));
    assert_eq!(client.response().text(), "next", "{method}");
    let mut client = http2::Connection::open(gateway.address());
    let second = client.send(http2::request(method, "/", &[]), "");
    [of(&first), of(&second)]
}

/// A server that answers with this, and whatever is asked next with `next`.
fn answering(answer: &'static str) -> RawUpstream {
    RawUpstream::start(move |exchange| {
        while exchange.read_head() {
            match exchange.target().as_str() {
                "/" => exchange.write(answer),
                _ => exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"),
            }
        }
    })
}

#[test]
fn an_answer_without_a_body_does_not_announce_one() {
    let none: [&str; 0] = [];
    for (method, answer, http1, http2) in [
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 34\r\n\r\n", &none[..], &none[..]),
        ("GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", &[], &[]),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", &[], &[]),
        // The length is that of the answer it stands for.
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 34\r\n\r\n",
            &["content-length: 34"],
            &["content-length: 34"],
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", &[], &[]),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n",
            &["content-length: 34"],
            &["content-length: 34"],
        ),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            &["transfer-encoding: chunked"],
            &[],
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", &[], &[]),
        ("HEAD", "HTTP/1.1 204 No Content\r\nContent-Length: 34\r\n\r\n", &[], &[]),
        (
            "GET",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            &[],
            &[],
        ),
    ] {
        let upstream = answering(answer);
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let status = if answer.contains(" 204 ") {
            204
        } else if answer.contains(" 304 ") {
            304
        } else {
            200
        };
        let expected = [http1, http2]
            .map(|fields| (status, fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>(), 0));
        assert_eq!(seen(&gateway, method), expected, "{method} {answer:?}");
    }
}

/// Sends a request without a body over both protocols.
fn send_both(gateway: &Gateway, method: &str) {
    assert_eq!(gateway.raw(request(method, "/one", &[], "")).status, 200);
    let mut client = http2::Connection::open(gateway.address());
    assert_eq!(client.send(http2::request(method, "/two", &[]), "").status, 200);
}

#[test]
fn a_request_that_might_have_a_body_says_that_it_has_none() {
    let upstream =
        RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    for method in ["POST", "PUT", "PATCH"] {
        send_both(&gateway, method);
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        send_both(&gateway, method);
    }
    for head in upstream.received() {
        let expected = usize::from(["POST", "PUT", "PATCH"].iter().any(|method| head.starts_with(method)));
        let head = head.to_ascii_lowercase();
        assert_eq!(head.matches("\r\ncontent-length: 0\r\n").count(), expected, "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
    }
}

#[test]
fn an_upstream_over_http2_is_told_by_the_end_of_the_stream() {
    let upstream = Upstream::start(None);
    let gateway = Gateway::start(&to_upstream(upstream.address(), "---\nhttp2 = true"));
    let mut client = http2::Connection::open(gateway.address());
    let response = client.send(http2::request("POST", "/echo", &[]), "");
    assert_eq!((response.status, response.body.len()), (200, 0));
}

#[test]
fn what_an_upstream_says_of_its_connection_stays_there() {
    let upstream = RawUpstream::start(|exchange| {
        while exchange.read_head() {
            exchange.write(match exchange.target().as_str() {
                "/required" => {
                    "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\nContent-Length: 0\r\n\r\n"
                }
                _ => {
                    "HTTP/1.0 200 OK\r\nConnection: Upgrade, keep-alive\r\nUpgrade: h2,h2c\r\nTrailer: X-Sum\r\n\
                     Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"
                }
            });
        }
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[], ""));
    // The version is the gateway's own.
    assert_eq!(client.line(), "HTTP/1.1 200 OK");
    let response = gateway.get("/");
    for name in ["upgrade", "trailer"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    assert_eq!(response.header("connection"), Some("keep-alive"));
    assert_eq!(response.header("date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    let response = gateway.get("/required");
    assert_eq!(response.header("upgrade"), Some("TLS/1.0"));
    assert_eq!(response.header("connection"), Some("keep-alive, upgrade"));
}
