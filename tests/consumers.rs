//! Who is asking: API keys, what upstreams and logs are told, who is let in, and how often one may guess.

use std::fs;

use gateway::consumer::KeyHash;
use mock_backend::MockBackend;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Response, get, request};
use crate::support::program::run;
use crate::support::to_upstream;

/// The keys of `[admin]` with the token that [`TOKEN`] shows.
const ADMIN: &str = "token = \"t\"";

const ALICE: &str = "gwk_alice0123456789";
const BOB: &str = "gwk_bob0123456789";

/// Two consumers, `alice` with the plan `pro` and `bob` without one.
fn consumers() -> String {
    let hash = |key: &str| KeyHash::of(key.as_bytes());
    format!(
        "[plans.free]\n[plans.pro]\n[consumers.alice]\nplan = \"pro\"\nkeys = [\"{}\"]\n[consumers.bob]\nkeys = [\"{}\"]\n",
        hash(ALICE),
        hash(BOB)
    )
}

/// A gateway that knows them. The settings are as for [`to_upstream`].
fn knowing(settings: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let (server, rest) = settings.split_once("===").unwrap_or(("", settings));
    let config = to_upstream(backend.addr(), &format!("{server}\n{}{rest}", consumers()));
    (Gateway::start(&config), backend)
}

/// The values of a field that the upstream received, in any spelling.
fn received(response: &Response, name: &str) -> Vec<String> {
    let echo = response.json();
    let alike = |field: &&Value| field[0].as_str().unwrap().replace('_', "-").eq_ignore_ascii_case(name);
    let fields = echo["headers"].as_array().unwrap().iter().filter(alike);
    fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_key_says_who_is_asking() {
    let (gateway, backend) = knowing("---\n---\nauth = [\"api_key\"]");
    let answer = gateway.get_with("/echo", &[("X-Api-Key", ALICE)]);
    assert_eq!(answer.status, 200);
    assert_eq!(
        (received(&answer, "x-consumer"), received(&answer, "x-plan")),
        (vec!["alice".to_owned()], vec!["pro".to_owned()])
    );
    assert_eq!(received(&answer, "x-api-key"), [""; 0], "the upstream does not get the key");
    let answer = gateway.get_with("/echo", &[("x-API-key", BOB)]);
    assert_eq!(
        (received(&answer, "x-consumer"), received(&answer, "x-plan").len()),
        (vec!["bob".to_owned()], 0)
    );
    for fields in [
        &[][..],
        &[("X-Api-Key", "")],
        &[("X-Api-Key", "wrong")],
        &[("X-Api-Key", &ALICE[1..])],
        &[("X-Api-Key", &KeyHash::of(ALICE.as_bytes()).to_string())],
        &[("X_Api_Key", ALICE)],
        &[("Authorization", ALICE)],
    ] {
        let refused = gateway.get_with("/echo", fields);
        refused.is_problem(401);
        assert_eq!(
            refused.header("www-authenticate"),
            Some("ApiKey realm=\"gateway\", header=\"x-api-key\""),
            "{fields:?}"
        );
    }
    assert_eq!(backend.count(), 2, "who is refused does not reach the upstream");
    // Each connection is a line of another worker, so lines come in any order.
    let log = gateway.access_log(9);
    let of = |consumer: Value| log.iter().filter(|line| line.get("consumer") == Some(&consumer)).count();
    assert_eq!((of(json!("alice")), of(json!("bob"))), (1, 1));
    let strangers = log.iter().filter(|line| line.get("consumer").is_none());
    assert!(strangers.clone().all(|line| line["status"] == 401) && strangers.count() == 7);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let (gateway, backend) = knowing(
        "[auth.api_key]\nheader = \"X-Api-Key\"\nquery = \"api_key\"\n---\n---\nauth = [\"api_key\"]",
    );
    let key = ("X-Api-Key", ALICE);
    let ask = |query: &str, fields: &[(&str, &str)]| gateway.get_with(&format!("/echo{query}"), fields);
    let in_query = format!("?api_key={ALICE}");
    for (query, fields) in [
        ("", &[key, key][..]),
        ("", &[key, ("X-Api-Key", BOB)]),
        ("", &[("x-api-key", ""), key]),
        (&in_query, &[key]),
        (&format!("{in_query}&api_key={ALICE}"), &[]),
        (&format!("{in_query}&api%5Fkey={BOB}"), &[]),
        (&format!("{in_query}&%61pi_key={BOB}"), &[]),
        (&format!("?x=1;api_key={ALICE}"), &[]),
        (&format!("{in_query};api_key={BOB}"), &[]),
        (&format!("{in_query};x"), &[]),
    ] {
        let refused = ask(query, fields);
        refused.is_problem(400);
        assert!(!refused.text().contains("gwk_"), "{}", refused.text());
    }
    assert_eq!(backend.count(), 0);
    for (query, rest) in [
        (in_query, "/echo"),
        (format!("?a=1&api%5Fkey={ALICE}&b=%20"), "/echo?a=1&b=%20"),
        (format!("?%61%70i_key={}", ALICE.replace('_', "%5f")), "/echo"),
    ] {
        let answer = ask(&query, &[]);
        assert_eq!(received(&answer, "x-consumer"), ["alice"], "{query}");
        assert_eq!(answer.json()["target"], rest, "what is sent on has no key");
    }
    // A parameter that only looks like it.
    ask(&format!("?API_KEY={ALICE}"), &[]).is_problem(401);
    for line in gateway.access_log(14) {
        assert!(!line.to_string().contains("gwk_"), "{line}");
    }
    assert!(!gateway.log().contains("gwk_"));
}

#[test]
fn a_redirect_carries_no_key_over() {
    let redirect = |settings: &str| {
        format!(
            "{}[auth.api_key]\nquery = \"api_key\"\n{settings}[[routes]]\nname = \"old\"\npath = \"/old/*\"\nauth = [\"api_key\"]\n\
             redirect = {{ to = \"https://new.example/*\" }}\n",
            consumers()
        )
    };
    let gateway = Gateway::start(&redirect(""));
    let location = |gateway: &Gateway, query: &str| {
        let answer = gateway.get(&format!("/old/a{query}"));
        assert!((300..400).contains(&answer.status), "{answer:?}");
        answer.header("location").unwrap().to_owned()
    };
    for (query, rest) in [
        (format!("?api_key={ALICE}"), ""),
        (format!("?x=1&api_key={ALICE}&y=2"), "?x=1&y=2"),
        (format!("?%61pi%5Fkey={ALICE}&x"), "?x"),
    ] {
        assert_eq!(location(&gateway, &query), format!("https://new.example/a{rest}"), "{query}");
    }
    let gateway = Gateway::start(&redirect("keep = true\n"));
    assert_eq!(
        location(&gateway, &format!("?api_key={ALICE}")),
        format!("https://new.example/a?api_key={ALICE}")
    );
}

#[test]
fn a_key_is_in_no_log_on_whatever_route() {
    let (gateway, _backend) = knowing("[auth.api_key]\nquery = \"api_key\"\n---\n---\n");
    let referer = format!("http://a.example/?x=1&api_key={ALICE}");
    let answer = gateway.get_with(&format!("/echo?x=1&api_key={ALICE};b"), &[("Referer", &referer)]);
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(ALICE), "a route that asks nobody changes nothing");
    let line = &gateway.access_log(1)[0];
    assert_eq!(line["path"], "/echo?x=1&api_key=***;b");
    assert_eq!(line["referer"], "http://a.example/?x=1&api_key=***");
}

#[test]
fn nobody_else_says_who_is_asking() {
    // Also on a route that asks nobody, and where odd names pass.
    for (server, route) in [
        ("", ""),
        ("", "auth = [\"api_key\"]\nauth_required = false"),
        ("underscores_in_headers = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n===", ""),
    ] {
        let (gateway, _backend) = knowing(&format!("{server}\n---\n---\n{route}"));
        let claims = [
            ("X-Consumer", "root"),
            ("x-consumer", "root"),
            ("X_Consumer", "root"),
            ("X.Consumer", "root"),
            ("X-Plan", "internal"),
            ("X_Plan", "internal"),
            ("Connection", "keep-alive, X-Plan"),
        ];
        let answer = gateway.get_with("/echo", &claims);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(!answer.text().contains("root") && !answer.text().contains("internal"), "{}", answer.text());
    }
}

#[test]
fn names_of_fields_are_chosen_and_a_key_may_stay() {
    let auth = "[auth]\nconsumer_header = \"X-Account\"\nplan_header = \"X-Tier\"\napi_key = { header = \"X-Key\", keep = true }\n";
    let (gateway, _backend) = knowing(&format!("{auth}---\n---\nauth = [\"api_key\"]"));
    let answer =
        gateway.get_with("/echo", &[("X-Key", ALICE), ("X-Account", "root"), ("X-Consumer", "mine")]);
    for (name, value) in [("x-account", "alice"), ("x-tier", "pro"), ("x-key", ALICE), ("x-consumer", "mine")]
    {
        assert_eq!(received(&answer, name), [value]);
    }
}

#[test]
fn strangers_are_let_in_as_such_where_the_route_says_so() {
    let limits =
        "[limits.api]\nrate = \"2/h\"\nkey = \"consumer\"\n[limits.api.plans]\npro = { rate = \"4/h\" }\n";
    let route = "auth = [\"api_key\"]\nauth_required = false\nlimits = [\"api\"]";
    let (gateway, _backend) = knowing(&format!("{limits}---\n---\n{route}"));
    let mut connection = gateway.connect();
    let mut statuses = |fields: &[(&str, &str)]| -> Vec<u16> {
        (0..5).map(|_| connection.get_with("/users", fields).status).collect()
    };
    assert_eq!(statuses(&[("X-Api-Key", ALICE)]), [200, 200, 200, 200, 429]);
    assert_eq!(statuses(&[("X-Api-Key", BOB)]), [200, 200, 429, 429, 429]);
    assert_eq!(statuses(&[]), [200, 200, 429, 429, 429]);
    // Wrong credentials are no way to be a stranger.
    assert_eq!(statuses(&[("X-Api-Key", "wrong")]), [401; 5]);
    assert_eq!(gateway.metric(r#"gateway_plan_requests_total{code="2xx",plan="pro"}"#), 4.0);
    assert_eq!(gateway.metric(r#"gateway_plan_requests_total{code="4xx",plan=""}"#), 3.0);
    let offenders = gateway.admin_get("/stats").json()["limits"]["api"]["offenders"].clone();
    let keys: Vec<_> =
        offenders.as_array().unwrap().iter().map(|offender| offender["key"][0].clone()).collect();
    assert!(keys.contains(&json!("alice")) && keys.contains(&json!("bob")), "{keys:?}");
}

#[test]
fn the_side_port_knows_the_bucket_of_a_consumer() {
    let limits =
        "[limits.api]\nrate = \"2/h\"\nkey = \"consumer\"\n[limits.api.plans]\npro = { rate = \"4/h\" }\n";
    let backend = MockBackend::start_blocking().unwrap();
    let config = to_upstream(
        backend.addr(),
        &format!("{}{limits}---\n---\nauth = [\"api_key\"]\nlimits = [\"api\"]", consumers()),
    );
    let gateway = Gateway::with_file(&with_admin(&config, ADMIN));
    let ask = || gateway.get_with("/users", &[("X-Api-Key", ALICE)]).status;
    assert_eq!((0..5).map(|_| ask()).collect::<Vec<_>>(), [200, 200, 200, 200, 429]);
    let client = || gateway.admin_get("/limits/api/clients/alice").json();
    assert_eq!((&client()["burst"], &client()["tokens"]), (&json!(4), &json!(0)));
    let fields = TOKEN;
    let mut admin = crate::support::http::Connection::open(gateway.admin());
    admin.send(request("DELETE", "/limits/api/clients/alice", &fields, ""));
    assert_eq!(admin.response().status, 200);
    assert_eq!((client()["tokens"].clone(), ask()), (json!(4), 200));
    // What is left of it when its plan changes.
    assert_eq!(client()["tokens"], 3);
    gateway.write_file(&with_admin(&config.replace("plan = \"pro\"", "plan = \"free\""), ADMIN));
    assert_eq!(gateway.post_reload(&fields).status, 200);
    assert_eq!((&client()["burst"], &client()["tokens"]), (&json!(2), &json!(1)));
}

#[test]
fn callers_are_let_in_by_name_plan_and_address() {
    let (gateway, _backend) = knowing("---\n---\nauth = [\"api_key\"]\nallow = [\"plan:pro\"]");
    assert_eq!(gateway.get_with("/users", &[("X-Api-Key", ALICE)]).status, 200);
    gateway.get_with("/users", &[("X-Api-Key", BOB)]).is_problem(403);
    gateway.get("/users").is_problem(401);
    let refused = |line: &Value| line["status"] == 403 && line["consumer"] == "bob";
    assert!(gateway.access_log(3).iter().any(refused));
    let deny = "auth = [\"api_key\"]\nauth_required = false\nallow = [\"consumer:alice\", \"consumer:bob\", \"10.0.0.0/8\"]\ndeny = [\"consumer:bob\", \"10.6.0.0/16\"]";
    let (gateway, _backend) = knowing(&format!("trusted_proxies = [\"127.0.0.1\"]\n===---\n---\n{deny}"));
    let ask = |from: &str, key: &str| {
        gateway.get_with("/users", &[("X-Forwarded-For", from), ("X-Api-Key", key)]).status
    };
    for (from, key, status) in [
        ("192.0.2.1", ALICE, 200),
        ("192.0.2.1", BOB, 403),
        ("10.0.0.1", BOB, 403),
        ("10.0.0.1", "", 200),
        ("10.6.0.1", "", 403),
        ("10.6.0.1", ALICE, 403),
        // It might be somebody who is let in, and does not say so.
        ("192.0.2.1", "", 401),
        ("unknown", "", 401),
        ("unknown", ALICE, 200),
    ] {
        assert_eq!(ask(from, key), status, "{from} {key}");
    }
}

#[test]
fn addresses_are_let_in_where_nobody_is_asked() {
    let server = "trusted_proxies = [\"127.0.0.1\"]\n===";
    for (route, answers) in [
        ("allow = [\"10.0.0.0/8\", \"2001:db8::/32\"]", [200, 200, 403, 403]),
        ("deny = [\"10.0.0.0/8\", \"2001:db8::/32\"]", [403, 403, 200, 200]),
        ("allow = []", [403; 4]),
    ] {
        let (gateway, _backend) = knowing(&format!("{server}---\n---\n{route}"));
        let ask = |from: &str| gateway.get_with("/users", &[("X-Forwarded-For", from)]).status;
        assert_eq!(["10.1.2.3", "2001:db8::1", "192.0.2.1", "unknown"].map(ask), answers, "{route}");
    }
}

#[test]
fn guessing_is_limited_by_address_before_any_hash_is_made() {
    let (gateway, _backend) = knowing(
        "auth_failures = \"3/h\"\ntrusted_proxies = [\"127.0.0.1\"]\n===---\n---\nauth = [\"api_key\"]",
    );
    let ask =
        |from: &str, key: &str| gateway.get_with("/users", &[("X-Forwarded-For", from), ("X-Api-Key", key)]);
    // Who is right is never charged, and who has no key has tried nothing.
    for _ in 0..5 {
        assert_eq!(ask("192.0.2.1", ALICE).status, 200);
        assert_eq!(ask("192.0.2.1", "").status, 401);
    }
    for guess in ["a", "b"] {
        assert_eq!(ask("192.0.2.1", guess).status, 401);
    }
    let twice = [("X-Forwarded-For", "192.0.2.1"), ("X-Api-Key", "c"), ("X-Api-Key", "d")];
    assert_eq!(gateway.get_with("/users", &twice).status, 400);
    let refused = ask("192.0.2.1", "e");
    refused.is_problem(429);
    assert_eq!(refused.header("retry-after"), Some("1200"));
    assert_eq!(refused.json()["violated-policies"], json!(["auth_failures"]));
    // The right key does not help any more: an answer would tell that it is right.
    assert_eq!(ask("192.0.2.1", ALICE).status, 429);
    assert_eq!(ask("192.0.2.1", "").status, 401);
    assert_eq!(ask("192.0.2.2", ALICE).status, 200);
    assert_eq!(gateway.admin_get("/limits/auth_failures/clients/192.0.2.1").json()["tokens"], 0);
}

#[test]
fn a_limit_that_has_a_name_counts_failures() {
    let limit = "auth_failures = \"guesses\"\n===[limits.guesses]\nrate = \"1/h\"\nstatus = 503\n";
    let (gateway, _backend) = knowing(&format!("{limit}---\n---\nauth = [\"api_key\"]"));
    assert_eq!(gateway.get_with("/users", &[("X-Api-Key", "wrong")]).status, 401);
    assert_eq!(gateway.get_with("/users", &[("X-Api-Key", ALICE)]).status, 503);
}

#[test]
fn a_new_key_is_used_after_a_reload_of_its_file() {
    let made = run("", &["key", "new"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = made.stdout.split_whitespace().nth(1).unwrap();
    let stored = made.stdout.split('"').nth(1).unwrap();
    let backend = MockBackend::start_blocking().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("consumers.toml");
    fs::write(&file, "[consumers.alice]\n").unwrap();
    let config = to_upstream(backend.addr(), "---\n---\nauth = [\"api_key\"]");
    let gateway = Gateway::with_file(&format!("consumers = {file:?}\n{}", with_admin(&config, ADMIN)));
    let ask = || gateway.get_with("/users", &[("X-Api-Key", key)]).status;
    let reload = || gateway.post_reload(&TOKEN);
    assert_eq!(ask(), 401);
    fs::write(&file, format!("[consumers.alice]\nkeys = [\"{stored}\"]\n")).unwrap();
    assert_eq!((reload().status, ask()), (200, 200));
    fs::write(&file, format!("[consumers.alice]\nkeys = [\"{key}\"]\n")).unwrap();
    let refused = reload();
    assert_eq!((refused.status, ask()), (422, 200), "what was in force still is");
    let told = refused.text() + &gateway.log() + &gateway.admin_get("/config").text();
    assert!(told.contains("consumers.toml:2:9"), "{told}");
    assert!(!told.contains(key) && !told.contains(stored), "{told}");
}

#[test]
fn callers_of_grpc_and_browsers_are_told_in_their_way() {
    let cors = "cors = { origins = [\"https://app.example\"], headers = [\"X-Api-Key\"] }";
    let (gateway, _backend) = knowing(&format!("---\n---\nauth = [\"api_key\"]\n{cors}"));
    let preflight = request(
        "OPTIONS",
        "/users",
        &[("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")],
        "",
    );
    assert_eq!(gateway.raw(preflight).status, 204, "a preflight has no credentials");
    let refused = get(gateway.address(), "/users", &[("Origin", "https://app.example")]);
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("https://app.example"))
    );
}

#[test]
fn an_explanation_says_who_is_asking_and_why_it_is_let_in() {
    let config = to_upstream(
        "127.0.0.1:9".parse().unwrap(),
        &format!("{}---\n---\nauth = [\"api_key\"]\nallow = [\"plan:pro\"]", consumers()),
    );
    let explain = |key: &str| {
        let told = run(
            &config,
            &["explain", "-H", &format!("X-Api-Key: {key}"), "-H", "X-Consumer: root", "GET", "/a"],
        );
        assert_eq!(told.code, Some(0), "{told:?}");
        told.stdout
    };
    let alice = explain(ALICE);
    for told in
        ["alice, plan pro", "`allow` has the consumer or its plan", "x-consumer: alice", "x-plan: pro"]
    {
        assert!(alice.to_lowercase().contains(told), "{told}: {alice}");
    }
    assert!(alice.contains("only the gateway says who the consumer is"), "{alice}");
    let bob = explain(BOB);
    assert!(bob.contains("403") && bob.contains("bob") && bob.contains("`allow` does not have it"), "{bob}");
    let nobody = explain("wrong");
    assert!(nobody.contains("401") && nobody.contains("nobody has this API key"), "{nobody}");
}
