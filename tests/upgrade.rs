//! A process that takes over from another.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::to_upstream;

fn left(gateway: &Gateway) -> usize {
    let client = gateway.admin_get("/limits/l/clients/127.0.0.1").json();
    usize::try_from(client["tokens"].as_u64().unwrap()).unwrap()
}

#[test]
fn no_request_fails_and_no_bucket_is_refilled_while_a_process_takes_over() {
    let backend = MockBackend::start_blocking().unwrap();
    let limit = "[limits.l]\nrate = \"100/h\"\nburst = 1000000\n---\n---\nlimits = [\"l\"]";
    let mut gateway = Gateway::start(&to_upstream(backend.addr(), limit));
    let (address, over) = (gateway.address(), AtomicBool::new(false));
    let sent: usize = thread::scope(|scope| {
        let get = |keep_alive: bool| {
            let over = &over;
            move || {
                let mut connection = crate::support::http::Connection::open(address);
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    let response = connection.get("/bytes/1");
                    assert_eq!(response.status, 200);
                    sent += 1;
                    if !keep_alive || response.header("connection") == Some("close") {
                        connection = crate::support::http::Connection::open(address);
                    }
                }
                sent
            }
        };
        let clients = [scope.spawn(get(true)), scope.spawn(get(true)), scope.spawn(get(false))];
        for _ in 0..3 {
            let next = gateway.upgrade();
            let mut former = std::mem::replace(&mut gateway, next);
            assert_eq!(gateway.address(), address);
            assert_eq!(former.wait().code(), Some(0));
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(sent > 3);
    // A request that the former process still answers after its buckets have gone over is not counted: one for each
    // connection at most, each time.
    let taken = 1_000_000 - left(&gateway);
    assert!((sent - 9..=sent).contains(&taken), "{sent} sent, {taken} taken");
}

#[test]
fn a_connection_between_requests_gets_one_more_answer() {
    let backend = MockBackend::start_blocking().unwrap();
    let mut former = Gateway::start(&to_upstream(backend.addr(), "drain_timeout = \"10s\""));
    let mut idle = former.connect();
    assert_eq!(idle.get("/users").status, 200);
    let gateway = former.upgrade();
    assert_eq!(gateway.admin(), former.admin(), "the side port goes over too");
    let response = idle.get("/users");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    assert!(idle.is_closed());
    assert_eq!(former.wait().code(), Some(0));
    assert_eq!(gateway.get("/users").status, 200);
}

#[test]
fn a_request_that_runs_is_finished_by_the_former_process() {
    let backend = MockBackend::start_blocking().unwrap();
    let mut former = Gateway::start(&to_upstream(backend.addr(), ""));
    let mut running = former.connect();
    running.send(request("GET", "/users?delay=1s", &[], ""));
    former.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
    let gateway = former.upgrade();
    assert_eq!(gateway.get("/users").status, 200);
    assert_eq!(running.response().status, 200);
    assert_eq!(former.wait().code(), Some(0));
}

#[test]
fn a_process_that_cannot_start_leaves_the_former_one_as_it_is() {
    let backend = MockBackend::start_blocking().unwrap();
    let config = to_upstream(backend.addr(), "");
    let former = Gateway::start(&config);
    let upgrade = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        let output = command.arg("--upgrade").current_dir(former.folder()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let good = std::fs::read_to_string(former.folder().join("gateway.toml")).unwrap();
    former.write_file("[server]\nlisten = 5");
    assert_eq!(upgrade().0, Some(64));
    former.write_file(&good.replace("\"access.log\"", "\"/no/such/folder/access.log\""));
    let (code, log) = upgrade();
    assert_eq!(code, Some(1));
    assert!(log.contains("cannot write the access log /no/such/folder/access.log"), "{log}");
    assert_eq!(former.get("/users").status, 200);
    former.wait_for_log_line("a process was to take over, but has not");
    // And the next one can.
    former.write_file(&good);
    assert_eq!(former.upgrade().get("/users").status, 200);
}

#[test]
fn without_a_process_there_is_nothing_to_take_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[server]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"off\"\n[[routes]]\nname = \"a\"\npath = \"/\"\n\
                  respond = { status = 200 }";
    std::fs::write(folder.path().join("gateway.toml"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    let output = command.arg("--upgrade").current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("no gateway that runs with this configuration can be taken over from"), "{log}");
}
