//! Callers who would be somebody else: credentials in odd places and spellings, several at once, and names that would break something. Each
//! is tried over HTTP/1 and HTTP/2.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway::consumer::KeyHash;
use mock_backend::MockBackend;
use serde_json::{Value, json};

use crate::jwt::issuer::{claims, with_secret};
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::upstream::RawUpstream;
use crate::support::{http2, to_upstream};

const KEY: &str = "gwk_alice0123456789";

/// By which tokens are signed.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// `dave` has the password `hunter2`.
const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/htpasswd/users");

/// A configuration in which `alice` has an API key, and tokens and passwords are known. `ways` are those of the only route.
fn config(upstream: std::net::SocketAddr, server: &str, ways: &str, route: &str) -> String {
    let known = format!(
        "[plans.pro]\n[consumers.alice]\nplan = \"pro\"\nkeys = [\"{}\"]\n[auth.api_key]\nheader = \"X-Api-Key\"\nquery = \"api_key\"\n\
         [auth.basic]\nhtpasswd = {USERS:?}\n\
         [auth.jwt]\nissuer = \"https://issuer.example\"\naudience = \"gateway\"\nkeys = [{{ algorithm = \"HS256\", secret = \"{}\" }}]\n",
        KeyHash::of(KEY.as_bytes()),
        String::from_utf8_lossy(SECRET)
    );
    to_upstream(upstream, &format!("{server}\n{known}---\n---\nauth = {ways}\n{route}"))
}

fn knowing(server: &str, ways: &str, route: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    (Gateway::start(&config(backend.addr(), server, ways, route)), backend)
}

fn token(name: &str) -> String {
    format!("Bearer {}", with_secret("{\"alg\":\"HS256\"}", &claims(name).to_string(), SECRET))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The answers over HTTP/1 and over HTTP/2.
fn both(gateway: &Gateway, target: &str, fields: &[(&str, &str)]) -> [Response; 2] {
    let lower: Vec<_> =
        fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
    let lower: Vec<_> = lower.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut connection = http2::Connection::open(gateway.address());
    [gateway.get_with(target, fields), connection.send(http2::request("GET", target, &lower), "")]
}

/// What the upstream was told in fields of these names, in any spelling.
fn received(answer: &Response, names: &[&str]) -> Vec<String> {
    let echo = answer.json();
    let fields = echo["headers"].as_array().unwrap().iter();
    let told = fields.filter(|field| {
        let name = field[0].as_str().unwrap().replace(['_', '.'], "-").to_ascii_lowercase();
        names.contains(&name.as_str())
    });
    told.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_credential_has_one_place_and_one_spelling() {
    let (bearer, password) = (token("alice"), basic("dave", "hunter2"));
    let cookie = format!("X-Api-Key={KEY}; api_key={KEY}; Authorization={bearer}");
    for server in ["", "underscores_in_headers = true"] {
        let (gateway, backend) = knowing(server, "[\"api_key\", \"jwt\", \"basic\"]", "");
        for (target, fields, status) in [
            ("/echo", &[("X_Api_Key", KEY)][..], 401),
            ("/echo", &[("X-Api_Key", KEY)], 401),
            ("/echo", &[("X.Api.Key", KEY)], 401),
            ("/echo", &[("XApiKey", KEY)], 401),
            ("/echo", &[("Cookie", &cookie)], 401),
            ("/echo", &[("Proxy-Authorization", &bearer)], 401),
            ("/echo", &[("Authorization_", &bearer)], 401),
            ("/echo?API_KEY=gwk_alice0123456789", &[], 401),
            ("/echo?api-key=gwk_alice0123456789", &[], 401),
            ("/echo?api_key[]=gwk_alice0123456789", &[], 401),
            ("/echo?api_key=gwk%2balice0123456789", &[], 401),
            ("/echo?api_key=gwk_alice0123456789+x", &[], 401),
            ("/echo?api_key=%2567wk_alice0123456789", &[], 401),
            ("/echo?a=1%26api_key=gwk_alice0123456789", &[], 401),
            ("/echo?a=1;api_key=gwk_alice0123456789", &[], 400),
            ("/echo?api_key=gwk_alice0123456789;a=1", &[], 400),
            ("/echo?api_key=x&%61pi_key=gwk_alice0123456789", &[], 400),
            ("/echo", &[("X-Api-Key", KEY), ("x-api-key", KEY)], 400),
            ("/echo", &[("Authorization", &bearer), ("authorization", &bearer)], 400),
            ("/echo", &[("Authorization", &password), ("Authorization", &bearer)], 400),
            ("/echo?%61pi_key=%67wk_alice0123456789", &[], 200),
            ("/echo?api%5fkey=+gwk_alice0123456789", &[], 200),
            ("/echo", &[("x-API-key", KEY)], 200),
            ("/echo", &[("AUTHORIZATION", &bearer)], 200),
            ("/echo", &[("authorization", &password)], 200),
        ] {
            let before = backend.count();
            for answer in both(&gateway, target, fields) {
                assert_eq!(answer.status, status, "{server} {target} {fields:?}: {}", answer.text());
                if status == 200 {
                    let secrets = received(&answer, &["x-api-key", "authorization"]);
                    assert!(
                        secrets.is_empty() && !answer.text().contains(KEY),
                        "{fields:?}: {}",
                        answer.text()
                    );
                }
            }
            assert_eq!(backend.count() - before, if status == 200 { 2 } else { 0 });
        }
        let named = [("X-Api-Key", KEY), ("Connection", "keep-alive, X-Api-Key")];
        assert_eq!(gateway.get_with("/echo", &named).status, 401, "it was not sent on");
    }
}

#[test]
fn of_credentials_of_two_ways_the_first_way_decides() {
    let (right, wrong) = (token("bob"), token("bob").replace('.', ".x"));
    for (ways, fields, expected) in [
        ("[\"jwt\", \"api_key\"]", [("Authorization", &*right), ("X-Api-Key", "wrong")], Some("bob")),
        ("[\"jwt\", \"api_key\"]", [("Authorization", &*wrong), ("X-Api-Key", KEY)], None),
        ("[\"jwt\", \"api_key\"]", [("Authorization", &*right), ("X-Api-Key", KEY)], Some("bob")),
        ("[\"api_key\", \"jwt\"]", [("Authorization", &*right), ("X-Api-Key", "wrong")], None),
        ("[\"api_key\", \"jwt\"]", [("Authorization", &*right), ("X-Api-Key", KEY)], Some("alice")),
        // Credentials of a way that the route does not have are none.
        ("[\"api_key\"]", [("Authorization", &*wrong), ("X-Api-Key", KEY)], Some("alice")),
        ("[\"basic\", \"jwt\"]", [("Authorization", &*right), ("X-Api-Key", "wrong")], Some("bob")),
    ] {
        // It does not matter whether strangers are let in.
        for route in ["", "auth_required = false"] {
            let (gateway, _backend) = knowing("", ways, route);
            for answer in both(&gateway, "/echo", &fields) {
                match expected {
                    Some(name) => assert_eq!(received(&answer, &["x-consumer"]), [name], "{ways} {fields:?}"),
                    None => answer.is_problem(401),
                }
            }
        }
    }
}

#[test]
fn what_callers_say_of_themselves_is_dropped_in_every_place() {
    let bearer = token("bob");
    for server in ["", "underscores_in_headers = true\ntrusted_proxies = [\"127.0.0.0/8\"]"] {
        let (gateway, _backend) = knowing(server, "[\"jwt\"]", "auth_required = false");
        let claims = [("X-Consumer", "root"), ("x-plan", "pro"), ("x_consumer", "root"), ("X.Plan", "pro")];
        for credentials in [&[][..], &[("Authorization", &*bearer)]] {
            for answer in both(&gateway, "/echo", &[&claims, credentials].concat()) {
                let told = received(&answer, &["x-consumer", "x-plan"]);
                assert_eq!(told, vec!["bob"; credentials.len()], "{}", answer.text());
            }
        }
    }
    // Trailers are no fields of a request, and end at the gateway.
    let upstream = RawUpstream::start(|exchange| {
        let mut body = [0; 11];
        while exchange.read_head() && std::io::Read::read_exact(&mut exchange.socket, &mut body).is_ok() {
            exchange.note(&body);
            exchange.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(&config(upstream.address(), "", "[\"jwt\"]", "auth_required = false"));
    let trailers = format!("X-Consumer: root\r\nAuthorization: {bearer}\r\nX-Api-Key: {KEY}\r\n");
    let answer = gateway.raw(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n{trailers}\r\n"
    ));
    assert_eq!(answer.status, 200);
    let all = upstream.received().concat();
    assert!(
        all.ends_with("\r\n\r\n1\r\nx\r\n0\r\n\r\n") && !all.to_lowercase().contains("consumer"),
        "{all}"
    );
    assert!(gateway.access_log(1)[0].get("consumer").is_none(), "a trailer proves nothing");
}

#[test]
fn names_that_would_break_something_break_nothing() {
    let limits = "[limits.l]\nrate = \"1/h\"\nkey = \"consumer\"\n";
    let (gateway, _backend) =
        knowing(&format!("auth_failures = \"100/h\"\n{limits}"), "[\"jwt\"]", "limits = [\"l\"]");
    let odd =
        ["..", ".", "../../admin", "a\"b", "a\\b", "a b", "%2e%2e", "*", "alice, root", "-", "{}", "<b>"];
    for name in odd {
        let answer = gateway.get_with("/echo", &[("Authorization", &token(name))]);
        assert_eq!(received(&answer, &["x-consumer"]), [name]);
        let refused = gateway.get_with("/echo", &[("Authorization", &token(name))]);
        refused.is_problem(429);
        // Each has a bucket of its own, which the side port finds.
        let path: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let told = gateway.admin_get(&format!("/limits/l/clients/{path}"));
        assert_eq!((told.status, told.json()["tokens"].clone()), (200, json!(0)), "{name}: {}", told.text());
    }
    let mut named = BTreeMap::new();
    for line in gateway.access_log(2 * odd.len()) {
        *named.entry(line["consumer"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(named, odd.into_iter().map(|name| (name.to_owned(), 2)).collect());
    let stats = gateway.admin_get("/stats").json();
    assert!(stats["limits"]["l"]["offenders"].as_array().is_some_and(|offenders| !offenders.is_empty()));
    // What cannot be a name at all, or is too long.
    for wrong in [
        "",
        " ",
        " alice",
        "alice ",
        "a\nX-Plan: pro",
        "a\r\nb",
        "a\0b",
        "a\tb",
        "é",
        "\u{202e}",
        &"a".repeat(257),
    ] {
        let answer = gateway.get_with("/echo", &[("Authorization", &token(wrong))]);
        answer.is_problem(401);
    }
    for wrong in [json!(["alice"]), json!({"alice": 1}), json!(1), json!(true), Value::Null] {
        let mut claims = claims("alice");
        claims["sub"] = wrong;
        let text = format!("Bearer {}", with_secret("{\"alg\":\"HS256\"}", &claims.to_string(), SECRET));
        gateway.get_with("/echo", &[("Authorization", &text)]).is_problem(401);
    }
    for (length, statuses) in [(10_000, [401, 401]), (1 << 20, [431, 431])] {
        let text = token(&"a".repeat(length));
        let status = gateway.get_with("/echo", &[("Authorization", &text)]).status;
        assert!(statuses.contains(&status), "{length}: {status}");
    }
    assert_eq!(gateway.get_with("/echo", &[("Authorization", &token("last"))]).status, 200);
}
