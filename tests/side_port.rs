//! The side port: metrics, health, readiness, numbers.

use serde_json::json;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::{eventually, forwarding};

const LIMIT: &str = "[limits.l]\nrate = \"1/h\"\nburst = 3\n---\n---\nlimits = [\"l\"]";

#[test]
fn health_and_readiness() {
    let (gateway, _backend) = forwarding("");
    let health = gateway.admin_get("/health");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    assert_eq!(gateway.admin_get("/ready").status, 200);
    assert_eq!(gateway.admin_get("/nothing").status, 404);
    let mut connection = Connection::open(gateway.admin());
    connection.send(request("POST", "/health", &[], ""));
    assert_eq!(connection.response().status, 405);
}

/// The lines of the exposition that are no comments, with their values.
fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series, value.parse().unwrap())
    })
}

#[test]
fn the_metrics_are_those_of_the_contract() {
    let (gateway, _backend) = forwarding(LIMIT);
    gateway.get("/users");
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="all"}"#, 1.0);
    let response = gateway.admin_get("/metrics");
    assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4"));
    let text = response.text();
    let families: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for family in [
        ("gateway_requests_total", "counter"),
        ("gateway_request_duration_seconds", "histogram"),
        ("gateway_upstream_duration_seconds", "histogram"),
        ("gateway_limit_decisions_total", "counter"),
        ("gateway_requests_in_flight", "gauge"),
        ("gateway_upstream_request_duration_seconds", "histogram"),
        ("gateway_upstream_errors_total", "counter"),
        ("gateway_upstream_requests_total", "counter"),
        ("gateway_upstream_retries_total", "counter"),
        ("gateway_upstream_server_up", "gauge"),
        ("gateway_limiter_clients", "gauge"),
        ("gateway_limiter_capacity", "gauge"),
        ("gateway_limiter_overflow_total", "counter"),
        ("gateway_connections", "gauge"),
        ("gateway_build_info", "gauge"),
        ("gateway_access_log_dropped_lines_total", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_cpu_seconds_total", "counter"),
    ] {
        assert!(families.contains(&family), "{family:?} is not among {families:?}");
    }
    let value = |series: &str| samples(&text).find(|(name, _)| *name == series).map(|(_, value)| value);
    assert_eq!(value(r#"gateway_request_duration_seconds_count{route="all"}"#), Some(1.0));
    assert_eq!(value(r#"gateway_upstream_duration_seconds_count{upstream="main"}"#), Some(1.0));
    assert_eq!(value(r#"gateway_requests_in_flight{route="all"}"#), Some(0.0));
    assert!(value("gateway_limiter_capacity").is_some_and(|capacity| capacity >= 1_000_000.0));
}

#[test]
fn requests_in_flight_are_counted_while_they_are() {
    let (gateway, _backend) = forwarding("");
    let mut connection = gateway.connect();
    let in_flight = r#"gateway_requests_in_flight{route="all"}"#;
    connection.send(request("GET", "/sse?interval=10ms", &[], ""));
    connection.response_head();
    gateway.metric_becomes(in_flight, 1.0);
    drop(connection);
    gateway.metric_becomes(in_flight, 0.0);
}

#[test]
fn the_stats_add_the_metrics_up() {
    let (gateway, backend) = forwarding(LIMIT);
    let empty = gateway.admin_get("/stats").json();
    assert_eq!(empty["total"]["requests"], 0);
    assert_eq!(empty["total"]["latency"]["p99_ms"], 0.0);
    for _ in 0..5 {
        gateway.get("/users");
    }
    gateway.get("/bad%2fpath");
    let stats = eventually("all are counted", || {
        let stats = gateway.admin_get("/stats").json();
        let running = &stats["upstreams"]["main"]["servers"][0]["in_flight"];
        (stats["total"]["requests"] == 6 && *running == 0).then_some(stats)
    });
    assert_eq!(stats["total"]["by_status"], json!({"200": 3, "400": 1, "429": 2}));
    assert_eq!(stats["routes"]["all"]["requests"], 5);
    assert_eq!(stats["routes"]["all"]["client_errors"], 2);
    assert_eq!(stats["routes"][""]["requests"], 1);
    assert_eq!(stats["limits"]["l"]["allowed"], 3);
    assert_eq!(stats["limits"]["l"]["refused"], 2);
    assert_eq!(stats["limits"]["l"]["clients"], 1);
    assert!(stats["limits"]["l"]["capacity"].as_u64().is_some_and(|capacity| capacity >= 1_000_000));
    let upstream = &stats["upstreams"]["main"];
    assert_eq!(upstream["usable"], true);
    let address = backend.addr().to_string();
    let servers = upstream["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1);
    let known = ["server", "address", "state", "in_flight", "weight"].map(|name| &servers[0][name]);
    assert_eq!(known, [&json!(address), &json!(address), &json!("up"), &json!(0), &json!(1)]);
    let latency = &stats["routes"]["all"]["latency"];
    let quantile = |name: &str| latency[name].as_f64().unwrap();
    assert!(quantile("mean_ms") > 0.0);
    assert!(
        quantile("p50_ms") <= quantile("p95_ms") && quantile("p95_ms") <= quantile("p99_ms"),
        "{latency}"
    );
}

#[test]
fn without_a_side_port_the_gateway_serves_all_the_same() {
    let config = "[admin]\nlisten = \"off\"\n[access_log]\npath = \"off\"\n[[routes]]\nname = \"a\"\npath = \"/\"\n\
                  respond = { status = 200 }";
    let gateway = Gateway::without_preamble(config);
    assert_eq!(gateway.get("/").status, 200);
}
