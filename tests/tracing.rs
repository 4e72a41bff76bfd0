//! Traces: what the upstream is told of them, and what a collector is.

use mock_backend::MockBackend;

use crate::support::collector::{Collector, Span};
use crate::support::gateway::{Gateway, with_admin};
use crate::support::upstream::{Exchange, RawUpstream, dead_address};
use crate::support::{eventually, forwarding, to_upstream};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENT: (&str, &str) = ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");

const SAMPLED: (&str, &str) = ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

/// A gateway that sends its spans to a collector.
fn traced(collector: &Collector, settings: &str) -> (Gateway, MockBackend) {
    forwarding(&format!("{settings}\n[tracing]\nendpoint = \"http://{}\"\n", collector.address()))
}

/// `traceparent` of the last request that the backend has received, in its parts.
fn received(backend: &MockBackend) -> [String; 4] {
    let field = backend.requests().last().unwrap().header("traceparent").unwrap().to_owned();
    field.split('-').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn without_tracing_the_fields_pass_as_they_are() {
    let (gateway, backend) = forwarding("");
    gateway.get_with("/users", &[SENT, ("Tracestate", "a=b")]);
    assert_eq!(backend.requests()[0].header("traceparent"), Some(SENT.1));
    assert_eq!(backend.requests()[0].header("tracestate"), Some("a=b"));
    gateway.get("/users");
    assert_eq!(backend.requests()[1].header("traceparent"), None);
}

#[test]
fn a_trace_goes_on_with_a_span_of_the_gateways_own() {
    let (gateway, backend) = forwarding("[tracing]");
    gateway.get_with("/users", &[SENT, ("Tracestate", "a=b")]);
    let [version, trace, span, flags] = received(&backend);
    assert_eq!((version.as_str(), trace.as_str(), flags.as_str()), ("00", TRACE, "01"));
    assert_ne!(span, "b7ad6b7169203331");
    assert_eq!(backend.requests()[0].header("tracestate"), Some("a=b"));
    assert_eq!(gateway.access_log(1)[0]["trace_id"], TRACE);
}

#[test]
fn a_request_without_a_valid_trace_starts_one() {
    let (gateway, backend) = forwarding("[tracing]");
    gateway.get_with("/users", &[("Traceparent", "00-xyz"), ("Tracestate", "a=b")]);
    let [version, trace, span, flags] = received(&backend);
    assert_eq!((version.len(), trace.len(), span.len(), flags.as_str()), (2, 32, 16, "01"));
    // It belongs to the field that was not valid.
    assert_eq!(backend.requests()[0].header("tracestate"), None);
    assert_eq!(gateway.access_log(1)[0]["trace_id"], *trace);
    gateway.get("/users");
    assert_ne!(received(&backend)[1], trace);
}

#[test]
fn the_collector_is_told_of_the_request_and_what_was_asked_upstream() {
    let collector = Collector::start();
    let (gateway, backend) = traced(&collector, "");
    gateway.get_with("/echo/7?secret=1", &[SENT, ("User-Agent", "test"), ("Host", "shop.example")]);
    let spans = collector.wait_for(2);
    let [server, client] = spans.as_slice() else { panic!("{spans:?}") };
    let [_, _, sent_on, _] = received(&backend);
    assert_eq!((server.trace_id(), client.trace_id()), (TRACE.to_owned(), TRACE.to_owned()));
    assert_eq!((server.parent_id(), client.parent_id()), ("b7ad6b7169203331".to_owned(), server.id()));
    assert_eq!(client.id(), sent_on);
    assert_eq!((server.span.name.as_str(), client.span.name.as_str()), ("GET /*", "GET"));
    assert_eq!(server.service, "gateway");
    let attribute = |span: &Span, name: &str| span.attributes.get(name).cloned().unwrap_or_default();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/*"),
        ("gateway.route", "all"),
        ("url.path", "/echo/7"),
        ("url.scheme", "http"),
        ("server.address", "shop.example"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test"),
    ] {
        assert_eq!(attribute(server, name), value, "{name}");
    }
    assert_eq!(attribute(client, "gateway.upstream"), "main");
    assert_eq!(attribute(client, "server.port"), backend.addr().port().to_string());
    assert!(!server.is_error() && !client.is_error());
    let (outer, inner) = (&server.span, &client.span);
    assert!(outer.start_time_unix_nano <= inner.start_time_unix_nano, "{outer:?}, {inner:?}");
    assert_eq!(outer.end_time_unix_nano, inner.end_time_unix_nano);
    let log = gateway.access_log(1);
    let took = (outer.end_time_unix_nano - outer.start_time_unix_nano) as f64 / 1e6;
    assert!((took - log[0]["duration_ms"].as_f64().unwrap()).abs() < 0.01, "{took}: {log:?}");
    assert!(collector.requests()[0].starts_with("POST /v1/traces HTTP/1.1\r\n"));
}

#[test]
fn refusals_and_failures_are_told_too() {
    let collector = Collector::start();
    let (dead, _held) = dead_address();
    let settings = format!(
        "[limits.l]\nrate = \"1/h\"\n[tracing]\nendpoint = \"http://{}\"\nservice_name = \"edge\"\n---\n---\nlimits = [\"l\"]",
        collector.address()
    );
    let gateway = Gateway::start(&to_upstream(dead, &settings));
    assert_eq!(gateway.get("/users").status, 502);
    assert_eq!(gateway.get("/users").status, 429);
    let spans = collector.wait_for(3);
    assert!(spans.iter().all(|span| span.service == "edge"));
    let with_status = |status| {
        spans
            .iter()
            .find(|s| s.attributes.get("http.response.status_code").is_some_and(|s| s == status))
            .unwrap()
    };
    let (failed, refused) = (with_status("502"), with_status("429"));
    let asked = spans.iter().find(|span| span.parent_id() == failed.id()).unwrap();
    assert!(failed.is_error() && asked.is_error() && !refused.is_error());
    assert_eq!(asked.attributes["error.type"], "connect");
    assert_eq!(refused.attributes["gateway.refused_by"], "l");
    assert_eq!(refused.parent_id(), "");
}

#[test]
fn who_is_trusted_says_what_is_sampled() {
    let none = "[tracing]\nsample_ratio = 0\n";
    let (gateway, backend) = forwarding(none);
    gateway.get_with("/users", &[SAMPLED]);
    assert_eq!(received(&backend)[3], "00");
    let (gateway, backend) = forwarding(&format!("trusted_proxies = [\"127.0.0.1/32\"]\n{none}"));
    gateway.get_with("/users", &[SAMPLED]);
    assert_eq!(received(&backend)[3], "01");
    gateway.get_with("/users", &[SENT]);
    assert_eq!(received(&backend)[3], "00");
    gateway.get("/users");
    assert_eq!(received(&backend)[3], "00");
}

#[test]
fn what_is_not_sampled_is_not_told() {
    let collector = Collector::start();
    let (mut gateway, _backend) = forwarding(&format!(
        "trusted_proxies = [\"127.0.0.1/32\"]\n[tracing]\nendpoint = \"http://{}/\"\nsample_ratio = 0.0\n",
        collector.address()
    ));
    gateway.get("/users");
    gateway.get_with("/users", &[SAMPLED]);
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace_id() == TRACE), "{spans:?}");
    assert_eq!(spans.len(), 2);
}

#[test]
fn what_was_answered_before_the_end_is_told() {
    let collector = Collector::start();
    let (mut gateway, _backend) = traced(&collector, "");
    let mut connection = gateway.connect();
    for _ in 0..50 {
        assert_eq!(connection.get("/users").status, 200);
    }
    drop(connection);
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    assert_eq!(collector.spans().len(), 100);
    assert_eq!(gateway.log().matches("WARN").count(), 0, "{}", gateway.log());
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_no_request() {
    let (dead, _held) = dead_address();
    let (gateway, _backend) = forwarding(&format!("[tracing]\nendpoint = \"http://{dead}\"\n"));
    for _ in 0..3 {
        assert_eq!(gateway.get("/users").status, 200);
    }
    gateway.metric_becomes("gateway_tracing_dropped_spans_total", 6.0);
    gateway.wait_for_log_line("spans cannot be sent, and are dropped: ");
}

#[test]
fn a_collector_that_never_answers_does_not_keep_the_gateway_from_ending() {
    let stalled = RawUpstream::start(Exchange::wait_for_close);
    let settings = format!("[tracing]\nendpoint = \"http://{}\"\n", stalled.address());
    let (mut gateway, _backend) = forwarding(&settings);
    assert_eq!(gateway.get("/users").status, 200);
    gateway.signal("TERM");
    assert!(gateway.wait().success());
    eventually("it is said", || gateway.log().contains("the last spans are lost").then_some(()));
}

#[test]
fn a_reload_starts_tracing_and_ends_it_with_nothing_lost() {
    let collector = Collector::start();
    let backend = MockBackend::start_blocking().unwrap();
    let file = |tracing: &str| with_admin(&to_upstream(backend.addr(), tracing), "");
    let reload = |gateway: &Gateway, tracing: &str, count: f64| {
        gateway.write_file(&file(tracing));
        gateway.signal("HUP");
        gateway.metric_becomes(r#"gateway_config_reloads_total{outcome="success"}"#, count);
    };
    let gateway = Gateway::with_file(&file(""));
    gateway.get("/users");
    assert_eq!(backend.requests()[0].header("traceparent"), None);
    reload(&gateway, &format!("[tracing]\nendpoint = \"http://{}\"\n", collector.address()), 1.0);
    gateway.get("/users");
    let [_, trace, ..] = received(&backend);
    reload(&gateway, "", 2.0);
    gateway.get("/users");
    assert_eq!(backend.requests()[2].header("traceparent"), None);
    assert!(collector.wait_for(2).iter().all(|span| span.trace_id() == trace));
}
