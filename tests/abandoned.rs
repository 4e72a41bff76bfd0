//! Clients that leave before they are answered, whatever their request waits for just then: nothing runs on for them.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::http2::{self, DATA, END_STREAM, Frames, RST_STREAM};
use crate::support::to_upstream;
use crate::support::upstream::{RawUpstream, full_address};

const IN_FLIGHT: &str = r#"gateway_requests_in_flight{route="all"}"#;

/// Nothing but the client's leaving ends a request here.
const FOREVER: &str = "connect_timeout = \"1h\"\nresponse_timeout = \"1h\"\nread_timeout = \"1h\"";

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// A client that has sent this.
fn client(gateway: &Gateway, text: &str) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.address()).unwrap();
    socket.write_all(text.as_bytes()).unwrap();
    socket
}

/// Closes with a reset.
#[expect(clippy::needless_pass_by_value, reason = "it is closed")]
fn reset(socket: TcpStream) {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A server that reads heads, and then neither takes nor sends anything until the sender is dropped.
fn stalling() -> (RawUpstream, Sender<()>) {
    let (over, wait) = channel();
    let wait = Mutex::new(wait);
    let upstream = RawUpstream::start(move |exchange| {
        exchange.read_head();
        exchange.stall(&wait);
    });
    (upstream, over)
}

/// Sends a body until nobody takes any more of it.
fn send_until_blocked(socket: &TcpStream) {
    socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while (&*socket).write(&[b'x'; 65536]).is_ok() {}
}

#[test]
fn while_a_connection_is_made() {
    let (address, _held) = full_address();
    let limit = "[limits.one]\nmax_in_flight = 1\nkey = \"global\"\n---\n";
    let gateway =
        Gateway::start(&to_upstream(address, &format!("{limit}{FOREVER}\n---\nlimits = [\"one\"]")));
    for text in [request("GET", "/", &[], ""), request("GET", "/", &[], "") + "x"] {
        let socket = client(&gateway, &text);
        gateway.metric_becomes(IN_FLIGHT, 1.0);
        reset(socket);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
    // One that closes in the ordinary way might still read an answer, so it has a moment more.
    let socket = client(&gateway, &request("GET", "/", &[], ""));
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    drop(socket);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    let mut frames = Frames::open(gateway.address());
    for stream in [1, 3, 5] {
        frames.send_headers(stream, &GET, true);
        gateway.metric_becomes(IN_FLIGHT, 1.0);
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
    frames.send_headers(7, &GET, true);
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    drop(frames);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    // Each had the one place there is, so each has given it back; and each is told of.
    let log = gateway.access_log(7);
    assert!(log.iter().all(|line| line["status"] == 499 && line["route"] == "all"), "{log:?}");
    let (last, others) = log.split_last().unwrap();
    assert!(others.iter().all(|line| line["error"] == "the client has left"), "{log:?}");
    assert_eq!(last["error"], "the connection has ended");
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 7.0);
}

#[test]
fn while_the_upstream_is_to_answer() {
    let (upstream, _over) = stalling();
    let gateway = Gateway::start(&to_upstream(upstream.address(), &format!("---\n{FOREVER}")));
    for surplus in ["", "x", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let socket = client(&gateway, &(request("GET", "/", &[], "") + surplus));
        gateway.metric_becomes(IN_FLIGHT, 1.0);
        reset(socket);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
    let much = "x".repeat(100_000);
    let socket = client(&gateway, &(request("GET", "/", &[], "") + &much));
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    reset(socket);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
}

#[test]
fn while_the_upstream_takes_nothing_of_a_body() {
    let (upstream, _over) = stalling();
    let gateway = Gateway::start(&to_upstream(
        upstream.address(),
        &format!("---\n{FOREVER}\n---\nmax_body_size = \"1GiB\""),
    ));
    let socket = client(&gateway, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    send_until_blocked(&socket);
    reset(socket);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
}

#[test]
fn while_an_upstream_over_http2_takes_nothing_of_a_body() {
    let upstream = http2::Upstream::start(None);
    let backend = MockBackend::start_blocking().unwrap();
    // The window of the connection to an upstream that takes nothing is used up, so the other upload goes elsewhere.
    let other = format!(
        "[upstreams.other]
servers = [\"{}\"]
[[routes]]
name = \"other\"
path = \"/echo\"
upstream = \"other\"",
        backend.addr()
    );
    let settings = format!(
        "{other}
---
http2 = true
{FOREVER}"
    );
    let gateway = Gateway::start(&to_upstream(upstream.address(), &settings));
    let mut target = POST;
    target[2].1 = "/wait";
    let mut frames = Frames::open(gateway.address());
    // The window of the connection is what the gateway says, once it has.
    frames.round_trip();
    // As many as would fill the window of a connection if it were no larger than that of eight streams.
    for stream in (1..32).step_by(2) {
        frames.send_headers(stream, &target, false);
        for _ in 0..3 {
            frames.send(DATA, 0, stream, &[b'x'; 16 << 10]);
        }
    }
    gateway.metric_becomes(IN_FLIGHT, 16.0);
    // Another upload on the same connection does not wait for them.
    target[2].1 = "/echo";
    frames.send_headers(33, &target, false);
    frames.send(DATA, END_STREAM, 33, b"hello");
    assert_eq!(frames.status(), Some(200));
    for stream in (1..32).step_by(2) {
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    let socket = client(&gateway, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    send_until_blocked(&socket);
    reset(socket);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
}

#[test]
fn a_body_that_nobody_takes_is_answered_in_time() {
    let (plain, _over) = stalling();
    let multiplexed = http2::Upstream::start(None);
    for (address, http2) in [(plain.address(), ""), (multiplexed.address(), "http2 = true")] {
        let timeouts = "connect_timeout = \"1h\"\nresponse_timeout = \"500ms\"\nread_timeout = \"1h\"";
        let gateway = Gateway::start(&to_upstream(
            address,
            &format!("---\n{http2}\n{timeouts}\n---\nmax_body_size = \"1GiB\""),
        ));
        let mut connection = gateway.connect();
        connection.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
        let piece = [b'x'; 65536];
        while connection.try_send(piece).is_ok() {
            if connection.has_something_within(Duration::from_millis(1)) {
                break;
            }
        }
        connection.response().is_problem(504);
        let mut connection = http2::Connection::open(gateway.address());
        let answer = connection.send(http2::request("POST", "/wait", &[]), vec![b'x'; 32 << 20]);
        assert_eq!(answer.status, 504, "{http2}");
        let errors = r#"gateway_upstream_errors_total{kind="response_timeout",upstream="main"}"#;
        gateway.metric_becomes(errors, 2.0);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
}

#[test]
fn while_it_is_found_out_who_is_asking() {
    let (silent, _over) = stalling();
    let silent = silent.address();
    for (way, auth) in [
        ("forward", format!("[auth.forward]\nurl = \"http://{silent}/verify\"\ntimeout = \"30s\"")),
        ("jwt", format!("[auth.jwt]\njwks = \"http://{silent}/jwks.json\"\ntimeout = \"30s\"")),
    ] {
        let (address, _held) = full_address();
        let gateway = Gateway::start(&to_upstream(address, &format!("{auth}\n---\n---\nauth = [\"{way}\"]")));
        let token = ("Authorization", "Bearer e30.e30.e30");
        for _ in 0..2 {
            let socket = client(&gateway, &request("GET", "/", &[token], ""));
            gateway.metric_becomes(IN_FLIGHT, 1.0);
            reset(socket);
            gateway.metric_becomes(IN_FLIGHT, 0.0);
        }
        let mut frames = Frames::open(gateway.address());
        let fields = [GET.as_slice(), &[("authorization", token.1)]].concat();
        frames.send_headers(1, &fields, true);
        gateway.metric_becomes(IN_FLIGHT, 1.0);
        frames.send(RST_STREAM, 0, 1, &[0, 0, 0, 8]);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
        let log = gateway.access_log(3);
        let has_left = |line: &serde_json::Value| {
            line["status"] == 499 && line["route"] == "all" && line["error"] == "the client has left"
        };
        assert!(log.iter().all(has_left), "{way}: {log:?}");
        gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 3.0);
    }
}
