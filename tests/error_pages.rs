//! Pages of the configuration in the place of the gateway's own words.

use std::fs;

use mock_backend::MockBackend;

use crate::support::gateway::{Gateway, TOKEN};
use crate::support::http::{Response, request};
use crate::support::upstream::dead_address;
use crate::support::{eventually, forwarding, http2};

/// A page of HTML for every error, and a limit of one request.
const PAGES: &str = r#"
[errors]
4xx = { body = "<p>{{status}} {{title}}: {{detail}} ({{limit}}, {{retry_after}}, {{request_id}}) {{{{ }}", content_type = "text/html; charset=utf-8" }
404 = { body = "{\"error\": \"{{detail}}\", \"id\": \"{{request_id}}\"}", content_type = "application/json" }
5xx = { body = "down" }
[limits.one]
rate = "1/h"
key = "global"
"#;

/// What an answer says of its body.
fn kind(response: &Response) -> (u16, &str, Option<&str>) {
    (response.status, response.header("content-type").unwrap(), response.header("vary"))
}

#[test]
fn a_refusal_is_told_on_a_page_and_its_fields_stay() {
    let (gateway, _backend) = forwarding(&format!("{PAGES}---\n---\nlimits = [\"one\"]"));
    assert_eq!(gateway.get("/users").status, 200);
    let refused = gateway.get("/users");
    assert_eq!(kind(&refused), (429, "text/html; charset=utf-8", Some("Accept")));
    let (id, wait) = (refused.header("x-request-id").unwrap(), refused.header("retry-after").unwrap());
    assert_eq!(
        refused.text(),
        format!(
            "<p>429 Too Many Requests: too many requests: try again in {wait} seconds (one, {wait}, {id}) {{{{ }}}}"
        )
    );
    assert!(refused.header("ratelimit").is_some(), "{refused:?}");
    // The connection goes on, and `HEAD` says the same length.
    let mut connection = gateway.connect();
    connection.send(request("HEAD", "/users", &[], ""));
    let head = connection.response_head();
    connection.send(request("GET", "/users", &[], ""));
    let whole = connection.response();
    assert_eq!((head.status, head.header("content-type")), (429, Some("text/html; charset=utf-8")));
    assert_eq!(head.header("content-length").unwrap(), whole.body.len().to_string());
    assert_eq!(gateway.access_log(4)[1]["status"], 429);
}

#[test]
fn programs_get_problem_json_and_callers_of_grpc_their_status() {
    let (gateway, _backend) = forwarding(&format!("{PAGES}---\n---\nlimits = [\"one\"]"));
    assert_eq!(gateway.get("/users").status, 200);
    for accept in ["application/json", "application/json, text/plain, */*", "text/html;q=0, */*"] {
        let refused = gateway.get_with("/users", &[("Accept", accept)]);
        refused.is_problem(429);
        assert_eq!(refused.header("vary"), Some("Accept"), "{accept}");
    }
    for accept in ["*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"] {
        let refused = gateway.get_with("/users", &[("Accept", accept)]);
        assert_eq!(kind(&refused), (429, "text/html; charset=utf-8", Some("Accept")), "{accept}");
    }
    let mut client = http2::Connection::open(gateway.address());
    let call = [("content-type", "application/grpc"), ("te", "trailers")];
    let refused = client.send(http2::request("POST", "/users", &call), "");
    assert_eq!((refused.header("grpc-status"), refused.body.len()), (Some("8"), 0));
    assert_eq!(refused.header("vary"), None);
    assert_eq!(kind(&client.get("/users")), (429, "text/html; charset=utf-8", Some("Accept")));
}

#[test]
fn what_the_gateway_itself_says_has_pages_and_what_upstreams_say_stays() {
    let backend = MockBackend::start_blocking().unwrap();
    let (dead, _held) = dead_address();
    let gateway = Gateway::start(&format!(
        r#"
        {PAGES}
        [upstreams.main]
        servers = ["{}"]
        [upstreams.dead]
        servers = ["{dead}"]
        [[routes]]
        name = "status"
        path = "/status/*"
        upstream = "main"
        [[routes]]
        name = "upload"
        path = "/upload"
        upstream = "main"
        max_body_size = 3
        [[routes]]
        name = "dead"
        path = "/dead"
        upstream = "dead"
        [[routes]]
        name = "own"
        path = "/own"
        respond = {{ status = 503, body = "as it is" }}
        "#,
        backend.addr()
    ));
    let upstreams = gateway.get("/status/404");
    assert_eq!(upstreams.status, 404);
    assert!(!upstreams.text().contains("\"error\""), "{upstreams:?}");
    assert_eq!(gateway.get("/own").text(), "as it is");
    let none = gateway.get("/nowhere");
    assert_eq!(kind(&none), (404, "application/json", None));
    assert_eq!(none.json()["id"], none.header("x-request-id").unwrap());
    assert!(none.json()["error"].as_str().is_some_and(|text| text.contains("no route")), "{none:?}");
    // Pages that are no HTML go to everybody.
    assert_eq!(kind(&gateway.get_with("/nowhere", &[("Accept", "text/html")])), kind(&none));
    let down = gateway.get("/dead");
    assert_eq!((kind(&down), down.text()), ((502, "text/plain; charset=utf-8", None), "down".to_owned()));
    // One that is found out while its body is on the way to the upstream.
    let chunks =
        "POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let large = gateway.raw(chunks);
    assert_eq!(kind(&large), (413, "text/html; charset=utf-8", Some("Accept")));
    assert_eq!(gateway.get("/a%00").status, 400);
    // A head that cannot be read never became a request.
    gateway.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").is_problem(400);
}

#[test]
fn pages_of_a_route_go_before_those_of_the_file() {
    let route = |name: &str, errors: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nmethods = [\"POST\"]\nrespond = {{}}\nmax_body_size = 0\n{errors}\n"
        )
    };
    let gateway = Gateway::start(&format!(
        "[errors]\n413 = {{ body = \"file 413\" }}\n4xx = {{ body = \"file 4xx\" }}\n{}{}{}",
        route("general", ""),
        route("shop", "errors = { 4xx = { body = \"shop 4xx\" } }"),
        route("api", "errors = false"),
    ));
    let post = |target: &str| gateway.raw(request("POST", target, &[], "x"));
    assert_eq!(post("/general").text(), "file 413");
    assert_eq!(post("/shop").text(), "shop 4xx");
    post("/api").is_problem(413);
    assert_eq!(gateway.get("/shop").text(), "file 4xx", "without a route that takes the method");
}

#[test]
fn a_page_is_read_again_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("404.html");
    fs::write(&file, "first {{status}}").unwrap();
    let config = format!(
        "[errors]\n404 = {{ file = {file:?} }}\n[[routes]]\nname = \"a\"\npath = \"/a\"\nrespond = {{}}"
    );
    let gateway = Gateway::start_with_admin(&format!("watch = true\n{config}"), "token = \"t\"");
    let page = || gateway.get("/").text();
    assert_eq!(page(), "first 404");
    fs::write(&file, "second {{status}}").unwrap();
    eventually("the page has changed", || (page() == "second 404").then_some(()));
    fs::write(&file, "third\n {{stats}}").unwrap();
    let refused = gateway.post_reload(&TOKEN);
    assert_eq!((refused.status, page()), (422, "second 404".to_owned()));
    assert!(refused.text().contains("404.html:2:2: there is no placeholder"), "{}", refused.text());
    fs::remove_file(&file).unwrap();
    assert_eq!((gateway.post_reload(&TOKEN).status, page()), (422, "second 404".to_owned()));
    fs::write(&file, "fourth").unwrap();
    eventually("the page is there again", || (page() == "fourth").then_some(()));
}
