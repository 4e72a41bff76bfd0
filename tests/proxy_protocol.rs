//! The PROXY protocol: who is taken for the client, and who is not listened to.

use mock_backend::MockBackend;
use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::http2::Frames;
use crate::support::tls::{Client, certificates};
use crate::support::to_upstream;

const TRUSTING: &str = "trusted_proxies = [\"127.0.0.0/8\"]";
const LINE: &str = "PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n";
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

fn start(switches: &str, settings: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = Gateway::with_listener(switches, &to_upstream(backend.addr(), settings));
    (gateway, backend)
}

/// A header of version 2 from 2001:db8::1.
fn binary() -> Vec<u8> {
    let mut header = [&SIGNATURE[..], &[0x21, 0x21, 0, 36 + 3]].concat();
    header.extend(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets());
    header.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    header.extend([0x12, 0x67, 0, 80, 4, 0, 0]);
    header
}

fn forwarded_for(echo: &Value) -> &str {
    let fields = echo["headers"].as_array().unwrap();
    let mut values = fields.iter().filter(|field| field[0] == "x-forwarded-for");
    values.next().unwrap()[1].as_str().unwrap()
}

#[test]
fn the_client_is_whom_the_proxy_names() {
    let (gateway, _backend) = start("proxy_protocol = true", TRUSTING);
    let ask = request("GET", "/echo", &[], "");
    for (header, client) in [
        (LINE.as_bytes().to_vec(), "192.0.2.1"),
        (binary(), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "unknown"),
        ([&SIGNATURE[..], &[0x21, 0, 0, 0]].concat(), "unknown"),
        ([&SIGNATURE[..], &[0x20, 0, 0, 0]].concat(), "127.0.0.1"),
    ] {
        // In one piece with the request, and byte by byte.
        for piece in [usize::MAX, 1] {
            let mut connection = gateway.connect();
            for bytes in [&header[..], ask.as_bytes()].concat().chunks(piece) {
                connection.send(bytes);
            }
            assert_eq!(forwarded_for(&connection.response().json()), client);
            assert_eq!(forwarded_for(&connection.get("/echo").json()), client, "it is so for all requests");
        }
    }
    let log = gateway.access_log(20);
    assert_eq!(log.iter().filter(|line| line["client"] == "192.0.2.1").count(), 4);
    assert_eq!(log.iter().filter(|line| line["client"] == "2001:db8::1").count(), 4);
}

#[test]
fn limits_and_forwarding_fields_go_by_that_client() {
    let limit = "[limits.one]\nrate = \"1/h\"\n---\n---\nlimits = [\"one\"]";
    let (gateway, _backend) = start("proxy_protocol = true", &format!("{TRUSTING}\n{limit}"));
    let ask = |client: &str, fields: &[(&str, &str)]| {
        let line = format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n");
        gateway.raw(line + &request("GET", "/echo", fields, ""))
    };
    assert_eq!(ask("192.0.2.1", &[]).status, 200);
    assert_eq!(ask("192.0.2.1", &[]).status, 429);
    // The client itself is nobody's trusted proxy; one behind the proxy may be.
    let forged = [("X-Forwarded-For", "6.6.6.6")];
    assert_eq!(ask("192.0.2.1", &forged).status, 429);
    assert_eq!(forwarded_for(&ask("192.0.2.2", &forged).json()), "192.0.2.2");
    assert_eq!(forwarded_for(&ask("127.0.0.9", &forged).json()), "6.6.6.6, 127.0.0.9");
}

#[test]
fn a_client_that_the_proxy_cannot_name_is_not_the_proxy() {
    let limit = "max_connections_per_client = 2\n[limits.one]\nrate = \"1/h\"\nexempt = [\"127.0.0.0/8\"]\n---\n---\n\
                 limits = [\"one\"]";
    let (gateway, _backend) = start("proxy_protocol = true", &format!("{TRUSTING}\n{limit}"));
    let ask = |fields: &[(&str, &str)]| {
        gateway.raw("PROXY UNKNOWN\r\n".to_owned() + &request("GET", "/echo", fields, ""))
    };
    // It is not exempt, and what it says of itself is not believed.
    let first = ask(&[("X-Forwarded-For", "6.6.6.6"), ("X-Request-Id", "forged")]);
    assert_eq!((first.status, forwarded_for(&first.json())), (200, "unknown"));
    assert_ne!(first.header("x-request-id"), Some("forged"));
    assert_eq!(ask(&[("X-Forwarded-For", "7.7.7.7")]).status, 429);
    // The same over HTTP/2, whose requests are no connections of their own.
    let mut frames = Frames::open_behind(gateway.address(), b"PROXY UNKNOWN\r\n");
    let target = [(":method", "GET"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")];
    frames.send_headers(1, &target, true);
    let log = gateway.access_log(3);
    assert!(log.iter().all(|line| line["client"] == "unknown behind 127.0.0.1"), "{log:?}");
    assert_eq!(log[2]["status"], 429);
    // They are counted together; the proxy, which has as many as it likes, is not.
    let mut held = gateway.connect();
    held.send("PROXY UNKNOWN\r\n".to_owned() + &request("GET", "/echo", &[], ""));
    assert_eq!(held.response().status, 429);
    let mut third = gateway.connect();
    third.send("PROXY UNKNOWN\r\n");
    assert!(third.is_closed());
    let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
    let mut own: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for connection in &mut own {
        connection.send([&local[..], request("GET", "/echo", &[], "").as_bytes()].concat());
        assert_eq!(connection.response().status, 200, "it is exempt");
    }
}

#[test]
fn nobody_else_is_listened_to() {
    let (gateway, backend) = start("proxy_protocol = true", "trusted_proxies = [\"192.0.2.0/24\"]");
    for _ in 0..2 {
        let mut connection = gateway.connect();
        let _ = connection.try_send(format!("{LINE}{}", request("GET", "/echo", &[], "")));
        assert!(connection.is_closed());
    }
    counted(&gateway, "untrusted", 2.0);
    gateway.wait_for_log_line("its PROXY header: untrusted");
    assert_eq!(gateway.log().matches("PROXY header").count(), 1, "the other is only counted");
    assert_eq!(backend.count(), 0);
}

fn counted(gateway: &Gateway, kind: &str, count: f64) {
    let listener = gateway.address();
    let series = format!(r#"gateway_proxy_protocol_errors_total{{kind="{kind}",listener="{listener}"}}"#);
    gateway.metric_becomes(&series, count);
}

#[test]
fn what_is_no_header_is_not_answered() {
    let (gateway, backend) = start("proxy_protocol = true", TRUSTING);
    let get = request("GET", "/echo", &[], "");
    let endless = format!("PROXY UNKNOWN {}\r\n{get}", "x".repeat(200));
    let too_long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat();
    let malformed: [&[u8]; 5] = [
        get.as_bytes(),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 99999\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        endless.as_bytes(),
        &too_long,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0",
    ];
    for bytes in malformed {
        let mut connection = gateway.connect();
        connection.send(bytes);
        assert!(connection.is_closed(), "{:?}", String::from_utf8_lossy(bytes));
    }
    counted(&gateway, "malformed", 5.0);
    let mut connection = gateway.connect();
    connection.send(&LINE[..20]);
    drop(connection);
    counted(&gateway, "closed", 1.0);
    assert_eq!(backend.count(), 0);
    assert_eq!(gateway.raw(LINE.to_owned() + &get).status, 200);
}

#[test]
fn a_header_has_a_deadline() {
    let (gateway, _backend) =
        start("proxy_protocol = true", &format!("{TRUSTING}\nheader_timeout = \"200ms\""));
    for beginning in ["", "PROXY", "PROXY TCP4 192.0.2.1 12"] {
        let mut connection = gateway.connect();
        connection.send(beginning);
        assert!(connection.is_closed(), "{beginning:?}");
    }
    counted(&gateway, "timeout", 3.0);
}

#[test]
fn the_header_comes_before_the_handshake() {
    let settings = format!("{TRUSTING}\n{}", certificates(&["localhost"]));
    let (gateway, _backend) = start("tls = true, proxy_protocol = true", &settings);
    let mut connection =
        Connection::open_tls_behind(gateway.address(), LINE.as_bytes(), Client::new("localhost")).unwrap();
    assert_eq!(forwarded_for(&connection.get("/echo").json()), "192.0.2.1");
}

#[test]
fn connections_are_bounded_by_that_client() {
    let (gateway, _backend) =
        start("proxy_protocol = true", &format!("{TRUSTING}\nmax_connections_per_client = 1"));
    let ask = request("GET", "/echo", &[], "");
    let mut held = gateway.connect();
    held.send(LINE.to_owned() + &ask);
    assert_eq!(held.response().status, 200);
    let mut second = gateway.connect();
    second.send(LINE);
    assert!(second.is_closed());
    let other = LINE.replace("192.0.2.1", "192.0.2.2");
    assert_eq!(gateway.raw(other + &ask).status, 200);
}
