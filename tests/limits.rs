//! Who is let through, who is refused, and what they are told.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;

use mock_backend::MockBackend;
use serde_json::json;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{Response, request};
use crate::support::program::run;

/// A gateway whose every route has these limits.
fn limited(limits: &str, names: &[&str]) -> (Gateway, MockBackend) {
    forwarding(&format!("{limits}\n---\n---\nlimits = {names:?}"))
}

/// How many of each status this many requests get.
fn statuses(count: usize, mut get: impl FnMut() -> Response) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    for _ in 0..count {
        *statuses.entry(get().status).or_default() += 1;
    }
    statuses
}

fn counts<const N: usize>(counts: [(u16, usize); N]) -> BTreeMap<u16, usize> {
    BTreeMap::from(counts)
}

#[test]
fn the_burst_is_admitted_and_what_exceeds_it_refused() {
    let (gateway, backend) = limited("[limits.per_client]\nrate = \"1/h\"\nburst = 5", &["per_client"]);
    let mut connection = gateway.connect();
    for left in (0..5).rev() {
        let response = connection.get("/users");
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit-policy"), Some(r#""per_client";q=5;w=18000"#));
        assert_eq!(response.header("ratelimit"), Some(&*format!(r#""per_client";r={left};t=3600"#)));
    }
    for _ in 0..3 {
        let response = connection.get("/users");
        response.is_problem(429);
        assert_eq!(response.header("ratelimit-policy"), Some(r#""per_client";q=5;w=18000"#));
        assert_eq!(response.header("ratelimit"), Some(r#""per_client";r=0;t=3600"#));
        assert_eq!(response.header("retry-after"), Some("3600"));
        let problem = response.json();
        assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
        assert_eq!(problem["title"], "Too Many Requests");
        assert_eq!(problem["violated-policies"], json!(["per_client"]));
    }
    assert_eq!(backend.count(), 5, "nothing of a refused request goes upstream");
    let decisions = |decision: &str| {
        format!(r#"gateway_limit_decisions_total{{decision="{decision}",limit="per_client",route="all"}}"#)
    };
    gateway.metric_becomes(&decisions("allowed"), 5.0);
    gateway.metric_becomes(&decisions("refused"), 3.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="429",method="GET",route="all"}"#, 3.0);
    assert_eq!(gateway.metric("gateway_limiter_clients"), 1.0);
}

#[test]
fn who_waits_as_long_as_told_is_admitted() {
    let (gateway, _backend) = limited("[limits.l]\nrate = \"1/s\"", &["l"]);
    let mut connection = gateway.connect();
    assert_eq!(connection.get("/users").status, 200);
    for _ in 0..2 {
        let refused = connection.get("/users");
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
        // This is no sleep for luck: it is the very promise that is tested.
        thread::sleep(std::time::Duration::from_secs(1));
        assert_eq!(connection.get("/users").status, 200);
    }
}

#[test]
fn whatever_races_for_it_the_burst_is_admitted_exactly() {
    const THREADS: usize = 8;
    const EACH: usize = 60;
    let (gateway, backend) = limited("[limits.l]\nrate = \"1/day\"\nburst = 123", &["l"]);
    let barrier = Barrier::new(THREADS);
    let totals: Vec<_> = thread::scope(|scope| {
        let run = || {
            let mut connection = gateway.connect();
            barrier.wait();
            statuses(EACH, || connection.get("/bytes/1"))
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let total = |status| totals.iter().filter_map(|one| one.get(&status)).sum::<usize>();
    assert_eq!((total(200), total(429)), (123, THREADS * EACH - 123));
    assert_eq!(backend.count(), 123);
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 123.0);
    gateway.metric_becomes(r#"gateway_requests_total{code="429",method="GET",route="all"}"#, 357.0);
}

#[test]
fn a_request_that_one_limit_refuses_takes_from_none() {
    let limits = "[limits.wide]\nrate = \"1/h\"\nburst = 5\n[limits.narrow]\nrate = \"1/h\"\nburst = 2\n\
                  key = \"header:X-Key\"";
    let (gateway, backend) = limited(limits, &["wide", "narrow"]);
    let get = |key: &str| gateway.get_with("/users", &[("X-Key", key)]);
    assert_eq!(statuses(10, || get("a")), counts([(200, 2), (429, 8)]));
    let refused = get("a");
    assert_eq!(refused.json()["violated-policies"], json!(["narrow"]));
    assert_eq!(refused.header("ratelimit"), Some(r#""wide";r=3;t=3600, "narrow";r=0;t=3600"#));
    assert_eq!(statuses(10, || get("b")), counts([(200, 2), (429, 8)]));
    assert_eq!(statuses(10, || get("c")), counts([(200, 1), (429, 9)]), "the wide limit had one left");
    assert_eq!(get("c").json()["violated-policies"], json!(["wide"]));
    assert_eq!(get("a").json()["violated-policies"], json!(["wide", "narrow"]));
    assert_eq!(backend.count(), 5);
}

#[test]
fn a_limit_of_the_server_is_on_every_route() {
    let config = r#"
        limits = ["all"]
        [limits.all]
        rate = "1/h"
        burst = 3
        [[routes]]
        name = "a"
        path = "/a"
        respond = { status = 200, body = "a" }
        [[routes]]
        name = "b"
        path = "/b"
        respond = { status = 200, body = "b" }
        limits = ["all"]
    "#;
    let gateway = Gateway::start(config);
    assert_eq!(gateway.get("/a").status, 200);
    assert_eq!(gateway.get("/b").status, 200, "named twice, it is asked once");
    assert_eq!(gateway.get("/a").status, 200);
    assert_eq!(gateway.get("/b").status, 429);
    assert_eq!(gateway.get("/c").status, 404);
}

#[test]
fn each_value_of_a_key_has_its_own_bucket() {
    for (key, one, other) in [
        ("\"header:X-Api-Key\"", ("/users", "X-Api-Key", "k1"), ("/users", "X-Api-Key", "k2")),
        ("\"cookie:sid\"", ("/users", "Cookie", "a=1; sid=x"), ("/users", "Cookie", "a=1; sid=y")),
        ("\"query:user\"", ("/users?user=1", "X", "1"), ("/users?b=1&user=2", "X", "1")),
        ("\"host\"", ("/users", "Host", "a.example"), ("/users", "Host", "b.example")),
        ("\"path\"", ("/users", "X", "1"), ("/data", "X", "1")),
        (
            "[\"client_ip\", \"header:X-Api-Key\"]",
            ("/users", "X-Api-Key", "k1"),
            ("/users", "X-Api-Key", "k2"),
        ),
    ] {
        let (gateway, _backend) = limited(&format!("[limits.l]\nrate = \"2/h\"\nkey = {key}"), &["l"]);
        let get = |(target, name, value): (&str, &str, &str)| gateway.get_with(target, &[(name, value)]);
        assert_eq!(statuses(4, || get(one)), counts([(200, 2), (429, 2)]), "{key}");
        assert_eq!(statuses(4, || get(other)), counts([(200, 2), (429, 2)]), "{key}");
        assert_eq!(gateway.metric("gateway_limiter_clients"), 2.0, "{key}");
    }
}

#[test]
fn the_spelling_of_a_path_or_host_makes_no_new_bucket() {
    let (gateway, _backend) = limited("[limits.l]\nrate = \"1/h\"\nkey = [\"host\", \"path\"]", &["l"]);
    let get = |host: &str, target: &str| gateway.get_with(target, &[("Host", host)]).status;
    assert_eq!(get("a.example", "/users"), 200);
    for (host, target) in [
        ("A.EXAMPLE", "/users"),
        ("a.example:8000", "/users"),
        ("a.example.", "/users"),
        ("a.example", "//users"),
        ("a.example", "/%75sers"),
        ("a.example", "/x/../users?page=2"),
    ] {
        assert_eq!(get(host, target), 429, "{host} {target}");
    }
}

#[test]
fn routes_share_a_limit_unless_its_key_is_the_route() {
    let config = |key: &str| {
        format!(
            r#"
            [limits.l]
            rate = "1/h"
            key = "{key}"
            [[routes]]
            name = "a"
            path = "/a"
            respond = {{ status = 200 }}
            limits = ["l"]
            [[routes]]
            name = "b"
            path = "/b"
            respond = {{ status = 200 }}
            limits = ["l"]
            "#
        )
    };
    for (key, second) in [("client_ip", 429), ("global", 429), ("route", 200)] {
        let gateway = Gateway::start(&config(key));
        assert_eq!((gateway.get("/a").status, gateway.get("/b").status), (200, second), "{key}");
    }
}

#[test]
fn a_missing_key_is_handled_as_the_limit_says() {
    let limit = |missing: &str| format!("[limits.l]\nrate = \"1/h\"\nkey = \"header:X-Key\"\n{missing}");
    // By default the client's address stands in.
    let (gateway, _backend) = limited(&limit(""), &["l"]);
    assert_eq!(statuses(3, || gateway.get("/users")), counts([(200, 1), (429, 2)]));
    assert_eq!(gateway.get_with("/users", &[("X-Key", "a")]).status, 200);
    // To name two keys is no way to more buckets.
    gateway.get_with("/users", &[("X-Key", "b"), ("X-Key", "c")]).is_problem(400);

    let (gateway, _backend) = limited(&limit("missing_key = \"shared\""), &["l"]);
    assert_eq!(statuses(3, || gateway.get("/users")), counts([(200, 1), (429, 2)]));

    let (gateway, backend) = limited(&limit("missing_key = \"reject\""), &["l"]);
    let rejected = gateway.get("/users");
    rejected.is_problem(400);
    assert!(rejected.json()["detail"].as_str().unwrap().contains("x-key"), "{}", rejected.text());
    assert_eq!(backend.count(), 0);
    assert_eq!(gateway.get_with("/users", &[("X-Key", "a")]).status, 200);
}

#[test]
fn a_request_takes_its_cost() {
    let (gateway, _backend) = limited("[limits.l]\nrate = \"1/min\"\nburst = 10\ncost = 4", &["l"]);
    assert_eq!(gateway.get("/users").header("ratelimit"), Some(r#""l";r=6;t=60"#));
    assert_eq!(gateway.get("/users").status, 200);
    let refused = gateway.get("/users");
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((100..=120).contains(&wait), "two tokens are missing, a minute each: {wait}");
}

#[test]
fn only_the_named_methods_count() {
    let (gateway, _backend) = limited("[limits.writes]\nrate = \"1/h\"\nmethods = [\"POST\"]", &["writes"]);
    let ask = |method: &str| gateway.raw(request(method, "/echo", &[], ""));
    assert_eq!(statuses(3, || ask("POST")), counts([(200, 1), (429, 2)]));
    assert_eq!(statuses(3, || ask("GET")), counts([(200, 3)]));
    assert_eq!(ask("GET").header("ratelimit"), None);
}

#[test]
fn an_exempt_client_is_never_limited() {
    let (gateway, _backend) = limited("[limits.l]\nrate = \"1/h\"\nexempt = [\"127.0.0.0/8\"]", &["l"]);
    assert_eq!(statuses(5, || gateway.get("/users")), counts([(200, 5)]));
    assert_eq!(gateway.get("/users").header("ratelimit"), None);
    gateway.metric_becomes(r#"gateway_limit_decisions_total{decision="exempt",limit="l",route="all"}"#, 6.0);
}

#[test]
fn an_override_gives_a_client_its_own_rate_or_none() {
    let limits = "[limits.l]\nrate = \"1/h\"\nkey = \"header:X-Key\"\n[limits.l.overrides]\n\
                  \"gold\" = { rate = \"3/h\", burst = 4 }\n\"internal\" = \"unlimited\"";
    let (gateway, _backend) = limited(limits, &["l"]);
    let get = |key: &str| gateway.get_with("/users", &[("X-Key", key)]);
    assert_eq!(statuses(5, || get("anybody")), counts([(200, 1), (429, 4)]));
    let first = get("gold");
    assert_eq!(first.header("ratelimit-policy"), Some(r#""l";q=4;w=4800"#));
    assert_eq!(first.header("ratelimit"), Some(r#""l";r=3;t=1200"#));
    assert_eq!(statuses(5, || get("gold")), counts([(200, 3), (429, 2)]));
    assert_eq!(get("gold").header("retry-after"), Some("1200"));
    assert_eq!(statuses(5, || get("internal")), counts([(200, 5)]));
    assert_eq!(get("internal").header("ratelimit"), None);
    gateway.metric_becomes(r#"gateway_limit_decisions_total{decision="exempt",limit="l",route="all"}"#, 6.0);
}

#[test]
fn a_dry_run_counts_and_lets_pass() {
    let limits = "[limits.trial]\nrate = \"2/h\"\nmode = \"dry_run\"\n[limits.real]\nrate = \"4/h\"";
    let (gateway, _backend) = limited(limits, &["trial", "real"]);
    let mut connection = gateway.connect();
    let response = connection.get("/users");
    assert_eq!(response.header("ratelimit-policy"), Some(r#""real";q=4;w=3600"#), "a trial is not told of");
    assert_eq!(statuses(5, || connection.get("/users")), counts([(200, 3), (429, 2)]));
    let decisions = |decision: &str| {
        format!(r#"gateway_limit_decisions_total{{decision="{decision}",limit="trial",route="all"}}"#)
    };
    gateway.metric_becomes(&decisions("allowed"), 2.0);
    gateway.metric_becomes(&decisions("would_refuse"), 2.0);
    assert_eq!(gateway.metric(&decisions("refused")), 0.0);
    let lines = gateway.access_log(6);
    assert_eq!(lines[3]["would_refuse"], json!(["trial"]));
    assert_eq!(lines[4]["refused_by"], json!(["real"]));
}

#[test]
fn a_limit_can_have_its_own_status_and_fields() {
    let limits = "[limits.l]\nrate = \"1/h\"\nstatus = 503\nfields = false\nlegacy_headers = true";
    let (gateway, _backend) = limited(limits, &["l"]);
    let response = gateway.get("/users");
    assert_eq!(response.header("ratelimit"), None);
    assert_eq!(response.header("x-ratelimit-limit"), Some("1"));
    assert_eq!(response.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(response.header("x-ratelimit-reset"), Some("3600"));
    let refused = gateway.get("/users");
    refused.is_problem(503);
    assert_eq!(refused.header("retry-after"), Some("3600"));
}

#[test]
fn newcomers_share_a_bucket_when_all_are_in_debt() {
    let limits = "[limits.l]\nrate = \"1/h\"\nkey = \"header:X-Key\"\nmax_clients = 64";
    let (gateway, _backend) = limited(limits, &["l"]);
    let mut connection = gateway.connect();
    let mut key = 0;
    let mut bring = |clients: usize| {
        statuses(clients, || {
            key += 1;
            connection.send(request("GET", "/bytes/1", &[("X-Key", &key.to_string())], ""));
            connection.response()
        })
    };
    // As many as the limit is made for have buckets of their own, and there is a little more room than that.
    assert_eq!(bring(64), counts([(200, 64)]));
    assert_eq!(gateway.metric("gateway_limiter_overflow_total"), 0.0);
    bring(1000);
    let own = gateway.metric("gateway_limiter_clients");
    assert!((64.0..200.0).contains(&own), "{own}");
    let shared = gateway.metric("gateway_limiter_overflow_total");
    assert_eq!(own + shared, 1064.0);
    // By now nobody has room, and the token of the bucket that they share is spent.
    assert_eq!(bring(100), counts([(429, 100)]));
    assert_eq!(gateway.metric("gateway_limiter_clients"), own);
    assert_eq!(gateway.metric("gateway_limiter_overflow_total"), shared + 100.0);
    assert_eq!(gateway.metric("gateway_limiter_capacity"), 64.0);
    gateway.wait_for_log_line("requests shared an overflow bucket, since it keeps 64 buckets");
}

#[test]
fn a_limit_by_what_clients_make_up_wants_one_by_address_beside_it() {
    let route = "[[routes]]\nname = \"r\"\npath = \"/\"\nrespond = { body = \"\" }\n";
    let limits = "[limits.k]\nrate = \"1/s\"\nkey = \"header:X-Key\"\n[limits.ip]\nrate = \"1/s\"\n";
    let outcome = run(&format!("{route}limits = [\"k\"]\n{limits}"), &["check"]);
    assert_eq!(outcome.code, Some(0));
    let told = "gateway.toml:8:7: warning: the limit \"k\" goes by `header:x-key`, which clients make up, and the route \"r\" has no limit";
    assert!(outcome.stderr.starts_with(told), "{}", outcome.stderr);
    let outcome = run(&format!("{route}limits = [\"k\", \"ip\"]\n{limits}"), &["check"]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
}
