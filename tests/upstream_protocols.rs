//! What is spoken with upstreams: TLS, HTTP/2, and gRPC upon it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::Reason;

use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::http2::{
    Connection, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Upstream, request,
};
use crate::support::tls::{self, file};
use crate::support::upstream::{RawUpstream, dead_address};
use crate::support::{eventually, program, to_upstream};

/// A gateway in front of this upstream, with these settings of it.
#[track_caller]
fn in_front_of(upstream: std::net::SocketAddr, settings: &str) -> Gateway {
    Gateway::start(&to_upstream(upstream, &format!("---\n{settings}")))
}

/// `tls` of an upstream that trusts the authority of the tests, and what else is to be in it.
fn trusting(more: &str) -> String {
    format!("tls = {{ ca = {:?}{more} }}", file("ca.pem"))
}

fn failed(kind: &str) -> String {
    format!(r#"gateway_upstream_errors_total{{kind="{kind}",upstream="main"}}"#)
}

#[test]
fn a_server_must_be_who_it_should_be() {
    let upstream = tls::upstream("localhost", false);
    let gateway = in_front_of(upstream.address(), &trusting(""));
    // There is no name for an address (RFC 6066, section 3).
    assert_eq!(gateway.get("/").text(), "nobody 0");
    let gateway = in_front_of(upstream.address(), &trusting(", server_name = \"localhost\""));
    assert_eq!(gateway.get("/").text(), "localhost 0");
    for settings in [
        trusting(", server_name = \"other.example\""),
        format!("tls = {{ ca = {:?} }}", file("stranger.pem")),
    ] {
        let gateway = in_front_of(upstream.address(), &settings);
        gateway.get("/").is_problem(502);
        gateway.metric_becomes(&failed("tls"), 1.0);
        gateway.wait_for_log_line("server 127.0.0.1");
        assert!(gateway.log().contains("tls: "), "{}", gateway.log());
    }
    let expired = tls::upstream("expired", false);
    let gateway = in_front_of(expired.address(), &trusting(", server_name = \"expired.example\""));
    gateway.get("/").is_problem(502);
}

#[test]
fn a_server_that_is_known_by_name_must_have_that_name() {
    let upstream = tls::upstream("localhost", false);
    let port = upstream.address().port();
    let gateway = Gateway::start(&format!(
        "[upstreams.main]\nservers = [\"localhost:{port}\"]\n{}\n[[routes]]\nname = \"all\"\npath = \"/*\"\nupstream = \"main\"",
        trusting("")
    ));
    eventually("its name is found", || (gateway.admin_get("/ready").status == 200).then_some(()));
    assert_eq!(gateway.get("/").text(), "localhost 0");
}

#[test]
fn nothing_is_verified_if_the_config_says_so() {
    let upstream = tls::upstream("stranger", false);
    let settings = "tls = { insecure = true, server_name = \"any.example\" }";
    let authorities = file("ca.pem").display().to_string();
    let checked = program::run_with(
        &to_upstream(upstream.address(), &format!("---\n{settings}")),
        &["check"],
        &[("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")],
    );
    assert_eq!(checked.code, Some(64));
    assert!(checked.stderr.contains("authorities cannot be read"), "{checked:?}");
    let config = to_upstream(upstream.address(), &format!("---\n{settings}"));
    let gateway = Gateway::start_with(&config, &[("SSL_CERT_FILE", &authorities)]);
    assert_eq!(gateway.get("/").text(), "any.example 0");
}

#[test]
fn the_system_s_authorities_are_trusted() {
    let upstream = tls::upstream("localhost", false);
    let config = to_upstream(upstream.address(), "---\ntls = true");
    let authorities = |name: &str| file(name).display().to_string();
    let gateway = Gateway::start_with(&config, &[("SSL_CERT_FILE", &authorities("ca.pem"))]);
    assert_eq!(gateway.get("/").status, 200);
    let gateway = Gateway::start_with(&config, &[("SSL_CERT_FILE", &authorities("stranger.pem"))]);
    gateway.get("/").is_problem(502);
    // Whoever needs none starts without any.
    let config = to_upstream(upstream.address(), &format!("---\n{}", trusting("")));
    let gateway =
        Gateway::start_with(&config, &[("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")]);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn the_gateway_shows_a_certificate() {
    let upstream = tls::upstream("localhost", true);
    let identity = |name: &str| {
        let (cert, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        trusting(&format!(", cert = {cert:?}, key = {key:?}"))
    };
    assert_eq!(in_front_of(upstream.address(), &identity("client")).get("/").text(), "nobody 1");
    in_front_of(upstream.address(), &identity("stranger")).get("/").is_problem(502);
    in_front_of(upstream.address(), &trusting("")).get("/").is_problem(502);
}

#[test]
fn one_server_may_be_spoken_to_in_several_ways() {
    let upstream = tls::upstream("localhost", false);
    let address = upstream.address();
    let gateway = Gateway::start(&format!(
        "[upstreams.good]\nservers = [\"{address}\"]\n{}\n[upstreams.bad]\nservers = [\"{address}\"]\ntls = {{ ca = {:?} }}\n\
         [[routes]]\nname = \"good\"\npath = \"/good\"\nupstream = \"good\"\n\
         [[routes]]\nname = \"bad\"\npath = \"/bad\"\nupstream = \"bad\"",
        trusting(""),
        file("stranger.pem"),
    ));
    for _ in 0..3 {
        assert_eq!(gateway.get("/good").status, 200);
        // A connection that somebody else trusts is not used again.
        gateway.get("/bad").is_problem(502);
    }
}

#[test]
fn an_upstream_that_speaks_no_tls() {
    let upstream = RawUpstream::start(|exchange| exchange.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    let gateway = in_front_of(upstream.address(), &trusting(""));
    gateway.get("/").is_problem(502);
    gateway.metric_becomes(&failed("tls"), 1.0);
}

#[test]
fn an_answer_that_breaks_off_is_not_taken_for_whole() {
    for (head, whole) in [
        // How long it is, only the end of the connection says; and that must be said in TLS.
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", true),
    ] {
        let upstream = tls::upstream_that_closes("localhost", format!("{head}half"), whole);
        let gateway = in_front_of(upstream.address(), &trusting(""));
        let mut client = Connection::open(gateway.address());
        let answer = client.try_send(request("GET", "/", &[]), "");
        let is_whole = whole && !head.contains("Length");
        assert_eq!(answer.is_ok(), is_whole, "{head}, {whole}: {answer:?}");
        let mut client = gateway.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let text = String::from_utf8(client.rest()).unwrap();
        assert_eq!(text.ends_with("\r\n0\r\n\r\n"), is_whole, "{text}");
    }
}

#[test]
fn http2_in_the_clear_and_by_choice() {
    let plain = Upstream::start(None);
    let gateway = in_front_of(plain.address(), "http2 = true");
    for n in 0..5 {
        let mut connection = gateway.connect();
        connection
            .send(format!("POST /echo?n={n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"));
        let response = connection.response();
        assert_eq!(response.text(), "hello");
        let seen = format!("POST http://a.example/echo?n={n} te=none host=none");
        assert_eq!(response.header("x-seen"), Some(seen.as_str()));
        // A request gives its connection back just after its answer; then the next one finds it.
        gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 0.0);
    }
    // Each of the gateway's two threads has its own.
    assert!((1..=2).contains(&plain.connections()), "{}", plain.connections());
    let encrypted = Upstream::start(Some(tls::server_config("localhost", false, &["h2"])));
    let gateway = in_front_of(encrypted.address(), &format!("http2 = true\n{}", trusting("")));
    let response = gateway.get_with("/echo", &[("Host", "a.example")]);
    assert_eq!(response.header("x-seen"), Some("GET https://a.example/echo te=none host=none"));
    // A server that prefers HTTP/1.1 gets it.
    let older = tls::upstream("localhost", false);
    let gateway = in_front_of(older.address(), &format!("http2 = true\n{}", trusting("")));
    assert_eq!(gateway.get("/").text(), "nobody 0");
}

#[test]
fn a_health_check_speaks_what_requests_speak() {
    let health = "[upstreams.main.health]\npath = \"/echo\"\ninterval = \"20ms\"\nunhealthy_after = 1";
    let up = r#"gateway_upstream_server_up{server="ADDRESS",upstream="main"}"#;
    let encrypted = Upstream::start(Some(tls::server_config("localhost", false, &["h2"])));
    let plain = Upstream::start(None);
    for (upstream, tls) in [(&encrypted, trusting("")), (&plain, String::new())] {
        let gateway = in_front_of(upstream.address(), &format!("http2 = true\n{tls}\n{health}"));
        let before = upstream.connections();
        eventually("several checks", || (upstream.connections() > before + 3).then_some(()));
        assert_eq!(gateway.metric(&up.replace("ADDRESS", &upstream.address().to_string())), 1.0);
        assert!(!gateway.log().contains("unhealthy"), "{}", gateway.log());
    }
    let gateway = in_front_of(
        encrypted.address(),
        &format!("http2 = true\ntls = {{ ca = {:?} }}\n{health}", file("stranger.pem")),
    );
    gateway.wait_for_log_line("unhealthy");
}

/// A gateway in front of a gRPC server, and a client of it.
#[track_caller]
fn grpc(settings: &str) -> (Upstream, Gateway, Connection) {
    let upstream = Upstream::start(None);
    let gateway = in_front_of(upstream.address(), &format!("http2 = true\n{settings}"));
    let client = Connection::open(gateway.address());
    (upstream, gateway, client)
}

const GRPC: [(&str, &str); 2] = [("te", "trailers"), ("content-type", "application/grpc")];

#[test]
fn a_unary_call() {
    let (_upstream, gateway, mut client) = grpc("");
    let response = client.send(request("POST", "/echo", &GRPC), "message");
    assert_eq!((response.status, response.text().as_str()), (200, "message"));
    assert_eq!(response.header("grpc-status"), Some("0"));
    assert_eq!(response.header("x-seen"), Some("POST http://localhost/echo te=trailers host=none"));
    // A refusal is a head alone.
    let response = client.send(request("POST", "/refuse", &GRPC), "message");
    assert_eq!((response.header("grpc-status"), response.body.len()), (Some("7"), 0));
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="POST",route="all"}"#, 2.0);
}

#[test]
fn a_caller_is_told_in_its_own_words_what_is_wrong() {
    let limit = "[limits.few]\nrate = \"1/h\"\nkey = \"client_ip\"";
    let (address, _held) = dead_address();
    let config = to_upstream(address, &format!("{limit}\n---\nhttp2 = true\n---\nlimits = [\"few\"]"));
    let gateway = Gateway::start(&config);
    let mut client = Connection::open(gateway.address());
    let mut call = |fields: &[(&str, &str)]| client.send(request("POST", "/", fields), "message");
    let told = |response: &Response| {
        let field = |name| response.header(name).unwrap_or_default().to_owned();
        (
            response.status,
            field("content-type"),
            field("grpc-status"),
            field("grpc-message"),
            response.body.len(),
        )
    };
    let told_by = |status: &str, message: &str| {
        (200, "application/grpc".to_owned(), status.to_owned(), message.to_owned(), 0)
    };
    assert_eq!(told(&call(&GRPC)), told_by("14", "the upstream takes no connections"));
    let refused = call(&GRPC);
    assert_eq!(told(&refused), told_by("8", "too many requests: try again in 3600 seconds"));
    assert_eq!(refused.header("retry-after"), Some("3600"));
    assert!(refused.header("ratelimit").is_some());
    call(&[]).is_problem(429);
    // The head ends the stream: that is how a caller knows that there are no trailers to come.
    let mut exchange = client.start(request("POST", "/", &GRPC), false);
    exchange.body.send_data("message".into(), true).unwrap();
    assert!(client.wait(exchange.response).unwrap().into_body().is_end_stream());
    // Logs and metrics say what any other client would have got.
    gateway.metric_becomes(r#"gateway_requests_total{code="429",method="POST",route="all"}"#, 3.0);
    let log = gateway.access_log(3);
    assert_eq!([&log[0]["status"], &log[1]["status"], &log[2]["status"]], [502, 429, 429]);
}

#[test]
fn a_call_that_streams_both_ways() {
    let (_upstream, _gateway, mut client) = grpc("");
    let mut exchange = client.start(request("POST", "/echo", &GRPC), false);
    let response = client.wait(exchange.response).unwrap();
    let mut body = response.into_body();
    for n in 0..10 {
        let piece = Bytes::from(format!("message {n}"));
        exchange.body.send_data(piece.clone(), false).unwrap();
        // Each message is back before the next is sent.
        assert_eq!(client.wait(body.data()).unwrap().unwrap(), piece);
    }
    exchange.body.send_data(Bytes::new(), true).unwrap();
    assert!(client.wait(body.data()).is_none());
    let trailers = client.wait(body.trailers()).unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
}

#[test]
fn calls_share_connections() {
    let (upstream, _gateway, mut client) = grpc("");
    let exchanges: Vec<_> = (0..50)
        .map(|n| {
            let mut exchange = client.start(request("POST", "/echo", &GRPC), false);
            exchange.body.send_data(Bytes::from(format!("{n}")), true).unwrap();
            exchange
        })
        .collect();
    for (n, exchange) in exchanges.into_iter().enumerate() {
        assert_eq!(client.wait(exchange.answer()).unwrap().text(), n.to_string());
    }
    let before = upstream.connections();
    for _ in 0..20 {
        assert_eq!(client.send(request("POST", "/echo", &GRPC), "x").text(), "x");
    }
    assert_eq!(upstream.connections(), before);
}

#[test]
fn an_upstream_that_breaks_off() {
    let (_upstream, gateway, mut client) = grpc("response_timeout = \"200ms\"");
    let mut exchange = client.start(request("POST", "/reset", &GRPC), false);
    let mut body = client.wait(exchange.response).unwrap().into_body();
    assert_eq!(client.wait(body.data()).unwrap().unwrap(), "half");
    exchange.body.send_data(Bytes::new(), true).unwrap();
    let error = client.wait(body.data()).unwrap().unwrap_err();
    assert!(error.is_reset(), "{error}");
    let late = client.send(request("POST", "/wait", &GRPC), "x");
    assert_eq!((late.status, late.header("grpc-status")), (200, Some("14")), "{late:?}");
    gateway.metric_becomes(&failed("response_timeout"), 1.0);
    assert_eq!(client.send(request("POST", "/echo", &GRPC), "x").text(), "x");
    let http1 = gateway.get("/echo");
    assert_eq!((http1.status, http1.body.len()), (200, 0));
}

#[test]
fn a_request_that_the_upstream_refused_unseen_is_sent_again() {
    let (_upstream, gateway, mut client) = grpc("");
    assert_eq!(client.send(request("POST", "/busy", &GRPC), "x").text(), "x");
    gateway.metric_becomes(r#"gateway_upstream_retries_total{upstream="main"}"#, 1.0);
}

#[test]
fn a_request_that_was_dropped_is_not_sent_to_the_same_server_again() {
    let (_upstream, gateway, mut client) = grpc("");
    assert_eq!(client.send(request("POST", "/echo", &GRPC), "x").text(), "x");
    for dropped in 1..=3 {
        client.send(request("GET", "/drop", &[]), "").is_problem(502);
        gateway.metric_becomes(&failed("closed"), dropped.into());
    }
    assert_eq!(gateway.metric(r#"gateway_upstream_retries_total{upstream="main"}"#), 0.0);
}

/// A server that goes away for an error when its first request comes, and says that this was the last stream which it looked at. It
/// answers all others.
fn going_away_after(last_stream: u8) -> RawUpstream {
    let gone = AtomicBool::new(false);
    RawUpstream::start(move |exchange| {
        let mut frames = Frames::accept(&exchange.socket);
        while let Some(head) = frames.next_of(&[HEADERS]) {
            exchange.note(&head.payload);
            let mut last = head.flags;
            while last & END_STREAM == 0 {
                let Some(piece) = frames.next_of(&[DATA]) else { return };
                last = piece.flags;
            }
            if !gone.swap(true, Ordering::SeqCst) {
                let enhance_your_calm = [0, 0, 0, last_stream, 0, 0, 0, 11];
                return frames.send(GOAWAY, 0, 0, &enhance_your_calm);
            }
            const STATUS_200: u8 = 0x88;
            frames.send(HEADERS, END_HEADERS | END_STREAM, head.stream, &[STATUS_200]);
        }
    })
}

#[test]
fn a_request_that_the_upstream_had_not_looked_at_when_it_went_away_is_sent_again() {
    let upstream = going_away_after(0);
    let gateway = in_front_of(upstream.address(), "http2 = true\nretries = 0");
    let post = http::request("POST", "/", &[], "once");
    assert_eq!(gateway.raw(post).status, 200);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn a_request_that_the_upstream_may_have_done_when_it_went_away_is_not_sent_twice() {
    let upstream = going_away_after(1);
    let gateway = in_front_of(upstream.address(), "http2 = true\nretries = 0");
    gateway.raw(http::request("POST", "/", &[], "once")).is_problem(502);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn a_connection_that_ends_with_all_its_streams_is_no_trouble_of_what_may_be_done_twice() {
    let upstream = going_away_after(1);
    let gateway = in_front_of(upstream.address(), "http2 = true\nretries = 0");
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(upstream.received().len(), 2);
}

#[test]
fn a_call_that_its_client_takes_back() {
    let (_upstream, gateway, mut client) = grpc("");
    let in_flight = r#"gateway_requests_in_flight{route="all"}"#;
    let mut exchange = client.start(request("POST", "/wait", &GRPC), true);
    gateway.metric_becomes(in_flight, 1.0);
    exchange.body.send_reset(Reason::CANCEL);
    gateway.metric_becomes(in_flight, 0.0);
    assert_eq!(client.send(request("POST", "/echo", &GRPC), "x").text(), "x");
}

#[test]
fn an_upstream_that_goes_away() {
    let first = Upstream::start(None);
    let address = first.address();
    let gateway = in_front_of(address, "http2 = true");
    assert_eq!(gateway.get("/echo").status, 200);
    drop(first);
    eventually("its connection is gone", || (gateway.get("/echo").status == 502).then_some(()));
}
