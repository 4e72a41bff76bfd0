//! Quotas by the calendar.
//!
//! The tests go by the machine's clock. Where a reset could come in between, what is tested is done again in the new day.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gateway::consumer::KeyHash;
use serde_json::{Value, json};

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, request};
use crate::support::program::{run, run_in};

const DAY: u64 = 86_400;

fn now() -> Duration {
    jiff::Timestamp::now().as_duration().try_into().unwrap()
}

/// Does something within one day of UTC.
fn in_one_day<T>(what: impl Fn() -> T) -> T {
    let today = || now().as_secs() / DAY;
    loop {
        let day = today();
        let done = what();
        if today() == day {
            return done;
        }
    }
}

/// The whole seconds, rounded up, until the day of UTC ends: what they may be told to be between a time and now.
fn until_midnight(since: Duration) -> std::ops::RangeInclusive<u64> {
    let left =
        |time: Duration| (Duration::from_secs(DAY) - time_of_day(time)).as_nanos().div_ceil(1_000_000_000);
    // The gateway asks the clock once a second, and goes on by another one that may be a little slower or faster.
    let [first, last] = [left(since) + 1, left(now()) - 1].map(|seconds| u64::try_from(seconds).unwrap());
    last..=first
}

fn time_of_day(time: Duration) -> Duration {
    Duration::new(time.as_secs() % DAY, time.subsec_nanos())
}

/// A route under a limit with these terms.
fn config(terms: &str) -> String {
    format!(
        "[limits.daily]\n{terms}\n[[routes]]\nname = \"a\"\npath = \"/*\"\nrespond = {{ status = 200 }}\nlimits = [\"daily\"]"
    )
}

fn start(terms: &str) -> Gateway {
    Gateway::start_with_admin(&config(terms), "token = \"t\"")
}

/// The parameter of a field, such as `t` of `"daily";r=2;t=7`.
fn parameter(field: &str, name: &str) -> u64 {
    let value = field.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{name} in {field}")).parse().unwrap()
}

fn standing(gateway: &Gateway) -> Value {
    gateway.admin_get("/limits/daily/clients/127.0.0.1").json()
}

#[test]
fn a_quota_is_admitted_and_told_and_what_exceeds_it_refused_until_the_reset() {
    in_one_day(|| {
        let gateway = start("quota = \"3/day\"\nlegacy_headers = true");
        let since = now();
        let mut connection = gateway.connect();
        for left in (0..3).rev() {
            let response = connection.get("/");
            assert_eq!(response.status, 200);
            assert_eq!(response.header("ratelimit-policy"), Some(r#""daily";q=3;w=86400"#));
            let state = response.header("ratelimit").unwrap();
            assert!(state.starts_with(&format!(r#""daily";r={left};t="#)), "{state}");
            let until = until_midnight(since);
            assert!(until.contains(&parameter(state, "t")), "{state} {until:?}");
            assert_eq!(response.header("x-ratelimit-limit"), Some("3"));
            assert!(until.contains(&response.header("x-ratelimit-reset").unwrap().parse().unwrap()));
        }
        let refused = connection.get("/");
        refused.is_problem(429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        let until = until_midnight(since);
        assert!(until.contains(&wait), "{wait} {until:?}");
        assert_eq!(refused.json()["violated-policies"], json!(["daily"]));

        let client = standing(&gateway);
        assert_eq!((&client["quota"], &client["left"]), (&json!(3), &json!(0)), "{client}");
        let resets_in = client["resets_in_seconds"].as_f64().unwrap();
        let until = until_midnight(since);
        assert!(
            (*until.start() as f64 - 1.0..=*until.end() as f64).contains(&resets_in),
            "{client} {until:?}"
        );
        let limits = gateway.admin_get("/limits").json();
        assert_eq!((&limits[0]["period"], &limits[0]["clients"]), (&json!("day"), &json!(1)), "{limits}");
        assert_eq!(gateway.metric("gateway_limiter_clients"), 1.0);
        gateway.metric_becomes(
            r#"gateway_limit_decisions_total{decision="refused",limit="daily",route="a"}"#,
            1.0,
        );
        let offenders = gateway.admin_get("/stats").json()["limits"]["daily"]["offenders"].clone();
        assert_eq!(offenders[0]["key"], json!(["127.0.0.1"]));

        let mut admin = Connection::open(gateway.admin());
        admin.send(request("DELETE", "/limits/daily/clients/127.0.0.1", &TOKEN, ""));
        assert_eq!(admin.response().json()["left"], 3);
        assert_eq!(connection.get("/").status, 200);
        assert_eq!(standing(&gateway)["left"], 2);
    });
}

#[test]
fn a_reload_keeps_the_count_unless_the_period_changes() {
    in_one_day(|| {
        let gateway = start("quota = \"5/day\"");
        (0..3).for_each(|_| assert_eq!(gateway.get("/").status, 200));
        let left_after = |terms: &str| {
            gateway.write_file(&with_admin(&config(terms), "token = \"t\""));
            let response = gateway.post_reload(&TOKEN);
            assert_eq!(response.status, 200, "{}", response.text());
            standing(&gateway)["left"].clone()
        };
        assert_eq!(left_after("quota = \"10/day\""), 7);
        assert_eq!(left_after("quota = \"10/day\"\nmax_clients = 500"), 7);
        assert_eq!(left_after("quota = \"2/day\""), 0);
        assert_eq!(left_after("quota = \"4/month\""), 4);
        assert_eq!(left_after("rate = \"1/h\"\nburst = 9"), Value::Null, "it has tokens");
        assert_eq!(standing(&gateway)["tokens"], 9);
    });
}

#[test]
fn a_restart_keeps_the_count() {
    in_one_day(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("buckets");
        let config = format!("[limiter]\nsnapshot = \"{}\"\n{}", file.display(), config("quota = \"5/day\""));
        let mut first = Gateway::start(&config);
        (0..2).for_each(|_| assert_eq!(first.get("/").status, 200));
        first.signal("TERM");
        assert_eq!(first.wait().code(), Some(0));
        let second = Gateway::start(&config);
        second.wait_for_log_line("buckets restored from ");
        assert_eq!(standing(&second)["left"], 3);
        let other = Gateway::start(&config.replace("5/day", "5/week"));
        assert_eq!(standing(&other)["left"], 5);
    });
}

#[test]
fn overrides_have_quotas_of_their_own() {
    in_one_day(|| {
        let gateway = start(
            "quota = \"2/day\"\nkey = \"header:X-Key\"\nmissing_key = \"reject\"\n\
             [limits.daily.overrides]\nmuch = { quota = \"4/day\" }\nall = \"unlimited\"",
        );
        for (key, admitted) in [("some", 2), ("much", 4), ("all", 6)] {
            let count = (0..6).filter(|_| gateway.get_with("/", &[("X-Key", key)]).status == 200).count();
            assert_eq!(count, admitted, "{key}");
        }
        assert_eq!(gateway.get("/").status, 400);
    });
}

#[test]
fn plans_have_quotas_of_their_own() {
    let consumer = |name: &str, plan: &str| {
        let hash = KeyHash::of(format!("key-of-{name}").as_bytes());
        format!("[consumers.{name}]\n{plan}keys = [\"{hash}\"]\n")
    };
    let terms = "quota = \"2/day\"\nkey = \"consumer\"\n[limits.daily.plans]\npro = { quota = \"4/day\" }";
    let config = format!(
        "[plans.pro]\n{}{}{}\nauth = [\"api_key\"]",
        consumer("alice", "plan = \"pro\"\n"),
        consumer("bob", ""),
        config(terms)
    );
    in_one_day(|| {
        let gateway = Gateway::start(&config);
        for (key, admitted) in [("key-of-alice", 4), ("key-of-bob", 2)] {
            let count = (0..6).filter(|_| gateway.get_with("/", &[("X-Api-Key", key)]).status == 200).count();
            assert_eq!(count, admitted, "{key}");
        }
    });
}

#[test]
fn a_dry_run_refuses_nobody() {
    let gateway = start("quota = \"1/week\"\nmode = \"dry_run\"");
    for _ in 0..4 {
        let response = gateway.get("/");
        assert_eq!((response.status, response.header("ratelimit")), (200, None));
    }
    let decided = r#"gateway_limit_decisions_total{decision="would_refuse",limit="daily",route="a"}"#;
    // Two of a week each, if the reset came in between.
    crate::support::eventually("it would have refused", || (gateway.metric(decided) >= 2.0).then_some(()));
}

#[test]
fn a_quota_is_explained() {
    in_one_day(|| {
        let outcome = run(
            &format!("[admin]\nlisten = \"off\"\n{}", config("quota = \"1000/day\"")),
            &["explain", "GET", "/", "--from", "192.0.2.1"],
        );
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
        let told = "1000 a day, counted anew at 00:00 UTC, ";
        let rest = outcome.stdout.split(told).nth(1).unwrap_or_else(|| panic!("{}", outcome.stdout));
        let words: Vec<&str> = rest.split_whitespace().take(4).collect();
        let left = DAY - now().as_secs() % DAY;
        if left > 7200 {
            let hours: u64 = words[0].parse().unwrap();
            assert!((left / 3600..=left / 3600 + 1).contains(&hours) && words[1] == "h", "{words:?}");
        }
    });
}

#[test]
fn a_replay_goes_by_the_time_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), config("quota = \"3/day\"")).unwrap();
    let line =
        |time: &str| format!("192.0.2.1 - - [{time} +0000] \"GET /x HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n");
    let log: String = (50..60)
        .map(|second| line(&format!("26/Nov/2026:23:59:{second}")))
        .chain((0..5).map(|second| line(&format!("27/Nov/2026:00:00:0{second}"))))
        .collect();
    fs::write(folder.path().join("access.log"), log).unwrap();
    let refused = |arguments: &[&str]| {
        let report = replayed(folder.path(), arguments);
        let limit = &report["configs"][0]["limits"][0];
        assert_eq!((&limit["frontier"], &limit["burst"]), (&json!([]), &Value::Null), "{limit}");
        assert_eq!(report["configs"][0]["spread"]["totals"]["refused"], limit["refused"]);
        assert!(
            report["notes"].to_string().contains("The limit daily is a quota by the calendar."),
            "{report}"
        );
        (limit["refused"].as_u64().unwrap(), limit["hardest"][0]["longest_wait"].as_f64().unwrap())
    };
    // Seven of the first day and two of the second; the first of those waits longest, until the next midnight.
    assert_eq!(refused(&[]), (9, DAY as f64 - 3.0));
    assert_eq!(refused(&["--set", "limits.daily.utc_offset=+01:00"]), (12, 23.0 * 3600.0 + 7.0));
    assert_eq!(refused(&["--set", "limits.daily.quota=3/month"]), (12, 4.0 * DAY as f64 + 7.0));
}

/// The report of a replay of `access.log` in this folder.
fn replayed(folder: &Path, arguments: &[&str]) -> Value {
    let outcome = run_in(folder, &[&["replay", "--json", "access.log"], arguments].concat(), &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}
