//! What nobody is told: tokens, passwords and keys of the configuration, in whatever way they came into it, and what callers prove
//! themselves by.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gateway::consumer::KeyHash;
use mock_backend::MockBackend;

use crate::jwt::issuer::with_secret;
use crate::support::collector::Collector;
use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, request};
use crate::support::http2;
use crate::support::program::run_in;
use crate::support::upstream::RawUpstream;

/// Every secret of these tests begins so.
const SECRET: &str = "hunter2";

const ROUTE: &str = "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

/// Mistakes, each with a secret in it.
const MISTAKES: [&str; 13] = [
    "[admin]\ntoken = \"hunter2 with a space\"\n",
    "[admin]\ntoken = hunter2\n",
    "[admin]\ntoken = \"${A-hunter2}\"\n",
    "[admin]\ntoken = \"pa$hunter2\"\n",
    "[admin]\ntoken = [\"hunter2\"]\n",
    "[admin]\nlisten = \"${SECRET}\"\n",
    "[server]\nthreads = \"${A:-hunter2}\"\n",
    "[server]\nlisten = [\"${SECRET}\", \"${SECRET}\"]\n",
    "[server.tls]\ncertificates = [{ cert = \"${SECRET}.pem\", key = \"${SECRET}.key\" }]\n",
    "[tracing]\nendpoint = \"http://user:hunter2@127.0.0.1:4318\"\n",
    "[upstreams.u]\nservers = [\"http://user:hunter2@127.0.0.1:80\"]\n",
    "[upstreams.u]\nservers = [\"${SECRET}:x\"]\nbalance = \"${SECRET}\"\n",
    "[limits.l]\nrate = \"1/s\"\nkey = \"header:X-Key\"\n\"overrides\" = { hunter2 = \"unlimited\", hunter2 = \"x\" }\n",
];

#[test]
fn a_mistake_with_a_secret_in_it_is_told_without_the_secret() {
    for mistake in MISTAKES {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.toml"), format!("{mistake}{ROUTE}")).unwrap();
        let outcome = run_in(folder.path(), &["check"], &[("SECRET", "hunter2-secret")]);
        assert_eq!(outcome.code, Some(64), "{mistake}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains(SECRET), "{mistake}: {outcome:?}");
    }
}

#[test]
fn neither_the_side_port_nor_the_log_tells_a_secret() {
    let routes = format!(
        "[upstreams.u]\nservers = [\"127.0.0.1:9\"]\n{ROUTE}[[routes]]\nname = \"b\"\npath = \"/b\"\nupstream = \"u\"\n\
         request_headers = {{ set = {{ X-Internal = \"hunter2\", Authorization = \"Basic ${{SECRET}}\" }} }}\n"
    );
    let token = "token = \"${ADMIN_TOKEN:-hunter2}\"";
    let gateway = Gateway::with_file_and(&with_admin(&routes, token), &[("SECRET", "hunter2-secret")]);
    let shown = gateway.admin_get("/config").text();
    assert!(shown.contains("${ADMIN_TOKEN:-***}"), "{shown}");
    assert_eq!(gateway.post_reload(&[("Authorization", "Bearer hunter2")]).status, 200);
    gateway.write_file(&with_admin(&routes, &format!("{token}\nhosts = [\"${{SECRET}}/\"]")));
    let refused = gateway.post_reload(&[("Authorization", "Bearer hunter2")]);
    assert_eq!(refused.status, 422);
    for told in [shown, refused.text(), gateway.admin_get("/config").text(), gateway.log()] {
        assert!(!told.contains(SECRET), "{told}");
    }
}

#[test]
fn a_token_cannot_be_found_by_trying() {
    let gateway = Gateway::start_with_admin(ROUTE, "token = \"t\"");
    let guess = |token: &str| gateway.post_reload(&[("Authorization", &format!("Bearer {token}"))]);
    for number in 0..10 {
        assert_eq!(guess(&number.to_string()).status, 401);
    }
    let throttled = guess("11");
    assert_eq!(throttled.status, 429);
    let wait: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(gateway.post_reload(&TOKEN).status, 429, "there is no verdict on the right one either");
    // One without a token is no guess, and reading takes none.
    assert_eq!(gateway.post_reload(&[]).status, 401);
    assert_eq!(gateway.admin_get("/config").status, 200);
    let mut connection = Connection::open(gateway.admin());
    connection.send(request("DELETE", "/limits/l/clients/x", &TOKEN, ""));
    assert_eq!(connection.response().status, 429, "every call that takes the token counts");
    gateway.wait_for_log_line("a wrong token by 127.0.0.1");
    assert_eq!(gateway.log().matches("a wrong token").count(), 1);
}

#[test]
fn files_that_others_may_change_are_warned_of() {
    let gateway = Gateway::start_with_admin(ROUTE, "token = \"t\"");
    let file = gateway.folder().join("gateway.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o646)).unwrap();
    assert_eq!(gateway.post_reload(&TOKEN).status, 200);
    gateway.wait_for_log_line("gateway.toml: anybody may write to this file");
    let outcome = run_in(&gateway.folder(), &["check"], &[]);
    assert_eq!(outcome.code, Some(0));
    let told = "gateway.toml: warning: anybody may write to this file; `chmod o-w` it [writable-file]\n";
    assert_eq!(outcome.stderr, told);
}

#[test]
fn what_callers_prove_themselves_by_is_told_nowhere() {
    const KEY: &str = "gwk_hunter2Key";
    const SIGNED_BY: &str = "hunter2Signs0123456789abcdef0123";
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/htpasswd/users");
    let service = RawUpstream::start(|exchange| {
        while let Some(head) = exchange.read_head_text() {
            let status = if head.contains("hunter2-session") { "200 OK" } else { "401 No" };
            exchange.write(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nX-Consumer: erin\r\n\r\n"));
        }
    });
    let collector = Collector::start();
    let backend = MockBackend::start_blocking().unwrap();
    let (upstream, service, endpoint) = (backend.addr(), service.address(), collector.address());
    let limits: String =
        ["consumer", "header:X-Api-Key", "query:api_key", "cookie:session", "header:Authorization"]
            .iter()
            .enumerate()
            .map(|(number, key)| {
                format!(
                    "[limits.l{number}]\nrate = \"{}/h\"\nkey = \"{key}\"\n",
                    if number == 0 { 3 } else { 1000 }
                )
            })
            .collect();
    let limits_of_route = "limits = [\"l0\", \"l1\", \"l2\", \"l3\", \"l4\"]";
    let route = |name: &str, ways: &str| {
        format!(
            "[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"u\"\nauth = {ways}\n{limits_of_route}\n"
        )
    };
    let config = format!(
        "auth_failures = \"1000/h\"\n[consumers.alice]\nkeys = [\"{}\"]\n[auth.api_key]\nheader = \"X-Api-Key\"\nquery = \"api_key\"\n\
         [auth.basic]\nhtpasswd = {users:?}\n[auth.jwt]\nkeys = [{{ algorithm = \"HS256\", secret = \"{SIGNED_BY}\" }}]\n\
         [auth.forward]\nurl = \"http://{service}/verify\"\nrequest_headers = [\"Cookie\"]\n{limits}[upstreams.u]\nservers = [\"{upstream}\"]\n\
         [tracing]\nendpoint = \"http://{endpoint}\"\n{}{}{}",
        KeyHash::of(KEY.as_bytes()),
        route("users", "[\"jwt\", \"basic\", \"api_key\"]"),
        route("echo", "[\"forward\"]"),
        // An error of the upstream or of the gateway tells nothing either.
        route("gone", "[\"api_key\"]"),
    );
    let gateway = Gateway::start_with_admin(&config, "token = \"t\"");
    let token = |name: &str, secret: &[u8]| {
        let claims = format!("{{\"sub\":\"{name}\",\"exp\":4102444800}}");
        with_secret("{\"alg\":\"HS256\"}", &claims, secret)
    };
    let (right, wrong) = (token("bob", SIGNED_BY.as_bytes()), token("root", &[7; 32]));
    let encode = |text: &str| STANDARD.encode(text);
    let (password, guess) = (encode("dave:hunter2"), encode("dave:hunter2-wrong"));
    let in_query = |key: &str| format!("/users?a=1&api_key={key}");
    let (bearer, basic) =
        (|token: &str| format!("Bearer {token}"), |encoded: &str| format!("Basic {encoded}"));
    let sent: Vec<(String, &str, String)> = vec![
        ("/users".to_owned(), "X-Api-Key", KEY.to_owned()),
        ("/users".to_owned(), "X-Api-Key", "hunter2-wrong".to_owned()),
        (in_query(KEY), "Referer", format!("http://a/?api_key={KEY}")),
        (in_query("hunter2-wrong"), "Referer", "http://a/?x=1&%61pi_key=hunter2-wrong".to_owned()),
        (in_query("hunter2-wrong;x"), "X", String::new()),
        (format!("/gone?api_key={KEY}"), "X", String::new()),
        (format!("/nowhere?api_key={KEY}"), "X-Api-Key", KEY.to_owned()),
        (format!("/users/%2f?api_key={KEY}"), "X-Api-Key", KEY.to_owned()),
        ("/users".to_owned(), "Authorization", bearer(&right)),
        ("/users".to_owned(), "Authorization", bearer(&wrong)),
        ("/users".to_owned(), "Authorization", bearer("hunter2")),
        ("/users".to_owned(), "Authorization", basic(&password)),
        ("/users".to_owned(), "Authorization", basic(&guess)),
        ("/users".to_owned(), "Authorization", "Basic hunter2".to_owned()),
        ("/echo".to_owned(), "Cookie", "session=hunter2-session".to_owned()),
        ("/echo".to_owned(), "Cookie", "session=hunter2-wrong".to_owned()),
    ];
    let mut told = String::new();
    let mut statuses = BTreeSet::new();
    for (target, name, value) in &sent {
        let mut http2 = http2::Connection::open(gateway.address());
        for _ in 0..2 {
            let lower = name.to_ascii_lowercase();
            let answers = [
                gateway.get_with(target, &[(name, value)]),
                http2.send(http2::request("GET", target, &[(&lower, value)]), ""),
            ];
            for answer in answers {
                statuses.insert(answer.status);
                told += &format!("{:?} {}\n", answer.headers, answer.text());
            }
        }
        // The side port explains a request with these credentials.
        let explain =
            request("GET", &format!("/explain?method=GET&url={}", target.replace('&', "%26")), &[], "");
        let mut admin = Connection::open(gateway.admin());
        admin.send(explain);
        told += &admin.response().text();
    }
    assert!([200, 400, 401, 404, 429].iter().all(|status| statuses.contains(status)), "{statuses:?}");
    let count = 4 * sent.len();
    told += &format!("{:?}", gateway.access_log(count));
    told += &format!("{:?}", collector.wait_for(count));
    for path in ["/config", "/metrics", "/stats", "/limits", "/explain?method=GET&url=/users"] {
        told += &gateway.admin_get(path).text();
    }
    gateway.signal("HUP");
    told += &gateway.log();
    assert!(told.contains("alice") && told.contains("dave") && told.contains("erin") && told.contains("bob"));
    let secrets = [SECRET.to_owned(), right, wrong, password, guess];
    for line in told.lines() {
        for secret in &secrets {
            // Also without its beginning, which says little more than the algorithm of a token.
            let end = &secret[secret.len() / 2..];
            assert!(
                !line.contains(secret.as_str()) && (secret == SECRET || !line.contains(end)),
                "{secret}: {line}"
            );
        }
    }
}
