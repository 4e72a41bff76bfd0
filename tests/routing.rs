//! Which route a request takes, and what a route can do other than forward.

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};

/// A gateway with these routes, which may name the upstream `main`, a mock backend.
fn routed(routes: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let config = format!("[upstreams.main]\nservers = [\"{}\"]\n{routes}", backend.addr());
    (Gateway::start(&config), backend)
}

/// A route that says which it is.
fn saying(name: &str, rest: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\n{rest}\nrespond = {{ status = 200, body = \"{name}\" }}\n")
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let mut routes = [
        saying("any", r#"path = "/*""#),
        saying("users", r#"path = "/users/*""#),
        saying("user", r#"path = "/users/{id}""#),
        saying("me", r#"path = "/users/me""#),
        saying("scripts", r#"path = "/users/*.js""#),
        saying("maps", r#"path = "/users/*.map.js""#),
        saying("pages", r#"path = "/*.php""#),
        saying("writes", "path = \"/users/{id}\"\nmethods = [\"PUT\", \"POST\"]"),
        saying("wild", "path = \"/*\"\nhosts = [\"*.example.com\"]"),
        saying("exact", "path = \"/*\"\nhosts = [\"api.example.com\"]"),
    ];
    for _ in 0..2 {
        let (gateway, _backend) = routed(&routes.concat());
        let ask = |method: &str, host: &str, target: &str| -> String {
            gateway.raw(request(method, target, &[("Host", host)], "")).text()
        };
        assert_eq!(ask("GET", "other", "/"), "any");
        assert_eq!(ask("GET", "other", "/users"), "users");
        assert_eq!(ask("GET", "other", "/users/7/orders"), "users");
        assert_eq!(ask("GET", "other", "/users/7"), "user");
        assert_eq!(ask("GET", "other", "/users/me"), "me");
        assert_eq!(ask("PUT", "other", "/users/7"), "writes");
        // An ending goes before a plain `*` at the same place, and what is more specific further to the left goes before both.
        assert_eq!(ask("GET", "other", "/users/7/a.js"), "scripts");
        assert_eq!(ask("GET", "other", "/users/7/a.map.js?v=1.css"), "maps");
        assert_eq!(ask("GET", "other", "/users/a.js"), "user");
        assert_eq!(ask("GET", "other", "/users/7/index.php"), "users");
        assert_eq!(ask("GET", "other", "/a/index.%70hp"), "pages");
        assert_eq!(ask("GET", "other", "/a/index.php/info"), "any");
        assert_eq!(ask("GET", "a.b.example.com", "/users/me"), "wild");
        assert_eq!(ask("GET", "API.example.com:8000", "/users/me"), "exact");
        assert_eq!(ask("GET", "other", "/x/../users/./me"), "me");
        assert_eq!(ask("GET", "other", "/%75sers//me"), "me");
        routes.reverse();
    }
}

#[test]
fn a_route_by_field_or_parameter_takes_what_has_it_once() {
    let routes = [
        saying("all", r#"path = "/a""#),
        saying("two", "path = \"/a\"\nheaders = { X-Version = \"2\" }"),
        saying("beta", "path = \"/a\"\nheaders = { X-Version = true }\nquery = { beta = \"1\" }"),
    ];
    // What stands before the first table is of [server].
    let gateway = Gateway::start(&format!("underscores_in_headers = true\n{}", routes.concat()));
    let ask = |target: &str, fields: &[(&str, &str)]| {
        let fields = [&[("Host", "a")], fields].concat();
        gateway.raw(request("GET", target, &fields, ""))
    };
    for (target, fields, route) in [
        ("/a", &[][..], "all"),
        ("/a", &[("X-Version", "1")], "all"),
        ("/a", &[("x-version", "2 ")], "two"),
        ("/a", &[("X_Version", "2")], "all"),
        ("/a", &[("X-Version", "1"), ("X_Version", "2")], "all"),
        ("/a", &[("X-Version", "2"), ("Connection", "X-Version")], "all"),
        ("/a?beta=1", &[("X-Version", "2")], "beta"),
        ("/a?b%65ta=%31", &[("X-Version", "7")], "beta"),
        ("/a?beta=1", &[], "all"),
    ] {
        assert_eq!(ask(target, fields).text(), route, "{target} {fields:?}");
    }
    for (target, fields) in [
        ("/a", &[("X-Version", "2"), ("X-Version", "2")][..]),
        ("/a", &[("X-Version", "1"), ("x-version", "2")]),
        ("/a?beta=1&beta=2", &[("X-Version", "2")]),
        ("/a?x;beta=1", &[("X-Version", "2")]),
    ] {
        ask(target, fields).is_problem(400);
    }
    ask("/none", &[("X-Version", "1"), ("x-version", "2")]).is_problem(404);
}

#[test]
fn what_no_route_matches_is_not_found() {
    let (gateway, backend) =
        routed("[[routes]]\nname = \"r\"\nhosts = [\"known.example\"]\npath = \"/a\"\nupstream = \"main\"\n");
    gateway.get_with("/a", &[("Host", "unknown.example")]).is_problem(404);
    gateway.get_with("/b", &[("Host", "known.example")]).is_problem(404);
    gateway.get_with("/a/", &[("Host", "known.example")]).is_problem(404);
    assert_eq!(backend.count(), 0);
    gateway.metric_becomes(r#"gateway_requests_total{code="404",method="GET",route=""}"#, 3.0);
}

#[test]
fn a_method_that_no_route_takes_is_told_which_are() {
    let (gateway, backend) = routed(
        "[[routes]]\nname = \"r\"\npath = \"/a\"\nmethods = [\"GET\", \"POST\"]\nupstream = \"main\"\n",
    );
    let response = gateway.raw(request("DELETE", "/a", &[], ""));
    response.is_problem(405);
    assert_eq!(response.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_path_is_rewritten_on_its_way_upstream() {
    let (gateway, _backend) = routed(
        r#"
        [[routes]]
        name = "stripped"
        path = "/api/v1/*"
        upstream = "main"
        strip_prefix = "/api/v1"
        [[routes]]
        name = "rewritten"
        path = "/people/{id}/orders"
        upstream = "main"
        rewrite = "/echo/orders/{id}"
        [[routes]]
        name = "rest"
        path = "/debug/*"
        upstream = "main"
        rewrite = "/echo/deep/*"
        "#,
    );
    let target = |sent: &str| gateway.get(sent).json()["target"].as_str().unwrap().to_owned();
    assert_eq!(target("/api/v1/echo/a?b=c"), "/echo/a?b=c");
    assert_eq!(target("/people/7%2e1/orders?x"), "/echo/orders/7.1?x");
    assert_eq!(target("/debug/a/b?x=/y"), "/echo/deep/a/b?x=/y");
    assert_eq!(target("/debug/../api/v1//echo/a"), "/echo/a");
    // What is left of a prefix is a path.
    assert_eq!(gateway.get("/api/v1").status, 404);
    assert_eq!(gateway.get("/api/v1").header("x-backend"), Some("mock"));
}

fn location(response: &Response) -> (u16, &str) {
    (response.status, response.header("location").unwrap())
}

#[test]
fn a_route_can_redirect() {
    let (gateway, _backend) = routed(
        r#"
        [[routes]]
        name = "moved"
        path = "/old/*"
        redirect = { to = "/new/*", status = 308 }
        [[routes]]
        name = "elsewhere"
        path = "/go/{where}"
        redirect = { to = "https://example.com/{where}", status = 302 }
        "#,
    );
    assert_eq!(location(&gateway.get("/old/a/b?c=d")), (308, "/new/a/b?c=d"));
    gateway.get("/old/%0a%0dx").is_problem(400);
}

#[test]
fn a_redirect_leads_where_the_config_says() {
    let (gateway, _backend) = routed(
        r#"
        [[routes]]
        name = "elsewhere"
        path = "/go/{where}"
        redirect = { to = "https://example.com/{where}", status = 302 }
        [[routes]]
        name = "rest"
        path = "/r/*"
        redirect = { to = "/*" }
        "#,
    );
    assert_eq!(location(&gateway.get("/go/@evil.example")), (302, "https://example.com/@evil.example"));
    assert_eq!(location(&gateway.get("/r//evil.example/x")), (308, "/evil.example/x"));
    let mut connection = gateway.connect();
    assert_eq!(location(&connection.get("/go/a")).0, 302);
    assert_eq!(location(&connection.get("/go/b")).0, 302, "the connection stays open");
}

#[test]
fn a_route_can_answer_by_itself() {
    let (gateway, backend) = routed(
        r#"
        [[routes]]
        name = "teapot"
        path = "/teapot"
        respond = { status = 418, body = "short and stout\n", content_type = "text/x-tea" }
        response_headers = { set = { X-Tea = "green" } }
        [[routes]]
        name = "nothing"
        path = "/nothing"
        respond = { status = 204 }
        "#,
    );
    let mut connection = gateway.connect();
    let response = connection.get("/teapot");
    assert_eq!((response.status, response.text().as_str()), (418, "short and stout\n"));
    assert_eq!(response.header("content-type"), Some("text/x-tea"));
    assert_eq!(response.header("x-tea"), Some("green"));
    let response = connection.get("/nothing");
    assert_eq!((response.status, response.header("content-length")), (204, None));
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_route_can_keep_encoded_slashes() {
    let (gateway, backend) = routed(
        "[limits.by_path]\nrate = \"3/h\"\nkey = \"path\"\n\
         [[routes]]\nname = \"packages\"\npath = \"/echo/p/{name}\"\nupstream = \"main\"\nencoded_slashes = \"keep\"\n\
         [[routes]]\nname = \"below\"\npath = \"/echo/b/*\"\nupstream = \"main\"\nencoded_slashes = \"keep\"\n\
         [[routes]]\nname = \"rewritten\"\npath = \"/r/{name}/*\"\nupstream = \"main\"\nencoded_slashes = \"keep\"\n\
         rewrite = \"/echo/{name}../*\"\n\
         [[routes]]\nname = \"limited\"\npath = \"/echo/l/*\"\nupstream = \"main\"\nencoded_slashes = \"keep\"\n\
         limits = [\"by_path\"]\n\
         [[routes]]\nname = \"others\"\npath = \"/echo/*\"\nupstream = \"main\"\n",
    );
    let target = |path: &str| gateway.get(path).json()["target"].as_str().unwrap().to_owned();
    assert_eq!(target("/echo/p/@scope%2Fname?a=%2f"), "/echo/p/@scope%2Fname?a=%2f");
    assert_eq!(target("/echo/p/@scope%2fname"), "/echo/p/@scope%2Fname");
    assert_eq!(target("/echo/b/%2F/q%2Fr"), "/echo/b/%2F/q%2Fr");
    assert_eq!(target("/r/a%2Fb/c%2Fd"), "/echo/a%2Fb../c%2Fd");
    let forwarded = backend.count();
    for refused in [
        "/echo/x%2Fy",
        "/echo%2Fp/x",
        "/nothing%2Fthere",
        "/echo/b/..%2Fp",
        "/echo/b/x%2F..%2F..%2Fy",
        "/echo/b/x%2Fy/../z",
        "/echo/b/x%2Fy%5cz",
        "/r/a%2F/c",
    ] {
        gateway.get(refused).is_problem(400);
    }
    assert_eq!(backend.count(), forwarded);
    // To a server that decodes them these are one path, and so they are to a limit.
    for path in ["/echo/l/a%2Fb", "/echo/l/a%2fb", "/echo/l/a/b"] {
        assert_eq!(gateway.get(path).status, 200);
    }
    assert_eq!(gateway.get("/echo/l/a%2F%2Fb").status, 429);
    gateway.metric_becomes(r#"gateway_requests_total{code="400",method="GET",route=""}"#, 8.0);
}
