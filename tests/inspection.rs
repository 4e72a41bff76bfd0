//! The limits, and single clients, as the side port shows them.

use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response, request};

const CONFIG: &str = r#"
[limits.per_client]
rate = "1/h"
burst = 3
[limits.per_client.overrides]
"192.0.2.9" = "unlimited"
[limits.per_key]
rate = "20/h"
burst = 20
cost = 2
key = ["header:X-Key", "path"]
methods = ["POST"]
[limits.open]
rate = "1/h"
key = "header:X-Key"
show_keys = true
mode = "dry_run"
exempt = ["192.0.2.0/24"]
[limits.slots]
max_in_flight = 5
[[routes]]
name = "a"
path = "/*"
respond = { status = 200, body = "a" }
limits = ["per_client", "per_key", "open", "slots"]
"#;

fn gateway() -> Gateway {
    Gateway::start_with_admin(CONFIG, "token = \"s3cret\"")
}

fn delete(gateway: &Gateway, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut connection = Connection::open(gateway.admin());
    connection.send(request("DELETE", target, fields, ""));
    connection.response()
}

#[test]
fn the_limits_are_described() {
    let gateway = gateway();
    let limits = gateway.admin_get("/limits").json();
    assert_eq!(
        limits[0],
        json!({
            "name": "per_client", "key": ["client_ip"], "tokens_per_second": 1.0 / 3600.0, "burst": 3, "cost": 1,
            "charge": "always", "max_clients": 1_000_000, "overflowed": 0, "methods": [], "exempt": [],
            "mode": "enforce", "overrides": 1, "clients": 0, "shared": false,
        })
    );
    assert_eq!(limits[1]["key"], json!(["header:x-key", "path"]));
    assert_eq!(limits[1]["methods"], json!(["POST"]));
    assert_eq!((&limits[2]["mode"], &limits[2]["exempt"]), (&json!("dry_run"), &json!(["192.0.2.0/24"])));
    assert_eq!(limits[3]["max_in_flight"], 5);
}

#[test]
fn a_client_is_shown_with_its_bucket() {
    let gateway = gateway();
    let of = |client: &str| gateway.admin_get(&format!("/limits/per_client/clients/{client}")).json();
    assert_eq!(
        of("127.0.0.1"),
        json!({
            "limit": "per_client", "key": ["127.0.0.1"], "unlimited": false, "burst": 3, "tokens": 3,
            "next_token_seconds": null, "full_in_seconds": 0.0,
        })
    );
    gateway.get("/");
    gateway.get("/");
    let client = of("127.0.0.1");
    assert_eq!(client["tokens"], 1);
    let seconds = |name: &str| client[name].as_f64().unwrap();
    assert!((3500.0..=3600.0).contains(&seconds("next_token_seconds")), "{client}");
    assert!((7100.0..=7200.0).contains(&seconds("full_in_seconds")), "{client}");
    assert_eq!(of("192.0.2.9"), json!({"limit": "per_client", "key": ["192.0.2.9"], "unlimited": true}));
    assert_eq!(of("::1")["tokens"], 3);
    // A request leaves its place just after its answer.
    eventually("nothing runs", || {
        let slots = gateway.admin_get("/limits/slots/clients/127.0.0.1").json();
        assert_eq!(slots["max_in_flight"], 5);
        (slots["running"] == 0).then_some(())
    });
}

#[test]
fn a_composite_key_has_a_segment_for_each_part() {
    let gateway = gateway();
    gateway.raw(request("POST", "/a/b", &[("X-Key", "k/1")], "x"));
    let client = gateway.admin_get("/limits/per_key/clients/k%2F1/%2Fa%2Fb").json();
    assert_eq!(client["tokens"], 18);
    let shown = client["key"][0].as_str().unwrap();
    assert!(shown.starts_with('#') && shown.len() == 9, "a key is shown as a hash: {shown}");
    assert_eq!(client["key"][1], "/a/b");
    assert_eq!(gateway.admin_get("/limits/open/clients/k%2F1").json()["key"], json!(["k/1"]));
    assert_eq!(gateway.admin_get("/limits/open/clients/k%2F1").json()["tokens"], 0);
}

#[test]
fn a_client_without_the_key_is_found_by_its_address() {
    let gateway = gateway();
    gateway.get("/");
    assert_eq!(gateway.admin_get("/limits/open/clients/127.0.0.1").json()["tokens"], 1);
    assert_eq!(gateway.admin_get("/limits/open/clients/127.0.0.1?missing").json()["tokens"], 0);
}

#[test]
fn what_cannot_be_found_is_explained() {
    let gateway = gateway();
    for (target, status, why) in [
        ("/limits/nothing/clients/127.0.0.1", 404, "there is no limit \"nothing\""),
        ("/limits/per_client/clients/somebody", 400, "\"somebody\" is no IP address"),
        ("/limits/per_key/clients/k", 400, "the key has 2 parts"),
        ("/limits/per_client/clients/a/b", 400, "the key has one part"),
        ("/limits/per_key/clients/k/", 400, "a value is empty"),
        ("/limits/open/clients/k?x", 400, "the query is \"missing\", or there is none"),
        ("/limits/per_key/clients/k?missing", 400, "the key has 2 parts"),
    ] {
        let response = gateway.admin_get(target);
        assert_eq!((response.status, &response.json()["error"]), (status, &json!(why)), "{target}");
    }
}

#[test]
fn a_bucket_is_reset_by_whoever_has_the_token() {
    let gateway = gateway();
    (0..3).for_each(|_| assert_eq!(gateway.get("/").status, 200));
    assert_eq!(gateway.get("/").status, 429);
    let target = "/limits/per_client/clients/127.0.0.1";
    for fields in [&[][..], &[("Authorization", "Bearer s3cre")], &[("Authorization", "Basic s3cret")]] {
        let denied = delete(&gateway, target, fields);
        assert_eq!((denied.status, denied.header("www-authenticate")), (401, Some("Bearer")));
    }
    assert_eq!(gateway.get("/").status, 429);
    let token = [("Authorization", "Bearer s3cret")];
    let reset = delete(&gateway, target, &token);
    assert_eq!((reset.status, &reset.json()["tokens"]), (200, &json!(3)));
    assert_eq!(gateway.get("/").status, 200);
    for nothing in ["/limits/slots/clients/127.0.0.1", "/limits/per_client/clients/192.0.2.9"] {
        assert_eq!(delete(&gateway, nothing, &token).status, 409);
    }
}

#[test]
fn without_a_token_nothing_can_be_changed() {
    let gateway = Gateway::start(CONFIG);
    let target = "/limits/per_client/clients/127.0.0.1";
    for fields in [&[][..], &[("Authorization", "Bearer ")], &[("Authorization", "Bearer s3cret")]] {
        assert_eq!(delete(&gateway, target, fields).status, 403);
    }
}

#[test]
fn the_clients_that_are_refused_most_are_in_the_stats() {
    let gateway = gateway();
    (0..8).for_each(|_| drop(gateway.get_with("/", &[("X-Key", "k1")])));
    let stats = gateway.admin_get("/stats").json();
    let offenders = |limit: &str| stats["limits"][limit]["offenders"].clone();
    assert_eq!(
        offenders("per_client"),
        json!([{"key": ["127.0.0.1"], "refused_last_minute": 5, "would_refuse_last_minute": 0}])
    );
    // Only the three that were admitted were asked of the limit that is being tried out.
    assert_eq!(
        offenders("open"),
        json!([{"key": ["k1"], "refused_last_minute": 0, "would_refuse_last_minute": 2}])
    );
    assert_eq!(offenders("slots"), json!([]));
}
