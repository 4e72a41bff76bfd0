//! `gateway replay`: what limits would have done to the requests of a log.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::program::run_in;
use crate::support::to_upstream;
use crate::support::upstream::RawUpstream;

/// Replays a log in this folder, where `gateway.toml` is.
#[track_caller]
fn replayed(folder: &Path, arguments: &[&str]) -> Value {
    let outcome = run_in(folder, &[&["replay", "--json"], arguments].concat(), &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// A folder with a configuration and logs.
fn folder(config: &str, logs: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.toml"), config).unwrap();
    for (name, text) in logs {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const CONFIG: &str = r#"
[limits.per_client]
rate = "1/s"
burst = 2

[upstreams.main]
servers = ["127.0.0.1:1"]

[[routes]]
name = "users"
path = "/users/*"
methods = ["GET"]
limits = ["per_client"]
upstream = "main"
"#;

/// Lines in the combined format: the client, the second, and the request.
fn combined(lines: &[(&str, u32, &str)]) -> Vec<u8> {
    let line = |(client, second, request): &(&str, u32, &str)| {
        let time = format!("26/Nov/2026:08:{:02}:{:02} +0000", second / 60, second % 60);
        format!("{client} - bob [{time}] \"{request} HTTP/1.1\" 200 5 \"-\" \"curl/8\"\n")
    };
    lines.iter().map(line).collect::<String>().into_bytes()
}

/// Three requests of one second and one of the next, of a client; one of another; one without a route.
fn log() -> Vec<u8> {
    combined(&[
        ("192.0.2.1", 0, "GET /users/1"),
        ("192.0.2.1", 0, "GET /users/2"),
        ("192.0.2.1", 0, "GET /users/3"),
        ("192.0.2.1", 1, "GET /users/4"),
        ("2001:db8::1", 1, "GET /users/5"),
        ("192.0.2.1", 9, "GET /nothing"),
        ("192.0.2.1", 9, "POST /users/6"),
    ])
}

/// No store is connected with: the address leads nowhere.
#[test]
fn shared_limits_are_counted_as_those_of_one_gateway() {
    let config = |sharing: &str| {
        let limits = format!(
            "[limits.narrow]\nrate = \"1/min\"\n{sharing}\n\
             [limits.failures]\nrate = \"2/min\"\ncharge = \"on_failure\"\nfailures = [200]\n{sharing}\n{CONFIG}"
        );
        limits
            .replace("burst = 2", &format!("burst = 2\n{sharing}"))
            .replace("[\"per_client\"]", "[\"per_client\", \"narrow\", \"failures\"]")
    };
    let store = "[limiter.shared]\nurl = \"redis://192.0.2.1:6379\"\nsecret = \"0123456789abcdef\"\n";
    let folder = folder(&(store.to_owned() + &config("shared = true")), &[("access.log", &log())]);
    fs::write(folder.path().join("alone.toml"), config("")).unwrap();
    let shared = replayed(folder.path(), &["access.log"]);
    let alone = replayed(folder.path(), &["-c", "alone.toml", "access.log"]);
    for part in ["totals", "limits"] {
        let of = |report: &Value| report["configs"][0][part].clone();
        assert!(of(&shared).to_string().contains("refused"), "{shared}");
        assert_eq!(of(&shared), of(&alone), "{part}");
    }
    let notes = |report: &Value| report["notes"].to_string().matches("is shared by several gateways").count();
    assert_eq!((notes(&shared), notes(&alone)), (3, 0));
}

#[test]
fn a_log_of_whole_seconds_gives_two_bounds() {
    let folder = folder(CONFIG, &[("access.log", &log())]);
    let report = replayed(folder.path(), &["access.log"]);
    let config = &report["configs"][0];
    let totals = json!({
        "requests": 7, "admitted": 4, "refused": 1, "would_refuse": 0, "without_route": 2, "not_asked": 0,
    });
    assert_eq!(config["totals"], totals);
    let limit = &config["limits"][0];
    assert_eq!((&limit["asked"], &limit["refused"], &limit["clients"]), (&5.into(), &1.into(), &2.into()));
    assert_eq!(
        limit["hardest"],
        json!([{"client": "192.0.2.1", "refused": 1, "asked": 4, "longest_wait": 1.0}])
    );
    let row = |config: &Value| {
        let rows = config["limits"][0]["frontier"].as_array().unwrap();
        rows.iter().find(|row| row["configured"] == true).unwrap().clone()
    };
    // Three at once need a burst of three.
    assert_eq!((&row(config)["rate"], &row(config)["bursts"]), (&"1/s".into(), &json!([3, 3, 3])));
    // A third of a second apart, two thirds of a token are back for the third request: too little as well.
    assert_eq!(
        config["spread"],
        json!({"totals": totals, "limits": [{"name": "per_client", "refused": 1, "spared": 0}]})
    );
    assert_eq!(report["log"]["first"], "2026-11-26T08:00:00.000000Z");
}

/// The requests of a whole second are decided as if a more precise log told that they came evenly spread over it.
#[test]
fn spread_over_a_second_decisions_are_those_of_a_log_that_tells_these_times() {
    const LIMITS: &str = "[limits.per_client]\nrate = \"10/s\"\nburst = 8\nexempt = [\"192.0.2.16/28\"]\n\
        overrides = { \"192.0.2.1\" = { rate = \"1/s\", burst = 2 }, \"192.0.2.2\" = \"unlimited\" }\n\
        [limits.per_path]\nkey = [\"path\", \"query:q\"]\nrate = \"20/s\"\nburst = 15\ncost = 2\nmethods = [\"GET\"]\n\
        [limits.failures]\nrate = \"1/s\"\nburst = 3\ncharge = \"on_failure\"\n\
        [limits.trial]\nkey = \"global\"\nrate = \"60/s\"\nburst = 5\nmode = \"dry_run\"\n\
        [upstreams.u]\nservers = [\"127.0.0.1:1\"]\n\
        [[routes]]\nname = \"r\"\npath = \"/r/*\"\nupstream = \"u\"\n\
        limits = [\"per_client\", \"per_path\", \"failures\", \"trial\"]\n";
    let (mut whole, mut precise, mut number) = (String::new(), String::new(), 0_u32);
    for (second, count) in [100, 1, 8, 500, 200, 4, 250, 125, 1000, 50].into_iter().enumerate() {
        for place in 0..count {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let chance = number >> 16;
            let client = format!("192.0.2.{}", chance % 24);
            let method = if chance % 5 == 0 { "POST" } else { "GET" };
            let path = ["/r/a", "/r/b?q=1", "/r/b?q=2", "/r/c", "/none"][(chance / 5 % 5) as usize];
            let status = if chance % 7 == 0 { 401 } else { 200 };
            let micros = 1_000_000 / count * place;
            whole += &format!(
                "{client} - - [26/Nov/2026:08:00:{second:02} +0000] \"{method} {path} HTTP/1.1\" {status} 5\n"
            );
            precise += &format!(
                "{{\"time\":\"2026-11-26T08:00:{second:02}.{micros:06}Z\",\"client\":\"{client}\",\"method\":\"{method}\",\
                 \"host\":\"\",\"path\":\"{path}\",\"protocol\":\"HTTP/1.1\",\"route\":\"r\",\"status\":{status},\"duration_ms\":0}}\n"
            );
        }
    }
    let folder = folder(LIMITS, &[("whole.log", whole.as_bytes()), ("precise.log", precise.as_bytes())]);
    let whole = &replayed(folder.path(), &["whole.log"])["configs"][0];
    let precise = &replayed(folder.path(), &["precise.log"])["configs"][0];
    assert_eq!(whole["spread"]["totals"], precise["totals"]);
    for (spread, told) in limits(&whole["spread"]).iter().zip(limits(precise)) {
        for number in ["name", "refused", "spared"] {
            assert_eq!(spread[number], told[number], "{spread} {told}");
        }
        assert!(told["refused"].as_u64() > Some(20), "{told}");
    }
    assert_ne!(whole["totals"], precise["totals"], "all at the beginning of a second is another matter");
}

fn limits(config: &Value) -> &[Value] {
    config["limits"].as_array().unwrap()
}

#[test]
fn the_report_for_people_answers_the_question() {
    let folder = folder(CONFIG, &[("access.log", &log())]);
    let outcome = run_in(folder.path(), &["replay", "access.log"], &[]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    for part in [
        "7 requests from 2026-11-26 08:00:00 to 2026-11-26 08:00:09 UTC",
        "in access.log (combined)",
        "limit per_client: 1/s, burst 2, by client_ip",
        "refused 1 (20.0 %) of 5 requests",
        "192.0.2.1",
        "At 1/s it takes a burst of 3 to refuse nobody; the burst is 2.",
        "The log tells whole seconds.",
    ] {
        assert!(outcome.stdout.contains(part), "{part}\n{}", outcome.stdout);
    }
}

#[test]
fn a_change_is_tried_without_editing() {
    let logs = log();
    let other = CONFIG.replace("burst = 2", "burst = 1");
    let folder =
        folder(CONFIG, &[("access.log", &logs), ("other.toml", other.as_bytes()), ("broken.toml", b"= 1")]);
    let refused = |arguments: &[&str]| {
        let report = replayed(folder.path(), arguments);
        let configs = report["configs"].as_array().unwrap();
        configs.iter().map(|config| config["totals"]["refused"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(refused(&["access.log", "--set", "limits.per_client.burst=3"]), [0]);
    assert_eq!(refused(&["access.log", "--set", "limits.per_client.rate=1/h"]), [2]);
    assert_eq!(refused(&["access.log", "--set", "routes.users.limits=[]"]), [0]);
    assert_eq!(refused(&["access.log", "--compare", "other.toml"]), [1, 2]);
    let outcome = run_in(folder.path(), &["replay", "access.log", "--compare", "other.toml"], &[]);
    assert!(outcome.stdout.contains("Beside each other"), "{}", outcome.stdout);
    // What is wrong is told by its place, and as what it is.
    for (arguments, code, message) in [
        (&["--set", "limits.per_client.rate=fast"][..], 64, "gateway.toml:3:8: "),
        (&["--compare", "broken.toml", "--set", "limits.per_client.burst=3"], 64, "broken.toml:1:"),
        (&["--set", "limits.per_client.rate.x=1"], 2, "rate is no table"),
        (&["--set", "rate"], 2, "a setting is a path and a value"),
        (&["--map", "nothing"], 2, "is no mapping"),
        (&["--compare", "none.toml"], 64, "none.toml"),
        (&["--format", "xml"], 2, "possible values"),
        (&["none.log"], 1, "none.log"),
        (&["--html", "/none/report.html"], 1, "/none/report.html"),
    ] {
        let outcome = run_in(folder.path(), &[&["replay", "access.log"], arguments].concat(), &[]);
        assert_eq!(outcome.code, Some(code), "{arguments:?} {}", outcome.stderr);
        assert!(outcome.stderr.contains(message), "{arguments:?} {}", outcome.stderr);
    }
}

#[test]
fn a_limit_by_what_the_log_does_not_tell_is_not_judged_unless_it_is_mapped() {
    let config = CONFIG.replace("rate = \"1/s\"", "rate = \"1/s\"\nkey = \"header:X-Api-Key\"");
    let folder = folder(&config, &[("access.log", &log())]);
    let report = replayed(folder.path(), &["access.log"]);
    let limit = &report["configs"][0]["limits"][0];
    assert_eq!((&limit["unjudged"], &limit["asked"]), (&"header:x-api-key".into(), &0.into()));
    assert_eq!(report["configs"][0]["totals"]["admitted"], 5);
    let notes = report["notes"].to_string();
    assert!(notes.contains("--map header:x-api-key=FIELD"), "{notes}");
    let by_field = "\n[[routes]]\nname = \"two\"\npath = \"/users/*\"\nheaders = { X-Api-Key = \"bob\" }\nupstream = \"main\"\n";
    let config = format!("{CONFIG}{by_field}");
    let unseen = self::folder(&config, &[("access.log", &log())]);
    let report = replayed(unseen.path(), &["access.log"]);
    let notes = report["notes"].to_string();
    assert!(
        notes.contains(
            "The route two cannot be judged, since the log does not tell the header field x-api-key"
        ),
        "{notes}"
    );
    assert_eq!(report["configs"][0]["limits"][0]["asked"], 5);
    let report = replayed(unseen.path(), &["access.log", "--map", "header:X-Api-Key=user"]);
    assert!(!report["notes"].to_string().contains("cannot be judged"), "{}", report["notes"]);
    assert_eq!(report["configs"][0]["limits"][0]["asked"], 0);
    // Everybody is bob.
    let report = replayed(folder.path(), &["access.log", "--map", "header:X-Api-Key=user"]);
    let limit = &report["configs"][0]["limits"][0];
    assert_eq!(
        (&limit["unjudged"], &limit["asked"], &limit["clients"]),
        (&Value::Null, &5.into(), &1.into())
    );
}

#[test]
fn decisions_and_the_page_are_written() {
    let folder = folder(CONFIG, &[("access.log", &log())]);
    let arguments = ["replay", "access.log", "--decisions", "-", "--html", "report.html"];
    let outcome = run_in(folder.path(), &arguments, &[]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(
        lines[2],
        json!({
            "time": "2026-11-26T08:00:00.000000Z", "client": "192.0.2.1", "method": "GET", "host": "",
            "path": "/users/3", "route": "users", "decision": "refused", "refused_by": ["per_client"],
            "retry_after": 1.0, "status": 200,
        })
    );
    assert_eq!(lines[5]["decision"], "without_route");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("uPlot") && page.contains("per_client"));
    assert!(!page.contains("src=") && !page.contains("href="), "it needs nothing else");
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_reported() {
    let mut text = log();
    text.extend_from_slice(
        b"what is this\n192.0.2.9 - - [26/Nov/2026:08:00:10 +0000] \"-\" 408 0 \"-\" \"-\"\n",
    );
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&log().repeat(3000)).unwrap();
    let zipped = zipped.finish().unwrap();
    let binary = [0_u8, 1, 2, 255].repeat(1000);
    let folder = folder(
        CONFIG,
        &[
            ("access.log", &*text),
            ("broken.gz", &zipped[..zipped.len() / 2]),
            ("whole.gz", &*zipped),
            ("empty.log", b""),
            ("binary.log", &*binary),
        ],
    );
    let report = replayed(folder.path(), &["access.log", "empty.log"]);
    assert_eq!((&report["log"]["unreadable"], &report["log"]["requests"]), (&2.into(), &7.into()));
    let first = report["log"]["unreadable_lines"][0].as_str().unwrap();
    assert!(first.starts_with("access.log:8: ") && first.ends_with("what is this"), "{first}");
    assert_eq!(replayed(folder.path(), &["empty.log"])["log"]["requests"], 0);
    assert_eq!(replayed(folder.path(), &["whole.gz"])["log"]["requests"], 21_000);
    // What was read before the file broke is reported, and the exit status says that it is not all.
    let outcome = run_in(folder.path(), &["replay", "--json", "broken.gz"], &[]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("broken.gz"), "{}", outcome.stderr);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(report["log"]["requests"].as_u64().unwrap() > 100);
    let outcome = run_in(folder.path(), &["replay", "binary.log"], &[]);
    assert_eq!((outcome.code, &*outcome.stdout), (Some(1), ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("binary.log"), "{}", outcome.stderr);
}

#[test]
fn what_requests_hold_is_given_back_when_the_log_says_that_they_ended() {
    let line = |ended: &str, milliseconds: u32, status: u16, path: &str| {
        format!(
            "{{\"time\":\"2026-11-26T08:00:{ended}00000Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"host\":\"a\",\
             \"path\":\"{path}\",\"protocol\":\"HTTP/1.1\",\"route\":\"r\",\"status\":{status},\"duration_ms\":{milliseconds}}}\n"
        )
    };
    let config = "[limits.running]\nmax_in_flight = 1\n[limits.failures]\nrate = \"1/h\"\ncharge = \"on_failure\"\n\
                  [upstreams.u]\nservers = [\"127.0.0.1:1\"]\n\
                  [[routes]]\nname = \"slow\"\npath = \"/slow\"\nupstream = \"u\"\nlimits = [\"running\"]\n\
                  [[routes]]\nname = \"login\"\npath = \"/login\"\nupstream = \"u\"\nlimits = [\"failures\"]\n";
    // The first line began last: lines are written when requests end.
    let text = [
        line("02.0", 1000, 200, "/slow"),
        line("02.5", 2000, 200, "/slow"),
        line("03.6", 1000, 200, "/slow"),
        line("04.0", 10, 200, "/login"),
        line("05.0", 10, 401, "/login"),
        line("06.0", 10, 200, "/login"),
    ]
    .concat();
    let folder = folder(config, &[("access.log", text.as_bytes())]);
    let outcome = run_in(folder.path(), &["replay", "access.log", "--decisions", "-"], &[]);
    let decisions: Vec<(String, String)> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| {
            (line["time"].as_str().unwrap()[17..21].to_owned(), line["decision"].as_str().unwrap().to_owned())
        })
        .collect();
    let decisions: Vec<_> = decisions.iter().map(|(time, decision)| (&**time, &**decision)).collect();
    assert_eq!(
        decisions,
        [
            ("00.5", "admitted"),
            ("01.0", "refused"),
            ("02.6", "admitted"),
            ("03.9", "admitted"),
            ("04.9", "admitted"),
            ("05.9", "refused"),
        ]
    );
}

const LIMITS: &str = r#"
trusted_proxies = ["127.0.0.0/8"]
[limits.per_client]
rate = "40/s"
burst = 20
[limits.per_key]
key = "header:X-Api-Key"
rate = "200/s"
burst = 100
methods = ["GET"]
[limits.failures]
key = "cookie:session"
rate = "5/s"
burst = 10
charge = "on_failure"
[limits.priced]
key = ["client_ip", "query:q"]
rate = "150/s"
burst = 40
cost_header = "X-Cost"
max_cost = 9
[limits.trial]
key = "global"
rate = "500/s"
burst = 5
mode = "dry_run"
---
---
limits = ["per_client", "per_key", "failures", "priced", "trial"]
"#;

/// What the gateway decided under load, and wrote into its log, is what a replay of the log decides.
#[test]
fn the_gateway_s_own_log_replays_to_the_same_decisions() {
    const CLIENTS: usize = 8;
    const EACH: usize = 12_500;
    let upstream = RawUpstream::start(|exchange| {
        let mut number = 0_u32;
        while let Some(head) = exchange.read_head_text() {
            number += 1;
            let status =
                if head.starts_with("POST") && number.is_multiple_of(3) { "401 No" } else { "200 OK" };
            let cost = number % 9;
            exchange.write(format!("HTTP/1.1 {status}\r\nX-Cost: {cost}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    // One worker decides in the order of its stamps. Of several, now and then one is interrupted between the stamp and the decision.
    let mut gateway = Gateway::with_file(&format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 1\n{}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [access_log]\npath = \"access.log\"\n",
        to_upstream(upstream.address(), LIMITS)
    ));
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = gateway.connect();
                for number in 0..EACH {
                    let (method, target) = match number % 7 {
                        0 => ("POST", "/login".to_owned()),
                        1 => ("GET", format!("/search?q={}", number % 3)),
                        _ => ("GET", "/users".to_owned()),
                    };
                    let address = format!("192.0.2.{}", (client * 3 + number / 40) % 20);
                    let (key, cookie) = (format!("key-{}", number % 5), format!("session={client}"));
                    let mut fields = vec![("X-Forwarded-For", &*address), ("Cookie", &*cookie)];
                    if number % 11 != 0 {
                        fields.push(("X-Api-Key", &*key));
                    }
                    connection.send(request(method, &target, &fields, ""));
                    let status = connection.response().status;
                    assert!([200, 401, 429].contains(&status), "{status}");
                }
            });
        }
    });
    assert_eq!(gateway.metric("gateway_access_log_dropped_lines_total"), 0.0);
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let report = replayed(&gateway.folder(), &["-c", "gateway.toml", "access.log"]);
    let count = |name: &str| report["configs"][0]["agreement"][name].as_u64().unwrap();
    let all = (CLIENTS * EACH) as u64;
    let (same, close, swapped) = (count("same"), count("close"), count("swapped"));
    assert_eq!(
        (count("different"), same + close + swapped),
        (0, all),
        "{}",
        report["configs"][0]["agreement"]
    );
    assert!(close + swapped < all / 100, "{close} close, {swapped} swapped");
    let refused = report["configs"][0]["totals"]["refused"].as_u64().unwrap();
    assert!(refused > all / 20 && refused < all, "both happen often: {refused}");
}

#[test]
fn a_log_tells_who_was_asking_and_by_which_plan() {
    let config = r#"
[server]
auth_failures = "1/min"

[plans.pro]

[consumers.alice]
plan = "pro"

[limits.api]
rate = "1/h"
key = "consumer"

[limits.api.plans]
pro = { rate = "3/h" }

[auth.jwt]
plan_claim = "plan"
keys = [{ algorithm = "HS256", secret = "0123456789abcdef0123456789abcdef" }]

[[routes]]
name = "r"
path = "/*"
auth = ["jwt"]
limits = ["api"]
respond = {}
"#;
    let line = |second: usize, members: &str| {
        format!(
            "{{\"time\":\"2026-11-26T08:00:{second:02}.000000Z\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\"host\":\"a\",\"path\":\"/\",\
             \"protocol\":\"HTTP/1.1\",\"route\":\"r\",\"duration_ms\":0,{members}}}\n"
        )
    };
    let admitted = "\"status\":200,\"limits\":{\"api\":1}";
    let refused_by =
        |limit: &str| format!("\"status\":429,\"limits\":{{\"{limit}\":0}},\"refused_by\":[\"{limit}\"]");
    let lines = [
        // The file gives alice her plan, and a token has given bob his.
        "\"consumer\":\"alice\",".to_owned() + admitted,
        "\"consumer\":\"alice\",".to_owned() + admitted,
        "\"consumer\":\"bob\",\"plan\":\"pro\",".to_owned() + admitted,
        "\"consumer\":\"bob\",\"plan\":\"pro\",".to_owned() + admitted,
        // A plan that there is no more.
        "\"consumer\":\"carol\",\"plan\":\"gone\",".to_owned() + admitted,
        "\"consumer\":\"carol\",\"plan\":\"gone\",".to_owned() + &refused_by("api"),
        // Nobody: a wrong token, and one too many.
        "\"status\":401".to_owned(),
        refused_by("auth_failures"),
    ];
    let log: String = lines.iter().enumerate().map(|(second, members)| line(second, members)).collect();
    let folder = folder(config, &[("access.log", log.as_bytes())]);
    let told = replayed(folder.path(), &["access.log"]);
    let totals = &told["configs"][0]["totals"];
    assert_eq!(
        (&totals["requests"], &totals["admitted"], &totals["refused"], &totals["not_asked"]),
        (&8.into(), &5.into(), &1.into(), &2.into()),
        "{told}"
    );
    // So it is where the file that is replayed has no such limit any more.
    fs::write(folder.path().join("gateway.toml"), config.replace("auth_failures = \"1/min\"", "")).unwrap();
    assert_eq!(replayed(folder.path(), &["access.log"])["configs"][0]["totals"]["not_asked"], 2);
}

#[test]
fn a_log_that_is_a_sample_is_told_to_be_one() {
    let line = |second: u32, share: &str| {
        format!(
            "{{\"time\":\"2026-11-26T08:00:{second:02}.000000Z\",\"request_id\":\"i\",\"client\":\"192.0.2.1\",\"method\":\"GET\",\
             \"host\":\"a\",\"path\":\"/users/1\",\"protocol\":\"HTTP/1.1\",\"route\":\"users\",\"status\":200,\"bytes_in\":0,\
             \"bytes_out\":0,\"duration_ms\":1.0,\"limits\":{{\"per_client\":1}}{share}}}\n"
        )
    };
    let sampled: String = (0..5).map(|second| line(second, ",\"sample\":0.1")).chain([line(6, "")]).collect();
    let whole: String = (0..5).map(|second| line(second, "")).collect();
    let config = format!(
        "{CONFIG}\n[[routes]]\nname = \"quiet\"\npath = \"/quiet\"\naccess_log = false\nlimits = [\"per_client\"]\nrespond = {{}}\n"
    );
    let folder = folder(
        CONFIG,
        &[
            ("sampled.log", sampled.as_bytes()),
            ("whole.log", whole.as_bytes()),
            ("quiet.toml", config.as_bytes()),
        ],
    );
    let notes = |arguments: &[&str]| replayed(folder.path(), arguments)["notes"].to_string();
    let told = notes(&["sampled.log"]);
    assert!(told.contains("5 of them stand for about 50"), "{told}");
    let told = notes(&["whole.log"]);
    assert!(!told.contains("sample of the requests") && !told.contains("access_log = false"), "{told}");
    let told = notes(&["whole.log", "-c", "quiet.toml"]);
    assert!(told.contains("The route quiet has access_log = false"), "{told}");
}
