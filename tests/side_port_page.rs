//! The live page, and the events that it follows.

use serde_json::Value;

use crate::support::gateway::Gateway;
use crate::support::http::{self, Connection, request};
use crate::support::{eventually, forwarding};

const LIMITS: &str = "[limits.l]\nrate = \"1/h\"\nburst = 3\n[limits.trial]\nrate = \"1/h\"\nburst = 1\nmode = \"dry_run\"\n\
                      ---\n---\nlimits = [\"l\", \"trial\"]";

/// Whoever follows the events.
struct Follower {
    connection: Connection,
    read: String,
}

impl Follower {
    #[track_caller]
    fn new(gateway: &Gateway) -> Self {
        let mut connection = Connection::open(gateway.admin());
        connection.send(request("GET", "/events", &[], ""));
        let head = connection.response_head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
        Self { connection, read: String::new() }
    }

    /// The name and the data of the next event.
    #[track_caller]
    fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (name, data) = event.split_once("\ndata: ").unwrap();
                assert!(!data.contains('\n'));
                let event =
                    (name.strip_prefix("event: ").unwrap().to_owned(), serde_json::from_str(data).unwrap());
                self.read = rest.to_owned();
                return event;
            }
            let size = usize::from_str_radix(&self.connection.line(), 16).unwrap();
            self.read += &String::from_utf8(self.connection.take(size)).unwrap();
            assert_eq!(self.connection.line(), "");
        }
    }

    /// The next event `now` for which this holds.
    #[track_caller]
    fn now(&mut self, holds: impl Fn(&Value) -> bool) -> Value {
        eventually("an event that fits", || {
            let (name, data) = self.next();
            (name == "now" && holds(&data)).then_some(data)
        })
    }
}

fn sum(samples: &[Value], outcome: &str) -> u64 {
    samples.iter().map(|sample| sample["outcomes"][outcome].as_u64().unwrap()).sum()
}

#[test]
fn events_have_the_numbers_of_the_stats_and_what_happened_second_by_second() {
    let (gateway, _backend) = forwarding(LIMITS);
    let mut follower = Follower::new(&gateway);
    let (name, past) = follower.next();
    assert_eq!((name.as_str(), &past["interval_ms"]), ("history", &Value::from(1000)));
    let (name, now) = follower.next();
    assert_eq!((name.as_str(), &now["stats"]["total"]["requests"]), ("now", &Value::from(0)));
    assert_eq!(now["not_ready"], Value::Null);
    for _ in 0..5 {
        gateway.get("/users");
    }
    gateway.get("/bad%2fpath");
    // Clients are counted every few seconds only.
    let all = |now: &Value| {
        now["stats"]["total"]["requests"] == 6 && now["stats"]["limits"]["trial"]["clients"] == 1
    };
    let now = follower.now(all);
    let outcomes = serde_json::json!(
        {"served": 3, "refused": 2, "client_errors": 1, "server_errors": 0, "would_refuse": 2});
    assert_eq!(now["stats"]["total"]["outcomes"], outcomes);
    let stats = gateway.admin_get("/stats").json();
    assert_eq!(now["stats"]["routes"], stats["routes"]);
    assert_eq!(now["stats"]["limits"], stats["limits"]);
    assert_eq!(stats["routes"]["all"]["outcomes"]["refused"], 2);
    assert!(now["latency"]["p95_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(now["config"]["last_reload"], Value::Null);
    // Who comes later is told what was before.
    let (_, past) = eventually("the last second is over", || {
        let event = Follower::new(&gateway).next();
        (sum(event.1["samples"].as_array().unwrap(), "served") == 3).then_some(event)
    });
    let samples = past["samples"].as_array().unwrap();
    let refused = ["refused", "client_errors", "would_refuse"].map(|outcome| sum(samples, outcome));
    assert_eq!(refused, [2, 1, 2]);
}

#[test]
fn the_stats_say_where_routes_lead_and_where_limits_apply() {
    let config = "[limits.each]\nrate = \"600/min\"\nburst = 30\nkey = [\"client_ip\", \"path\"]\nmode = \"dry_run\"\n\
                  [limits.slots]\nmax_in_flight = 7\n[limits.idle]\nrate = \"1/h\"\n\
                  [upstreams.u]\nservers = [{ address = \"127.0.0.1:1\", weight = 3 }]\n[upstreams.v]\nservers = [\"127.0.0.1:2\"]\n\
                  [[routes]]\nname = \"a\"\nhosts = [\"a.example\"]\npath = \"/a/*\"\nmethods = [\"GET\"]\n\
                  headers = { X-Secret = \"hush\" }\nupstream = { u = 3, v = 1 }\nlimits = [\"each\", \"slots\"]\ntimeout = \"5s\"\n\
                  [[routes]]\nname = \"b\"\npath = \"/b\"\nrespond = { status = 204 }\nlimits = [\"each\"]";
    let stats = Gateway::start(config).admin_get("/stats").json();
    let rule = &stats["routes"]["a"]["rule"];
    let expected = serde_json::json!({
        "hosts": ["a.example"], "path": "/a/*", "methods": ["GET"], "requirements": ["header field x-secret"],
        "action": "forward", "upstreams": [{"name": "u", "share": 0.75}, {"name": "v", "share": 0.25}], "status": null, "limits": ["each", "slots"], "timeout_seconds": 5.0,
        "line": rule["line"],
    });
    assert_eq!(*rule, expected);
    let respond = &stats["routes"]["b"]["rule"];
    assert_eq!((&respond["action"], &respond["status"]), (&"respond".into(), &204.into()));
    assert_eq!(stats["routes"][""]["rule"], Value::Null);
    let each = &stats["limits"]["each"];
    assert_eq!(each["rule"]["key"], serde_json::json!(["client_ip", "path"]));
    assert_eq!((&each["rule"]["tokens_per_second"], &each["rule"]["burst"]), (&10.0.into(), &30.into()));
    assert_eq!((&each["rule"]["mode"], &each["everywhere"]), (&"dry_run".into(), &true.into()));
    assert_eq!(each["routes"], serde_json::json!(["a", "b"]));
    let slots = &stats["limits"]["slots"];
    assert_eq!((&slots["rule"]["max_in_flight"], &slots["everywhere"]), (&7.into(), &false.into()));
    assert_eq!(stats["limits"]["idle"]["route_count"], 0);
    assert_eq!(stats["upstreams"]["u"]["servers"][0]["weight"], 3);
    assert_eq!(stats["listeners"][0]["tls"], false);
    assert_eq!(stats["certificates"], serde_json::json!([]));
}

#[test]
fn the_stats_say_how_a_server_fails_and_since_when() {
    let (gateway, backend) = forwarding("");
    assert_eq!(gateway.get("/status/500").status, 500);
    let server =
        |gateway: &Gateway| gateway.admin_get("/stats").json()["upstreams"]["main"]["servers"][0].clone();
    let before = server(&gateway);
    assert_eq!((&before["state"], &before["answers"]), (&"up".into(), &serde_json::json!({"5xx": 1})));
    assert_eq!(before["last_error"]["what"], "it answered with 500 Internal Server Error");
    assert!(before["latency"]["p95_ms"].as_f64().unwrap() > 0.0, "{before}");
    drop(backend);
    let refusing = eventually("it refuses connections, and a second is over", || {
        assert_eq!(gateway.get("/users").status, 502);
        let server = server(&gateway);
        let what = server["last_error"]["what"].as_str().unwrap();
        (server["state"] == "refusing" && what.starts_with("connect: Connection refused")).then_some(server)
    });
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time(&refusing["since"]) > time(&before["since"]));
    gateway.get("/users");
    assert_eq!(server(&gateway)["since"], refusing["since"], "it has not changed since");
    let late = gateway.admin_get("/stats").json()["routes"]["all"]["of_late"].clone();
    assert!(late["server_errors"].as_u64() >= Some(2), "{late}");
    eventually("since when it fails is noted", || {
        let late = &gateway.admin_get("/stats").json()["routes"]["all"]["of_late"];
        late["failing_since"].is_string().then_some(())
    });
}

#[test]
fn followers_are_bounded_and_their_places_are_free_when_they_leave() {
    let (gateway, _backend) = forwarding("");
    let mut followers: Vec<_> = (0..32).map(|_| Follower::new(&gateway)).collect();
    assert_eq!(gateway.admin_get("/events").status, 503);
    assert_eq!(gateway.admin_get("/metrics").status, 200);
    // Others that hold on to connections take no follower's place.
    let held: Vec<_> = (0..300).map(|_| Connection::open(gateway.admin())).collect();
    assert_eq!(gateway.admin_get("/metrics").status, 200);
    followers[0].now(|_| true);
    followers[0].now(|_| true);
    drop(held);
    drop(followers);
    let mut connection = eventually("a place is free", || {
        let mut connection = Connection::open(gateway.admin());
        connection.send(request("GET", "/events", &[], ""));
        (connection.response_head().status == 200).then_some(connection)
    });
    assert!(!connection.line().is_empty());
}

#[test]
fn a_reload_that_fails_and_a_gateway_that_is_not_ready_are_told() {
    let config = "[upstreams.u]\nservers = [\"127.0.0.1:1\"]\nhealth = { path = \"/\", interval = \"50ms\", unhealthy_after = 1 }\n\
                  [[routes]]\nname = \"a\"\npath = \"/\"\nupstream = \"u\"";
    let gateway = Gateway::start(config);
    let mut follower = Follower::new(&gateway);
    let now = follower.now(|now| now["not_ready"] != Value::Null);
    assert!(now["not_ready"].as_str().unwrap().contains("\"u\" has no usable server"), "{now}");
    gateway.write_file("[[routes]]\nname = \"<script>\"\n");
    gateway.signal("HUP");
    let now = follower.now(|now| now["config"]["last_reload"] != Value::Null);
    let reload = &now["config"]["last_reload"];
    assert_eq!(reload["outcome"], "failure");
    assert!(reload["problems"][0].as_str().unwrap().contains("<script>"), "{reload}");
}

#[test]
fn of_very_many_routes_the_busiest_are_told() {
    let routes = (0..250).map(|index| {
        format!("[[routes]]\nname = \"r{index}\"\npath = \"/{index}\"\nrespond = {{ status = 200 }}\n")
    });
    let gateway = Gateway::start(&routes.collect::<String>());
    gateway.get("/249");
    let now = Follower::new(&gateway).now(|now| now["stats"]["total"]["requests"] == 1);
    assert_eq!(now["stats"]["routes"].as_object().unwrap().len(), 200);
    assert_eq!(now["stats"]["routes"]["r249"]["requests"], 1);
    let left_out = serde_json::json!({"routes": 51, "limits": 0, "upstreams": 0});
    assert_eq!(now["left_out"], left_out);
    assert_eq!(gateway.admin_get("/stats").json()["routes"].as_object().unwrap().len(), 251);
}

#[test]
fn the_page_and_all_that_it_loads_come_from_the_side_port() {
    let (gateway, _backend) = forwarding("");
    let page = gateway.admin_get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'; style-src 'self';"), "{policy}");
    let text = page.text();
    let loaded: Vec<_> = text
        .split(['<', '>'])
        .filter(|tag| tag.starts_with("link ") || tag.starts_with("script "))
        .filter_map(|tag| tag.split_once("href=\"").or_else(|| tag.split_once("src=\"")))
        .map(|(_, rest)| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(loaded.len(), 5, "{loaded:?}");
    let mut loaded: Vec<_> =
        loaded.into_iter().filter(|target| !target.starts_with("data:")).map(str::to_owned).collect();
    let mut index = 0;
    while let Some(target) = loaded.get(index).cloned() {
        let file = gateway.admin_get(&format!("/{target}"));
        assert_eq!(file.status, 200, "{target}");
        let kind = if target.ends_with(".js") { "text/javascript" } else { "text/css" };
        assert_eq!(file.header("content-type"), Some(kind), "{target}");
        let text = file.text();
        let imports = text.lines().filter_map(|line| line.strip_prefix("import ")?.split_once("\"./"));
        for (_, name) in imports {
            let imported = format!("page/{}", name.trim_end_matches("\";"));
            if !loaded.contains(&imported) {
                loaded.push(imported);
            }
        }
        index += 1;
    }
    assert!(loaded.len() > 10, "{loaded:?}");
    assert_eq!(gateway.admin_get("/page/none").status, 404);
    assert_eq!(
        http::get(gateway.admin(), "/", &[("Host", "rebound.example"), ("Accept-Language", "en")]).status,
        403
    );
}
