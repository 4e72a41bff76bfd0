//! Listeners that speak TLS.

use std::net::TcpStream;
use std::time::Duration;

use mock_backend::MockBackend;
use rustls::{ProtocolVersion, StreamOwned, version};

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response, request};
use crate::support::tls::{Client, certificates, chain, file};
use crate::support::{converse, eventually, to_upstream};

/// A gateway that speaks TLS in front of a mock backend.
#[track_caller]
fn encrypted(tls: &str, settings: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = Gateway::speaking_tls(&to_upstream(backend.addr(), &format!("{tls}\n{settings}")));
    (gateway, backend)
}

#[track_caller]
fn connect(gateway: &Gateway, client: Client) -> Connection {
    Connection::open_tls(gateway.address(), client).unwrap()
}

/// The answer to a request on a new connection; `None` if the handshake fails, on either side.
fn try_get(gateway: &Gateway, client: Client) -> Option<Response> {
    let mut connection = Connection::open_tls(gateway.address(), client).ok()?;
    connection.try_send(request("GET", "/users", &[], "")).ok()?;
    connection.try_response()
}

fn failures(kind: &str, gateway: &Gateway) -> String {
    format!(r#"gateway_tls_handshake_errors_total{{kind="{kind}",listener="{}"}}"#, gateway.address())
}

#[test]
fn requests_are_answered_one_after_the_other() {
    let (gateway, backend) = encrypted(&certificates(&["localhost"]), "");
    let mut connection = connect(&gateway, Client::new("localhost"));
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(connection.get("/bytes/100000").body.len(), 100_000);
    connection.send(request("POST", "/upload", &[], &"x".repeat(100_000)));
    assert_eq!(connection.response().json()["length"], 100_000);
    assert_eq!(connection.get_with("/users", &[("Connection", "close")]).status, 200);
    assert!(connection.is_closed());
    assert_eq!(backend.requests()[0].header("x-forwarded-proto"), Some("https"));
    gateway.metric_becomes(&format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address()), 0.0);
    assert!(!gateway.log().contains("failed"), "{}", gateway.log());
}

#[test]
fn an_answer_without_a_length_ends_as_tls_should() {
    let upstream = crate::support::upstream::RawUpstream::answering("HTTP/1.0 200 OK\r\n\r\nhello");
    let gateway = Gateway::speaking_tls(&to_upstream(upstream.address(), &certificates(&["localhost"])));
    let mut connection = connect(&gateway, Client::new("localhost"));
    connection.send("GET / HTTP/1.0\r\n\r\n");
    // The client's side of TLS fails if the connection just breaks off.
    assert_eq!(connection.response().text(), "hello");
}

#[test]
fn a_piece_of_an_answer_does_not_wait_for_the_next() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let mut connection = connect(&gateway, Client::new("localhost"));
    connection.send(request("GET", "/sse?interval=10s", &[], ""));
    assert_eq!(connection.response_head().status, 200);
    assert!(connection.line().len() < 10);
}

#[test]
fn the_certificate_is_that_of_the_host() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost", "example"]), "");
    for (host, name) in [
        ("localhost", "localhost"),
        ("a.example", "example"),
        ("x.wild.example", "example"),
        // There is no name for an address: the first certificate happens to have it.
        ("127.0.0.1", "localhost"),
    ] {
        let connection = connect(&gateway, Client::new(host));
        assert_eq!(connection.tls().peer_certificates(), Some(&*chain(name)), "{host}");
    }
    // Nobody has this name.
    assert!(try_get(&gateway, Client::new("b.example")).is_none());
    gateway.metric_becomes(&failures("refused", &gateway), 1.0);
}

#[test]
fn versions_and_protocols() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let client = || Client::new("localhost");
    let connection = connect(&gateway, client());
    assert_eq!(connection.tls().protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(connection.tls().alpn_protocol(), None);
    let mut connection = connect(&gateway, client().of_version(&version::TLS12).speaking(&["http/1.1"]));
    assert_eq!(connection.tls().protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert_eq!(connection.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(connection.get("/users").status, 200);
    assert!(try_get(&gateway, client().speaking(&["spdy/1"])).is_none());
    gateway.metric_becomes(&failures("incompatible", &gateway), 1.0);
}

#[test]
fn clients_show_a_certificate_if_they_must() {
    let tls = format!("{}\ntls.client_ca = {:?}", certificates(&["localhost"]), file("ca.pem"));
    let (gateway, backend) = encrypted(&tls, "");
    let client = || Client::new("localhost");
    for version in [&version::TLS13, &version::TLS12] {
        assert_eq!(try_get(&gateway, client().of_version(version).showing("client")).unwrap().status, 200);
        assert!(try_get(&gateway, client().of_version(version)).is_none());
        assert!(try_get(&gateway, client().of_version(version).showing("stranger")).is_none());
        assert!(try_get(&gateway, client().of_version(version).showing("expired")).is_none());
    }
    gateway.metric_becomes(&failures("client_certificate", &gateway), 6.0);
    assert_eq!(backend.count(), 2);
    assert_eq!(gateway.log().matches("handshake").count(), 1, "{}", gateway.log());
}

#[test]
fn a_handshake_has_a_deadline() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "header_timeout = \"200ms\"");
    assert!(gateway.connect().is_closed());
    gateway.metric_becomes(&failures("timeout", &gateway), 1.0);
    let mut slow = gateway.connect();
    // The beginning of a record, and then a byte now and then.
    slow.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    while slow.try_send("x").is_ok() && !slow.has_something_within(Duration::from_millis(20)) {}
    gateway.metric_becomes(&failures("timeout", &gateway), 2.0);
    assert_eq!(try_get(&gateway, Client::new("localhost")).unwrap().status, 200);
}

#[test]
fn whoever_chooses_http2_must_begin_with_it() {
    let (gateway, backend) = encrypted(&certificates(&["localhost"]), "header_timeout = \"200ms\"");
    let client = || Client::new("localhost").speaking(&["h2"]);
    let mut silent = connect(&gateway, client());
    assert!(!silent.rest().starts_with(b"HTTP"));
    let mut mistaken = connect(&gateway, client());
    mistaken.send(request("GET", "/users", &[], ""));
    assert!(!mistaken.rest().starts_with(b"HTTP"));
    // And whoever does not choose it must not.
    let mut other = connect(&gateway, Client::new("localhost").speaking(&["http/1.1"]));
    other.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    other.response().is_problem(400);
    assert_eq!(backend.count(), 0);
}

#[test]
fn what_is_not_tls_is_refused() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = connection.response();
    response.is_problem(400);
    assert_eq!(response.json()["detail"], "this port speaks HTTPS, and the request came in the clear");
    assert!(connection.is_closed());
    gateway.metric_becomes(&failures("malformed", &gateway), 1.0);
    let mut connection = gateway.connect();
    connection.send(b"\x05\x01\x00 no handshake either");
    assert!(!connection.rest().starts_with(b"HTTP"));
    gateway.metric_becomes(&failures("malformed", &gateway), 2.0);
    drop(gateway.connect());
    gateway.metric_becomes(&failures("closed", &gateway), 1.0);
    assert_eq!(try_get(&gateway, Client::new("localhost")).unwrap().status, 200);
}

#[test]
fn what_is_odd_about_a_handshake_fills_no_log() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let mut hello = Vec::new();
    Client::new("ab.example").start().write_tls(&mut hello).unwrap();
    // An address is no name to ask for (RFC 6066, section 3).
    let at = hello.windows(10).position(|window| window == b"ab.example").unwrap();
    hello[at..at + 10].copy_from_slice(b"10.0.0.100");
    let mut connection = gateway.connect();
    connection.send(hello);
    assert_eq!(connection.take(1), [22], "a handshake goes on");
    assert!(!gateway.log().contains("SNI"), "{}", gateway.log());
}

#[test]
fn an_expired_certificate_is_warned_of() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost", "expired"]), "");
    gateway.wait_for_log_line("expired.pem has expired");
    assert!(!gateway.log().contains("localhost.pem has"));
    let expiry = |name: &str| {
        let path = file(&format!("{name}.pem")).display().to_string();
        gateway
            .metric(&format!(r#"gateway_tls_certificate_expiry_timestamp_seconds{{certificate="{path}"}}"#))
    };
    assert!(expiry("localhost") > 4e9 && expiry("expired") < 2e9);
}

#[test]
fn a_drain_finishes_what_is_running() {
    let (mut gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let mut running = connect(&gateway, Client::new("localhost"));
    running.send(request("GET", "/users?delay=1s", &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    let mut idle = connect(&gateway, Client::new("localhost"));
    assert_eq!(idle.get("/health").status, 200);
    gateway.signal("TERM");
    assert!(idle.is_closed());
    assert_eq!(running.response().status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_drain_does_not_wait_for_a_handshake() {
    let settings = "drain_timeout = \"1h\"\nheader_timeout = \"1h\"";
    let (mut gateway, _backend) = encrypted(&certificates(&["localhost"]), settings);
    let mut silent = gateway.connect();
    silent.send(b"\x16\x03\x01\x02\x00");
    let connections = format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address());
    gateway.metric_becomes(&connections, 1.0);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(silent.is_closed());
}

#[test]
fn a_websocket_passes() {
    let (gateway, _backend) = encrypted(&certificates(&["localhost"]), "");
    let socket = TcpStream::connect(gateway.address()).unwrap();
    let stream = StreamOwned::new(Client::new("localhost").start(), socket);
    let (socket, response) = tungstenite::client("wss://localhost/ws", stream).unwrap();
    assert_eq!(response.status(), 101);
    converse(socket);
    gateway.metric_becomes(r#"gateway_requests_total{code="101",method="GET",route="all"}"#, 1.0);
}

#[test]
fn a_connection_keeps_the_certificate_that_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        for kind in ["pem", "key"] {
            let to = folder.path().join(format!("a.{kind}"));
            std::fs::copy(file(&format!("{name}.{kind}")), to).unwrap();
        }
    };
    place("localhost");
    let (cert, key) = (folder.path().join("a.pem"), folder.path().join("a.key"));
    let (gateway, _backend) =
        encrypted(&format!("tls.certificates = [{{ cert = {cert:?}, key = {key:?} }}]"), "");
    let mut before = connect(&gateway, Client::new("localhost"));
    assert_eq!(before.get("/users").status, 200);
    place("example");
    gateway.signal("HUP");
    eventually("the other certificate", || {
        Connection::open_tls(gateway.address(), Client::new("a.example")).ok()
    });
    assert!(Connection::open_tls(gateway.address(), Client::new("localhost")).is_err());
    assert_eq!(before.get("/users").status, 200);
    // A key that does not fit changes nothing.
    std::fs::copy(file("localhost.key"), key).unwrap();
    gateway.signal("HUP");
    gateway.wait_for_log_line("this key does not belong to the certificate");
    assert!(Connection::open_tls(gateway.address(), Client::new("a.example")).is_ok());
}

#[test]
fn requests_in_the_clear_are_sent_to_https() {
    let backend = MockBackend::start_blocking().unwrap();
    let settings = "trusted_proxies = [\"10.0.0.0/8\"]\nhttps_redirect = 301\nlimits = [\"l\"]\n[limits.l]\nrate = \"1/h\"";
    let gateway = Gateway::start(&to_upstream(backend.addr(), settings));
    for host in ["shop.example", "SHOP.example:8080"] {
        let mut connection = gateway.connect();
        connection
            .send(format!("POST /users?page=2 HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}"));
        let answer = connection.response();
        assert_eq!(answer.status, 301);
        assert_eq!(answer.header("location"), Some("https://shop.example/users?page=2"));
        assert_eq!(answer.header("ratelimit"), None);
    }
    let forged = gateway.get_with("/users", &[("X-Forwarded-Proto", "https")]);
    assert_eq!(forged.status, 301);
    let mut connection = gateway.connect();
    connection.send("GET / HTTP/1.0\r\n\r\n");
    connection.response().is_problem(400);
    assert_eq!(backend.count(), 0);
    let lines = gateway.access_log(4);
    assert!(lines.iter().all(|line| line["route"] == "" && line.get("limits").is_none()), "{lines:?}");
}

#[test]
fn requests_over_tls_are_not_sent_to_https() {
    let backend = MockBackend::start_blocking().unwrap();
    let tls = certificates(&["localhost"]);
    let settings = format!("trusted_proxies = [\"10.0.0.0/8\"]\nhttps_redirect = true\n{tls}");
    let gateway = Gateway::speaking_tls(&to_upstream(backend.addr(), &settings));
    assert_eq!(connect(&gateway, Client::new("localhost")).get("/users").status, 200);
}
