//! Limits that several gateways keep together in a Redis.

use std::time::Duration;

use gateway::consumer::KeyHash;

use crate::support::eventually;
use crate::support::gateway::{Gateway, TOKEN};
use crate::support::http;
use crate::support::redis::Redis;

/// A route that answers by itself, with these limits.
const ROUTE: &str = r#"
[[routes]]
name = "all"
path = "/*"
limits = ["l"]
respond = { status = 200, body = "hello" }
"#;

/// The configuration of a gateway with this store and this limit. A request waits long for the store, since the machine may be busy.
fn config(url: &str, limit: &str) -> String {
    format!(
        "[limiter.shared]\nurl = \"{url}\"\nsecret = \"a secret of the tests\"\ntimeout = \"1s\"\n\
         [limits.l]\nshared = true\n{limit}\n{ROUTE}"
    )
}

/// A gateway with a connection to its store, whose side port knows a token.
fn connected(url: &str, limit: &str) -> Gateway {
    let gateway = Gateway::start_with_admin(&config(url, limit), "token = \"t\"");
    gateway.metric_becomes("gateway_shared_store_up", 1.0);
    gateway
}

/// Gateways that know of each other.
fn gateways(redis: &Redis, count: usize, limit: &str) -> Vec<Gateway> {
    let gateways: Vec<_> = (0..count).map(|_| connected(&redis.url(), limit)).collect();
    for gateway in &gateways {
        gateway.metric_becomes("gateway_shared_gateways", count as f64);
    }
    gateways
}

/// How many of so many requests to each gateway, in turn, are admitted. All others are refused by the limit.
fn admitted(gateways: &[Gateway], requests: usize) -> usize {
    let mut connections: Vec<_> = gateways.iter().map(Gateway::connect).collect();
    let mut admitted = 0;
    for _ in 0..requests {
        for connection in &mut connections {
            let answer = connection.get("/");
            match answer.status {
                200 => admitted += 1,
                _ => answer.is_problem(429),
            }
        }
    }
    admitted
}

fn left(gateway: &Gateway) -> String {
    gateway.get("/").header("ratelimit").unwrap().to_owned()
}

#[test]
fn several_gateways_admit_together_what_one_would() {
    let redis = Redis::start();
    for (limit, burst) in [
        ("rate = \"1/h\"\nburst = 30", 30),
        ("rate = \"1/h\"\nburst = 30\nlease = 1", 30),
        ("rate = \"1/h\"\nburst = 31\ncost = 3", 10),
        ("rate = \"1/h\"\nburst = 1", 1),
    ] {
        let mut connection = redis.connect();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        assert_eq!(admitted(&gateways(&redis, 3, limit), 40), burst, "{limit}");
    }
}

#[test]
fn a_client_is_told_how_the_shared_bucket_stands() {
    let redis = Redis::start();
    let [one, other] = &*gateways(&redis, 2, "rate = \"1/h\"\nburst = 10\nlease = 1") else { panic!() };
    assert_eq!(left(one), r#""l";r=9;t=3600"#);
    assert_eq!(left(other), r#""l";r=8;t=3600"#);
    assert_eq!(left(one), r#""l";r=7;t=3600"#);
    assert_eq!(admitted(std::slice::from_ref(one), 8), 7);
    let refused = other.get("/");
    refused.is_problem(429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
}

#[test]
fn a_busy_client_costs_few_calls_and_a_flood_none() {
    let redis = Redis::start();
    let limit = "rate = \"1/h\"\nburst = 1000";
    let gateways = gateways(&redis, 1, limit);
    assert_eq!(admitted(&gateways, 900), 900);
    let calls = || gateways[0].metric(r#"gateway_shared_calls_total{outcome="answered"}"#);
    assert!(calls() <= 45.0, "{} calls for 900 requests", calls());
    admitted(&gateways, 101);
    let before = calls();
    assert_eq!(admitted(&gateways, 500), 0);
    // Tokens that were held may go back meanwhile.
    assert!(calls() - before <= 1.0, "{} calls for 500 refusals", calls() - before);
}

#[test]
fn the_side_port_reads_and_fills_the_shared_bucket() {
    let redis = Redis::start();
    let [one, other] = &*gateways(&redis, 2, "rate = \"1/h\"\nburst = 10") else { panic!() };
    assert_eq!(admitted(std::slice::from_ref(one), 12), 10);
    let path = "/limits/l/clients/127.0.0.1";
    let standing = other.admin_get(path).json();
    assert_eq!((&standing["tokens"], &standing["burst"]), (&0.into(), &10.into()), "{standing}");
    let request = http::request("DELETE", path, &TOKEN, "");
    let mut connection = http::Connection::open(other.admin());
    connection.send(request);
    let filled = connection.response();
    assert_eq!((filled.status, &filled.json()["tokens"]), (200, &10.into()));
    // The other gateway hears of it, and forgets that it has refused.
    eventually("the client is admitted again", || (one.get("/").status == 200).then_some(()));
    assert!(admitted(std::slice::from_ref(one), 12) <= 9);
}

#[test]
fn the_side_port_tells_how_the_store_does() {
    let mut redis = Redis::start();
    let gateway =
        connected(&redis.url(), "rate = \"1/h\"\nburst = 10\nlease = 1\n[limits.own]\nrate = \"1/s\"");
    assert_eq!(admitted(std::slice::from_ref(&gateway), 3), 3);
    let stats = gateway.admin_get("/stats").json();
    let store = &stats["shared_store"];
    assert_eq!((&store["up"], &store["gateways"]), (&true.into(), &1.into()), "{store}");
    let calls = serde_json::json!({ "answered": 3, "timed_out": 0, "failed": 0, "not_made": 0 });
    assert_eq!(store["calls"], calls);
    assert!(store["latency"]["p99_ms"].as_f64().unwrap() > 0.0, "{store}");
    let tokens = serde_json::json!({ "leased": 3, "spent": 3, "returned": 0, "alone": 0 });
    assert_eq!(stats["limits"]["l"]["shared"], tokens);
    assert!(stats["limits"]["own"]["shared"].is_null());
    let limits = gateway.admin_get("/limits").json();
    let shared: Vec<_> =
        limits.as_array().unwrap().iter().map(|limit| (&limit["name"], &limit["shared"])).collect();
    assert_eq!(shared, [(&"l".into(), &true.into()), (&"own".into(), &false.into())]);
    let explained = gateway.admin_get("/explain?method=GET&url=/").json();
    let limit = &explained["limits"][0];
    assert_eq!((&limit["shared"], &limit["left"]), (&true.into(), &7.into()), "{limit}");
    redis.stop();
    gateway.metric_becomes("gateway_shared_store_up", 0.0);
    assert_eq!(admitted(&[gateway], 1), 1);
}

#[test]
fn failures_count_in_all_gateways() {
    let redis = Redis::start();
    let limit = "rate = \"1/h\"\nburst = 4\ncharge = \"on_failure\"\n\
                 [[routes]]\nname = \"bad\"\npath = \"/bad\"\nlimits = [\"l\"]\nrespond = { status = 401 }";
    let [one, other] = &*gateways(&redis, 2, limit) else { panic!() };
    for gateway in [one, other, one, other] {
        assert_eq!(gateway.get("/").status, 200, "a success costs nothing");
        assert_eq!(gateway.get("/bad").status, 401);
    }
    for gateway in [one, other] {
        gateway.get("/").is_problem(429);
        gateway.get("/bad").is_problem(429);
    }
}

#[test]
fn two_shared_limits_admit_together_or_not_at_all() {
    let redis = Redis::start();
    let limit = "rate = \"1/h\"\nburst = 20\n[limits.narrow]\nshared = true\nrate = \"1/h\"\nburst = 5\n\
                 [[routes]]\nname = \"both\"\npath = \"/both\"\nlimits = [\"l\", \"narrow\"]\nrespond = { status = 200 }";
    let gateways = gateways(&redis, 2, limit);
    let mut admitted = 0;
    for _ in 0..10 {
        for gateway in &gateways {
            admitted += usize::from(gateway.get("/both").status == 200);
        }
    }
    assert_eq!(admitted, 5);
    // What the narrow limit refused has cost the wide one nothing.
    let rest: usize = gateways.iter().map(|gateway| self::admitted(std::slice::from_ref(gateway), 20)).sum();
    assert_eq!(rest, 15);
}

#[test]
fn a_shared_limit_and_one_of_the_gateway_admit_together_or_not_at_all() {
    let redis = Redis::start();
    let limit = "rate = \"1/h\"\nburst = 40\n[limits.own]\nrate = \"1/h\"\nburst = 3\n[limits.slots]\nmax_in_flight = 5\n\
                 [limits.trial]\nshared = true\nrate = \"1/h\"\nburst = 1\nmode = \"dry_run\"\n\
                 [[routes]]\nname = \"both\"\npath = \"/both\"\nlimits = [\"own\", \"l\", \"slots\", \"trial\"]\nrespond = { status = 200 }";
    let gateways = gateways(&redis, 2, limit);
    let statuses: Vec<_> = (0..10).map(|_| gateways[0].get("/both").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429, 429, 429]);
    let would = r#"gateway_limit_decisions_total{decision="would_refuse",limit="trial",route="both"}"#;
    assert_eq!(gateways[0].metric(would), 2.0, "what another limit refused is not counted");
    // What the gateway's own limit refused has cost the shared one nothing.
    let rest: usize = gateways.iter().map(|gateway| admitted(std::slice::from_ref(gateway), 40)).sum();
    assert_eq!(rest, 37);
}

#[test]
fn overrides_hold_in_all_gateways() {
    let redis = Redis::start();
    let limit = "rate = \"1/h\"\nburst = 4\nkey = \"header:X-Key\"\n\
                 overrides = { free = \"unlimited\", big = { rate = \"1/h\", burst = 8 } }";
    let gateways = gateways(&redis, 2, limit);
    for (key, most) in [("free", 20), ("big", 8), ("other", 4)] {
        let mut admitted = 0;
        for _ in 0..10 {
            for gateway in &gateways {
                admitted += usize::from(gateway.get_with("/", &[("X-Key", key)]).status == 200);
            }
        }
        assert_eq!(admitted, most, "{key}");
    }
}

#[test]
fn a_gateway_starts_without_its_store_and_does_what_the_limit_says() {
    let missing = "redis+unix:///nonexistent/redis.sock";
    let start = |limit: &str| Gateway::start(&config(missing, limit));
    let local = start("rate = \"1/h\"\nburst = 3");
    assert_eq!(local.admin_get("/ready").status, 200);
    assert_eq!(local.metric("gateway_shared_store_up"), 0.0);
    assert_eq!(admitted(&[local], 5), 3);
    assert_eq!(admitted(&[start("rate = \"1/h\"\nburst = 3\non_error = \"allow\"")], 5), 5);
    let refusing = start("rate = \"1/h\"\nburst = 3\non_error = \"refuse\"");
    let refused = refusing.get("/");
    refused.is_problem(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refusing.metric(r#"gateway_shared_alone_total{limit="l"}"#), 1.0);
}

#[test]
fn each_gateway_enforces_its_share_while_the_store_is_away_and_then_goes_back() {
    let mut redis = Redis::start();
    let gateways = gateways(&redis, 2, "rate = \"1/h\"\nburst = 20");
    redis.stop();
    for gateway in &gateways {
        gateway.metric_becomes("gateway_shared_store_up", 0.0);
    }
    assert_eq!(admitted(&gateways, 20), 20, "half of the burst each");
    redis.restart();
    for gateway in &gateways {
        gateway.metric_becomes("gateway_shared_store_up", 1.0);
    }
    // The store has lost its memory. Each gateway tells it of its half with its first call about the client.
    let admitted = admitted(&gateways, 20);
    assert!(admitted <= 10, "{admitted}");
}

#[test]
fn no_request_fails_while_the_store_hangs() {
    let redis = Redis::start();
    let gateway = connected(&redis.url(), "rate = \"1000/s\"\nlease = 1");
    redis.pause(true);
    let mut connection = gateway.connect();
    for _ in 0..10 {
        assert_eq!(connection.get("/").status, 200);
    }
    gateway.metric_becomes("gateway_shared_store_up", 0.0);
    redis.pause(false);
    gateway.metric_becomes("gateway_shared_store_up", 1.0);
    let answered = r#"gateway_shared_calls_total{outcome="answered"}"#;
    let before = gateway.metric(answered);
    assert_eq!(connection.get("/").status, 200);
    assert!(gateway.metric(answered) > before, "it asks again");
}

#[test]
fn a_busy_client_alone_finds_that_the_store_hangs() {
    let redis = Redis::start();
    let limit = "rate = \"1000/s\"\nlease = 1";
    let gateway = Gateway::start(&config(&redis.url(), limit).replace("\"1s\"", "\"50ms\""));
    gateway.metric_becomes("gateway_shared_store_up", 1.0);
    redis.pause(true);
    // Most requests wait for the call of another one. The gateway would find out by its own calls and heartbeats only after seconds.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut connection = gateway.connect();
                for _ in 0..4 {
                    assert_eq!(connection.get("/").status, 200);
                }
            });
        }
    });
    assert_eq!(gateway.metric("gateway_shared_store_up"), 0.0);
    redis.pause(false);
}

#[test]
fn a_reload_keeps_what_was_spent() {
    let redis = Redis::start();
    let gateway = connected(&redis.url(), "rate = \"1/h\"\nburst = 20\nlease = 1");
    assert_eq!(admitted(std::slice::from_ref(&gateway), 10), 10);
    let other = connected(&redis.url(), "rate = \"1/h\"\nburst = 40\nlease = 1");
    // Both configurations are in force now: half of the tokens are left under each.
    assert!(left(&other).starts_with(r#""l";r=19;"#));
    let preamble = crate::support::gateway::with_admin(
        &config(&redis.url(), "rate = \"1/h\"\nburst = 40\nlease = 1"),
        "token = \"t\"",
    );
    gateway.write_file(&preamble);
    assert_eq!(gateway.post_reload(&TOKEN).status, 200);
    assert!(left(&gateway).starts_with(r#""l";r=18;"#));
}

#[test]
fn a_gateway_that_stops_gives_its_tokens_back() {
    let redis = Redis::start();
    let mut gateways = gateways(&redis, 2, "rate = \"1/h\"\nburst = 100");
    let mut first = gateways.remove(0);
    // The first request asks for nothing ahead, since nothing is known of the client.
    for _ in 0..4 {
        assert_eq!(first.get("/").status, 200);
    }
    assert!(first.metric(r#"gateway_shared_tokens_total{event="leased",limit="l"}"#) > 4.0);
    first.signal("TERM");
    assert!(first.wait().success());
    assert_eq!(admitted(&gateways, 110), 96);
}

#[test]
fn a_client_that_pauses_finds_its_tokens_in_the_other_gateway() {
    let redis = Redis::start();
    let config = |limit| config(&redis.url(), limit).replace("timeout", "lease_time = \"1s\"\ntimeout");
    let start = || {
        let gateway = Gateway::start(&config("rate = \"1/h\"\nburst = 100"));
        gateway.metric_becomes("gateway_shared_store_up", 1.0);
        gateway
    };
    let (one, other) = (start(), start());
    for _ in 0..4 {
        assert_eq!(one.get("/").status, 200);
    }
    eventually("unused tokens have gone back", || {
        let metric =
            |event| one.metric(&format!("gateway_shared_tokens_total{{event=\"{event}\",limit=\"l\"}}"));
        (metric("leased") - metric("spent") - metric("returned") == 0.0).then_some(())
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(admitted(&[other], 110), 96);
}

#[test]
fn consumers_have_the_terms_of_their_plans_over_all_gateways() {
    let redis = Redis::start();
    let hash = |key: &str| KeyHash::of(key.as_bytes());
    let (alice, bob) = ("gwk_alice0123456789", "gwk_bob0123456789");
    let limit = format!(
        "rate = \"1/h\"\nburst = 5\nkey = \"consumer\"\n[limits.l.plans]\npro = {{ rate = \"1/h\", burst = 20 }}\n\
         [plans.free]\n[plans.pro]\n[consumers.alice]\nplan = \"pro\"\nkeys = [\"{}\"]\n\
         [consumers.bob]\nplan = \"free\"\nkeys = [\"{}\"]",
        hash(alice),
        hash(bob)
    );
    let config = format!("auth = [\"api_key\"]\n{}", config(&redis.url(), &limit));
    let gateways: Vec<_> = (0..2).map(|_| Gateway::start_with_admin(&config, "token = \"t\"")).collect();
    gateways.iter().for_each(|gateway| gateway.metric_becomes("gateway_shared_gateways", 2.0));
    let admitted = |key: &str| {
        let mut connections: Vec<_> = gateways.iter().map(Gateway::connect).collect();
        let asked = (0..40).map(|number| {
            let connection = &mut connections[number % 2];
            connection.get_with("/", &[("X-Api-Key", key)]).status
        });
        asked.filter(|status| *status == 200).count()
    };
    assert_eq!((admitted(alice), admitted(bob)), (20, 5));
    // A wrong key counts for nobody.
    assert_eq!(admitted("gwk_mallory"), 0);
    for (name, burst) in [("alice", 20), ("bob", 5)] {
        let standing = gateways[1].admin_get(&format!("/limits/l/clients/{name}")).json();
        assert_eq!((&standing["burst"], &standing["tokens"]), (&burst.into(), &0.into()), "{standing}");
    }
}
