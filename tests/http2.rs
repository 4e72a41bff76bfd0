//! Clients that speak HTTP/2.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;

use crate::support::gateway::Gateway;
use crate::support::http2::{
    Connection, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, block,
    request,
};
use crate::support::tls::{Client, certificates};
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, forwarding, to_upstream};

const IN_FLIGHT: &str = r#"gateway_requests_in_flight{route="all"}"#;

#[test]
fn it_is_spoken_where_clients_choose_it_and_where_they_begin_with_it() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let config = to_upstream(backend.addr(), &certificates(&["localhost"]));
    let encrypted = Gateway::speaking_tls(&config);
    let mut connection = Connection::open_tls(encrypted.address(), Client::new("localhost"));
    assert_eq!(connection.get("/users").status, 200);
    let (plain, _backend) = forwarding("");
    let mut connection = Connection::open(plain.address());
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(connection.get("/bytes/100000").body.len(), 100_000);
    assert_eq!(plain.get("/users").status, 200);
    plain.metric_becomes(r#"gateway_requests_by_protocol_total{protocol="HTTP/2"}"#, 2.0);
    plain.metric_becomes(r#"gateway_requests_by_protocol_total{protocol="HTTP/1.1"}"#, 1.0);
    let log = plain.access_log(3);
    assert_eq!(log[0]["protocol"], "HTTP/2");
    assert_eq!((&log[1]["path"], &log[1]["bytes_out"]), (&"/bytes/100000".into(), &100_000.into()));
}

#[test]
fn it_does_not_begin_in_the_middle() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/users").status, 200);
    connection.send(PREFACE);
    connection.response().is_problem(400);
    assert!(connection.is_closed());
}

#[test]
fn what_the_upstream_receives() {
    let upstream = RawUpstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let fields =
        [("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-request-id", "mine"), ("x-a", "b")];
    let response = Connection::open(gateway.address()).send(request("POST", "/a/../b?c=d", &fields), "hello");
    assert_eq!((response.status, response.text().as_str()), (200, "ok"));
    let id = response.header("x-request-id").unwrap();
    assert_eq!(
        upstream.received(),
        [format!(
            "POST /b?c=d HTTP/1.1\r\ncookie: a=1; b=2\r\nx-a: b\r\nHost: localhost\r\n\
             x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: localhost\r\n\
             x-request-id: {id}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )]
    );
}

#[test]
fn many_requests_run_at_a_time() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(connection.max_streams(), 128);
    let exchanges: Vec<_> = (0..50)
        .map(|n| connection.start(request("GET", &format!("/bytes/{n}?delay=500ms"), &[]), true))
        .collect();
    gateway.metric_becomes(IN_FLIGHT, 50.0);
    for (n, exchange) in exchanges.into_iter().enumerate() {
        assert_eq!(connection.wait(exchange.answer()).unwrap().body.len(), n);
    }
}

#[test]
fn answers_of_the_gateway_s_own() {
    let settings =
        "max_body_size = \"1KiB\"\nlimits = [\"two\"]\n[limits.two]\nrate = \"2/h\"\nmethods = [\"GET\"]";
    let (gateway, backend) = forwarding(settings);
    let mut connection = Connection::open(gateway.address());
    let response = connection.get("/users");
    assert_eq!((response.status, response.header("ratelimit-policy")), (200, Some("\"two\";q=2;w=3600")));
    connection.get("/users");
    let refused = connection.get("/users");
    refused.is_problem(429);
    assert_eq!(refused.header("retry-after"), Some("1800"));
    assert_eq!(refused.header("server"), Some("gateway"));
    connection.send(request("POST", "/a%2fb", &[]), "").is_problem(400);
    connection.send(request("POST", "/upload", &[("content-length", "1025")]), vec![0; 1025]).is_problem(413);
    connection.send(request("POST", "/upload", &[]), vec![0; 1025]).is_problem(413);
    assert_eq!(connection.send(request("POST", "/upload", &[]), vec![0; 1024]).json()["length"], 1024);
    let head = connection.send(request("HEAD", "/a%2fb", &[]), "");
    assert_eq!((head.status, head.body.len()), (400, 0));
    let mut unlikely = request("GET", "/users", &[]);
    *unlikely.uri_mut() = "http://user:password@localhost/users".parse().unwrap();
    assert_eq!(connection.send(unlikely, "").status, 400);
    connection.send(request("POST", "/users", &[("x", "1"); 257]), "").is_problem(431);
    assert_eq!(backend.requests().iter().filter(|request| request.path() == "/users").count(), 2);
}

#[test]
fn large_bodies_pass_whole() {
    const SIZE: usize = 24 << 20;
    let (gateway, _backend) = forwarding("max_body_size = \"32MiB\"");
    let mut connection = Connection::open(gateway.address());
    let response = connection.send(request("POST", "/upload", &[]), vec![b'x'; SIZE]);
    assert_eq!(response.json()["length"], SIZE);
    let body = connection.get(&format!("/bytes/{SIZE}")).body;
    assert_eq!(body.len(), SIZE);
    assert!(body.iter().zip(&body[61..]).all(|(one, next)| one == next));
}

#[test]
fn pieces_pass_as_they_come() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    let exchange = connection.start(request("GET", "/sse?interval=10s", &[]), true);
    let mut body = connection.wait(exchange.response).unwrap().into_body();
    assert!(connection.wait(body.data()).unwrap().unwrap().starts_with(b"id"));
}

#[test]
fn a_message_that_means_something_else_in_http1_is_refused() {
    let (gateway, backend) = forwarding("");
    let good = [(":method", "GET"), (":scheme", "http"), (":path", "/users"), (":authority", "a.example")];
    let with = |changes: &[(&'static str, &'static str)]| {
        let mut fields = good.to_vec();
        fields.retain(|(name, _)| !changes.iter().any(|(other, _)| name == other));
        fields.extend(changes.iter().filter(|(_, value)| *value != "(none)"));
        fields.sort_by_key(|(name, _)| !name.starts_with(':'));
        fields
    };
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &with(&[("te", "trailers"), ("host", "a.example")]), true);
    assert_eq!(frames.status(), Some(200));
    let before = backend.count();
    for (fields, status) in [
        (with(&[("connection", "close")]), None),
        (with(&[("connection", "x-forwarded-for")]), None),
        (with(&[("transfer-encoding", "chunked")]), None),
        (with(&[("keep-alive", "timeout=5")]), None),
        (with(&[("proxy-connection", "close")]), None),
        (with(&[("upgrade", "websocket")]), None),
        (with(&[("te", "gzip")]), None),
        (with(&[("te", "trailers, gzip")]), None),
        (with(&[("X-Upper", "1")]), None),
        (with(&[("x y", "1")]), None),
        (with(&[("x:y", "1")]), None),
        (with(&[("x", "a\r\nb: c")]), None),
        (with(&[("x", "a\0")]), None),
        (with(&[(":path", "(none)")]), None),
        (with(&[(":path", "")]), None),
        (with(&[(":path", "users")]), None),
        (with(&[(":path", "/a b")]), None),
        (with(&[(":path", "/a\r\nX: y")]), None),
        (with(&[(":path", "http://b.example/users")]), None),
        (with(&[(":path", "*")]), Some(400)),
        (with(&[(":path", "/a\\b")]), Some(400)),
        // The h2 crate lets no such character through, though HTTP/1 does.
        (with(&[(":path", "/<a>")]), None),
        (with(&[(":path", "/`")]), None),
        (with(&[(":path", "/?\"")]), None),
        (with(&[(":path", "/?<")]), None),
        (with(&[("host", "a.example:443")]), Some(400)),
        (with(&[(":method", "(none)")]), None),
        (with(&[(":method", "G T")]), None),
        (with(&[(":scheme", "(none)")]), None),
        (with(&[(":authority", "(none)")]), Some(400)),
        (with(&[(":authority", "a.example/b")]), None),
        (with(&[(":authority", "b@a.example")]), Some(400)),
        (with(&[("host", "b.example")]), Some(400)),
        (with(&[(":authority", "(none)"), ("host", "a b")]), Some(400)),
        (with(&[(":unknown", "x")]), None),
        (with(&[(":protocol", "websocket"), (":method", "CONNECT")]), None),
        (with(&[("content-length", "5")]), None),
        (with(&[("content-length", "x")]), None),
        (with(&[("content-length", "+0")]), None),
        (with(&[("content-length", "0, 0")]), None),
    ] {
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, &fields, true);
        assert_eq!(frames.status(), status, "{fields:?}");
    }
    // Two hosts, and a body of another length than it says.
    let mut twice = with(&[(":authority", "(none)")]);
    twice.extend([("host", "a.example"), ("host", "a.example")]);
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &twice, true);
    assert_eq!(frames.status(), Some(400));
    assert_eq!(backend.count(), before);
    for (length, body) in [("2", "abc"), ("4", "abc")] {
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, &with(&[(":method", "POST"), ("content-length", length)]), false);
        frames.send(DATA, 1, 1, body.as_bytes());
        assert_eq!(frames.next_of(&[RST_STREAM, DATA]).unwrap().kind, RST_STREAM, "{length}");
    }
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn what_no_url_has_is_encoded_and_the_default_port_is_the_same_host() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    let echo = connection.get("/echo/é\"{}|^?`{}|^\\é").json();
    assert_eq!(echo["target"], "/echo/%C3%A9%22%7B%7D%7C%5E?%60%7B%7D%7C%5E%5C%C3%A9");
    assert_eq!(gateway.access_log(1)[0]["path"], echo["target"]);
    let mut frames = Frames::open(gateway.address());
    let fields =
        [(":method", "GET"), (":scheme", "http"), (":path", "/users"), (":authority", "a:80"), ("host", "a")];
    frames.send_headers(1, &fields, true);
    assert_eq!(frames.status(), Some(200));
}

#[test]
fn the_server_as_a_whole_says_which_methods_there_are() {
    let (gateway, backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let fields = [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")];
    frames.send_headers(1, &fields, true);
    assert_eq!(frames.status(), Some(204));
    assert_eq!(backend.count(), 0);
    assert_eq!(gateway.access_log(1)[0]["path"], "*");
    gateway.metric_becomes(r#"gateway_requests_total{code="204",method="OPTIONS",route=""}"#, 1.0);
}

#[test]
fn every_refused_head_and_every_reset_has_one_line_and_one_count() {
    let (gateway, backend) = forwarding("");
    let get = |path, host| [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", host)];
    let mut frames = Frames::open(gateway.address());
    frames.send_headers(1, &get("/", "a@b"), true);
    frames.send_headers(3, &get("*", "a"), true);
    // The client takes the last one back before anybody has answered it.
    frames.send_headers(5, &get("/users?delay=30s", "a"), true);
    eventually("the backend has it", || (backend.count() == 1).then_some(()));
    frames.send(RST_STREAM, 0, 5, &[0, 0, 0, 8]);
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 1.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="400",method="OTHER",route=""}"#, 2.0);
    assert_eq!(gateway.get("/users").status, 200);
    let log = gateway.access_log(4);
    let mut statuses: Vec<_> = log.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 499], "{log:?}");
    assert!(log.iter().all(|line| !line["request_id"].as_str().unwrap().is_empty()), "{log:?}");
    assert_eq!(backend.count(), 2);
}

/// The fields of a request that is answered with 200.
const GOOD: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/users"), (":authority", "a")];

/// The series that counts refused heads of this status.
fn unread(status: u16) -> String {
    format!(r#"gateway_requests_total{{code="{status}",method="OTHER",route=""}}"#)
}

/// The statuses in the access log, in order, once there are so many lines and no more of them are counted.
#[track_caller]
fn statuses(gateway: &Gateway, lines: usize) -> Vec<u64> {
    let log = gateway.access_log(lines);
    for line in log.iter().filter(|line| line["method"] == "-") {
        assert_eq!((&line["path"], &line["client"]), (&"-".into(), &"127.0.0.1".into()), "{line}");
        assert!(!line["request_id"].as_str().unwrap().is_empty() && line["error"].is_string(), "{line}");
    }
    let mut statuses: Vec<_> = log.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn a_head_whose_stream_is_reset_has_one_line_and_one_count() {
    let (gateway, backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let with = |name, value| GOOD.map(|field| if field.0 == name { (name, value) } else { field });
    let bad = [
        &with(":path", "/<a>")[..],
        &with(":path", "/?\""),
        &with(":path", "users"),
        &with(":authority", "a/b"),
        &GOOD[1..],
        &[&GOOD[..], &[("connection", "close")]].concat(),
        &[&GOOD[..], &[("content-length", "x")]].concat(),
    ];
    for (stream, fields) in (1..).step_by(4).zip(bad) {
        frames.send_headers(stream, fields, true);
        let reset = frames.next_of(&[RST_STREAM, HEADERS, GOAWAY]).unwrap();
        assert_eq!((reset.kind, reset.stream), (RST_STREAM, stream), "{fields:?}");
        // What comes for that stream later, and other requests, change nothing.
        frames.send_headers(stream, &[("x", "trailer")], true);
        frames.send_headers(stream + 2, &GOOD, true);
        assert_eq!(frames.status(), Some(200));
    }
    gateway.metric_becomes(&unread(400), 7.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 7.0);
    assert_eq!(statuses(&gateway, 14), [[200; 7], [400; 7]].concat());
    assert_eq!(backend.count(), 7);
}

#[test]
fn a_reset_of_a_request_that_was_read_is_no_refused_head() {
    let (gateway, _backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "a")];
    // Trailers that are malformed, in a frame of their own and in the same packet as the head.
    for (stream, wait) in [(1, true), (3, false)] {
        frames.send_headers(stream, &post, false);
        if wait {
            gateway.metric_becomes(IN_FLIGHT, 1.0);
        }
        frames.send_headers(stream, &[("connection", "close")], true);
        assert_eq!(frames.next_of(&[RST_STREAM]).unwrap().stream, stream);
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
    // The client breaks the rules when its request has been answered.
    frames.send_headers(5, &GOOD, true);
    assert_eq!(frames.status(), Some(200));
    frames.send(DATA, 0, 5, b"more");
    frames.round_trip();
    drop(frames);
    gateway.metric_becomes(&format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address()), 0.0);
    assert_eq!(gateway.metric(&unread(400)), 0.0);
    let log = gateway.access_log(3);
    assert!(log.len() == 3 && log.iter().all(|line| line["method"] != "-"), "{log:?}");
}

#[test]
fn a_head_that_is_too_large_has_one_line_and_one_count() {
    let (gateway, backend) = forwarding("max_header_size = \"2KiB\"");
    let mut frames = Frames::open(gateway.address());
    let field = [("x", "y".repeat(100))];
    let large = [block(&GOOD), block(&field).repeat(20)].concat();
    frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &large);
    assert_eq!(frames.next_of(&[HEADERS, RST_STREAM]).unwrap().kind, HEADERS);
    gateway.metric_becomes(&unread(431), 1.0);
    // One of more than four times the size ends the connection, and so does one in frames without end.
    frames.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(&field).repeat(80));
    assert!(frames.next_of(&[GOAWAY]).is_some());
    gateway.metric_becomes(&unread(431), 2.0);
    let mut frames = Frames::open(gateway.address());
    frames.send(HEADERS, END_STREAM, 1, &block(&GOOD));
    for _ in 0..10 {
        frames.send(9, 0, 1, &[]);
    }
    assert!(frames.next_of(&[GOAWAY]).is_some());
    gateway.metric_becomes(&unread(431), 3.0);
    assert_eq!(statuses(&gateway, 3), [431, 431, 431]);
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_head_that_ends_the_connection_has_one_line_and_one_count() {
    let (gateway, _backend) = forwarding("");
    let path =
        [(&b":method"[..], &b"GET"[..]), (b":scheme", b"http"), (b":path", b"/\xff"), (b":authority", b"a")];
    let upper = [&block(&GOOD)[..], &block(&[("X-Upper", "1")])].concat();
    let ends = [block(&path), upper, vec![0xff; 20], vec![0xbf]];
    for (count, head) in (1..).zip(&ends) {
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, &GOOD, true);
        assert_eq!(frames.status(), Some(200));
        frames.send(HEADERS, END_HEADERS | END_STREAM, 3, head);
        assert!(frames.next_of(&[GOAWAY]).is_some(), "{head:?}");
        gateway.metric_becomes(&unread(400), f64::from(count));
    }
    // Nobody is told of a connection that ends without a head.
    let mut frames = Frames::open(gateway.address());
    frames.send(6, 0, 0, b"short");
    assert!(frames.next_of(&[GOAWAY]).is_some());
    assert_eq!(gateway.get("/users").status, 200);
    assert_eq!(statuses(&gateway, 9), [[200; 5].as_slice(), &[400; 4]].concat());
}

#[test]
fn a_client_that_leaves_behind_its_head_has_a_line_all_the_same() {
    let (gateway, _backend) = forwarding("");
    let connections = format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address());
    for fields in [&GOOD[..], &GOOD[1..]] {
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, fields, true);
    }
    // Of half a head nothing is known.
    let mut frames = Frames::open(gateway.address());
    frames.send(HEADERS, END_STREAM, 1, &block(&GOOD));
    drop(frames);
    let log = gateway.access_log(2);
    assert!(log.iter().all(|line| [200, 400, 499].contains(&line["status"].as_u64().unwrap())), "{log:?}");
    gateway.metric_becomes(&connections, 0.0);
    assert_eq!(gateway.get("/users").status, 200);
    assert_eq!(gateway.access_log(3).len(), 3);
}

#[test]
fn more_requests_than_a_connection_may_have_have_one_line_each() {
    let (gateway, _backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let slow = [(":method", "GET"), (":scheme", "http"), (":path", "/users?delay=30s"), (":authority", "a")];
    for stream in (1..=257).step_by(2) {
        frames.send_headers(stream, &slow, true);
    }
    let refused = frames.next_of(&[RST_STREAM]).unwrap();
    assert_eq!((refused.stream, refused.payload[3]), (257, 7), "REFUSED_STREAM");
    for stream in (1..257).step_by(2) {
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    gateway.metric_becomes(&unread(429), 1.0);
    assert_eq!(statuses(&gateway, 129), [[429].as_slice(), &[499; 128]].concat());
}

#[test]
fn heads_that_end_the_connection_together_have_a_line_each() {
    let (gateway, backend) = forwarding("");
    let connections = format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address());
    for fields in [&GOOD[1..], &[&GOOD[..], &[("connection", "close")]].concat()] {
        let mut heads = Vec::new();
        for stream in (1..200_u32).step_by(2) {
            let head = block(fields);
            heads.extend([0, 0, u8::try_from(head.len()).unwrap(), HEADERS, END_HEADERS | END_STREAM]);
            heads.extend(stream.to_be_bytes());
            heads.extend(head);
        }
        let (before, lines) = (gateway.metric(&unread(400)), gateway.access_log(0).len());
        let mut frames = Frames::open(gateway.address());
        frames.send_raw(&heads);
        assert_eq!(frames.next_of(&[GOAWAY]).unwrap().payload[7], 11, "ENHANCE_YOUR_CALM");
        drop(frames);
        gateway.metric_becomes(&connections, 0.0);
        // The gateway may have closed before it has read all of them.
        let counted = gateway.metric(&unread(400)) - before;
        assert!((33.0..=100.0).contains(&counted), "{counted}");
        eventually("a line for each", || {
            ((gateway.access_log(0).len() - lines) as f64 == counted).then_some(())
        });
    }
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_head_may_be_as_large_as_the_config_says() {
    let (gateway, backend) = forwarding("max_header_size = \"2KiB\"");
    let mut connection = Connection::open(gateway.address());
    assert_eq!(connection.send(request("GET", "/users", &[("x", &"y".repeat(1500))]), "").status, 200);
    assert_eq!(connection.send(request("GET", "/users", &[("x", &"y".repeat(2100))]), "").status, 431);
    assert_eq!(connection.get("/users").status, 200);
    assert_eq!(backend.count(), 2);
}

#[test]
fn an_upstream_may_take_so_long() {
    let (gateway, _backend) = forwarding("---\nresponse_timeout = \"200ms\"\n---\ntimeout = \"600ms\"");
    let mut connection = Connection::open(gateway.address());
    connection.get("/users?delay=10s").is_problem(504);
    gateway.metric_becomes(r#"gateway_upstream_errors_total{kind="response_timeout",upstream="main"}"#, 1.0);
    // The route's timeout covers the whole exchange: what is out by then is all.
    let late = connection.try_send(request("GET", "/sse?interval=50ms", &[]), "").unwrap_err();
    assert!(late.is_reset(), "{late}");
    // A client that does not send what it has begun is late itself.
    let mut exchange = connection.start(request("POST", "/upload", &[("content-length", "5")]), false);
    exchange.body.send_data(Bytes::from("ab"), false).unwrap();
    connection.wait(exchange.answer()).unwrap().is_problem(408);
    assert_eq!(connection.get("/users").status, 200);
}

#[test]
fn a_client_may_take_nothing_for_so_long() {
    let (gateway, _backend) = forwarding("idle_timeout = \"300ms\"");
    let mut frames = Frames::open(gateway.address());
    // The windows that HTTP/2 begins with are never opened.
    let target = [(":method", "GET"), (":scheme", "http"), (":path", "/bytes/1000000"), (":authority", "a")];
    frames.send_headers(1, &target, true);
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    assert!(frames.next_of(&[RST_STREAM, GOAWAY]).is_some());
}

#[test]
fn a_preface_has_a_deadline() {
    let (gateway, _backend) = forwarding("header_timeout = \"200ms\"");
    for beginning in [&PREFACE[..10], &PREFACE[..18], &PREFACE[..20]] {
        let mut connection = gateway.connect();
        connection.send(beginning);
        // As far as the tenth byte it might have been a request.
        assert_eq!(connection.rest().starts_with(b"HTTP"), beginning.len() == 10);
    }
    let mut wrong = gateway.connect();
    wrong.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n");
    assert!(!wrong.rest().starts_with(b"HTTP"));
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn an_idle_connection_is_closed_with_a_word() {
    let (gateway, _backend) = forwarding("idle_timeout = \"200ms\"");
    let mut connection = Connection::open(gateway.address());
    // Being busy for longer is not being idle.
    assert_eq!(connection.get("/users?delay=500ms").status, 200);
    assert_eq!(connection.closed(), None);
    let mut frames = Frames::open(gateway.address());
    let goaway = frames.next_of(&[GOAWAY]).unwrap();
    assert_eq!(goaway.payload[4..8], [0, 0, 0, 0]);
    assert_eq!(frames.next(), None);
    gateway.metric_becomes(&format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address()), 0.0);
}

#[test]
fn a_drain_finishes_what_is_running() {
    let (mut gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    let running = connection.start(request("GET", "/users?delay=1s", &[]), true);
    let mut idle = Connection::open(gateway.address());
    assert_eq!(idle.get("/users").status, 200);
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    gateway.signal("TERM");
    assert_eq!(idle.closed(), None);
    assert_eq!(connection.wait(running.answer()).unwrap().status, 200);
    assert_eq!(connection.closed(), None);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_client_that_takes_a_request_back() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    let mut exchange = connection.start(request("GET", "/users?delay=30s", &[]), true);
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    exchange.body.send_reset(Reason::CANCEL);
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 1.0);
    assert_eq!(connection.get("/users").status, 200);
    // So does one that goes away altogether.
    let exchange = connection.start(request("GET", "/users?delay=30s", &[]), true);
    gateway.metric_becomes(IN_FLIGHT, 1.0);
    drop((exchange, connection));
    gateway.metric_becomes(IN_FLIGHT, 0.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="499",method="GET",route="all"}"#, 2.0);
}

#[test]
fn a_client_that_only_takes_requests_back_is_sent_away() {
    let (gateway, _backend) = forwarding("");
    let mut connection = Connection::open(gateway.address());
    for _ in 0..3 {
        let start = |_| connection.start(request("GET", "/users?delay=30s", &[]), true);
        let mut exchanges: Vec<_> = (0..100).map(start).collect();
        gateway.metric_becomes(IN_FLIGHT, 100.0);
        exchanges.iter_mut().for_each(|exchange| exchange.body.send_reset(Reason::CANCEL));
        gateway.metric_becomes(IN_FLIGHT, 0.0);
    }
    // The resets of the last round may still be on their way when the connection is closed.
    let error = connection.ended().unwrap_err();
    assert!(error.is_io() || error.reason() == Some(Reason::ENHANCE_YOUR_CALM), "{error}");
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn a_client_that_opens_and_resets_at_once_is_sent_away() {
    let (gateway, _backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let target = [(":method", "GET"), (":scheme", "http"), (":path", "/users"), (":authority", "a")];
    for stream in (1..20_000).step_by(2) {
        frames.send_headers(stream, &target, true);
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    let goaway = frames.next_of(&[GOAWAY]).unwrap();
    assert_eq!(goaway.payload[7], 11, "ENHANCE_YOUR_CALM");
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn a_client_that_only_sends_malformed_requests_is_sent_away() {
    let (gateway, backend) = forwarding("");
    for fields in [
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"), ("connection", "x")]
            [..],
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a@b")],
    ] {
        let mut frames = Frames::open(gateway.address());
        for stream in (1..200).step_by(2) {
            frames.send_headers(stream, fields, true);
        }
        let goaway = frames.next_of(&[GOAWAY]).unwrap();
        assert_eq!(goaway.payload[7], 11, "ENHANCE_YOUR_CALM");
    }
    assert_eq!(backend.count(), 0);
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn half_an_answer_is_not_made_to_look_whole() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let upstream = RawUpstream::answering(half);
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let mut connection = Connection::open(gateway.address());
        let error = connection.try_send(request("GET", "/", &[]), "").unwrap_err();
        assert!(error.is_reset(), "{error}");
        // The connection has other streams, and goes on.
        let error = connection.try_send(request("GET", "/", &[]), "").unwrap_err();
        assert!(error.is_reset(), "{error}");
    }
}

#[test]
fn trailers_of_an_http1_upstream_are_left_out() {
    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Last\r\n\r\n5\r\nhello\r\n0\r\nX-Last: 1\r\n\r\n",
    );
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let response = Connection::open(gateway.address()).get("/");
    assert_eq!((response.text().as_str(), response.header("x-last")), ("hello", None));
}

#[test]
fn settings_and_pings_are_answered() {
    let (gateway, _backend) = forwarding("");
    let mut frames = Frames::open(gateway.address());
    let settings = frames.next_of(&[SETTINGS]).unwrap();
    assert!(settings.payload.chunks(6).any(|entry| entry == [0, 3, 0, 0, 0, 128]), "{settings:?}");
    frames.send(6, 0, 0, b"12345678");
    assert_eq!(frames.next_of(&[6]).unwrap().payload, b"12345678");
}

#[test]
fn a_client_that_does_not_wait_for_an_answer_fills_no_log() {
    let (gateway, _backend) = forwarding("");
    let refused = [(":method", "GET"), (":scheme", "http"), (":path", "/a%2fb"), (":authority", "a")];
    let mut frames = Frames::open(gateway.address());
    for stream in (1..21).step_by(2) {
        frames.send_headers(stream, &refused, true);
        frames.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    gateway.access_log(10);
    assert!(!gateway.log().contains("inside the gateway"), "{}", gateway.log());
}

#[test]
fn a_body_of_another_length_than_announced_makes_no_whole_request() {
    for (length, first, rest) in [("0", "", "hello"), ("5", "hello", "more"), ("5", "hell", "")] {
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        let upstream = RawUpstream::start(move |exchange| {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = exchange.socket.read(&mut buffer) {
                log.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let text = || String::from_utf8(received.lock().unwrap().clone()).unwrap();
        let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a"),
            (":authority", "a"),
            ("content-length", length),
        ];
        let mut frames = Frames::open(gateway.address());
        frames.send_headers(1, &fields, false);
        if !first.is_empty() {
            frames.send(DATA, 0, 1, first.as_bytes());
        }
        let begun =
            eventually("the upstream has the head", || Some(text()).filter(|text| text.contains("\r\n\r\n")));
        let begun = begun.to_ascii_lowercase();
        let (head, body) = begun.split_once("\r\n\r\n").unwrap();
        match head.contains("transfer-encoding: chunked") {
            true => assert!(!head.contains("content-length") && body.is_empty(), "{begun}"),
            false => assert!(head.contains("content-length: 5") && body.len() < 5, "{begun}"),
        }
        frames.send(DATA, END_STREAM, 1, rest.as_bytes());
        assert_eq!(
            frames.next_of(&[HEADERS, RST_STREAM]).unwrap().kind,
            RST_STREAM,
            "{length} {first} {rest}"
        );
        gateway.metric_becomes(IN_FLIGHT, 0.0);
        let got = text();
        let body = got.split_once("\r\n\r\n").unwrap().1;
        assert!(!body.contains("0\r\n\r\n") && body.len() < 5, "{got}");
    }
}

#[test]
fn a_body_that_ends_behind_its_length_is_whole() {
    let (gateway, _backend) = forwarding("");
    for (length, pieces) in [("0", &[][..]), ("5", &["hello"][..]), ("5", &["he", "llo"][..])] {
        let mut frames = Frames::open(gateway.address());
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/echo"),
            (":authority", "a"),
            ("content-length", length),
        ];
        frames.send_headers(1, &fields, false);
        for piece in pieces {
            frames.send(DATA, 0, 1, piece.as_bytes());
        }
        frames.round_trip();
        frames.send(DATA, END_STREAM, 1, b"");
        assert_eq!(frames.status(), Some(200));
        let echo = frames.next_of(&[DATA]).unwrap().payload;
        let echo: serde_json::Value = serde_json::from_slice(&echo).unwrap();
        assert_eq!(echo["body"], pieces.concat());
    }
}
