//! The files under `examples/`, each with real requests: they do what their first lines say.

use std::fs;
use std::net::SocketAddr;

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::redis::Redis;
use crate::support::tls::{Client, file};
use crate::support::upstream::RawUpstream;
use crate::support::{converse, eventually};

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The gateway of an example, in front of this server, with more variables.
#[track_caller]
fn start(name: &str, backend: SocketAddr, variables: &[(&str, &str)]) -> Gateway {
    let backend = backend.to_string();
    let usual = [("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("BACKEND", backend.as_str())];
    let variables: Vec<_> = usual.iter().chain(variables).copied().collect();
    Gateway::with_file_and(&read(name), &variables)
}

fn statuses(gateway: &Gateway, count: usize, fields: &[(&str, &str)]) -> Vec<u16> {
    (0..count).map(|_| gateway.get_with("/users", fields).status).collect()
}

#[test]
fn every_example_is_tried_here() {
    let mut names: Vec<_> = fs::read_dir(format!("{}/examples", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let tests = include_str!("examples.rs");
    for name in names {
        assert!(tests.contains(&format!("\"{name}\"")), "{name} is in no test");
    }
}

#[test]
fn guesses_are_limited_and_those_who_know_are_not() {
    let upstream = RawUpstream::start(|exchange| {
        while let Some(head) = exchange.read_head_text() {
            let status = if head.contains("X-Password: right") { "200 OK" } else { "401 Unauthorized" };
            exchange.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let gateway = start("login.toml", upstream.address(), &[]);
    let login = |password: &str| {
        gateway
            .raw(request("POST", "/login", &[("X-Password", password), ("Content-Length", "0")], ""))
            .status
    };
    assert!((0..8).all(|_| login("right") == 200));
    let guesses: Vec<_> = (0..7).map(|_| login("wrong")).collect();
    assert_eq!(guesses, [401, 401, 401, 401, 401, 429, 429]);
}

#[test]
fn each_plan_has_its_rate() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = start("plans.toml", backend.addr(), &[]);
    assert_eq!(statuses(&gateway, 4, &[("X-Api-Key", "bob")]), [200, 200, 429, 429]);
    assert_eq!(statuses(&gateway, 15, &[("X-Api-Key", "alice")]), [200; 15]);
    assert_eq!(statuses(&gateway, 1, &[("X-Api-Key", "eve")]), [401]);
}

#[test]
fn one_client_in_twenty_gets_the_new_version() {
    let [stable, canary] =
        ["stable", "canary"].map(|name| MockBackend::builder().name(name).start_blocking().unwrap());
    let variables = [("CANARY", &*canary.addr().to_string()), ("STICKY_SECRET", "0123456789abcdef")];
    let proxied = read("canary.toml").replace("[server]", "[server]\ntrusted_proxies = [\"127.0.0.1\"]");
    let backend = stable.addr().to_string();
    let usual = [("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("BACKEND", backend.as_str())];
    let gateway = Gateway::with_file_and(&proxied, &[&usual[..], &variables].concat());
    let mut connection = gateway.connect();
    for client in 0..200 {
        let client = format!("198.51.100.{client}");
        let first = connection.get_with("/users", &[("X-Forwarded-For", &client)]);
        let (cookie, _) = first.header("set-cookie").unwrap().split_once(';').unwrap();
        let again = connection.get_with("/users", &[("X-Forwarded-For", &client), ("Cookie", cookie)]);
        assert_eq!(again.header("x-backend"), first.header("x-backend"));
        assert_eq!(again.header("set-cookie"), None);
    }
    // The hash is fixed, so these are the same in every run.
    assert!((4..40).contains(&canary.count()), "{}", canary.count());
    assert_eq!(stable.count() + canary.count(), 400);
    canary.stop_blocking();
    assert_eq!(gateway.admin_get("/ready").status, 200);
}

#[test]
fn two_services_share_a_host() {
    let [shop, search] =
        ["shop", "search"].map(|name| MockBackend::builder().name(name).start_blocking().unwrap());
    let gateway = start("two-services.toml", shop.addr(), &[("SEARCH", &search.addr().to_string())]);
    let served = |target: &str, fields: &[(&str, &str)]| {
        gateway.get_with(target, fields).header("x-backend").map(str::to_owned)
    };
    assert_eq!(served("/users", &[]).as_deref(), Some("shop"));
    assert_eq!(served("/search/users", &[]).as_deref(), Some("search"));
    assert_eq!(served("/users", &[("Host", "search.example.com")]).as_deref(), Some("search"));
}

#[test]
fn clients_behind_a_cdn_are_told_apart() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = start("behind-a-cdn.toml", backend.addr(), &[]);
    for client in ["203.0.113.7", "203.0.113.8"] {
        let chain = format!("{client}, 10.0.0.9");
        assert_eq!(statuses(&gateway, 5, &[("X-Forwarded-For", &chain)]), [200, 200, 200, 429, 429]);
    }
}

#[test]
fn https_is_told_to_browsers() {
    let backend = MockBackend::start_blocking().unwrap();
    let [cert, key] = ["localhost.pem", "localhost.key"].map(|name| file(name).display().to_string());
    let gateway = start("https.toml", backend.addr(), &[("CERT", &cert), ("KEY", &key)]);
    let mut connection = Connection::open_tls(gateway.address(), Client::new("localhost")).unwrap();
    let answer = connection.get("/users");
    assert_eq!((answer.status, answer.header("strict-transport-security")), (200, Some("max-age=31536000")));
}

#[test]
fn a_client_has_three_websockets_at_a_time() {
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = start("websocket.toml", backend.addr(), &[]);
    let open = || tungstenite::connect(format!("ws://{}/ws", gateway.address()));
    let mut sockets: Vec<_> = (0..3).map(|_| open().unwrap().0).collect();
    assert!(open().is_err(), "the fourth is refused");
    converse(sockets.pop().unwrap());
    let (socket, _) = eventually("there is room again", || open().ok());
    converse(socket);
}

#[test]
fn grpc_is_forwarded_by_its_path() {
    // What becomes of gRPC itself is tried elsewhere, with an upstream that speaks HTTP/2.
    let backend = MockBackend::start_blocking().unwrap();
    let gateway = start("grpc.toml", backend.addr(), &[]);
    assert_eq!(gateway.get("/other.Service/Call").status, 404);
    assert_eq!(gateway.admin_get("/ready").status, 200);
}

#[test]
fn several_gateways_keep_one_limit() {
    let backend = MockBackend::start_blocking().unwrap();
    let redis = Redis::start();
    let variables = [("REDIS_URL", redis.url()), ("GATEWAY_SECRET", "0123456789abcdef".to_owned())];
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let slow = read("several-gateways.toml").replace("100/s", "1/h").replace("burst = 200", "burst = 4");
    let gateways = [0, 1].map(|_| {
        let backend = backend.addr().to_string();
        let usual =
            [("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("BACKEND", backend.as_str())];
        let all: Vec<_> = usual.iter().chain(&variables).copied().collect();
        Gateway::with_file_and(&slow, &all)
    });
    let admitted = (0..12).filter(|turn| gateways[turn % 2].get("/users").status == 200).count();
    assert_eq!(admitted, 4);
}

#[test]
fn the_configuration_for_kubernetes_is_good() {
    let yaml = read("kubernetes.yaml");
    let block = yaml.split_once("gateway.toml: |\n").unwrap().1.split_once("---").unwrap().0;
    let config: String = block.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "a-token-for-a-test\n").unwrap();
    let config = config
        .replace("/run/secrets/gateway/token", token.to_str().unwrap())
        .replace("0.0.0.0:8000", "127.0.0.1:0")
        .replace("0.0.0.0:8001", "127.0.0.1:0");
    let gateway = Gateway::with_file(&config);
    assert_eq!(gateway.admin_get("/health").status, 200);
    assert_eq!(gateway.admin_get("/ready").status, 503, "there is no such Service here");
}
