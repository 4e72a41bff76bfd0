//! Who is asking, by name and password: files of `htpasswd`, what is sent on, guesses, and what is remembered.

use std::fs;
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mock_backend::MockBackend;
use serde_json::json;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::get;
use crate::support::program::run;
use crate::support::to_upstream;

/// Files that other programs have made; they say how.
const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/htpasswd/users");

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A gateway that knows these users, and that alice has a plan. The settings are as for [`to_upstream`]; those in front of `===` are
/// the server's.
fn knowing(keys: &str, settings: &str) -> (Gateway, MockBackend) {
    let backend = MockBackend::start_blocking().unwrap();
    let (server, rest) = settings.split_once("===").unwrap_or(("", settings));
    let known = "[plans.pro]\n[consumers.alice]\nplan = \"pro\"\n";
    let auth = format!("[auth.basic]\nhtpasswd = {USERS:?}\n{keys}\n");
    (Gateway::start(&to_upstream(backend.addr(), &format!("{server}\n{known}{auth}{rest}"))), backend)
}

#[test]
fn a_name_and_a_password_say_who_is_asking() {
    let (gateway, backend) = knowing("realm = \"the \\\"office\\\"\"", "---\n---\nauth = [\"basic\"]");
    for (user, password, plan) in [
        ("alice", "open sesame", Some("pro")),
        ("bob", "p:ä\"\\", None),
        ("carol", "open sesame", None),
        ("dave", "hunter2", None),
    ] {
        let answer = gateway.get_with("/echo", &[("Authorization", &basic(user, password))]);
        assert_eq!(answer.status, 200, "{user}: {}", answer.text());
        let field = |name: &str| {
            let echo = answer.json();
            let mut fields = echo["headers"].as_array().unwrap().iter();
            let found = fields.find(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
            Some(found[1].as_str().unwrap().to_owned())
        };
        assert_eq!(field("x-consumer").as_deref(), Some(user));
        assert_eq!(field("x-plan").as_deref(), plan);
        assert_eq!(field("authorization"), None, "the upstream does not get the password");
    }
    let right = basic("alice", "open sesame");
    let lower = right.replace("Basic ", "basic   ");
    assert_eq!(gateway.get_with("/users", &[("authorization", &lower)]).status, 200, "in any case");
    for value in [
        None,
        Some(basic("alice", "open sesam")),
        Some(basic("alice", "")),
        Some(basic("bob", "open sesame")),
        Some(basic("Alice", "open sesame")),
        Some(basic("mallory", "open sesame")),
        Some(basic("", "open sesame")),
        Some(basic("alice", &"x".repeat(100))),
        Some(basic("alice\n", "open sesame")),
        Some("Basic".to_owned()),
        Some("Basic !".to_owned()),
        Some(format!("{right}, Bearer x")),
        Some(right.replace("Basic", "Bearer")),
        Some(format!("Basic {}", STANDARD.encode("alice"))),
    ] {
        let fields: Vec<_> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
        let refused = gateway.get_with("/echo", &fields);
        refused.is_problem(401);
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Basic realm=\"the \\\"office\\\"\", charset=\"UTF-8\"")
        );
    }
    for twice in [[&right, &right], [&right, &"Bearer x".to_owned()]] {
        gateway.get_with("/users", &twice.map(|value| ("Authorization", value.as_str()))).is_problem(400);
    }
    assert_eq!(backend.count(), 5);
    let told = format!("{}{:?}", gateway.log(), gateway.access_log(21));
    assert!(told.contains("carol") && !told.contains("sesam") && !told.contains("b3BlbiBzZXNhbWU"), "{told}");
}

#[test]
fn what_is_sent_on_is_of_another_scheme_or_kept() {
    let sent_on = |gateway: &Gateway, value: &str| {
        let answer = gateway.get_with("/echo", &[("Authorization", value)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().contains(value)
    };
    let route = "---\n---\nauth = [\"api_key\", \"basic\"]\nauth_required = false";
    let right = basic("dave", "hunter2");
    let (gateway, _backend) = knowing("", route);
    assert!(sent_on(&gateway, "Bearer token") && !sent_on(&gateway, &right));
    let (gateway, _backend) = knowing("keep = true", route);
    assert!(sent_on(&gateway, &right));
    assert_eq!(gateway.get_with("/users", &[("Authorization", &basic("dave", "hunter"))]).status, 401);
    let (gateway, _backend) = knowing("", "---\n---\n");
    assert!(sent_on(&gateway, &basic("any", "thing")), "a route that asks nobody changes nothing");
}

#[test]
fn guesses_that_are_sent_at_once_are_counted_one_after_another() {
    let server = "auth_failures = \"3/h\"\ntrusted_proxies = [\"127.0.0.1\"]\n===";
    let (gateway, _backend) = knowing("", &format!("{server}---\n---\nauth = [\"basic\"]"));
    let ask = |from: &str, password: &str| {
        let fields = [("X-Forwarded-For", from), ("Authorization", &basic("alice", password))];
        get(gateway.address(), "/users", &fields).status
    };
    let at_once = |from: &'static str, password: fn(usize) -> String| {
        let mut statuses = thread::scope(|scope| {
            let threads = (0..16).map(|number| scope.spawn(move || ask(from, &password(number))));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        statuses.sort_unstable();
        statuses
    };
    let (guesses, right) = thread::scope(|scope| {
        let guesses = scope.spawn(|| at_once("192.0.2.1", |number| format!("guess {number}")));
        let right = scope.spawn(|| at_once("192.0.2.2", |_| "open sesame".to_owned()));
        (guesses.join().unwrap(), right.join().unwrap())
    });
    assert_eq!(guesses, [[401; 3].as_slice(), &[429; 13]].concat());
    assert_eq!(right, [200; 16], "who is right is never charged, however many ask at once");
    // The right password does not help any more, though another address has had it remembered.
    assert_eq!(ask("192.0.2.1", "open sesame"), 429);
    assert_eq!(gateway.admin_get("/limits/auth_failures/clients/192.0.2.1").json()["tokens"], json!(0));
    assert_eq!(gateway.admin_get("/limits/auth_failures/clients/192.0.2.2").json()["tokens"], json!(3));
}

#[test]
fn who_leaves_while_a_password_is_verified_leaves_nothing_behind() {
    let (gateway, _backend) = knowing("cache = 0", "---\n---\nauth = [\"basic\"]");
    let carol = basic("carol", "open sesame");
    for _ in 0..4 {
        let mut connection = gateway.connect();
        connection.send(crate::support::http::request("GET", "/users", &[("Authorization", &carol)], ""));
        drop(connection);
    }
    assert_eq!(gateway.get_with("/users", &[("Authorization", &carol)]).status, 200);
}

#[test]
fn a_new_password_is_used_after_a_reload_and_the_old_one_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.htpasswd");
    let line = |index: usize| fs::read_to_string(USERS).unwrap().lines().nth(index).unwrap().to_owned();
    let (first, second) = (line(1), line(2).replace("bob", "alice"));
    fs::write(&file, &first).unwrap();
    let backend = MockBackend::start_blocking().unwrap();
    let config = to_upstream(
        backend.addr(),
        &format!("[auth.basic]\nhtpasswd = [{file:?}]\n---\n---\nauth = [\"basic\"]"),
    );
    let gateway = Gateway::with_file(&with_admin(&config, "token = \"t\""));
    let ask =
        |password: &str| gateway.get_with("/users", &[("Authorization", &basic("alice", password))]).status;
    let reload = || gateway.post_reload(&TOKEN);
    assert_eq!((ask("open sesame"), ask("p:ä\"\\")), (200, 401));
    fs::write(&file, format!("# changed\r\n{second}\r\n")).unwrap();
    assert_eq!(reload().status, 200);
    assert_eq!((ask("open sesame"), ask("p:ä\"\\")), (401, 200));
    fs::write(&file, "alice:hunter2\n").unwrap();
    let refused = reload();
    assert_eq!((refused.status, ask("p:ä\"\\")), (422, 200), "what was in force still is");
    let told = refused.text() + &gateway.log() + &gateway.admin_get("/config").text();
    assert!(told.contains("users.htpasswd:1:7"), "{told}");
    assert!(told.contains("htpasswd -B") && !told.contains("hunter2") && !told.contains("$2y"), "{told}");
    fs::write(&file, "").unwrap();
    assert_eq!((reload().status, ask("p:ä\"\\")), (200, 401), "nobody has a password");
}

#[test]
fn an_explanation_verifies_a_password() {
    let config = to_upstream(
        "127.0.0.1:9".parse().unwrap(),
        &format!("[auth.basic]\nhtpasswd = {USERS:?}\n---\n---\nauth = [\"basic\"]"),
    );
    let explain = |password: &str| {
        let field = format!("Authorization: {}", basic("dave", password));
        let told = run(&config, &["explain", "-H", &field, "GET", "/a"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        told.stdout
    };
    let right = explain("hunter2");
    assert!(right.contains("x-consumer: dave") && !right.contains("authorization"), "{right}");
    let wrong = explain("hunter3");
    assert!(wrong.contains("401") && wrong.contains("the name or the password is wrong"), "{wrong}");
}
