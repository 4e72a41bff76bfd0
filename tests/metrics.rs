//! What moves the metrics that no other module here is about, and what does not.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::{eventually, forwarding, to_upstream};

/// Each bucket of a histogram that has counted something, by its upper bound in seconds.
fn buckets(gateway: &Gateway, histogram: &str, labels: &str) -> Vec<(f64, f64)> {
    let prefix = format!("{histogram}_bucket{{{labels},le=\"");
    let text = gateway.admin_get("/metrics").text();
    let buckets = text.lines().filter_map(|line| {
        let (bound, count) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((bound.parse().unwrap(), count.parse().unwrap()))
    });
    buckets.filter(|&(_, count)| count > 0.0).collect()
}

#[test]
fn durations_are_counted_where_they_belong() {
    let (gateway, _backend) = forwarding("");
    assert_eq!(gateway.get("/users?delay=60ms").status, 200);
    for (histogram, labels) in [
        ("gateway_request_duration_seconds", r#"route="all""#),
        ("gateway_upstream_duration_seconds", r#"upstream="main""#),
    ] {
        gateway.metric_becomes(&format!("{histogram}_count{{{labels}}}"), 1.0);
        let sum = gateway.metric(&format!("{histogram}_sum{{{labels}}}"));
        assert!(sum >= 0.06, "{histogram}: {sum}");
        let buckets = buckets(&gateway, histogram, labels);
        assert!(buckets[0].0 >= 0.1, "{histogram}: {buckets:?}");
        assert!(buckets.iter().all(|&(bound, count)| count == 1.0 && bound >= sum), "{buckets:?}");
        assert_eq!(buckets.last().unwrap().0, f64::INFINITY);
    }
    // One that has no answer from upstream took time, but the upstream took none.
    gateway.get("/bad%2fpath");
    gateway.metric_becomes(r#"gateway_request_duration_seconds_count{route=""}"#, 1.0);
    assert_eq!(gateway.metric(r#"gateway_upstream_duration_seconds_count{upstream="main"}"#), 1.0);
}

#[test]
fn the_build_is_named() {
    let (gateway, _backend) = forwarding("");
    let build = format!("gateway_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(gateway.metric(&build), 1.0);
}

#[test]
fn the_process_is_measured() {
    let (gateway, _backend) = forwarding("");
    // The system knows its boot in whole seconds.
    let now = jiff::Timestamp::now().as_second() as f64;
    let started = gateway.metric("process_start_time_seconds");
    assert!((started - now).abs() < 30.0, "{started} and {now}");
    assert!(gateway.metric("process_resident_memory_bytes") > 1e6);
    assert!(gateway.metric("process_max_fds") > gateway.metric("process_open_fds"));
    // Two workers, the side port, the access log, and the thread that waits for signals.
    assert!(gateway.metric("process_threads") >= 5.0);
    let before = gateway.metric("process_open_fds");
    let mut connections: Vec<_> = (0..20).map(|_| gateway.connect()).collect();
    connections.iter_mut().for_each(|connection| assert_eq!(connection.get("/users").status, 200));
    assert!(gateway.metric("process_open_fds") >= before + 20.0);
    // A tick of the system's clock is a hundredth of a second: less than a second of work can be told.
    let cpu = gateway.metric("process_cpu_seconds_total");
    eventually("CPU time passes", || {
        let more = gateway.metric("process_cpu_seconds_total") - cpu;
        (more > 0.0).then(|| assert!(more < 0.5, "{more}"))
    });
}

#[test]
fn a_server_whose_queue_is_full_is_a_connect_timeout() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    // A queue of one: whoever comes next waits until somebody accepts, which nobody does.
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).unwrap();
    let settings = "---\nconnect_timeout = \"50ms\"";
    let gateway = Gateway::start(&to_upstream(address, settings));
    assert_eq!(gateway.get("/users").status, 504);
    gateway.metric_becomes(r#"gateway_upstream_errors_total{kind="connect_timeout",upstream="main"}"#, 1.0);
}

#[test]
fn nothing_that_a_client_sends_becomes_a_series() {
    let (gateway, _backend) =
        forwarding("[limits.l]\nrate = \"1000/s\"\nkey = \"header:X-Key\"\n---\n---\nlimits = [\"l\"]");
    let series = || {
        let text = gateway.admin_get("/metrics").text();
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect::<BTreeSet<_>>()
    };
    let send = |name: &str| {
        let mut connection = gateway.connect();
        let host = format!("{name}.example");
        let fields = [("Host", host.as_str()), ("X-Key", name), ("User-Agent", name), ("X-Request-Id", name)];
        connection.send(request(name, &format!("/status/200/{name}?{name}"), &fields, ""));
        connection.response();
    };
    send("FIRST");
    let total = r#"gateway_requests_total{code="404",method="OTHER",route="all"}"#;
    gateway.metric_becomes(total, 1.0);
    let before = series();
    (0..100).for_each(|number| send(&format!("M{number}")));
    gateway.metric_becomes(total, 101.0);
    assert_eq!(series(), before);
    assert!(!before.iter().any(|name| name.contains("FIRST") || name.contains("example")));
}
