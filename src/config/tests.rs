//! Whole files, and what they mean.

mod advice;
mod any_text;
mod documents;
mod fixtures;
mod large;
mod reference;
mod schema;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::limit::Mode;
use crate::limit::key::{Key, KeyPart, MissingKey};
use crate::limit::quota::Quota;

/// The environment of the fixtures.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "EMPTY" => "",
        "NUMBER" => "20",
        "WORD" => "many",
        "TRUTH" => "true",
        "BACKEND" => "backend:9000",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The config of `text`, which is valid.
#[track_caller]
fn valid(text: &str) -> Config {
    Config::parse("gateway.toml", text, &env).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is wrong with `text`.
#[track_caller]
fn problems(text: &str) -> String {
    Config::parse("gateway.toml", text, &env).expect_err("this config is not valid").to_string()
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const ONE_ROUTE: &str = "[[routes]]\nname = \"health\"\npath = \"/health\"\nrespond = { body = \"ok\" }\n";

#[test]
fn defaults_are_filled_in() {
    let config = valid(ONE_ROUTE);
    assert_eq!(config.server.listen, [Listener::plain("0.0.0.0:8000".parse().unwrap())]);
    assert_eq!(config.server.threads, None);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.server.max_header_size, 64 * 1024);
    assert_eq!(config.server.max_body_size, 10 * 1024 * 1024);
    assert_eq!(config.server.server_header.unwrap(), "gateway");
    assert_eq!(config.admin.unwrap().listen, "127.0.0.1:8001".parse().unwrap());
    assert_eq!(config.access_log.unwrap(), AccessLog::whole(LogTarget::Stdout, LogFormat::Json));
    assert_eq!(config.routes[0].max_body_size, 10 * 1024 * 1024);
    assert_eq!(config.routes[0].timeout, None);
    assert_eq!(config.tracing, None);

    let config =
        valid(&format!("[limits.a]\nrate = \"3/10s\"\n[upstreams.u]\nservers = [\"A:1\"]\n{ONE_ROUTE}"));
    let limit = &config.limits[0];
    let rate = limit.rate().unwrap();
    assert_eq!(rate.quota, Quota::new(3, Duration::from_secs(10), 3).unwrap());
    assert_eq!(
        limit.key,
        Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::ClientIp, ipv6_prefix: 64 }
    );
    assert_eq!((rate.cost, limit.mode, rate.max_clients), (1, Mode::Enforce, 1_000_000));
    assert_eq!(
        (limit.status, limit.fields, limit.legacy_headers),
        (StatusCode::TOO_MANY_REQUESTS, true, false)
    );
    let upstream = &config.upstreams[0];
    assert_eq!(upstream.servers, [UpstreamServer::named("a", 1)]);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(2));
    assert_eq!(upstream.response_timeout, Duration::from_secs(30));
    assert_eq!((&upstream.balance, upstream.max_connections), (&Balance::RoundRobin, None));
    assert_eq!((upstream.retries, upstream.read_timeout), (1, Some(Duration::from_secs(300))));
    assert_eq!((&upstream.health, upstream.outlier), (&None, None));
}

#[test]
fn checks_that_are_asked_for_have_defaults() {
    let upstream = "[upstreams.u]\nservers = [\"u:1\"]\nhealth = { path = \"/h?x=1\" }\noutlier = {}\n";
    let upstream = &valid(&format!("{upstream}{ONE_ROUTE}")).upstreams[0];
    let health = upstream.health.as_ref().unwrap();
    assert_eq!((health.path.as_str(), health.interval), ("/h?x=1", Duration::from_secs(5)));
    assert_eq!(
        (health.timeout, health.unhealthy_after, health.healthy_after),
        (Duration::from_secs(2), 3, 2)
    );
    let outlier = Outlier { consecutive_failures: 5, eject_for: Duration::from_secs(10) };
    assert_eq!(upstream.outlier, Some(outlier));
}

#[test]
fn a_store_of_shared_limits() {
    let shared = |keys: &str| {
        let text = format!("[limiter.shared]\nsecret = \"0123456789hunter\"\n{keys}\n{ONE_ROUTE}");
        let config = valid(&text);
        let shown = format!("{config:?}{}{}", config.shown, config.summary());
        assert!(!shown.contains("hunter"), "{shown}");
        config.limiter.shared.unwrap()
    };
    assert_eq!(
        shared("url = \"redis://u:hunter2@a/3\""),
        SharedStore {
            kind: StoreKind::Single,
            urls: vec!["redis://u:hunter2@a/3".into()],
            ca: None,
            secret: "0123456789hunter".into(),
            prefix: "gateway".into(),
            timeout: Duration::from_millis(5),
            lease_time: Duration::from_secs(10),
        }
    );
    let socket =
        shared("url = \"unix:///run/redis.sock?db=1&pass=hunter2\"\ntimeout = \"1s\"\nprefix = \"A.b_c-9\"");
    assert_eq!((socket.timeout, &*socket.prefix), (Duration::from_secs(1), "A.b_c-9"));
    let ca = file("tests/fixtures/tls/ca.pem");
    let cluster = shared(&format!(
        "urls = [\"rediss://:hunter2@a:1\", \"rediss://:hunter2@b:1\"]\ncluster = true\nca = {ca:?}"
    ));
    assert_eq!((cluster.kind, cluster.urls.len()), (StoreKind::Cluster, 2));
    assert_eq!(cluster.ca, Some(fs::read(ca).unwrap()));
    let sentinel =
        shared("url = \"redis://:hunter2@[::1]:26379/2\"\nsentinel = \"main\"\nlease_time = \"1m\"");
    assert_eq!(sentinel.kind, StoreKind::Sentinel("main".into()));
}

#[test]
fn ways_to_balance() {
    for (written, balance) in [
        ("round_robin", Balance::RoundRobin),
        ("least_requests", Balance::LeastRequests),
        ("random", Balance::Random),
        ("hash:client_ip", Balance::Hash(Key::of(vec![KeyPart::ClientIp]))),
        ("hash:cookie:sid", Balance::Hash(Key::of(vec![KeyPart::Cookie("sid".into())]))),
    ] {
        let upstream = format!("[upstreams.u]\nservers = [\"[::1]:1\"]\nbalance = \"{written}\"\n");
        let config = valid(&format!("{upstream}max_connections = 7\nread_timeout = 0\n{ONE_ROUTE}"));
        assert_eq!(config.upstreams[0].read_timeout, None);
        assert_eq!(config.upstreams[0].balance, balance);
        assert_eq!(config.upstreams[0].max_connections, Some(7));
        assert_eq!(config.upstreams[0].servers[0].to_string(), "[::1]:1");
    }
}

#[test]
fn sections_keep_the_order_of_the_file_and_references_are_indices() {
    let config = valid(
        r#"
        server.limits = ["z", "m"]
        [limits.z]
        rate = "1/s"
        [limits.m]
        rate = "1/s"
        [limits.a]
        rate = "1/s"
        [upstreams.y]
        servers = ["a:1"]
        [upstreams.b]
        servers = ["[::1]:1", { address = "b:2", weight = 3 }]
        [[routes]]
        name = "last letter first"
        path = "/z"
        upstream = "b"
        limits = ["a", "m"]
        timeout = 0
        "#,
    );
    let names: Vec<&str> = config.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(names, ["z", "m", "a"]);
    assert_eq!(config.routes[0].limits, [0, 1, 2]);
    assert!(matches!(
        config.routes[0].action,
        Action::Proxy { to: Destination::One(1), rewrite: Rewrite::Keep }
    ));
    assert_eq!(config.routes[0].timeout, None);
    assert_eq!(config.upstreams[1].servers[0].host(), "::1");
    assert_eq!(config.upstreams[1].servers[1].weight, 3);
    assert_eq!(config.summary(), "1 route, 3 limits, 2 upstreams");
}

#[test]
fn consumers_have_plans_and_limits_have_terms_for_them() {
    let key = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let limit = "[limits.l]\nrate = \"10/s\"\nkey = \"consumer\"\nplans = { pro = { rate = \"100/s\" }, free = \"unlimited\" }\n";
    let plans = "[plans.free]\n[plans.pro]\ndescription = \"For those who pay\"\n";
    let named = format!(
        "[consumers.alice]\nplan = \"pro\"\nkeys = [{:?}, {:?}]\n[consumers.bob]\n",
        key("1"),
        key("2")
    );
    let check = |config: &Config| {
        assert_eq!(config.plans, ["free", "pro"]);
        let alice = config.consumers.with_key(&key("2").parse().unwrap()).unwrap();
        assert_eq!((alice.name(), alice.plan()), ("alice", Some(1)));
        assert_eq!(config.consumers.named("bob").unwrap().plan(), None);
        let terms: Vec<_> = config.limits[0].plans.iter().map(|plan| (plan.plan, &*plan.name)).collect();
        assert_eq!(terms, [(1, "pro"), (0, "free")]);
        assert_eq!(config.limits[0].key.parts, [KeyPart::Consumer]);
        assert_eq!(config.limits[0].plans[0].max_clients, 1024);
    };
    let config = valid(&format!("{plans}{limit}{named}{ONE_ROUTE}"));
    check(&config);
    let shown = config.shown.to_string();
    assert!(!shown.contains("sha256") && shown.contains("alice"), "{shown}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consumers.toml");
    fs::write(&path, format!("\u{feff}{named}")).unwrap();
    let config = valid(&format!("consumers = {path:?}\n{plans}{limit}{ONE_ROUTE}"));
    check(&config);
    assert_eq!(config.files, [path]);
}

#[test]
fn traces_are_told_of_where_the_file_says() {
    let tracing = |keys: &str| valid(&format!("[tracing]\n{keys}\n{ONE_ROUTE}")).tracing.unwrap();
    let default = Tracing { endpoint: None, sample_ratio: 1.0, service_name: "gateway".to_owned() };
    assert_eq!(tracing(""), default);
    assert_eq!(tracing("endpoint = \"off\"\nsample_ratio = 1"), default);
    for endpoint in ["http://a:4318", "http://a:4318/", "http://a:4318/base"] {
        let read = tracing(&format!("endpoint = \"{endpoint}\"\nsample_ratio = 0.25"));
        let whole = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        assert_eq!((read.endpoint.unwrap().to_string(), read.sample_ratio), (whole, 0.25));
    }
}

#[test]
fn the_values_of_switches() {
    let config = valid(&format!(
        r#"
        [server]
        listen = ["127.0.0.1:0", {{ address = "127.0.0.1:0" }}]
        threads = 2
        server_header = ""
        max_body_size = 0
        trusted_proxies = ["10.0.0.0/8", "::1"]
        [admin]
        listen = "off"
        [access_log]
        path = "off"
        [limiter]
        max_clients = 5
        [limits.a]
        rate = "1/s"
        key = ["header:X-Key", "route"]
        mode = "dry_run"
        missing_key = "reject"
        methods = ["POST"]
        {ONE_ROUTE}"#
    ));
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.threads, Some(2));
    assert_eq!(config.server.server_header, None);
    assert_eq!(config.server.max_body_size, 0);
    assert!(config.admin.is_none());
    assert!(config.access_log.is_none());
    assert_eq!(config.limits[0].rate().unwrap().max_clients, 5);
    assert_eq!(config.limits[0].mode, Mode::DryRun);
    assert_eq!(config.limits[0].key.missing, MissingKey::Reject);
    assert_eq!(config.limits[0].key.parts.len(), 2);
}

#[test]
fn header_changes_and_prefixes() {
    let config = valid(
        r#"
        [upstreams.u]
        servers = ["u:1"]
        [[routes]]
        name = "api"
        path = "/api/{version}/*"
        upstream = "u"
        strip_prefix = "/api"
        request_headers = { set = { Host = "internal", X-Env = "prod" }, remove = ["Cookie"] }
        response_headers = { remove = ["X-Powered-By"] }
        "#,
    );
    let route = &config.routes[0];
    assert!(
        matches!(&route.action, Action::Proxy { rewrite: Rewrite::StripPrefix(prefix), .. } if prefix == "/api")
    );
    assert_eq!(route.request_headers.set.len(), 2);
    assert_eq!(route.request_headers.remove, ["cookie"]);
    assert_eq!(route.response_headers.remove, ["x-powered-by"]);
}

#[test]
fn numbers_and_truth_values_may_come_from_the_environment() {
    let config = valid(&format!(
        "[limits.a]\nrate = \"${{NUMBER}}/s\"\nburst = \"${{NUMBER}}\"\nlegacy_headers = \"${{TRUTH}}\"\n\
         cost = \"${{NONE:-2}}\"\n[server]\nmax_body_size = \"${{NONE:-1024}}\"\n{ONE_ROUTE}"
    ));
    assert_eq!(config.limits[0].rate().unwrap().quota.burst(), 20);
    assert!(config.limits[0].legacy_headers);
    assert_eq!(config.limits[0].rate().unwrap().cost, 2);
    assert_eq!(config.server.max_body_size, 1024);
}

#[test]
fn a_variable_cannot_add_to_the_config() {
    let text = format!("[admin]\ntoken = \"${{EVIL}}\"\n{ONE_ROUTE}");
    let evil = |_: &str| Some("x\"\nlisten = \"0.0.0.0:1".to_owned());
    let said = Config::parse("f", &text, &evil).unwrap_err().to_string();
    assert!(said.starts_with("f:2:9: this token has a character"), "{said}");
    assert!(!said.contains("0.0.0.0"), "a secret was told: {said}");
}

#[test]
fn the_token_is_not_in_debug_output() {
    let config = valid(&format!("[admin]\ntoken = \"hunter2\"\n{ONE_ROUTE}"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.admin.unwrap().token.unwrap(), "hunter2");
}

#[test]
fn a_mark_of_the_encoding_and_foreign_line_ends_are_fine() {
    valid(&format!("\u{feff}{}", ONE_ROUTE.replace('\n', "\r\n")));
    assert!(problems("\u{feff}x = 1\r\n").starts_with("gateway.toml:1:1: "));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Config::load(Path::new("/nonexistent/gateway.toml")).unwrap_err().to_string();
    assert!(
        missing.starts_with("cannot read the config file /nonexistent/gateway.toml: No such file"),
        "{missing}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, b"a = 1\nb = \"\xff\"\n").unwrap();
    let binary = Config::load(&path).unwrap_err().to_string();
    assert!(binary.ends_with("it is not UTF-8 text (line 2)"), "{binary}");
    fs::write(&path, "x = 1\n").unwrap();
    let invalid = Config::load(&path).unwrap_err();
    assert!(matches!(invalid, LoadError::Invalid(_)));
    assert!(invalid.to_string().contains("gateway.toml:1:1: "), "{invalid}");
    fs::write(&path, ONE_ROUTE).unwrap();
    assert_eq!(Config::load(&path).unwrap().summary(), "1 route, 0 limits, 0 upstreams");
}

#[test]
fn a_file_holds_a_value_of_any_string() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let put = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let config = |name: &str| format!("[admin]\ntoken = \"a${{file:{}}}\"\n{ONE_ROUTE}", path(name));
    for (content, token) in [
        ("hunter2", "ahunter2"),
        ("hunter2\n", "ahunter2"),
        ("hunter2\r\n", "ahunter2"),
        ("${HOME}$x", "a${HOME}$x"),
    ] {
        put("token", content.as_bytes());
        let read = valid(&config("token"));
        assert_eq!(read.admin.unwrap().token.unwrap(), token);
        assert_eq!(read.files, [folder.path().join("token")]);
        let shown = read.shown["admin"]["token"].as_str().unwrap().to_owned();
        assert_eq!(shown, format!("***${{file:{}}}", path("token")));
    }
    put("empty", b"\n");
    put("large", &[b'a'; 64 * 1024 + 1]);
    put("binary", b"hunter2\xff");
    fs::create_dir(folder.path().join("folder")).unwrap();
    for (name, why) in [
        ("none", "cannot be read: No such file"),
        ("empty", "is empty"),
        ("large", "has more than 64 KiB"),
        ("binary", "is no UTF-8 text"),
        ("folder", "is no regular file"),
    ] {
        let told = problems(&config(name));
        assert!(told.starts_with("gateway.toml:2:9: the file ") && told.contains(why), "{told}");
        assert!(told.lines().count() == 1 && !told.contains("hunter2"), "{told}");
    }
    assert!(problems(&format!("[admin]\ntoken = \"${{file:}}\"\n{ONE_ROUTE}")).contains("names no file"));
    put("port", b"hunter2\n");
    let told = problems(&format!("[server]\nthreads = \"${{file:{}}}\"\n{ONE_ROUTE}", path("port")));
    assert!(!told.contains("hunter2"), "a value that does not fit is not told: {told}");
}
