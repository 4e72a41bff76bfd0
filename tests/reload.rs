//! A configuration that is read again while the gateway runs.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mock_backend::MockBackend;
use serde_json::json;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, request};
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, to_upstream};

/// A route that answers with this text, under a limit with this burst.
fn answering(text: &str, burst: u32) -> String {
    format!(
        "[limits.l]\nrate = \"1/h\"\nburst = {burst}\n[[routes]]\nname = \"a\"\npath = \"/*\"\n\
         respond = {{ status = 200, body = \"{text}\" }}\nlimits = [\"l\"]"
    )
}

/// The whole file, with a token.
fn text_of(config: &str) -> String {
    with_admin(config, "token = \"t\"")
}

fn start(config: &str) -> Gateway {
    Gateway::start_with_admin(config, "token = \"t\"")
}

#[track_caller]
fn reload(gateway: &Gateway, config: &str) {
    gateway.write_file(&text_of(config));
    let response = gateway.post_reload(&TOKEN);
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn a_signal_puts_the_new_file_in_force() {
    let gateway = start(&answering("old", 10));
    assert_eq!(gateway.get("/").text(), "old");
    gateway.write_file(&text_of(&answering("new", 10)));
    assert_eq!(gateway.get("/").text(), "old");
    gateway.signal("HUP");
    gateway.wait_for_log("gateway.toml: 1 route, 1 limit, 0 upstreams");
    let response = gateway.get("/");
    assert_eq!(response.text(), "new");
    assert!(response.header("ratelimit").unwrap().starts_with(r#""l";r=7;"#), "the bucket is as it was");
    gateway.metric_becomes(r#"gateway_config_reloads_total{outcome="success"}"#, 1.0);
    assert_eq!(gateway.metric("gateway_config_last_reload_successful"), 1.0);
    // What is counted goes on.
    gateway.metric_becomes(r#"gateway_requests_total{code="200",method="GET",route="a"}"#, 3.0);
    assert_eq!(gateway.admin_get("/stats").json()["routes"]["a"]["requests"], 3);
}

#[test]
fn a_call_tells_what_came_of_it_and_takes_the_token() {
    let gateway = start(&answering("old", 10));
    assert_eq!(gateway.post_reload(&[]).status, 401);
    gateway.write_file(&text_of(&answering("new", 10).replace("burst", "brst")));
    let refused = gateway.post_reload(&TOKEN);
    assert_eq!(refused.status, 422);
    let outcome = refused.json();
    assert_eq!(outcome["outcome"], "failure");
    let problem = outcome["problems"][0].as_str().unwrap();
    assert!(problem.contains("unknown key `brst` in [limits.l]; did you mean `burst`?"), "{problem}");
    assert_eq!(gateway.get("/").text(), "old", "nothing has changed");
    assert_eq!(gateway.metric(r#"gateway_config_reloads_total{outcome="failure"}"#), 1.0);
    assert_eq!(gateway.metric("gateway_config_last_reload_successful"), 0.0);
    let loaded = gateway.metric("gateway_config_last_reload_success_timestamp_seconds");
    assert!(gateway.log().contains("is not reloaded: what was in force still is"));
    let shown = gateway.admin_get("/config").json();
    assert_eq!(shown["last_reload"]["problems"][0], outcome["problems"][0]);
    assert_eq!(shown["config"]["limits"]["l"]["burst"], 10);
    assert_eq!(shown["config"]["admin"]["token"], "***");
    gateway.write_file(&text_of(&answering("new", 10)));
    let reloaded = gateway.post_reload(&TOKEN);
    assert_eq!(
        (reloaded.status, reloaded.json()),
        (200, json!({"outcome": "success", "summary": "1 route, 1 limit, 0 upstreams", "problems": []}))
    );
    assert_eq!(gateway.get("/").text(), "new");
    assert_eq!(gateway.metric("gateway_config_last_reload_successful"), 1.0);
    assert!(gateway.metric("gateway_config_last_reload_success_timestamp_seconds") > loaded);
    assert_eq!(gateway.admin_get("/config").json()["last_reload"]["outcome"], "success");
}

#[test]
fn a_changed_quota_keeps_the_share_of_tokens() {
    let gateway = start(&answering("a", 10));
    (0..5).for_each(|_| assert_eq!(gateway.get("/").status, 200));
    reload(&gateway, &answering("a", 20));
    let response = gateway.get("/");
    let left = response.header("ratelimit").unwrap();
    assert!(left.starts_with(r#""l";r=9;"#), "half of twenty, and one was taken: {left}");
    reload(&gateway, &answering("a", 2).replace("burst = 2", "burst = 2\nmax_clients = 500"));
    assert_eq!(gateway.get("/").status, 429, "less than half of two");
    assert_eq!(gateway.metric("gateway_limiter_clients"), 1.0);
    assert_eq!(gateway.metric("gateway_limiter_capacity"), 500.0);
}

#[test]
fn a_server_that_is_out_of_use_stays_so_when_its_upstream_changes() {
    let upstream = RawUpstream::answering("");
    let config = |retries: u32| {
        let settings = "outlier = { consecutive_failures = 1, eject_for = \"10m\" }";
        to_upstream(upstream.address(), &format!("---\nretries = {retries}\n{settings}"))
    };
    let gateway = start(&config(0));
    gateway.get("/").is_problem(502);
    gateway.get("/").is_problem(503);
    reload(&gateway, &config(1));
    gateway.get("/").is_problem(503);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn what_needs_a_restart_is_refused_with_a_sentence() {
    let gateway = start(&answering("old", 10));
    gateway.write_file(
        "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 3\n[admin]\nlisten = \"127.0.0.1:1\"\ntoken = \"t\"\n\
         [[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }",
    );
    let refused = gateway.post_reload(&TOKEN);
    assert_eq!(refused.status, 422);
    let problems = refused.json()["problems"].clone();
    for (index, key) in ["server.threads", "admin.listen"].iter().enumerate() {
        let sentence = format!("`{key}` cannot change while the gateway runs: restart it for that");
        assert!(problems[index].as_str().unwrap().contains(&sentence), "{problems}");
    }
    assert_eq!(gateway.get("/x").text(), "old");
}

#[test]
fn new_listeners_are_served_and_those_that_are_gone_drain() {
    let backend = MockBackend::start_blocking().unwrap();
    let config = to_upstream(backend.addr(), "");
    let gateway = start(&config);
    gateway.write_file(&text_of(&config).replacen("\"127.0.0.1:0\"", "[\"127.0.0.1:0\", \"[::1]:0\"]", 1));
    assert_eq!(gateway.post_reload(&TOKEN).status, 200);
    // The log is read by a thread of its own.
    let new = eventually("it says where", || Some(gateway.last_address()).filter(SocketAddr::is_ipv6));
    let mut idle = Connection::open(new);
    assert_eq!(idle.get("/users").status, 200);
    let mut running = Connection::open(new);
    // A request is counted until just after its answer.
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 0.0);
    running.send(request("GET", "/users?delay=500ms", &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    reload(&gateway, &config);
    assert!(idle.is_closed());
    let response = running.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    eventually("no more connections", || TcpStream::connect(new).is_err().then_some(()));
    assert_eq!(gateway.get("/users").status, 200, "the one that stays is not disturbed");
}

#[test]
fn an_address_that_is_taken_changes_nothing() {
    let gateway = start(&answering("old", 10));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let list = format!("[\"127.0.0.1:0\", \"{}\"]", taken.local_addr().unwrap());
    gateway.write_file(&text_of(&answering("new", 10)).replacen("\"127.0.0.1:0\"", &list, 1));
    let refused = gateway.post_reload(&TOKEN).json();
    assert!(refused["problems"][0].as_str().unwrap().starts_with("cannot listen on 127.0.0.1:"), "{refused}");
    assert_eq!(gateway.get("/").text(), "old");
}

#[test]
fn a_request_goes_on_by_what_was_in_force_when_it_came() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = start(&to_upstream(
        backend.addr(),
        "[limits.slots]\nmax_in_flight = 1\n---\n---\nlimits = [\"slots\"]",
    ));
    let mut running = gateway.connect();
    running.send(request("GET", "/users?delay=500ms", &[], ""));
    gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    reload(
        &gateway,
        "[limits.slots]\nmax_in_flight = 1\n[[routes]]\nname = \"b\"\npath = \"/b\"\nrespond = { status = 200 }\nlimits = [\"slots\"]",
    );
    assert_eq!(gateway.get("/users").status, 404);
    assert_eq!(gateway.get("/b").status, 429, "it still has its place");
    assert_eq!(running.response().status, 200);
    eventually("it has left it", || (gateway.get("/b").status == 200).then_some(()));
    let metrics = gateway.admin_get("/metrics").text();
    let gone = |label: &str| !metrics.contains(label);
    assert!(gone("upstream=\"main\"") && gone("route=\"all\""), "{metrics}");
}

#[test]
fn the_file_is_watched_also_through_links() {
    let gateway = start(&format!("watch = true\n{}", answering("one", 100_000)));
    gateway.write_file(&text_of(&format!("watch = true\n{}", answering("two", 100_000))));
    eventually("a change of the file", || (gateway.get("/").text() == "two").then_some(()));
    // As Kubernetes does with a ConfigMap.
    let folder = gateway.folder();
    for text in ["three", "four"] {
        fs::create_dir(folder.join(text)).unwrap();
        let config = text_of(&format!("watch = true\n{}", answering(text, 100_000)));
        fs::write(folder.join(text).join("gateway.toml"), config).unwrap();
        symlink(text, folder.join("next")).unwrap();
        fs::rename(folder.join("next"), folder.join("data")).unwrap();
        if text == "three" {
            symlink("data/gateway.toml", folder.join("link")).unwrap();
            fs::rename(folder.join("link"), folder.join("gateway.toml")).unwrap();
        }
        eventually(text, || (gateway.get("/").text() == text).then_some(()));
    }
}

#[test]
fn a_file_that_the_configuration_lacked_is_waited_for() {
    let gateway = start(&format!("watch = true\n{}", answering("one", 100_000)));
    let config = format!(
        "watch = true\n{}\n[upstreams.u]\nservers = [\"127.0.0.1:9\"]\ntls = {{ ca = \"late.pem\" }}",
        answering("two", 100_000)
    );
    gateway.write_file(&text_of(&config));
    gateway.wait_for_log_line("late.pem\" cannot be read");
    fs::copy(crate::support::tls::file("ca.pem"), gateway.folder().join("late.pem")).unwrap();
    eventually("the new configuration", || (gateway.get("/").text() == "two").then_some(()));
}

#[test]
fn a_certificate_that_changes_is_shown_to_new_connections() {
    let source = |name: &str| format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let tls = "[server.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]";
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        for kind in ["pem", "key"] {
            let to = folder.path().join(format!("a.{kind}"));
            fs::copy(source(&format!("{name}.{kind}")), to).unwrap();
        }
    };
    place("localhost");
    let tls = tls.replace("\"a.", &format!("\"{}/a.", folder.path().display()));
    let text = text_of(&format!("watch = true\n{tls}\n{}", answering("a", 10)));
    let text = text.replacen("\"127.0.0.1:0\"", "[{ address = \"127.0.0.1:0\", tls = true }]", 1);
    let gateway = Gateway::with_file(&text);
    let expires = || {
        let series = format!(
            "gateway_tls_certificate_expiry_timestamp_seconds{{certificate=\"{}/a.pem\"}}",
            folder.path().display()
        );
        gateway.metric(&series)
    };
    let before = expires();
    assert!(before > 0.0);
    place("expired");
    eventually("the other certificate", || (expires() < before).then_some(()));
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    const RELOADS: usize = 20;
    let backend = MockBackend::start_blocking().unwrap();
    let config = |burst: usize| {
        let limits = format!("[limits.l]\nrate = \"100/h\"\nburst = {burst}");
        to_upstream(
            backend.addr(),
            &format!("{limits}\n---\nmax_connections = {burst}\n---\nlimits = [\"l\"]"),
        )
    };
    let gateway = start(&config(1_000_000));
    let over = AtomicBool::new(false);
    let sent: usize = thread::scope(|scope| {
        let keep_alive = || {
            let (mut connection, mut sent) = (gateway.connect(), 0);
            while !over.load(Ordering::Relaxed) {
                assert_eq!(connection.get("/bytes/1").status, 200);
                sent += 1;
            }
            sent
        };
        let anew = || {
            let mut sent = 0;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(gateway.get("/bytes/1").status, 200);
                sent += 1;
            }
            sent
        };
        let clients = [scope.spawn(keep_alive), scope.spawn(keep_alive), scope.spawn(anew)];
        // The limit and the upstream change each time.
        (1..=RELOADS).for_each(|n| reload(&gateway, &config(1_000_000 - n % 2)));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(sent > RELOADS);
    assert_eq!(gateway.metric(r#"gateway_config_reloads_total{outcome="success"}"#), RELOADS as f64);
    // No bucket was refilled: a token is rounded away with each change at most.
    let left = gateway.admin_get("/limits/l/clients/127.0.0.1").json()["tokens"].as_u64().unwrap();
    let taken = 1_000_000 - usize::try_from(left).unwrap();
    assert!((sent..=sent + RELOADS + 1).contains(&taken), "{sent} sent, {taken} taken");
}
