//! A service that is asked about callers: what it is asked, what its answers mean, and what becomes of requests without one.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use gateway::clock::Clock;
use mock_backend::MockBackend;
use serde_json::Value;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, Response, request};
use crate::support::program::run;
use crate::support::upstream::{Exchange, RawUpstream, dead_address};
use crate::support::{eventually, to_upstream};

/// A token that the services of these tests know.
const ALICE: (&str, &str) = ("Authorization", "Bearer alice");

/// The answer of a service that lets a caller in, with these fields.
fn yes(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}\r\n")
}

/// A service that knows one token.
fn knowing_alice(fields: &'static str) -> RawUpstream {
    answering(move |head| match field(head, "authorization").as_deref() {
        Some("Bearer alice") => yes(&format!("X-Consumer: alice\r\n{fields}")),
        _ => "HTTP/1.1 401 No\r\nContent-Length: 2\r\nWWW-Authenticate: Bearer realm=\"s\"\r\n\r\nno"
            .to_owned(),
    })
}

/// A service that answers each question by its head, over connections that stay open.
fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> RawUpstream {
    RawUpstream::start(move |exchange| {
        while let Some(head) = exchange.read_head_text() {
            exchange.write(answer(&head));
        }
    })
}

/// The value of a field of a head.
fn field(head: &str, name: &str) -> Option<String> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut values =
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
    values.next().filter(|_| values.next().is_none())
}

/// A request: its method, host, target and fields.
type Question<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A gateway whose route asks this service. The settings are those of `[auth.forward]`, then, after lines `---`, those of `[server]`, then
/// other sections, and those of the route.
fn asking(service: SocketAddr, settings: &str) -> (Gateway, MockBackend) {
    let mut parts = settings.split("---");
    let mut part = || parts.next().unwrap_or_default();
    let (forward, server, sections, route) = (part(), part(), part(), part());
    let backend = MockBackend::start_blocking().unwrap();
    let config = to_upstream(
        backend.addr(),
        &format!(
            "{server}\n[auth.forward]\nurl = \"http://{service}/verify?a=b\"\ntimeout = \"20s\"\n{forward}\n{sections}\n---\n---\nauth = [\"forward\"]\n{route}"
        ),
    );
    (Gateway::start(&config), backend)
}

/// The values of a field that the upstream received, in any spelling.
fn received(response: &Response, name: &str) -> Vec<String> {
    let echo = response.json();
    let alike = |field: &&Value| field[0].as_str().unwrap().replace('_', "-").eq_ignore_ascii_case(name);
    let fields = echo["headers"].as_array().unwrap().iter().filter(alike);
    fields.map(|field| field[1].as_str().unwrap().to_owned()).collect()
}

fn questions(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!("gateway_forward_auth_questions_total{{result=\"{result}\"}}"))
}

#[test]
fn a_service_says_who_comes_in() {
    let service = knowing_alice("X-Plan: pro\r\nX-User-Role: admin\r\nX-Other: 1\r\n");
    let (gateway, backend) =
        asking(service.address(), "response_headers = [\"X-User-Role\"]\n---\n---\n[plans.pro]\n");
    let claims = [
        ALICE,
        ("X-Consumer", "root"),
        ("X-Plan", "root"),
        ("X-User-Role", "root"),
        ("X_User_Role", "root"),
        ("x-user-role", "root"),
        ("X_Consumer", "root"),
        ("Connection", "keep-alive, X-User-Role"),
    ];
    let answer = gateway.get_with("/echo?x=1", &claims);
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [("x-consumer", "alice"), ("x-plan", "pro"), ("x-user-role", "admin")] {
        assert_eq!(received(&answer, name), [value]);
    }
    assert!(received(&answer, "authorization").is_empty(), "the credential does not go on");
    assert!(received(&answer, "x-other").is_empty() && !answer.text().contains("root"));
    let refused = gateway.get_with("/echo", &[("Authorization", "Bearer bob")]);
    refused.is_problem(401);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"s\""));
    gateway.get("/echo").is_problem(401);
    assert_eq!(backend.count(), 1, "who is refused does not reach the upstream");
    let log = gateway.access_log(3);
    assert_eq!(log.iter().filter(|line| line["consumer"] == "alice" && line["status"] == 200).count(), 1);
    assert_eq!((questions(&gateway, "allowed"), questions(&gateway, "refused")), (1.0, 2.0));
    assert_eq!(gateway.metric("gateway_forward_auth_duration_seconds_count"), 3.0);
}

#[test]
fn the_service_is_asked_about_what_is_served() {
    let service = answering(|_| yes(""));
    let (gateway, _backend) = asking(
        service.address(),
        "request_headers = [\"Authorization\", \"Cookie\", \"X-Token\"]\n---\nunderscores_in_headers = true",
    );
    let fields = "Host: A.example:81\r\nAuthorization: Bearer alice\r\nCookie: a=1\r\nCookie: b=2\r\nX_Token: t\r\nX-Other: 1\r\n\
                  X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Uri: /public\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Method: GET\r\nX-Original-URI: /public\r\nContent-Length: 2\r\n";
    let answer = gateway.raw(format!("DELETE /public/..//%61dmin/./x?q=/../%2e HTTP/1.1\r\n{fields}\r\nhi"));
    assert_ne!(answer.status, 401, "{answer:?}");
    let [head] = &service.received()[..] else { panic!("{:?}", service.received()) };
    assert!(head.starts_with("GET /verify?a=b HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", service.address().to_string().as_str()),
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "A.example:81"),
        ("x-forwarded-uri", "/admin/x?q=/../%2e"),
        ("x-forwarded-for", "127.0.0.1"),
        ("authorization", "Bearer alice"),
        ("cookie", "a=1; b=2"),
    ] {
        assert_eq!(field(head, name).as_deref(), Some(value), "{head}");
    }
    for absent in ["x-other", "x-token", "x_token", "content-length", "x-original-uri"] {
        assert_eq!(field(head, absent), None, "{head}");
    }
    // A path that could be read in two ways is not asked about.
    for target in ["/a/..%2fadmin", "/a%00", "/%2e%2e/admin%2f.."] {
        assert_eq!(gateway.get_with(target, &[ALICE]).status, 400, "{target}");
    }
    assert_eq!(service.received().len(), 1);
}

#[test]
fn credentials_that_could_be_read_in_two_ways_are_refused() {
    let service = answering(|_| yes(""));
    let (gateway, backend) = asking(
        service.address(),
        "request_headers = [\"Authorization\", \"X-Token\"]\n---\nauth_failures = \"5/h\"",
    );
    for fields in [&[ALICE, ("Authorization", "Bearer bob")][..], &[("X-Token", "a"), ("x-token", "a")]] {
        gateway.get_with("/echo", fields).is_problem(400);
    }
    assert_eq!((service.received().len(), backend.count()), (0, 0));
}

#[test]
fn without_an_answer_nobody_comes_in() {
    for answer in [
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
        "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        // What is cut off, or is no HTTP.
        String::new(),
        "HTTP/1.1 200 OK\r\nX-Consumer: al".to_owned(),
        "hello\r\n\r\n".to_owned(),
        // Fields that could be read in two ways, or put others into a request.
        yes("X-Consumer: alice\r\n X-Plan: pro\r\n"),
        yes("X-Consumer: alice\rX-Plan: pro\r\n"),
        yes("X-Consumer: alice\0\r\n"),
        yes("X-Consumer : alice\r\n"),
        yes("X-Consumer: alice\r\nX-Consumer: bob\r\n"),
        yes("X-Consumer: alice\r\nX-Plan: unknown\r\n"),
        yes("X-Plan: pro\r\n"),
        yes(&"X-A: b\r\n".repeat(1000)),
        yes(&format!("X-A: {}\r\n", "b".repeat(100_000))),
    ] {
        let service = RawUpstream::answering(answer.clone());
        let (gateway, backend) = asking(service.address(), "---\n---\n[plans.pro]");
        let refused = gateway.get_with("/echo", &[ALICE]);
        refused.is_problem(503);
        assert_eq!(refused.header("retry-after"), Some("1"), "{answer:?}");
        assert!(!refused.text().contains("login"));
        assert_eq!(backend.count(), 0, "{answer:?}");
        gateway.wait_for_log_line("that is asked about callers gives no answer");
    }
}

#[test]
fn the_head_of_an_answer_is_enough() {
    let head = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-Consumer: alice\r\n";
    for (framing, piece) in [
        ("Transfer-Encoding: chunked\r\n\r\n", "a\r\n0123456789\r\n"),
        ("Content-Length: 1000000000\r\n\r\n", "0123456789"),
        ("\r\n", "0123456789"),
    ] {
        // It writes until the gateway takes no more.
        let service = RawUpstream::start(move |exchange: &mut Exchange| {
            use std::io::Write as _;
            if exchange.read_head()
                && exchange.socket.write_all(format!("{head}{framing}").as_bytes()).is_ok()
            {
                while exchange.socket.write_all(piece.repeat(1000).as_bytes()).is_ok() {}
            }
        });
        let (gateway, _backend) = asking(service.address(), "");
        let answer = gateway.get_with("/echo", &[ALICE]);
        assert_eq!(received(&answer, "x-consumer"), ["alice"], "{framing}");
    }
}

#[test]
fn a_request_waits_no_longer_than_it_may_and_none_is_let_in() {
    let clock = &Clock::monotonic();
    let (over, until) = mpsc::channel::<()>();
    let until = Mutex::new(until);
    let service = RawUpstream::start(move |exchange| {
        exchange.read_head();
        exchange.stall(&until);
    });
    for (address, settings) in
        [(service.address(), "timeout = \"300ms\""), (dead_address().0, "timeout = \"300ms\"")]
    {
        let backend = MockBackend::start_blocking().unwrap();
        let config =
            format!("[auth.forward]\nurl = \"http://{address}\"\n{settings}\n---\n---\nauth = [\"forward\"]");
        let gateway = Gateway::start(&to_upstream(backend.addr(), &config));
        thread::scope(|scope| {
            for number in 0..40 {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mut connection = gateway.connect();
                    for turn in 0..5 {
                        let token = format!("Bearer {number} {}", turn % 3);
                        let asked = clock.now();
                        let answer = connection.get_with("/echo", &[("Authorization", &token)]);
                        assert_eq!(answer.status, 503);
                        // Much more than the time that it may take, since the machine may have other work.
                        assert!(clock.now().since(asked) < Duration::from_secs(10));
                    }
                });
            }
        });
        assert_eq!(backend.count(), 0);
    }
    drop(over);
}

#[test]
fn a_service_that_comes_back_is_asked_again() {
    let (address, held) = dead_address();
    let (gateway, _backend) = asking(address, "");
    gateway.get_with("/echo", &[ALICE]).is_problem(503);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    drop(held);
    let listener: TcpListener = socket.into();
    thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut socket, _)) = listener.accept() {
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(yes("X-Consumer: alice\r\nConnection: close\r\n").as_bytes());
        }
    });
    let answer = gateway.get_with("/echo", &[ALICE]);
    assert_eq!(received(&answer, "x-consumer"), ["alice"]);
    assert_eq!((questions(&gateway, "error"), questions(&gateway, "allowed")), (1.0, 1.0));
}

#[test]
fn strangers_come_in_without_an_answer_if_the_operator_says_so() {
    let service = RawUpstream::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let (gateway, _backend) = asking(service.address(), "on_error = \"allow\"");
    let answer = gateway.get_with("/echo", &[ALICE, ("X-Consumer", "root")]);
    assert_eq!((answer.status, received(&answer, "x-consumer").len()), (200, 0));
    // An answer is one: who is refused does not come in.
    let service = knowing_alice("");
    let (gateway, _backend) = asking(service.address(), "on_error = \"allow\"");
    gateway.get("/echo").is_problem(401);
    // A list of consumers lets no stranger in.
    let service = RawUpstream::answering("");
    let (gateway, _backend) =
        asking(service.address(), "on_error = \"allow\"\n---\n---\n---\nallow = [\"consumer:alice\"]");
    gateway.get_with("/echo", &[ALICE]).is_problem(401);
}

#[test]
fn an_answer_is_remembered_for_its_time_and_for_the_same_question_only() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let service = answering(move |head| {
        counted.fetch_add(1, Ordering::SeqCst);
        let who =
            field(head, "authorization").unwrap_or_default() + &field(head, "x-token").unwrap_or_default();
        yes(&format!("X-Consumer: {}\r\nCache-Control: max-age=3600\r\n", who.replace(' ', "+")))
    });
    let (gateway, _backend) =
        asking(service.address(), "request_headers = [\"Authorization\", \"X-Token\", \"Cookie\"]");
    let ask = |method: &str, host: &str, target: &str, fields: &[(&str, &str)]| {
        let mut all = vec![("Host", host)];
        all.extend_from_slice(fields);
        gateway.raw(request(method, target, &all, ""))
    };
    let different: [Question<'_>; 15] = [
        ("GET", "a.example", "/echo", &[]),
        ("GET", "a.example", "/echo", &[("Authorization", "ab")]),
        ("GET", "a.example", "/echo", &[("X-Token", "ab")]),
        ("GET", "a.example", "/echo", &[("Cookie", "ab")]),
        ("GET", "a.example", "/echo", &[("Authorization", "a"), ("X-Token", "b")]),
        ("GET", "a.example", "/echo", &[("Authorization", "a"), ("Cookie", "b")]),
        ("GET", "a.example", "/echo", &[("Authorization", "ab"), ("X-Token", "")]),
        ("GET", "a.example", "/echo", &[("Authorization", ""), ("X-Token", "ab")]),
        ("GET", "b.example", "/echo", &[("Authorization", "ab")]),
        ("GET", "a.example", "/echo?ab", &[("Authorization", "ab")]),
        ("GET", "a.example", "/echo?", &[("Authorization", "ab")]),
        ("GET", "a.example", "/echo/", &[("Authorization", "ab")]),
        ("PUT", "a.example", "/echo", &[("Authorization", "ab")]),
        ("POST", "a.example", "/echo", &[("Authorization", "ab")]),
        ("GET", "a.exampl", "/echo", &[("Authorization", "ab")]),
    ];
    for _ in 0..2 {
        for (method, host, target, fields) in &different {
            let answer = ask(method, host, target, fields);
            if answer.status == 200 && *method == "GET" {
                let of = |name| fields.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value);
                let who = of("Authorization").to_owned() + of("X-Token");
                assert_eq!(received(&answer, "x-consumer").concat(), who, "{fields:?}");
            }
        }
        assert_eq!(count.load(Ordering::SeqCst), different.len(), "each is another question, asked once");
    }
    assert_eq!(gateway.metric(r#"gateway_forward_auth_saved_total{by="cache"}"#), different.len() as f64);
    // The same path in another spelling is the same question.
    ask("GET", "a.example", "/%65cho", &[("Authorization", "ab")]);
    assert_eq!(count.load(Ordering::SeqCst), different.len());
}

#[test]
fn what_is_remembered_ends() {
    let clock = Clock::monotonic();
    for (fields, settings, remembered) in [
        ("Cache-Control: max-age=1\r\n", "", true),
        ("Cache-Control: max-age=3600\r\n", "max_cache = \"1s\"", true),
        ("Cache-Control: max-age=3600\r\n", "max_cache = 0", false),
        ("Cache-Control: no-store, max-age=3600\r\n", "", false),
        ("", "", false),
    ] {
        let service = knowing_alice(fields);
        let (gateway, _backend) = asking(service.address(), settings);
        let begun = clock.now();
        let statuses = [(); 3].map(|()| gateway.get_with("/users", &[ALICE]).status);
        assert_eq!(statuses, [200; 3]);
        let asked = service.received().len();
        if remembered && clock.now().since(begun) < Duration::from_millis(900) {
            assert_eq!(asked, 1, "{fields} {settings}");
        } else if !remembered {
            assert_eq!(asked, 3, "{fields} {settings}");
        }
        if remembered {
            eventually("the answer is asked for again", || {
                gateway.get_with("/users", &[ALICE]);
                (service.received().len() > asked).then_some(())
            });
        }
    }
}

#[test]
fn a_refusal_may_be_remembered_too() {
    let service = answering(|_| {
        "HTTP/1.1 403 No\r\nCache-Control: max-age=3600\r\nWWW-Authenticate: a\r\nContent-Length: 0\r\n\r\n"
            .to_owned()
    });
    let (gateway, _backend) = asking(service.address(), "---\nauth_failures = \"1/h\"");
    for _ in 0..3 {
        let refused = gateway.get_with("/echo", &[ALICE]);
        refused.is_problem(403);
        assert_eq!(refused.header("www-authenticate"), None, "403 asks for no other credentials");
    }
    assert_eq!(service.received().len(), 1);
}

#[test]
fn requests_that_ask_the_same_wait_for_one_answer() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let service = RawUpstream::start(move |exchange| {
        while exchange.read_head() {
            exchange.stall(&gone);
            exchange.write(yes("X-Consumer: alice\r\n"));
        }
    });
    let (gateway, _backend) = asking(service.address(), "");
    // The first client leaves while its question runs.
    let mut leaving = gateway.connect();
    leaving.send(request("GET", "/echo", &[ALICE], ""));
    eventually("the service is asked", || (service.received().len() == 1).then_some(()));
    drop(leaving);
    let mut connections: Vec<Connection> = (0..50).map(|_| gateway.connect()).collect();
    for connection in &mut connections {
        connection.send(request("GET", "/echo", &[ALICE], ""));
    }
    gateway.metric_becomes(r#"gateway_forward_auth_saved_total{by="running"}"#, 50.0);
    drop(go);
    for connection in &mut connections {
        let answer = connection.response();
        assert_eq!((answer.status, received(&answer, "x-consumer")), (200, vec!["alice".to_owned()]));
    }
    assert_eq!(service.received().len(), 1, "51 requests, one question");
    // It is over, and was not to be remembered: the next request asks anew.
    assert_eq!(gateway.get_with("/echo", &[ALICE]).status, 200);
    assert_eq!(service.received().len(), 2);
}

#[test]
fn wrong_credentials_are_charged_and_errors_are_not() {
    let service = knowing_alice("");
    let (gateway, _backend) = asking(service.address(), "---\nauth_failures = \"3/h\"");
    let wrong = |number: usize| format!("Bearer wrong{number}");
    let statuses: Vec<_> = (0..5)
        .map(|number| gateway.get_with("/users", &[("Authorization", &wrong(number))]).status)
        .collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    assert_eq!(gateway.get_with("/users", &[ALICE]).status, 429, "also the right one");
    assert_eq!(service.received().len(), 3);
    assert_eq!(gateway.get("/users").status, 401, "who tries nothing is asked about");
    let service = RawUpstream::answering("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let (gateway, _backend) = asking(service.address(), "---\nauth_failures = \"1/h\"");
    for _ in 0..4 {
        gateway.get_with("/users", &[ALICE]).is_problem(503);
    }
}

#[test]
fn who_has_no_credentials_is_a_stranger_or_asked_about() {
    let service = answering(|_| yes("X-Consumer: guest\r\n"));
    let (gateway, _backend) = asking(service.address(), "");
    assert_eq!(received(&gateway.get("/echo"), "x-consumer"), ["guest"], "a service may know the address");
    let (gateway, _backend) = asking(service.address(), "---\n---\n---\nauth_required = false");
    assert_eq!(received(&gateway.get("/echo"), "x-consumer"), [""; 0]);
    assert_eq!(received(&gateway.get_with("/echo", &[ALICE]), "x-consumer"), ["guest"]);
    assert_eq!(service.received().len(), 2);
}

#[test]
fn fields_may_stay_and_others_may_name_the_consumer() {
    let service = answering(|_| {
        yes("X-User: alice\r\nX-Consumer: root\r\nX-Tier: pro\r\nX-Groups: a\r\nX-Groups: b\r\n")
    });
    let settings = "request_headers = [\"Cookie\"]\nresponse_headers = [\"X-Groups\"]\nconsumer_header = \"X-User\"\nplan_header = \"X-Tier\"\nkeep = true\n";
    let consumers = "[plans.pro]\n[plans.free]\n[consumers.alice]\nplan = \"free\"";
    let (gateway, _backend) = asking(service.address(), &format!("{settings}---\n---\n{consumers}"));
    let answer = gateway.get_with("/echo", &[("Cookie", "a=1"), ALICE]);
    for (name, value) in [
        ("x-consumer", "alice"),
        ("x-plan", "pro"),
        ("x-groups", "a, b"),
        ("cookie", "a=1"),
        ("authorization", "Bearer alice"),
    ] {
        assert_eq!(received(&answer, name), [value], "the service knows better than the file");
    }
    // Without a plan of the service, the file says it.
    let service = answering(|_| yes("X-Consumer: alice\r\n"));
    let (gateway, _backend) = asking(service.address(), &format!("---\n---\n{consumers}"));
    assert_eq!(received(&gateway.get("/echo"), "x-plan"), ["free"]);
}

#[test]
fn a_reload_keeps_what_the_service_has_said_if_it_is_the_same() {
    let service = knowing_alice("Cache-Control: max-age=3600\r\n");
    let backend = MockBackend::start_blocking().unwrap();
    let file = |timeout: &str| {
        let sections =
            format!("[auth.forward]\nurl = \"http://{}\"\ntimeout = \"{timeout}\"", service.address());
        with_admin(
            &to_upstream(backend.addr(), &format!("{sections}\n---\n---\nauth = [\"forward\"]")),
            "token = \"t\"",
        )
    };
    let gateway = Gateway::with_file(&file("20s"));
    for (timeout, asked) in [("20s", 1), ("20s", 1), ("19s", 2)] {
        gateway.write_file(&file(timeout));
        assert_eq!(gateway.post_reload(&TOKEN).status, 200);
        assert_eq!(gateway.get_with("/users", &[ALICE]).status, 200);
        assert_eq!(service.received().len(), asked);
    }
}

#[test]
fn an_explanation_asks_nobody() {
    let service = knowing_alice("");
    let config = format!(
        "[auth.forward]\nurl = \"http://{}\"\n[upstreams.main]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\nname = \"a\"\npath = \"/*\"\nupstream = \"main\"\nauth = [\"forward\"]",
        service.address()
    );
    let outcome = run(&config, &["explain", "-H", "Authorization: Bearer alice", "GET", "/a"]);
    assert!(
        outcome.stdout.contains("the service in [auth.forward] would say who is asking"),
        "{}",
        outcome.stdout
    );
    assert_eq!(service.received().len(), 0);
}
