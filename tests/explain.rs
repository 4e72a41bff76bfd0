//! Requests explained: what `gateway explain` and the side port say is what becomes of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::program::{run, run_in};

const CONFIG: &str = r#"
[admin]
listen = "off"
[limits.l]
rate = "100/min"
[[routes]]
name = "a"
path = "/users/{id}"
limits = ["l"]
respond = { status = 200 }
"#;

#[test]
fn a_question_that_can_be_answered_is_a_success() {
    for (arguments, told) in [
        (
            &["GET", "https://api.example.com/users/7", "-H", "X-Api-Key: k", "--from", "203.0.113.9"][..],
            "200 OK",
        ),
        (&["GET", "/users/7", "--host", "a.example", "--from", "2001:db8::1"], "2001:db8::/64"),
        (&["PUT", "/nothing"], "404 Not Found"),
        (&["POST", "/users/7", "-d", "99999999"], "413 Payload Too Large"),
        (&["GET", "/users/7"], "100 at once, then one every 600 ms"),
    ] {
        let outcome = run(CONFIG, &[&["explain"], arguments].concat());
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{arguments:?}");
        assert!(outcome.stdout.contains(told), "{told} in {}", outcome.stdout);
        let json = run(CONFIG, &[&["explain", "--json"], arguments].concat());
        let json: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(json["request"]["method"], arguments[0]);
    }
}

#[test]
fn a_question_that_is_none_is_a_wrong_command_line_and_a_bad_file_a_bad_file() {
    for arguments in [
        &["GET", "a b"][..],
        &["GET", "http://a b/"],
        &["G T", "/"],
        &["GET", "/", "-H", "X-A: b\r\nX-C: d"],
        &["GET", "/", "--from", "nobody"],
        &["GET"],
    ] {
        let outcome = run(CONFIG, &[&["explain"], arguments].concat());
        assert_eq!((outcome.code, &*outcome.stdout), (Some(2), ""), "{arguments:?}");
        assert!(!outcome.stderr.is_empty());
    }
    assert_eq!(run("[server]\nlisten = 5", &["explain", "GET", "/"]).code, Some(64));
}

/// The fields of a head, but those that are new in each.
fn fields(head: &Value, pair: impl Fn(&Value) -> (Value, Value)) -> BTreeSet<(String, String)> {
    let pairs = head.as_array().unwrap().iter().map(pair);
    let pairs = pairs
        .map(|(name, value)| (name.as_str().unwrap().to_lowercase(), value.as_str().unwrap().to_owned()));
    pairs.filter(|(name, _)| name != "x-request-id" && name != "traceparent").collect()
}

#[test]
fn what_an_upstream_receives_is_what_was_explained() {
    let (gateway, _backend) = forwarding(
        "---\n---\nrewrite = \"/echo/*\"\nrequest_headers = { set = { X-Env = \"e\" }, remove = [\"X-Debug\"] }",
    );
    for (method, target, sent) in [
        ("GET", "/users/a?b=c", &["X-Api-Key: k", "X-Debug: 1", "X_Debug: 1"][..]),
        ("GET", "/a/../users//%41", &["TE: trailers", "Keep-Alive: 1", "Connection: x-hop", "X-Hop: 1"]),
        ("GET", "/users", &["Connection: Upgrade", "Upgrade: websocket"]),
        ("POST", "/users", &["X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Request-Id: mine"]),
        (
            "PUT",
            "/users",
            &["Proxy-Authorization: x", "Trailer: a", "Proxy-Connection: close", "HTTP2-Settings: x"],
        ),
    ] {
        let fields_sent: String = sent.iter().map(|field| format!("{field}\r\n")).collect();
        let host = gateway.address().to_string();
        let echo =
            gateway.raw(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields_sent}\r\n")).json();
        let flags = sent.iter().flat_map(|field| ["-H", field]);
        let arguments: Vec<_> = ["explain", "--json", "--show-secrets", "--host", &host, method, target]
            .into_iter()
            .chain(flags)
            .collect();
        let outcome = run_in(&gateway.folder(), &arguments, &[]);
        let explained: Value =
            serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
        let explained = &explained["sent"];
        let received = fields(&echo["headers"], |pair| (pair[0].clone(), pair[1].clone()));
        let told = fields(&explained["fields"], |field| (field["name"].clone(), field["value"].clone()));
        assert_eq!(told, received, "{method} {target} {sent:?}");
    }
}

#[test]
fn the_side_port_tells_what_is_left_and_takes_nothing() {
    let config = "[limits.l]\nrate = \"1/h\"\nkey = \"header:X-Api-Key\"\n[[routes]]\nname = \"a\"\npath = \"/\"\nlimits = [\"l\"]\nrespond = {}\n";
    let gateway = Gateway::start(config);
    let explained = || gateway.admin_get("/explain?url=/&header=X-Api-Key:+k").json();
    for _ in 0..3 {
        assert_eq!(explained()["limits"][0]["left"], 1);
    }
    assert_eq!(explained()["answer"]["status"], 200);
    assert_eq!(gateway.get_with("/", &[("X-Api-Key", "k")]).status, 200);
    let after = explained();
    assert_eq!((&after["limits"][0]["left"], &after["answer"]["status"]), (&0.into(), &429.into()));
    assert!(after["limits"][0]["value"][0].as_str().unwrap().starts_with('#'), "{after}");
    for wrong in ["", "?url=a", "?url=/&colour=1", "?url=/&body_size=x", "?url=/&header=a%0d%0ab:+c"] {
        assert_eq!(gateway.admin_get(&format!("/explain{wrong}")).status, 400, "{wrong}");
    }
}
