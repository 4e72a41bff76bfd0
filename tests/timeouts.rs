//! Upstreams that are slow: each kind of waiting has its bound, and its kind in the metrics.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::http2::{DATA, END_STREAM, Frames, GOAWAY, RST_STREAM, WINDOW_UPDATE};
use crate::support::upstream::{Exchange, RawUpstream, full_address};
use crate::support::{PATIENCE, backends, before_servers, http2, quoted, to_upstream};

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";

/// A gateway before a server that does this with each connection, with these settings of the upstream and the route.
fn before(settings: &str, handle: impl Fn(&mut Exchange) + Send + Sync + 'static) -> (Gateway, RawUpstream) {
    let upstream = RawUpstream::start(handle);
    let gateway = Gateway::start(&to_upstream(upstream.address(), settings));
    (gateway, upstream)
}

fn never_answer(exchange: &mut Exchange) {
    exchange.read_head();
    exchange.wait_for_close();
}

fn answer_half(exchange: &mut Exchange) {
    exchange.read_head();
    exchange.write(HALF);
    exchange.wait_for_close();
}

/// Checks that this is what went wrong so often, and nothing else.
#[track_caller]
fn counted(gateway: &Gateway, kind: &str, count: u32) {
    let series = |kind: &str| format!(r#"gateway_upstream_errors_total{{kind="{kind}",upstream="main"}}"#);
    gateway.metric_becomes(&series(kind), count.into());
    let kinds =
        ["connect", "connect_timeout", "response_timeout", "read_timeout", "timeout", "closed", "full"];
    for other in kinds.into_iter().filter(|other| *other != kind) {
        assert_eq!(gateway.metric(&series(other)), 0.0, "{other}");
    }
}

#[test]
fn no_connection() {
    let (address, _waiting) = full_address();
    let gateway = Gateway::start(&to_upstream(address, "---\nconnect_timeout = \"200ms\""));
    gateway.get("/").is_problem(504);
    counted(&gateway, "connect_timeout", 1);
}

#[test]
fn a_server_that_swallows_connections_holds_up_one_request_at_a_time() {
    let (address, _waiting) = full_address();
    let other = backends(1).remove(0);
    let servers = [quoted(address), quoted(other.addr())];
    let gateway = Gateway::start(&before_servers(&servers, "connect_timeout = \"200ms\""));
    for _ in 0..20 {
        assert_eq!(gateway.raw(request("POST", "/echo", &[], "body")).status, 200);
    }
    let timeouts = gateway.metric(r#"gateway_upstream_errors_total{kind="connect_timeout",upstream="main"}"#);
    assert!((1.0..10.0).contains(&timeouts), "{timeouts}");
}

#[test]
fn no_answer() {
    let (gateway, _upstream) = before("---\nresponse_timeout = \"300ms\"", never_answer);
    gateway.get("/").is_problem(504);
    counted(&gateway, "response_timeout", 1);
    gateway.raw(request("POST", "/", &[], "body")).is_problem(504);
    counted(&gateway, "response_timeout", 2);
    let mut client = http2::Connection::open(gateway.address());
    assert_eq!(client.get("/").status, 504);
    counted(&gateway, "response_timeout", 3);
}

#[test]
fn a_head_that_trickles_in() {
    let (gateway, _upstream) = before("---\nresponse_timeout = \"300ms\"", |exchange| {
        exchange.read_head();
        for byte in
            b"HTTP/1.1 200 OK\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        {
            exchange.write([*byte]);
            std::thread::sleep(Duration::from_millis(20));
        }
        exchange.wait_for_close();
    });
    gateway.get("/").is_problem(504);
    counted(&gateway, "response_timeout", 1);
}

#[test]
fn a_request_that_nobody_takes() {
    let (over, waiting) = channel();
    let waiting = Mutex::new(waiting);
    let (gateway, _upstream) = before("---\nresponse_timeout = \"300ms\"", move |exchange| {
        exchange.read_head();
        exchange.stall(&waiting);
    });
    a_large_request_is_late(&gateway);
    drop(over);

    let upstream = http2::Upstream::start(None);
    // `read_timeout`, of five minutes, does not come first.
    let settings = "---\nresponse_timeout = \"300ms\"\nhttp2 = true";
    let gateway = Gateway::start(&to_upstream(upstream.address(), settings));
    a_large_request_is_late(&gateway);
}

/// Sends a request that is larger than what the buffers on the way can hold, as far as it is taken, and reads the answer.
#[track_caller]
fn a_large_request_is_late(gateway: &Gateway) {
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // That it is not taken is what is tested.
        let _ = sender.write_all(b"POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
        let _ = sender.write_all(&[b'x'; 10_000_000]);
    });
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(status, *b"HTTP/1.1 504");
    counted(gateway, "response_timeout", 1);
    // The gateway may have closed it.
    let _ = client.shutdown(Shutdown::Both);
    sending.join().unwrap();
}

#[test]
fn silence_in_the_middle_of_an_answer() {
    let (gateway, _upstream) = before("---\nread_timeout = \"200ms\"", answer_half);
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[], ""));
    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.rest(), b"01234", "half an answer ends with the connection");
    counted(&gateway, "read_timeout", 1);
    let mut client = http2::Connection::open(gateway.address());
    assert!(client.try_send(http2::request("GET", "/", &[]), "").is_err());
    counted(&gateway, "read_timeout", 2);
}

#[test]
fn an_answer_that_goes_on_may_take_long() {
    let (gateway, _upstream) = before("---\nread_timeout = \"1s\"", |exchange| {
        exchange.read_head();
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n");
        for _ in 0..15 {
            exchange.write("x");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(gateway.get("/").body.len(), 15);
    assert_eq!(gateway.metric(r#"gateway_upstream_errors_total{kind="read_timeout",upstream="main"}"#), 0.0);
}

#[test]
fn a_client_that_is_slow_is_not_the_upstream_s_fault() {
    let (gateway, _backend) = crate::support::forwarding("---\nread_timeout = \"100ms\"");
    let mut client = gateway.connect();
    // More than the buffers on the way can hold.
    client.send(request("GET", "/bytes/20000000", &[], ""));
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(client.response().body.len(), 20_000_000);
    assert_eq!(gateway.metric(r#"gateway_upstream_errors_total{kind="read_timeout",upstream="main"}"#), 0.0);
}

#[test]
fn a_tunnel_may_be_silent() {
    let (gateway, _backend) = crate::support::forwarding("---\nread_timeout = \"100ms\"");
    let (mut socket, _) = tungstenite::connect(format!("ws://{}/ws", gateway.address())).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    socket.send("still there?".into()).unwrap();
    assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), "still there?");
}

#[test]
fn the_whole_exchange() {
    let (gateway, _upstream) = before("---\n---\ntimeout = \"300ms\"", never_answer);
    gateway.get("/").is_problem(504);
    counted(&gateway, "timeout", 1);

    let (gateway, _upstream) = before("---\n---\ntimeout = \"300ms\"", answer_half);
    let mut client = gateway.connect();
    client.send(request("GET", "/", &[], ""));
    assert_eq!(client.response_head().status, 200);
    assert_eq!(client.rest(), b"01234", "half an answer ends with the connection");
    counted(&gateway, "timeout", 1);

    let (address, _waiting) = full_address();
    let gateway = Gateway::start(&to_upstream(address, "---\n---\ntimeout = \"200ms\""));
    gateway.get("/").is_problem(504);
    counted(&gateway, "timeout", 1);
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_long_before_its_route_s_timeout() {
    let settings = "idle_timeout = \"300ms\"\n---\n---\ntimeout = \"10m\"";
    let (gateway, _backend) = crate::support::forwarding(settings);
    let mut client = gateway.connect();
    client.send(request("GET", "/bytes/20000000", &[], ""));
    client.response_head();
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 0.0);
    assert_eq!(gateway.metric(r#"gateway_upstream_errors_total{kind="timeout",upstream="main"}"#), 0.0);
}

#[test]
fn a_slow_client_that_takes_something_now_and_then_is_not_cut_off() {
    let (gateway, _backend) = crate::support::forwarding("idle_timeout = \"2s\"");
    let mut frames = Frames::open(gateway.address());
    let target = [(":method", "GET"), (":scheme", "http"), (":path", "/bytes/2000000"), (":authority", "a")];
    frames.send_headers(1, &target, true);
    // All in all it takes longer than the timeout, and a piece each time.
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(400));
        for stream in [0, 1] {
            frames.send(WINDOW_UPDATE, 0, stream, &16_384_u32.to_be_bytes());
        }
    }
    let mut taken = 0;
    while taken < 65_535 + 12 * 16_384 {
        let frame = frames.next_of(&[DATA, RST_STREAM, GOAWAY]).unwrap();
        assert_eq!(frame.kind, DATA, "after {taken} bytes");
        taken += frame.payload.len();
    }
}

#[test]
fn patience_with_a_client_is_not_that_with_an_upstream() {
    let settings = "body_timeout = \"1h\"\n---\nresponse_timeout = \"300ms\"";
    let (gateway, _backend) = crate::support::forwarding(settings);
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n";
    let mut slow = gateway.connect();
    slow.send(head);
    for piece in ["ab", "cd", "ef"] {
        std::thread::sleep(Duration::from_millis(500));
        slow.send(piece);
    }
    assert_eq!(slow.response().json()["body"], "abcdef");
    let mut frames = Frames::open(gateway.address());
    let target = [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")];
    frames.send_headers(1, &target, false);
    std::thread::sleep(Duration::from_secs(1));
    frames.send(DATA, END_STREAM, 1, b"abcdef");
    assert_eq!(frames.status(), Some(200));
}

#[test]
fn a_client_that_sends_no_more_of_its_body_is_told_so() {
    let (gateway, _backend) = crate::support::forwarding("body_timeout = \"300ms\"");
    let mut connection = gateway.connect();
    connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab");
    connection.response().is_problem(408);
    let mut connection = http2::Connection::open(gateway.address());
    let mut exchange = connection.start(http2::request("POST", "/echo", &[]), false);
    exchange.body.send_data("ab".into(), false).unwrap();
    assert_eq!(connection.wait(exchange.answer()).unwrap().status, 408);
    assert_eq!(
        gateway.metric(r#"gateway_upstream_errors_total{kind="response_timeout",upstream="main"}"#),
        0.0
    );
}
