mod model;

use super::*;

/// A route and its name.
#[derive(Clone, Debug)]
struct Route {
    name: String,
    hosts: Vec<HostPattern>,
    path: PathPattern,
    methods: Vec<Method>,
    requirements: Vec<Requirement>,
}

/// The table of these routes.
fn table(routes: &[Route]) -> Table {
    Table::new(routes.iter().map(|Route { hosts, path, methods, requirements, .. }| Conditions {
        hosts,
        path,
        methods,
        requirements,
    }))
}

/// `GET,POST api.example.com,*.example.org/users/*`; the methods and the hosts may be left out.
fn route(text: &str) -> Route {
    let (methods, place) = text.split_once(' ').unwrap_or(("", text));
    let (hosts, path) = place.split_at(place.find('/').unwrap());
    let listed =
        |list: &str| list.split(',').filter(|x| !x.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    Route {
        name: text.to_owned(),
        hosts: listed(hosts).iter().map(|host| host.parse().unwrap()).collect(),
        path: path.parse().unwrap(),
        methods: listed(methods).iter().map(|method| method.parse().unwrap()).collect(),
        requirements: Vec::new(),
    }
}

/// A route of [`route`] that asks for parameters: `b=1&c` wants `b` to be 1, and any `c`.
fn requiring(text: &str, parameters: &str) -> Route {
    let requirement = |parameter: &str| {
        let (name, value) =
            parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
        Requirement { source: Source::Query(name.to_owned()), value: value.map(str::to_owned) }
    };
    let requirements = parameters.split('&').map(requirement).collect();
    Route { name: format!("{text}?{parameters}"), requirements, ..route(text) }
}

/// What a request finds, by name: a route's, the methods after `405 `, or `404`.
fn find(routes: &[Route], host: &str, path: &str, method: &Method) -> String {
    match table(routes).find(host, path, method) {
        Match::Found { route, .. } => routes[route.index()].name.clone(),
        Match::MethodNotAllowed { allow } => format!("405 {allow}"),
        Match::Doubled { source } => format!("400 {source}"),
        Match::NotFound => "404".to_owned(),
    }
}

/// Checks what `GET`s find, with the routes in this order and in the opposite one.
#[track_caller]
fn check(routes: &[&str], expected: &[(&str, &str)]) {
    let mut routes: Vec<_> = routes.iter().map(|text| route(text)).collect();
    for _ in 0..2 {
        for (request, expected) in expected {
            let (method, place) = request.split_once(' ').unwrap_or(("GET", request));
            let (host, path) = place.split_at(place.find('/').unwrap());
            assert_eq!(find(&routes, host, path, &method.parse().unwrap()), *expected, "{request}");
        }
        routes.reverse();
    }
}

#[test]
fn each_kind_of_path_matches_what_it_says() {
    check(&["/users"], &[("/users", "/users"), ("/users/", "404"), ("/users/7", "404"), ("/", "404")]);
    check(&["/users/"], &[("/users/", "/users/"), ("/users", "404"), ("/users/7", "404")]);
    check(
        &["/users/*"],
        &[("/users", "/users/*"), ("/users/", "/users/*"), ("/users/7/x", "/users/*"), ("/users2", "404")],
    );
    check(
        &["/users/{id}"],
        &[("/users/7", "/users/{id}"), ("/users/", "404"), ("/users", "404"), ("/users/7/", "404")],
    );
    check(&["/{a}/*"], &[("/x", "/{a}/*"), ("/x/y/z", "/{a}/*"), ("/", "404")]);
    check(&["/*"], &[("/", "/*"), ("/x", "/*"), ("/x/y/", "/*")]);
    check(&["/"], &[("/", "/"), ("/x", "404")]);
}

#[test]
fn literal_over_parameter_over_prefix() {
    check(
        &[
            "/*",
            "/users/*",
            "/users",
            "/users/",
            "/users/{id}",
            "/users/me",
            "/users/{id}/orders",
            "/users/me/*",
        ],
        &[
            ("/", "/*"),
            ("/other", "/*"),
            ("/users", "/users"),
            ("/users/", "/users/"),
            ("/users/7", "/users/{id}"),
            ("/users/me", "/users/me"),
            ("/users/me/x", "/users/me/*"),
            ("/users/me/orders", "/users/me/*"),
            ("/users/7/orders", "/users/{id}/orders"),
            ("/users/7/x", "/users/*"),
        ],
    );
}

#[test]
fn the_longer_ending_over_the_shorter_over_none() {
    check(
        &["/a/*", "/a/*.js", "/a/*.min.js", "/a/{x}/c.js", "/*.js"],
        &[
            ("/a/b.min.js", "/a/*.min.js"),
            ("/a/b.js", "/a/*.js"),
            ("/a/.js", "/a/*.js"),
            ("/a/b.css", "/a/*"),
            ("/a/b.js/", "/a/*"),
            ("/a", "/a/*"),
            ("/a/b/c.js", "/a/{x}/c.js"),
            ("/a/b/d.js", "/a/*.js"),
            ("/b.js", "/*.js"),
            ("/b/c/d.js", "/*.js"),
            ("/.js", "/*.js"),
            ("/js", "404"),
        ],
    );
}

#[test]
fn a_literal_that_leads_nowhere_gives_way() {
    check(
        &["/a/b/c", "/a/{x}/d", "/{x}/b/e", "/{x}/*"],
        &[("/a/b/c", "/a/b/c"), ("/a/b/d", "/a/{x}/d"), ("/a/b/e", "/{x}/b/e"), ("/a/b/f", "/{x}/*")],
    );
}

#[test]
fn exact_host_over_longest_wildcard_over_any() {
    check(
        &["api.example.org/*", "*.example.org/*", "*.v2.example.org/*", "/*"],
        &[
            ("api.example.org/x", "api.example.org/*"),
            ("www.example.org/x", "*.example.org/*"),
            ("a.b.example.org/x", "*.example.org/*"),
            ("a.v2.example.org/x", "*.v2.example.org/*"),
            ("v2.example.org/x", "*.example.org/*"),
            ("example.org/x", "/*"),
            ("badexample.org/x", "/*"),
            (".example.org/x", "/*"),
            ("[::1]/x", "/*"),
            ("/x", "/*"),
        ],
    );
}

#[test]
fn a_host_that_does_not_know_the_path_leaves_it_to_a_less_specific_one() {
    check(
        &["api.example.org/users", "*.example.org/orders/*", "/orders/{id}", "/health"],
        &[
            ("api.example.org/users", "api.example.org/users"),
            ("api.example.org/orders/7", "*.example.org/orders/*"),
            ("api.example.org/health", "/health"),
            ("other.example/orders/7", "/orders/{id}"),
            ("other.example/users", "404"),
        ],
    );
}

#[test]
fn a_route_that_names_the_method_over_any() {
    check(
        &["GET /users", "/users", "POST,PUT /users"],
        &[
            ("GET /users", "GET /users"),
            ("HEAD /users", "GET /users"),
            ("PUT /users", "POST,PUT /users"),
            ("DELETE /users", "/users"),
            ("BREW /users", "/users"),
        ],
    );
    check(&["GET /users", "HEAD /users"], &[("HEAD /users", "HEAD /users"), ("GET /users", "GET /users")]);
    check(&["BREW /pot"], &[("BREW /pot", "BREW /pot"), ("brew /pot", "405 BREW")]);
}

#[test]
fn a_method_that_the_best_path_does_not_take_may_be_taken_by_the_next() {
    check(
        &["GET /users/me", "PUT /users/{id}", "DELETE api.example.com/users/me", "POST /users/*"],
        &[
            ("GET /users/me", "GET /users/me"),
            ("PUT /users/me", "PUT /users/{id}"),
            ("POST /users/me", "POST /users/*"),
            ("GET api.example.com/users/me", "GET /users/me"),
            ("DELETE /users/me", "405 GET, HEAD, POST, PUT"),
            ("PATCH api.example.com/users/me", "405 DELETE, GET, HEAD, POST, PUT"),
            ("GET /users/7", "405 POST, PUT"),
            ("GET /other", "404"),
        ],
    );
}

#[test]
fn captures_are_those_of_the_route_that_won() {
    let routes = ["/{a}/{b}/x", "/{a}/{b}/*", "/u/{b}/{c}/y", "/{a}/v/{c}/z"].map(route);
    let table = table(&routes);
    for (path, winner, parameters, rest) in [
        ("/u/v/x", 0, vec!["u", "v"], None),
        ("/u/v/w", 1, vec!["u", "v"], Some("w")),
        ("/u/v", 1, vec!["u", "v"], None),
        ("/u/v/", 1, vec!["u", "v"], Some("")),
        ("/u/v/w/y", 2, vec!["v", "w"], None),
        ("/u/v/w/z", 3, vec!["u", "w"], None),
        ("/u/v/w/a/b", 1, vec!["u", "v"], Some("w/a/b")),
    ] {
        let Match::Found { route, captures } = table.find("", path, &Method::GET) else { panic!("{path}") };
        assert_eq!(route.index(), winner, "{path}");
        let found: Vec<_> = (0..).map_while(|i| captures.parameter(path, i)).collect();
        assert_eq!((found, captures.rest(path)), (parameters, rest), "{path}");
    }
}

#[test]
fn a_route_that_asks_for_more_goes_before_one_that_asks_for_less() {
    let mut routes = [
        route("/a"),
        route("PUT /a"),
        requiring("/a", "b=1"),
        requiring("/a", "b"),
        requiring("POST /a", "b=2"),
        requiring("/a", "b=1&c"),
        requiring("GET /a", "b=1&c"),
        requiring("/*", "b=1"),
        requiring("GET /x", "d"),
    ];
    for _ in 0..2 {
        for (method, path, query, expected) in [
            ("GET", "/a", "", "/a"),
            ("PUT", "/a", "", "PUT /a"),
            ("GET", "/a", "b=1", "/a?b=1"),
            ("PUT", "/a", "b=1", "/a?b=1"),
            ("GET", "/a", "b=2", "/a?b"),
            ("POST", "/a", "b=2", "POST /a?b=2"),
            ("PUT", "/a", "b=1&c=x", "/a?b=1&c"),
            ("HEAD", "/a", "b=1&c=x", "GET /a?b=1&c"),
            ("GET", "/a", "c=x", "/a"),
            ("GET", "/a", "b=1&b=2", "400 query parameter b"),
            ("GET", "/a", "b=1&c=x&c=y", "400 query parameter c"),
            ("GET", "/a", "b=3&c=x&c=y", "/a?b"),
            ("GET", "/b", "b=1", "/*?b=1"),
            ("GET", "/b", "", "404"),
            ("PUT", "/x", "", "404"),
            ("PUT", "/x", "d=1", "405 GET, HEAD"),
            ("GET", "/x", "d=1&d=1", "400 query parameter d"),
        ] {
            let method: Method = method.parse().unwrap();
            let request = Particulars { query: Some(query.as_bytes()), ..(&method).into() };
            let found = match table(&routes).find("", path, request) {
                Match::Found { route, .. } => routes[route.index()].name.clone(),
                Match::MethodNotAllowed { allow } => format!("405 {allow}"),
                Match::Doubled { source } => format!("400 {source}"),
                Match::NotFound => "404".to_owned(),
            };
            assert_eq!(found, expected, "{method} {path}?{query}");
        }
        routes.reverse();
    }
}

#[test]
fn what_is_not_normal_finds_nothing_and_does_not_panic() {
    let routes = ["/*", "*.example.org/{a}/*"].map(route);
    for path in ["", "users", "*", "é"] {
        assert_eq!(find(&routes, "a.example.org", path, &Method::GET), "404");
    }
    assert_eq!(find(&routes, "..é.", "//é/", &Method::GET), "/*");
    assert_eq!(find(&[], "", "/", &Method::GET), "404");
}
