//! What a browser is told about scripts of other origins.

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::to_upstream;
use crate::support::upstream::RawUpstream;

const APP: (&str, &str) = ("Origin", "https://app.example");

/// A gateway that admits one request, whose route lets this origin in.
fn letting_in(backend: &MockBackend, route: &str) -> Gateway {
    Gateway::start(&to_upstream(
        backend.addr(),
        &format!("[limits.one]\nrate = \"1/h\"\nkey = \"global\"\n---\n---\nlimits = [\"one\"]\n{route}"),
    ))
}

fn preflight(gateway: &Gateway, origin: &str, method: &str) -> Response {
    let fields = [("Origin", origin), ("Access-Control-Request-Method", method)];
    gateway.raw(request("OPTIONS", "/echo", &fields, ""))
}

/// The fields of the protocol that an answer has.
fn cors(response: &Response) -> Vec<(&str, &str)> {
    let fields = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut fields: Vec<_> = fields
        .filter_map(|(name, value)| {
            let short = name.strip_prefix("access-control-").or((name == "vary").then_some("vary"))?;
            Some((short, value))
        })
        .collect();
    fields.sort_unstable();
    fields
}

#[test]
fn a_preflight_is_answered_here_and_costs_nothing() {
    let backend = MockBackend::start_blocking().unwrap();
    let route = r#"
        methods = ["GET", "PUT"]
        cors = { origins = ["https://app.example"], headers = ["X-A"], credentials = true, max_age = "1h" }
        response_headers = { set = { X-Of-The-Route = "1" } }
    "#;
    let gateway = letting_in(&backend, route);
    for _ in 0..3 {
        let response = preflight(&gateway, "https://app.example", "PUT");
        assert_eq!((response.status, response.header("content-length")), (204, None));
        assert_eq!(
            cors(&response),
            [
                ("allow-credentials", "true"),
                ("allow-headers", "X-A"),
                ("allow-methods", "GET, PUT"),
                ("allow-origin", "https://app.example"),
                ("max-age", "3600"),
                ("vary", "Origin"),
            ]
        );
        assert_eq!((response.header("x-of-the-route"), response.header("ratelimit")), (None, None));
    }
    let response = preflight(&gateway, "https://evil.example", "PUT");
    assert_eq!((response.status, cors(&response)), (204, vec![("vary", "Origin")]));
    // Neither of these asks for permission.
    preflight(&gateway, "https://app.example", "DELETE").is_problem(405);
    gateway.raw(request("OPTIONS", "/echo", &[APP], "")).is_problem(405);
    assert_eq!(backend.count(), 0);
    gateway.metric_becomes(r#"gateway_requests_total{code="204",method="OPTIONS",route="all"}"#, 4.0);
    assert_eq!(gateway.get("/echo").status, 200, "the token is still there");
}

#[test]
fn a_connection_goes_on_after_a_preflight() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = letting_in(&backend, r#"cors = { origins = ["*"] }"#);
    let mut connection = gateway.connect();
    let fields = [APP, ("Access-Control-Request-Method", "POST")];
    connection.send(request("OPTIONS", "/echo", &fields, ""));
    let response = connection.response();
    assert_eq!(
        cors(&response),
        [("allow-methods", "GET, HEAD, POST"), ("allow-origin", "*"), ("max-age", "600")]
    );
    assert_eq!(connection.get_with("/echo", &[APP]).status, 200);
}

#[test]
fn answers_refusals_and_errors_can_be_read() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway =
        letting_in(&backend, r#"cors = { origins = ["https://app.example"], expose = ["X-Backend"] }"#);
    let expected = [
        ("allow-origin", "https://app.example"),
        ("expose-headers", "X-Backend, RateLimit, RateLimit-Policy, Retry-After"),
        ("vary", "Origin"),
    ];
    let response = gateway.get_with("/echo", &[APP]);
    assert_eq!((response.status, cors(&response)), (200, expected.to_vec()));
    let response = gateway.get_with("/echo", &[APP]);
    response.is_problem(429);
    assert_eq!(cors(&response), expected);
    let response = gateway.get_with("/echo", &[("Origin", "https://evil.example")]);
    assert_eq!((response.status, cors(&response)), (429, vec![("vary", "Origin")]));
    assert_eq!(cors(&gateway.get("/echo")), [("vary", "Origin")]);

    let (dead, _held) = crate::support::upstream::dead_address();
    let gateway = Gateway::start(&to_upstream(dead, "---\n---\ncors = { origins = [\"*\"] }"));
    let response = gateway.get_with("/", &[APP]);
    response.is_problem(502);
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn what_the_upstream_says_to_browsers_is_replaced() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\n\
        Access-Control-Allow-Credentials: true\r\nAccess-Control-Private: 1\r\n\r\n";
    let upstream = RawUpstream::answering(answer);
    let settings = "---\n---\ncors = { origins = [\"https://app.example\"] }";
    let gateway = Gateway::start(&to_upstream(upstream.address(), settings));
    let response = gateway.get_with("/", &[("Origin", "https://evil.example")]);
    assert_eq!(cors(&response), [("vary", "Accept"), ("vary", "Origin")]);
    let response = gateway.get_with("/", &[APP]);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(response.header("access-control-allow-credentials"), None);

    let gateway = Gateway::start(&to_upstream(upstream.address(), ""));
    assert_eq!(cors(&gateway.get("/")).len(), 4, "without `cors` it passes");
    let asked = preflight(&gateway, "https://app.example", "PUT");
    assert_eq!(asked.status, 200, "the upstream is asked");
}

#[test]
fn all_origins_below_a_domain_can_be_let_in() {
    let backend = MockBackend::start_blocking().unwrap();
    let route = "cors = { origins = [\"https://*.app.example\"], credentials = true }";
    let gateway = letting_in(&backend, route);
    for (origin, admitted) in [
        ("https://a.b.app.example", true),
        ("https://app.example", false),
        ("https://evilapp.example", false),
        ("https://a.app.example.evil", false),
        ("https://*.app.example", false),
    ] {
        let answer = preflight(&gateway, origin, "POST");
        let told = cors(&answer).contains(&("allow-origin", origin));
        assert_eq!(told, admitted, "{origin}");
        assert!(cors(&answer).contains(&("vary", "Origin")), "{:?}", answer.headers);
    }
}
