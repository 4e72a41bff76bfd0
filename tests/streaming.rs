//! Bodies that pass through piece by piece, and connections that become something else.

use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::RawUpstream;
use crate::support::{PATIENCE, converse, forwarding, to_upstream};

#[test]
fn a_chunk_is_passed_on_before_the_next_one_is_there() {
    let (seen, next) = channel();
    let next = Mutex::new(next);
    let upstream = RawUpstream::start(move |exchange| {
        exchange.read_head();
        exchange.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        for n in 0..3 {
            exchange.write(format!("9\r\ndata: {n}\n\n\r\n"));
            // Only when the client has seen it is there another.
            next.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        }
        exchange.write("0\r\n\r\n");
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    connection.send(request("GET", "/events", &[], ""));
    let head = connection.response_head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    for n in 0..3 {
        assert_eq!(connection.line(), "9");
        assert_eq!(connection.take(9), format!("data: {n}\n\n").as_bytes());
        assert_eq!(connection.line(), "");
        seen.send(()).unwrap();
    }
    assert_eq!(connection.line(), "0");
}

#[test]
fn a_request_body_is_passed_on_before_it_is_whole() {
    let (seen, next) = channel();
    let seen = Mutex::new(seen);
    let upstream = RawUpstream::start(move |exchange| {
        exchange.read_head();
        let mut chunk = [0; 10];
        for _ in 0..3 {
            exchange.socket.read_exact(&mut chunk[..]).unwrap();
            seen.lock().unwrap().send(String::from_utf8_lossy(&chunk).into_owned()).unwrap();
        }
        exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let mut connection = gateway.connect();
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n");
    for n in 0..3 {
        let piece = n.to_string().repeat(10);
        connection.send(&piece);
        assert_eq!(next.recv_timeout(PATIENCE).unwrap(), piece);
    }
    assert_eq!(connection.response().status, 200);
}

#[test]
fn a_chunked_request_arrives_chunked() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    connection.send("5\r\nhello\r\n");
    connection.send("7\r\n, world\r\n0\r\n\r\n");
    let echo = connection.response().json();
    assert_eq!(echo["body"], "hello, world");
    assert!(echo["headers"].to_string().contains(r#"["transfer-encoding","chunked"]"#), "{echo}");
    // The connection is where the next request begins.
    assert_eq!(connection.get("/bytes/3").text(), "012");
}

#[test]
fn server_sent_events_pass() {
    let (gateway, _backend) = forwarding("");
    let response = gateway.get("/sse?events=3&interval=1ms");
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.text().matches("data: event").count(), 3);
    assert_eq!(gateway.get("/stream?chunks=4&interval=1ms").text(), "chunk 1\nchunk 2\nchunk 3\nchunk 4\n");
}

#[test]
fn large_bodies_pass_whole() {
    const SIZE: usize = 24 << 20;
    let (gateway, _backend) = forwarding("max_body_size = \"32MiB\"");
    let mut connection = gateway.connect();
    connection.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"));
    connection.send(vec![b'x'; SIZE]);
    assert_eq!(connection.response().json()["length"], SIZE);
    let body = connection.get(&format!("/bytes/{SIZE}")).body;
    assert_eq!(body.len(), SIZE);
    // Nothing is lost, doubled or out of place: the body repeats every 61 bytes.
    assert!(body.iter().zip(&body[61..]).all(|(one, next)| one == next));
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 1.0);
    let log = gateway.access_log(2);
    assert_eq!((&log[0]["bytes_in"], &log[1]["bytes_out"]), (&SIZE.into(), &SIZE.into()));
}

#[test]
fn a_websocket_passes() {
    let (gateway, _backend) = forwarding("max_body_size = \"1KiB\"\nidle_timeout = \"20s\"");
    let url = format!("ws://{}/ws", gateway.address());
    let (socket, response) = tungstenite::connect(url).unwrap();
    assert_eq!(response.status(), 101);
    converse(socket);
    gateway.metric_becomes(r#"gateway_requests_total{code="101",method="GET",route="all"}"#, 1.0);
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer_like_any() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    connection.send(request("GET", "/users", &fields, ""));
    assert_eq!(connection.response().status, 200);
}

/// A WebSocket's bytes after the head of the answer.
#[track_caller]
fn tunnel(gateway: &Gateway) -> crate::support::http::Connection {
    let mut connection = gateway.connect();
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    connection.send(request("GET", "/", &fields, ""));
    assert_eq!(connection.response_head().status, 101);
    connection
}

/// A server that switches protocols, and sends back what it gets.
fn echo() -> RawUpstream {
    RawUpstream::start(|exchange| {
        exchange.read_head();
        exchange
            .write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        let mut piece = [0; 64];
        while let Ok(count @ 1..) = exchange.socket.read(&mut piece) {
            exchange.write(&piece[..count]);
        }
    })
}

#[test]
fn a_route_s_timeout_ends_no_tunnel() {
    let upstream = echo();
    let gateway = Gateway::start(&to_upstream(
        upstream.address(),
        "---\nresponse_timeout = \"200ms\"\nread_timeout = \"200ms\"\n---\ntimeout = \"200ms\"",
    ));
    let mut connection = tunnel(&gateway);
    assert!(!connection.has_something_within(Duration::from_secs(1)), "nothing of ours is written into it");
    connection.send("hello");
    assert_eq!(connection.take(5), b"hello");
}

#[test]
fn a_tunnel_through_which_nothing_goes_is_closed() {
    let upstream = echo();
    let gateway = Gateway::start(&to_upstream(upstream.address(), "tunnel_timeout = \"300ms\""));
    let mut connection = tunnel(&gateway);
    for _ in 0..4 {
        // What goes through keeps it open, all in all longer than the timeout.
        std::thread::sleep(Duration::from_millis(100));
        connection.send("hello");
        assert_eq!(connection.take(5), b"hello");
    }
    assert_eq!(connection.rest(), b"");
}

#[test]
fn whoever_has_closed_its_half_gets_its_answer() {
    let (gateway, _backend) = forwarding("");
    let mut socket = std::net::TcpStream::connect(gateway.address()).unwrap();
    socket.write_all(request("GET", "/users?delay=200ms", &[], "").as_bytes()).unwrap();
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
