//! How many connections a client may have, and what they carry.

use crate::support::http::Connection;
use crate::support::http2;
use crate::support::{eventually, forwarding};

#[test]
fn a_process_without_descriptors_says_so_once() {
    let (gateway, _backend) = forwarding("");
    gateway.limit_descriptors(40);
    let held: Vec<_> = (0..60).map(|_| gateway.connect()).collect();
    gateway.wait_for_log_line("accepts no connections for a moment");
    // Ten times as long as accepting pauses.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(gateway.log().matches("accepts no connections for a moment").count(), 1, "{}", gateway.log());
    drop(held);
    eventually("it accepts again", || {
        let mut connection = gateway.connect();
        connection.try_send("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        connection.try_response().filter(|response| response.status == 200)
    });
}

#[test]
fn a_client_has_so_many_connections_and_no_more() {
    let (gateway, _backend) = forwarding("max_connections_per_client = 2");
    let mut held = [gateway.connect(), gateway.connect()];
    for connection in &mut held {
        assert_eq!(connection.get("/users").status, 200);
    }
    for _ in 0..3 {
        assert!(gateway.connect().is_closed(), "not a byte is answered");
    }
    let series = format!(r#"gateway_connections_refused_total{{listener="{}"}}"#, gateway.address());
    gateway.metric_becomes(&series, 3.0);
    gateway.wait_for_log_line("has 2 connections, and is refused another");
    assert_eq!(gateway.log().matches("is refused another").count(), 1, "the others are only counted");
    let [mut first, second] = held;
    drop(second);
    eventually("there is room for another", || {
        let mut connection = gateway.connect();
        connection.try_send("GET /users HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
        connection.try_response().filter(|response| response.status == 200)
    });
    assert_eq!(first.get("/users").status, 200);
}

#[test]
fn the_connections_of_a_trusted_proxy_are_not_counted() {
    let settings = "max_connections_per_client = 1\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let (gateway, _backend) = forwarding(settings);
    let mut connections: Vec<Connection> = (0..4).map(|_| gateway.connect()).collect();
    for connection in &mut connections {
        assert_eq!(connection.get("/users").status, 200);
    }
}

#[test]
fn a_connection_carries_so_many_requests_and_closes() {
    let (gateway, _backend) = forwarding("max_requests_per_connection = 3");
    let mut connection = gateway.connect();
    for _ in 0..2 {
        assert_ne!(connection.get("/users").header("connection"), Some("close"));
    }
    let last = connection.get("/users");
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(connection.is_closed());
    // Answers of the gateway's own count too.
    let mut connection = gateway.connect();
    for _ in 0..2 {
        assert_ne!(connection.get("/a%2fb").header("connection"), Some("close"));
    }
    assert_eq!(connection.get("/a%2fb").header("connection"), Some("close"));
    assert!(connection.is_closed());
}

#[test]
fn over_http2_too() {
    let (gateway, _backend) = forwarding("max_requests_per_connection = 2");
    let mut connection = http2::Connection::open(gateway.address());
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(connection.closed(), None, "in an orderly way");
}

#[test]
fn whoever_is_seen_off_still_has_a_connection() {
    let (gateway, _backend) = forwarding("max_connections_per_client = 2");
    let connections = format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address());
    let upload = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n";
    let mut lingering: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    for connection in &mut lingering {
        connection.send(upload);
        connection.response_head();
    }
    gateway.metric_becomes(&connections, 2.0);
    // They still send, so they are still there, and so many are all that this client may have.
    assert!(gateway.connect().is_closed());
    drop(lingering);
    gateway.metric_becomes(&connections, 0.0);
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn an_early_answer_to_a_fast_upload_is_read() {
    let (gateway, _backend) = forwarding("");
    let size = 64 << 20;
    let mut connection = gateway.connect();
    connection.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    // All of it is taken, and then the answer is there, which a reset would have taken away.
    connection.send(vec![b'x'; size]);
    connection.response().is_problem(413);
}
