//! What the upstream receives of a request, and the client of its answer.

use mock_backend::MockBackend;
use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::RawUpstream;
use crate::support::{forwarding, to_upstream};

/// The values that the mock backend received of a header field.
fn received<'a>(echo: &'a Value, name: &str) -> Vec<&'a str> {
    let fields = echo["headers"].as_array().unwrap();
    fields.iter().filter(|field| field[0] == name).map(|field| field[1].as_str().unwrap()).collect()
}

#[test]
fn a_request_is_forwarded_and_its_answer_comes_back() {
    let (gateway, backend) = forwarding("");
    let response = gateway.get("/users");
    assert_eq!(response.status, 200);
    assert!(response.json().is_array());
    assert_eq!(response.header("server"), Some("gateway"));
    assert_eq!(response.header("x-backend"), Some("mock"));
    assert_eq!(backend.count(), 1);
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 1.0);
}

#[test]
fn method_target_fields_and_body_arrive_as_they_were_sent() {
    let (gateway, _backend) = forwarding("");
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        let fields = [("X-Custom", "a, b"), ("Cookie", "c=d"), ("Host", "shop.example:8000")];
        let echo = gateway.raw(request(method, "/echo/a?x=%2f&y=/../&z", &fields, "the body")).json();
        assert_eq!(echo["method"], method);
        assert_eq!(echo["target"], "/echo/a?x=%2f&y=/../&z");
        assert_eq!(echo["body"], "the body");
        assert_eq!(echo["authority"], "shop.example:8000");
        assert_eq!(received(&echo, "x-custom"), ["a, b"]);
        assert_eq!(received(&echo, "cookie"), ["c=d"]);
    }
}

#[test]
fn the_upstream_receives_the_normalised_path() {
    let (gateway, backend) = forwarding("");
    for (sent, normal) in [
        ("/echo/a/./b/../c", "/echo/a/c"),
        ("/echo//a///b", "/echo/a/b"),
        ("/echo/%7euser/%41", "/echo/~user/A"),
        ("/echo/%e2%82%ac", "/echo/%E2%82%AC"),
        ("/echo/a%20b", "/echo/a%20b"),
        ("/users/../echo/x?q=/../", "/echo/x?q=/../"),
        ("http://localhost/echo/y", "/echo/y"),
    ] {
        assert_eq!(gateway.get(sent).json()["target"], normal, "{sent}");
    }
    assert_eq!(backend.count(), 7);
}

#[test]
fn fields_that_concern_one_connection_go_no_further() {
    let (gateway, _backend) = forwarding("");
    let fields = [
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Upgrade-Insecure-Requests", "1"),
    ];
    let echo = gateway.get_with("/echo", &fields).json();
    for name in ["x-hop", "keep-alive", "proxy-connection", "te", "proxy-authorization"] {
        assert_eq!(received(&echo, name), [""; 0], "{name} in {echo}");
    }
    assert!(!received(&echo, "connection").iter().any(|value| value.contains("X-Hop")), "{echo}");
    assert_eq!(received(&echo, "upgrade-insecure-requests"), ["1"]);

    let upstream = RawUpstream::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\n\r\nok",
    );
    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    let response = gateway.get("/");
    for name in ["x-hop", "keep-alive", "proxy-connection", "proxy-authenticate"] {
        assert!(response.headers.iter().all(|(other, _)| other != name), "{name} in {response:?}");
    }
    assert!(response.header("connection").is_none_or(|value| value == "keep-alive"), "{response:?}");
    assert_eq!(response.header("x-kept"), Some("1"));
    assert_eq!(response.text(), "ok");
}

#[test]
fn the_upstream_is_told_who_asks_and_forged_claims_are_dropped() {
    let (gateway, _backend) = forwarding("");
    let forged = [
        ("Host", "shop.example"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "1"),
        ("X-Real-IP", "6.6.6.6"),
        ("Forwarded", "for=6.6.6.6"),
        ("X-Request-Id", "forged"),
    ];
    let response = gateway.get_with("/echo", &forged);
    let echo = response.json();
    assert_eq!(received(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received(&echo, "x-forwarded-proto"), ["http"]);
    assert_eq!(received(&echo, "x-forwarded-host"), ["shop.example"]);
    for name in ["x-forwarded-port", "x-real-ip", "forwarded"] {
        assert_eq!(received(&echo, name), [""; 0], "{name}");
    }
    let id = received(&echo, "x-request-id");
    assert_eq!(id.len(), 1);
    assert!(id[0].len() == 32 && id[0].bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
    assert_eq!(response.header("x-request-id"), Some(id[0]));
    assert_ne!(gateway.get("/echo").header("x-request-id"), Some(id[0]));
}

#[test]
fn a_route_changes_fields_both_ways() {
    let settings = r#"
        ---
        ---
        request_headers = { set = { X-Env = "prod", User-Agent = "gateway" }, remove = ["X-Debug"] }
        response_headers = { set = { Cache-Control = "no-store" }, remove = ["X-Backend"] }
    "#;
    let (gateway, _backend) = forwarding(settings);
    let response = gateway.get_with("/echo", &[("X-Debug", "1"), ("X-Env", "test"), ("User-Agent", "x")]);
    let echo = response.json();
    assert_eq!(received(&echo, "x-env"), ["prod"]);
    assert_eq!(received(&echo, "user-agent"), ["gateway"]);
    assert_eq!(received(&echo, "x-debug"), [""; 0]);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("x-backend"), None);
}

#[test]
fn the_server_field_is_the_gateways_or_nobodys() {
    let upstream =
        RawUpstream::answering("HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nContent-Length: 0\r\n\r\n");
    let gateway = Gateway::start(&to_upstream(upstream.address(), "server_header = \"edge\""));
    assert_eq!(gateway.get("/").header("server"), Some("edge"));
    let gateway = Gateway::start(&to_upstream(upstream.address(), "server_header = \"\""));
    assert!(gateway.get("/").headers.iter().all(|(name, _)| name != "server"));
    assert!(gateway.get("/a%2fb").headers.iter().all(|(name, _)| name != "server"));
}

#[test]
fn every_status_passes_through() {
    let (gateway, _backend) = forwarding("");
    for status in [200, 201, 204, 301, 304, 400, 404, 418, 429, 500, 503] {
        let response = gateway.get(&format!("/status/{status}"));
        assert_eq!(response.status, status);
        assert_ne!(response.header("content-type"), Some("application/problem+json; by=gateway"));
    }
}

#[test]
fn a_head_request_has_the_fields_of_get_and_no_body() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    connection.send(request("HEAD", "/bytes/1000", &[], ""));
    let head = connection.response_head();
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
    // Nothing of a body stands between this answer and the next.
    assert_eq!(connection.get("/bytes/3").text(), "012");

    // Nor does an answer of the gateway's own have one.
    connection.send(request("HEAD", "/a%2fb", &[], ""));
    let head = connection.response_head();
    assert_eq!(head.status, 400);
    assert_ne!(head.header("content-length"), Some("0"));
    assert_eq!(connection.get("/bytes/3").text(), "012");
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    for n in 1..20 {
        assert_eq!(connection.get(&format!("/bytes/{n}")).body.len(), n);
    }
    assert_eq!(gateway.metric("gateway_connections{listener=\"{}\"}"), 0.0);
    let listener = format!("gateway_connections{{listener=\"{}\"}}", gateway.address());
    assert_eq!(gateway.metric(&listener), 1.0);
    drop(connection);
    gateway.metric_becomes(&listener, 0.0);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let (gateway, backend) = forwarding("");
    let mut connection = gateway.connect();
    let mut requests = String::new();
    for n in 1..=10 {
        requests += &request("POST", &format!("/echo/{n}"), &[], &"x".repeat(n));
    }
    connection.send(requests);
    for n in 1..=10 {
        let echo = connection.response().json();
        assert_eq!(
            (echo["target"].as_str(), echo["body_length"].as_u64()),
            (Some(&*format!("/echo/{n}")), Some(n))
        );
    }
    assert_eq!(backend.count(), 10);
}

#[test]
fn a_client_of_http_1_0_is_served_and_its_connection_closed() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    connection.send("GET /echo/old HTTP/1.0\r\n\r\n");
    let response = connection.response();
    assert_eq!(response.status, 200);
    let echo = response.json();
    assert_eq!(echo["target"], "/echo/old");
    assert_eq!(echo["version"], "HTTP/1.1");
    assert!(connection.is_closed());
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    connection.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.response_head().status, 100);
    connection.send("hello");
    assert_eq!(connection.response().json()["body"], "hello");
    // Whoever will not be served is told so before it sends anything.
    let mut connection = gateway.connect();
    connection.send("POST /a%2fb HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    connection.response().is_problem(400);
}

#[test]
fn servers_take_turns_by_their_weights() {
    let backends = ["one", "two"].map(|name| MockBackend::builder().name(name).start_blocking().unwrap());
    let config = format!(
        r#"
        [upstreams.two]
        servers = [{{ address = "{}", weight = 3 }}, "{}"]
        [[routes]]
        name = "all"
        path = "/*"
        upstream = "two"
        "#,
        backends[0].addr(),
        backends[1].addr()
    );
    let gateway = Gateway::start(&config);
    let mut connection = gateway.connect();
    for _ in 0..40 {
        assert_eq!(connection.get("/users").status, 200);
    }
    assert_eq!(backends.map(|backend| backend.count()), [30, 10]);
}

#[test]
fn a_server_can_be_given_by_name() {
    let backend = MockBackend::start_blocking().unwrap();
    let config = format!(
        r#"
        [upstreams.named]
        servers = ["localhost:{}"]
        [[routes]]
        name = "all"
        path = "/*"
        upstream = "named"
        "#,
        backend.addr().port()
    );
    let gateway = Gateway::start(&config);
    crate::support::eventually("the name is resolved", || {
        (gateway.admin_get("/ready").status == 200).then_some(())
    });
    // `localhost` may be ::1 as well, where nobody listens: what counts is that the name leads somewhere.
    crate::support::eventually("an answer", || (gateway.get("/users").status == 200).then_some(()));
}

#[test]
fn what_browsers_and_scanners_send_passes_escaped() {
    let (gateway, _backend) = forwarding("");
    for (target, sent) in [
        (&b"/echo/<a>?q=\"b\""[..], "/echo/%3Ca%3E?q=%22b%22"),
        (b"/echo/`?<script>", "/echo/%60?%3Cscript%3E"),
        (b"/echo/\xc3\xa9?\xff", "/echo/%C3%A9?%FF"),
        (b"http://a:80/echo/\"", "/echo/%22"),
        (b"/echo/{a}|^?{a}|^\\", "/echo/%7Ba%7D%7C%5E?%7Ba%7D%7C%5E%5C"),
    ] {
        let text = [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(gateway.raw(text).json()["target"], sent);
    }
    let log = gateway.access_log(5);
    assert_eq!(log[0]["path"], "/echo/%3Ca%3E?q=%22b%22");
}

#[test]
fn what_is_odd_but_harmless_is_taken() {
    let (gateway, backend) = forwarding("");
    for text in [
        "\r\n\r\nGET /users HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:80/users HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/users HTTP/1.1\r\nHost: A:80\r\n\r\n",
        "GET https://a:443/users HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /users HTTP/1.1\r\nHost: a=b\r\n\r\n",
    ] {
        assert_eq!(gateway.raw(text).status, 200, "{text}");
    }
    let served = backend.count();
    let response = gateway.raw("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((response.status, response.header("allow").is_some()), (204, true));
    let response = gateway.raw("GET /users HTTP/1.1\r\nHost: a\r\nExpect: junk\r\n\r\n");
    response.is_problem(417);
    assert_eq!(backend.count(), served, "neither is for the upstream");
    let log = gateway.access_log(7);
    for status in [204, 417] {
        assert_eq!(log.iter().filter(|line| line["status"] == status).count(), 1, "{log:?}");
    }
}
