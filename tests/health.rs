//! Servers that go out of use and come back: health checks, ejection, trial.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::{RawUpstream, dead_address};
use crate::support::{backends, before_servers, eventually, quoted, to_upstream};

const CHECKS: &str = "health = { path = \"/health\", interval = \"20ms\", unhealthy_after = 2 }";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway that checks these servers.
fn checking(backends: &[MockBackend]) -> Gateway {
    let servers: Vec<_> = backends.iter().map(|backend| quoted(backend.addr())).collect();
    Gateway::start(&before_servers(&servers, CHECKS))
}

fn up(backend: &MockBackend) -> String {
    format!(r#"gateway_upstream_server_up{{server="{}",upstream="main"}}"#, backend.addr())
}

/// Waits until the server with this index is in this state.
#[track_caller]
fn becomes(gateway: &Gateway, server: usize, state: &str) {
    eventually(&format!("the server is {state}"), || {
        let stats = gateway.admin_get("/stats").json();
        (stats["upstreams"]["main"]["servers"][server]["state"] == state).then_some(())
    });
}

/// The number of lines in the log with this text.
fn logged(gateway: &Gateway, text: &str) -> usize {
    gateway.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_server_that_fails_its_checks_gets_nothing_until_it_passes_them() {
    let backends = backends(2);
    let gateway = checking(&backends);
    gateway.metric_becomes(&up(&backends[1]), 1.0);
    backends[1].set_healthy(false);
    gateway.metric_becomes(&up(&backends[1]), 0.0);
    becomes(&gateway, 1, "unhealthy");
    assert_eq!(gateway.admin_get("/ready").status, 200);
    for _ in 0..6 {
        assert_eq!(gateway.get("/users").header("x-backend"), Some("a"));
    }
    backends[1].set_healthy(true);
    becomes(&gateway, 1, "trial");
    gateway.metric_becomes(&up(&backends[1]), 1.0);
    let answers: Vec<_> =
        (0..4).map(|_| gateway.get("/users").header("x-backend").unwrap().to_owned()).collect();
    assert!(answers.iter().any(|name| name == "b"), "{answers:?}");
    becomes(&gateway, 1, "up");
    let address = backends[1].addr();
    for change in ["unhealthy: status 503", "healthy again", "it gets its share again"] {
        assert_eq!(logged(&gateway, &format!("server {address}: {change}")), 1, "{change}");
    }
}

#[test]
fn without_a_healthy_server_requests_are_answered_at_once() {
    let backends = backends(1);
    let gateway = checking(&backends);
    backends[0].set_healthy(false);
    gateway.metric_becomes(&up(&backends[0]), 0.0);
    let asked = backends[0].requests().iter().filter(|request| request.path() != "/health").count();
    let response = gateway.get("/users");
    response.is_problem(503);
    assert_eq!(response.header("retry-after"), Some("1"));
    assert_eq!(backends[0].requests().iter().filter(|request| request.path() != "/health").count(), asked);
    let ready = gateway.admin_get("/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains(&format!("{} is unhealthy", backends[0].addr())), "{}", ready.text());
    backends[0].set_healthy(true);
    eventually("it is used again", || (gateway.get("/users").status == 200).then_some(()));
    assert_eq!(gateway.admin_get("/ready").status, 200);
}

#[test]
fn checks_say_who_asks_and_are_no_requests_of_clients() {
    let backends = backends(1);
    let gateway = checking(&backends);
    eventually("two checks", || (backends[0].count() >= 2).then_some(()));
    let check = &backends[0].requests()[0];
    assert_eq!((check.method.as_str(), check.path()), ("GET", "/health"));
    assert_eq!(check.header("host"), Some(backends[0].addr().to_string().as_str()));
    assert!(check.header("user-agent").unwrap().ends_with("(health check)"));
    assert_eq!(gateway.admin_get("/stats").json()["total"]["requests"], 0);
}

#[test]
fn a_server_that_does_not_answer_its_checks_is_unhealthy() {
    let upstream = RawUpstream::start(|exchange| {
        exchange.read_head();
        exchange.wait_for_close();
    });
    let health = "---\nhealth = { path = \"/\", interval = \"20ms\", timeout = \"20ms\" }";
    let gateway = Gateway::start(&to_upstream(upstream.address(), health));
    becomes(&gateway, 0, "unhealthy");
    gateway.wait_for_log_line("unhealthy: ReadTimedout: no answer in time");
}

/// What an upstream does with requests just now.
#[derive(Default)]
struct Mood(AtomicU8);

impl Mood {
    const HANG_UP: u8 = 0;
    const HESITATE: u8 = 1;
    const ANSWER: u8 = 2;

    fn set(&self, mood: u8) {
        self.0.store(mood, Ordering::SeqCst);
    }

    fn is(&self, mood: u8) -> bool {
        self.0.load(Ordering::SeqCst) == mood
    }
}

/// An upstream that hangs up on requests until its mood is better, and its gateway.
fn fragile(eject_for: &str) -> (Gateway, RawUpstream, Arc<Mood>) {
    let mood = Arc::<Mood>::default();
    let of_server = mood.clone();
    let upstream = RawUpstream::start(move |exchange| {
        if exchange.read_head() && !of_server.is(Mood::HANG_UP) {
            eventually("it answers", || (!of_server.is(Mood::HESITATE)).then_some(()));
            exchange.write(OK);
        }
    });
    let outlier = format!("---\noutlier = {{ consecutive_failures = 3, eject_for = \"{eject_for}\" }}");
    (Gateway::start(&to_upstream(upstream.address(), &outlier)), upstream, mood)
}

#[test]
fn a_server_that_fails_again_and_again_is_ejected() {
    let (gateway, upstream, _) = fragile("10m");
    for _ in 0..3 {
        gateway.get("/").is_problem(502);
    }
    for _ in 0..3 {
        let response = gateway.get("/");
        response.is_problem(503);
        let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((500..=600).contains(&seconds), "{seconds}");
    }
    assert_eq!(upstream.received().len(), 3);
    assert!(gateway.admin_get("/ready").text().contains("is ejected"));
    assert_eq!(logged(&gateway, "it fails, and gets no requests for 600s"), 1);
}

#[test]
fn an_ejected_server_is_tried_by_one_request_at_a_time_and_comes_back() {
    let (gateway, upstream, mood) = fragile("50ms");
    for _ in 0..3 {
        gateway.get("/");
    }
    becomes(&gateway, 0, "trial");
    mood.set(Mood::HESITATE);
    let mut trial = gateway.connect();
    trial.send(request("GET", "/", &[], ""));
    eventually("the trial has begun", || (upstream.received().len() == 4).then_some(()));
    for _ in 0..3 {
        gateway.get("/").is_problem(503);
    }
    assert_eq!(upstream.received().len(), 4);
    mood.set(Mood::ANSWER);
    assert_eq!(trial.response().text(), "ok");
    becomes(&gateway, 0, "up");
    assert_eq!(gateway.get("/").status, 200);
    gateway.wait_for_log_line("it gets its share again");
}

#[test]
fn a_trial_that_fails_ejects_again() {
    let (gateway, upstream, _) = fragile("50ms");
    for _ in 0..3 {
        gateway.get("/");
    }
    becomes(&gateway, 0, "trial");
    gateway.get("/").is_problem(502);
    eventually("it is ejected twice", || (logged(&gateway, "it fails") == 2).then_some(()));
    assert_eq!(upstream.received().len(), 4);
}

#[test]
fn answers_that_say_that_a_server_is_broken_eject_it_and_others_do_not() {
    for (status, ejects) in [(500, false), (404, false), (502, true), (503, true), (504, true)] {
        let backends = backends(1);
        let outlier = "outlier = { consecutive_failures = 2, eject_for = \"10m\" }";
        let gateway = Gateway::start(&before_servers(&[quoted(backends[0].addr())], outlier));
        for _ in 0..2 {
            assert_eq!(gateway.get(&format!("/status/{status}")).status, status);
        }
        assert_eq!(gateway.get("/users").status, if ejects { 503 } else { 200 }, "after {status}");
    }
}

/// Whether a server that gives these answers to a check passes it with these keys.
#[track_caller]
fn passes(answer: &'static str, keys: &str) -> bool {
    let upstream = RawUpstream::start(move |exchange| {
        if exchange.read_head() {
            exchange.write(answer);
        }
    });
    let check = format!(
        "health = {{ path = \"/health\", interval = \"20ms\", unhealthy_after = 1, healthy_after = 1, {keys} }}"
    );
    let gateway = Gateway::start(&to_upstream(upstream.address(), &format!("---\n{check}")));
    // The second check has come: the first has been judged.
    eventually("it is checked", || (upstream.received().len() > 2).then_some(()));
    !gateway.log().contains("unhealthy")
}

#[test]
fn a_check_passes_with_the_answer_that_is_wanted() {
    const EARLY: &str =
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const LATE: &str = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    const MISSING: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const HEAD_OF_TEXT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nall o\r\n6\r\nk here\r\n0\r\n\r\n";
    for (answer, keys, passed) in [
        (OK, "", true),
        (EARLY, "", true),
        (LATE, "", false),
        (MISSING, "", false),
        (MISSING, "statuses = [404]", true),
        (OK, "statuses = [204, 301]", false),
        (OK, "body = \"ok\"", true),
        (EARLY, "body = \"ok\"", true),
        (CHUNKED, "body = \"ok\"", true),
        (OK, "body = \"fine\"", false),
        (MISSING, "body = \"ok\", statuses = [404]", false),
        (HEAD_OF_TEXT, "method = \"HEAD\"", true),
    ] {
        assert_eq!(passes(answer, keys), passed, "{answer:?} with {keys}");
    }
}

#[test]
fn a_check_asks_what_it_is_told_to() {
    let upstream = RawUpstream::answering(OK);
    let check = "health = { path = \"/up?a=b\", method = \"POST\", host = \"api.example.com:80\", interval = \"20ms\" }";
    let _gateway = Gateway::start(&to_upstream(upstream.address(), &format!("---\n{check}")));
    let head = eventually("it is checked", || upstream.received().first().cloned());
    assert!(head.starts_with("POST /up?a=b HTTP/1.1\r\n"), "{head}");
    for field in ["host: api.example.com:80\r\n", "content-length: 0\r\n"] {
        assert!(head.to_ascii_lowercase().contains(field), "{head}");
    }
}

#[test]
fn a_server_that_takes_no_connection_is_not_usable_anywhere_and_comes_back_without_requests() {
    let (dead, held) = dead_address();
    let gateway = Gateway::start(&before_servers(&[quoted(dead)], ""));
    assert_eq!(gateway.admin_get("/ready").status, 200, "nothing is known of it yet");
    gateway.get("/users").is_problem(502);
    let up = format!(r#"gateway_upstream_server_up{{server="{dead}",upstream="main"}}"#);
    let ready = gateway.admin_get("/ready");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains(&format!("{dead} is refusing")), "{}", ready.text());
    assert_eq!(gateway.admin_get("/stats").json()["upstreams"]["main"]["usable"], false);
    gateway.metric_becomes(&up, 0.0);
    let explained = gateway.admin_get("/explain?url=/users").json();
    assert_eq!(explained["upstream"]["usable"], false);
    assert_eq!(explained["upstream"]["state"], format!("{dead} is refusing"));
    drop(held);
    let _back = MockBackend::builder().listen(dead).start_blocking().unwrap();
    eventually("it is ready", || (gateway.admin_get("/ready").status == 200).then_some(()));
    assert_eq!(gateway.admin_get("/stats").json()["upstreams"]["main"]["usable"], true);
    gateway.metric_becomes(&up, 1.0);
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn what_one_dead_upstream_of_two_means_is_for_the_operator_to_say() {
    let (dead, _held) = dead_address();
    let backend = backends(1).remove(0);
    let config = format!(
        "[upstreams.dead]\nservers = [{}]\n[upstreams.alive]\nservers = [{}]\n\
         [[routes]]\nname = \"dead\"\npath = \"/dead\"\nupstream = \"dead\"\n\
         [[routes]]\nname = \"alive\"\npath = \"/*\"\nupstream = \"alive\"\n",
        quoted(dead),
        quoted(backend.addr())
    );
    for (ready, status) in [("all_upstreams", 503), ("any_upstream", 200), ("serving", 200)] {
        let gateway = Gateway::start_with_admin(&config, &format!("ready = \"{ready}\""));
        gateway.get("/dead").is_problem(502);
        assert_eq!(gateway.admin_get("/ready").status, status, "{ready}");
    }
}
