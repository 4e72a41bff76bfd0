//! Explanations of requests, each with lines that it must have and texts that it must not have.

use futures_util::FutureExt as _;

use super::text::Text;
use super::{Asked, Question, explain};
use crate::client::ClientId;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::engine::{Course, Engine, Facts, Peer};
use crate::limit::Limiter;
use crate::limit::key::Secret;

const CONFIG: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]

[limits.per_client]
rate = "100/min"
burst = 20
exempt = ["192.0.2.99"]

[limits.per_key]
key = "header:X-Api-Key"
missing_key = "reject"
rate = "3/s"
cost = 3
mode = "dry_run"
[limits.per_key.overrides]
gold = { rate = "10/s", burst = 30 }
free = "unlimited"

[limits.writes]
key = "global"
max_in_flight = 1
methods = ["PUT"]
status = 503

[upstreams.users]
servers = ["127.0.0.1:1", { address = "users.internal:2", weight = 3 }]
balance = "hash:header:X-User"
retry_on = [503, 504]

[[routes]]
name = "user"
path = "/users/{id}"
methods = ["GET", "PUT"]
limits = ["per_client", "writes"]
upstream = "users"
rewrite = "/v2/{id}"
request_headers = { set = { X-Secret = "hunter2" }, remove = ["X-Debug"] }

[[routes]]
name = "users"
path = "/users/*"
upstream = "users"

[[routes]]
name = "shop"
hosts = ["shop.example.com"]
path = "/users/*"
limits = ["per_key"]
upstream = "users"

[[routes]]
name = "health"
path = "/health"
respond = { body = "ok" }

[[routes]]
name = "old"
path = "/old/*"
redirect = { to = "/users/*" }

[[routes]]
name = "old of version 2"
path = "/old/*"
headers = { X-Version = "2" }
query = { beta = true }
redirect = { to = "/users/*" }
"#;

/// A request: method, URL, peer, and its fields.
type Request<'a> = (&'a str, &'a str, &'a str, &'a [&'a str]);

fn question((method, url, from, fields): Request<'_>) -> Question {
    let fields = fields.iter().map(ToString::to_string).collect();
    let (method, url, from) = (method.to_owned(), url.to_owned(), from.to_owned());
    Question::new(&Asked { method, url, from, fields, ..Asked::default() }).unwrap()
}

fn engine(config: &str) -> Engine {
    let config = Config::parse("gateway.toml", config, &|_| None).unwrap_or_else(|p| panic!("{p}"));
    let limiter = Limiter::new(config.limits.clone(), Secret::random());
    Engine::new(config, limiter)
}

/// The facts of the request that a question is about, which is attributed to this client.
fn facts<'a>(client: &'a ClientId, asked: &'a Question) -> Facts<'a> {
    Facts {
        client,
        method: &asked.method,
        version: http::Version::HTTP_11,
        tls: false,
        target: asked.target.as_bytes(),
        headers: &asked.headers,
        certificate: None,
    }
}

fn told(engine: &Engine, request: Request<'_>, now: Timestamp) -> String {
    let explanation = explain(engine, &question(request), now, false).now_or_never().unwrap();
    Text { explanation: &explanation, file: "gateway.toml" }.to_string()
}

#[test]
fn what_is_left_of_a_shared_limit_is_not_told_without_its_store() {
    let engine = engine(
        "[limiter.shared]\nurl = \"redis://127.0.0.1:1\"\nsecret = \"0123456789abcdef\"\n\
         [limits.l]\nrate = \"10/s\"\nshared = true\n\
         [[routes]]\nname = \"r\"\npath = \"/*\"\nrespond = {}\nlimits = [\"l\"]",
    );
    let told = told(&engine, ("GET", "/", "192.0.2.1", &[]), Clock::manual().now());
    assert!(
        told.contains("            shared with other gateways: only their store knows what is left\n"),
        "{told}"
    );
    assert!(!told.contains(" of 10 left"), "{told}");
}

#[test]
fn of_several_upstreams_the_one_is_told_that_gets_the_request() {
    let config = |more: &str| {
        format!(
            "[upstreams.stable]\nservers = [\"127.0.0.1:1\"]\n[upstreams.canary]\nservers = [\"127.0.0.1:2\"]\n\
             [[routes]]\nname = \"r\"\npath = \"/*\"\nupstream = {{ canary = 5, stable = 75 }}\n{more}"
        )
    };
    let at = Clock::manual().now();
    let drawn = told(&engine(&config("")), ("GET", "/", "192.0.2.1", &[]), at);
    let shares = "of \"canary\" 6.25 %, \"stable\" 93.75 %";
    for line in [
        "answer      forwarded to the upstream \"stable\"",
        &format!(
            "            {shares}: drawn at random for each request; told is the one with the largest share"
        ),
    ] {
        assert!(drawn.lines().any(|told| told == line), "{line}\nis missing in\n{drawn}");
    }
    let engine = engine(&config("split_by = \"client_ip\""));
    let mut canaries = 0;
    for number in 0..200 {
        let client = format!("192.0.2.{number}");
        let request = ("GET", "/", &*client, &[][..]);
        let told = told(&engine, request, at);
        let line = format!("{shares}: the same one for every request with this client_ip: {client}\n");
        assert!(told.contains(&line), "{told}");
        let asked = question(request);
        let sender = engine.sender(Peer::at(asked.peer), &asked.headers);
        let facts = facts(sender.client().unwrap(), &asked);
        let decision = engine.decide(&facts, at, |_| ()).now_or_never().unwrap();
        let Course::Forward(forward) = decision.course else { panic!("it is forwarded") };
        let name = &engine.config().upstreams[forward.upstream].name;
        assert!(told.contains(&format!("answer      forwarded to the upstream {name:?}\n")), "{told}");
        canaries += u32::from(name == "canary");
    }
    assert!((4..25).contains(&canaries), "{canaries}");
}

#[test]
fn an_explanation_says_what_becomes_of_a_request() {
    let (engine, now) = (engine(CONFIG), Clock::manual().now());
    let mut wrong = Vec::new();
    let get = |url, from, fields| ("GET", url, from, fields);
    for (request, has, has_not) in [
        (
            get("https://shop.example.org/users/7?a=b", "203.0.113.9", &["X-Debug: 1", "X-User: u"][..]),
            &[
                "answer      forwarded to the upstream \"users\"",
                "limit       per_client: 20 at once, then one every 600 ms, for each client_ip",
                "            does not count this request: it counts PUT",
                "            timeouts: connect 2 s, response 30 s, silence 5 min; sent again once, to another server, where that is safe, also after an answer of 503, 504",
                "receives    GET /v2/7?a=b HTTP/1.1",
                "            Host: shop.example.org",
                "            X-Forwarded-For: 203.0.113.9",
                "            X-Forwarded-Proto: https",
                "            x-secret: ***",
                "near miss   users (gateway.toml:40): /users/*: its path is less specific",
            ][..],
            &["hunter2", "X-Debug", "header:x-user: u"][..],
        ),
        (
            get("/users/7", "192.0.2.99", &[]),
            &["            does not count this client: 192.0.2.99/32 is exempt"],
            &[],
        ),
        (
            ("PUT", "/users/7", "::1", &[]),
            &[
                "limit       writes: one request at a time, for everybody together",
                "            1 of 1 left; a refusal is 503",
                "            Content-Length: 0",
            ],
            &[],
        ),
        (
            get("/old/7?beta=1", "192.0.2.1", &["X-Version: 2"]),
            &[
                "route       old of version 2 (gateway.toml:62): any method, any host, /old/*, with header field x-version \"2\", with query parameter beta",
                "near miss   old (gateway.toml:57): /old/*: it asks for less of the header fields and the query",
            ],
            &[],
        ),
        (
            get("/old/7?beta=1", "192.0.2.1", &["X-Version: 1"]),
            &[
                "route       old (gateway.toml:57): any method, any host, /old/*",
                "near miss   old of version 2 (gateway.toml:62): /old/*: it asks for one header field x-version \"2\"",
            ],
            &[],
        ),
        (
            get("/old/7?beta=1", "192.0.2.1", &["X-Version: 1", "X-Version: 2"]),
            &[
                "answer      400 Bad Request: the request must not have the header field x-version more than once: routes go by it",
            ],
            &[],
        ),
        (
            ("PATCH", "/health/", "::1", &[]),
            &[
                "answer      404 Not Found: no route matches this request",
                "near miss   health (gateway.toml:52): /health: its path does not end in a slash, and this one does",
            ],
            &[],
        ),
        (
            get("http://shop.example.com/users/7", "192.0.2.1", &[]),
            &[
                "answer      400 Bad Request: the request must carry one header field x-api-key, by which the limit \"per_key\" counts",
                "near miss   user (gateway.toml:31): /users/{id}: its host is less specific",
            ],
            &["receives"],
        ),
        (
            get("http://shop.example.com/users/7", "192.0.2.1", &["x-api-key: gold"]),
            &[
                "limit       per_key: 10 at once, then one every 300 ms, for each header:x-api-key, dry run: refuses nobody",
                "            by an override for this value",
            ],
            &["by the override for \"gold\"", "here gold"],
        ),
        (
            get("http://shop.example.com/users/7", "192.0.2.1", &["x-api-key: free"]),
            &["limit       per_key: unlimited, for each header:x-api-key, dry run: refuses nobody"],
            &[" left"],
        ),
        (
            get("http://shop.example.com/users/7", "192.0.2.1", &["x-api-key: k"]),
            &[
                "limit       per_key: one at once, then one every 1 s, for each header:x-api-key, dry run: refuses nobody",
            ],
            &[],
        ),
        (
            get("/old/7?a", "192.0.2.1", &[]),
            &["answer      308 Permanent Redirect", "            Location: /users/7?a"],
            &["receives"],
        ),
        (
            get("/health", "192.0.2.1", &[]),
            &["answer      200 OK, with 2 bytes of text/plain; charset=utf-8"],
            &[],
        ),
        (
            get("/users/a%2fb", "192.0.2.1", &[]),
            &[
                "near miss   user (gateway.toml:31): /users/{id}: it refuses encoded slashes: encoded_slashes = \"keep\" takes them",
            ],
            &[],
        ),
        (
            get("/users/7", "10.0.0.1", &["X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2"]),
            &[
                "client      203.0.113.9",
                "            x-forwarded-for: 203.0.113.9, behind the trusted proxies 10.0.0.2",
                "            X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.0.0.2, 10.0.0.1",
            ],
            &[],
        ),
        (
            get("/users/7", "10.0.0.1", &["X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.8"]),
            &[
                "client      nobody",
                "answer      400 Bad Request: X-Forwarded-For and Forwarded name different clients",
            ],
            &[],
        ),
        (
            get(
                "/users/7",
                "192.0.2.1",
                &["X-Forwarded-For: 6.6.6.6", "X_A: 1", "X-B: 1", "Connection: x-b"],
            ),
            &[
                "client      192.0.2.1",
                "dropped     x-b: Connection names it",
                "            x-forwarded-for: only a trusted proxy may say it",
                "            x_a: servers may take its name for another field",
            ],
            &["X-B"],
        ),
    ] {
        let told = told(&engine, request, now);
        for line in has {
            if !told.lines().any(|told| told == *line) {
                wrong.push(format!("{line}\nis missing in\n{told}"));
            }
        }
        for text in has_not.iter().filter(|text| told.contains(*text)) {
            wrong.push(format!("{text:?} is in\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_head_that_is_too_large_is_refused_and_shown_in_part() {
    let long = format!("/users/{}", "x".repeat(1 << 20));
    let told = told(&engine(CONFIG), ("GET", &long, "", &[]), Clock::manual().now());
    assert!(told.contains("answer      431 Request Header Fields Too Large"), "{told}");
    assert!(told.len() < 2000, "{}", told.len());
}

#[test]
fn of_many_routes_the_ten_most_alike_are_told() {
    let route =
        |number| format!("[[routes]]\nname = \"r{number}\"\npath = \"/items/b{number}\"\nrespond = {{}}\n");
    let config: String = (0..1000).map(route).collect();
    let told = told(&engine(&config), ("GET", "/items/b", "", &[]), Clock::manual().now());
    assert!(told.contains("near miss   r0 (gateway.toml:1): /items/b0: its path is spelt alike"), "{told}");
    assert!(told.lines().count() < 20 && told.contains("            and 90 more"), "{told}");
}

#[test]
fn nothing_is_taken_and_what_is_left_is_told() {
    let (engine, now) = (engine(CONFIG), Clock::manual().now());
    let request = ("GET", "/users/7", "203.0.113.9", &[][..]);
    for _ in 0..30 {
        assert!(told(&engine, request, now).contains("            20 of 20 left; a refusal is 429\n"));
    }
    let asked = question(request);
    let sender = engine.sender(Peer::at(asked.peer), &asked.headers);
    let facts = facts(sender.client().unwrap(), &asked);
    for _ in 0..20 {
        engine.decide(&facts, now, |_| ()).now_or_never().unwrap();
    }
    let told = told(&engine, request, now);
    for line in [
        "answer      429 Too Many Requests: too many requests: try again in 1 second",
        "            Retry-After: 1",
        "            has too little left for the request for 600 ms",
        "            0 of 20 left; a refusal is 429",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\nis missing in\n{told}");
    }
}
