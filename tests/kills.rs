//! Two servers under load, one of which is killed and brought back again and again.
//!
//! The short form runs with all tests: the servers are gateways before a mock backend, for they are programs that are
//! there to be killed. The long one, with mock backends, at a steady rate, is `scripts/kills`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use gateway::clock::Clock;
use mock_backend::MockBackend;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::upstream::dead_address;
use crate::support::{before_servers, eventually, quoted, to_upstream};

/// What clients do meanwhile.
struct Load {
    /// So many times the server is killed.
    kills: usize,
    /// Each client has one connection and one request at a time.
    clients: u64,
    /// A client sends a request so often, or as soon as it can.
    interval: Option<Duration>,
    request: String,
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    answered: u64,
    /// Answers other than 200.
    failed: u64,
    /// What the gateway counted as broken off.
    broken_off: f64,
    retries: f64,
}

impl Load {
    /// Runs it against two servers that `start` starts, and that are killed when they are dropped.
    fn run<S>(&self, settings: &str, start: impl Fn(SocketAddr) -> S) -> Outcome {
        let ((home, _held), (other, _other_held)) = (dead_address(), dead_address());
        let _steady = start(other);
        let mut victim = start(home);
        let gateway = Gateway::start(&before_servers(&[quoted(home), quoted(other)], settings));
        let up = format!(r#"gateway_upstream_server_up{{server="{home}",upstream="main"}}"#);
        let (over, answered, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for client in 0..self.clients {
                let (over, answered, failed, address) = (&over, &answered, &failed, gateway.address());
                scope.spawn(move || self.send(client, address, over, answered, failed));
            }
            for _ in 0..self.kills {
                gateway.metric_becomes(&up, 1.0);
                eventually("it has a request", || {
                    let stats = gateway.admin_get("/stats").json();
                    (stats["upstreams"]["main"]["servers"][0]["in_flight"] != 0).then_some(())
                });
                drop(victim);
                gateway.metric_becomes(&up, 0.0);
                victim = start(home);
            }
            gateway.metric_becomes(&up, 1.0);
            over.store(true, Ordering::SeqCst);
        });
        let metric = |name: &str| gateway.metric(name);
        Outcome {
            answered: answered.into_inner(),
            failed: failed.into_inner(),
            broken_off: metric(r#"gateway_upstream_errors_total{kind="closed",upstream="main"}"#),
            retries: metric(r#"gateway_upstream_retries_total{upstream="main"}"#),
        }
    }

    /// What one client does.
    fn send(
        &self,
        client: u64,
        address: SocketAddr,
        over: &AtomicBool,
        answered: &AtomicU64,
        failed: &AtomicU64,
    ) {
        let clock = Clock::monotonic();
        let start =
            clock.now().after(self.interval.unwrap_or_default() * client as u32 / self.clients as u32);
        let mut connection = Connection::open(address);
        let mut sent = 0;
        while !over.load(Ordering::SeqCst) {
            if let Some(interval) = self.interval {
                std::thread::sleep(start.after(interval * sent).since(clock.now()));
            }
            sent += 1;
            connection.send(&self.request);
            // An answer that is cut off or missing ends the test here.
            let response = connection.response();
            answered.fetch_add(1, Ordering::SeqCst);
            if response.status != 200 {
                failed.fetch_add(1, Ordering::SeqCst);
                connection = Connection::open(address);
            }
        }
    }
}

/// A gateway on this address before a mock backend.
fn relay(backend: &MockBackend) -> impl Fn(SocketAddr) -> Gateway {
    let config = to_upstream(backend.addr(), "");
    move |address| Gateway::listening_on(&address.to_string(), &config)
}

#[test]
fn with_retries_a_killed_server_fails_no_request() {
    let backend = MockBackend::start_blocking().unwrap();
    let request = request("GET", "/data?delay=5ms", &[], "");
    let outcome = Load { kills: 2, clients: 8, interval: None, request }.run("", relay(&backend));
    assert_eq!(outcome.failed, 0, "{outcome:?}");
    assert!(outcome.answered > 0 && outcome.retries > 0.0, "{outcome:?}");
}

#[test]
fn what_must_not_be_sent_twice_fails_with_its_server_and_nothing_else_does() {
    let backend = MockBackend::start_blocking().unwrap();
    let request = request("POST", "/echo?delay=5ms", &[], "body");
    let outcome = Load { kills: 2, clients: 8, interval: None, request }.run("retries = 0", relay(&backend));
    // A client may meet the dying server again: for a moment the system takes connections that nobody will accept.
    assert_eq!(outcome.failed as f64, outcome.broken_off, "{outcome:?}");
}

/// A mock backend in a process of its own.
struct Process(Child);

impl Process {
    fn start(address: SocketAddr) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_gateway")).with_file_name("mock-backend");
        let mut command = Command::new(program);
        command.args(["--listen", &address.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Self(command.spawn().expect("scripts/kills builds it"));
        eventually("it listens", || std::net::TcpStream::connect(address).ok());
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "scripts/kills runs it: half a minute of load"]
fn two_thousand_requests_a_second_and_ten_kills() {
    let with_http2 = "retries = 1\nhttp2 = true";
    for (settings, method) in
        [("retries = 1", "GET"), (with_http2, "GET"), ("retries = 0", "GET"), ("retries = 0", "POST")]
    {
        let load = Load {
            kills: 10,
            clients: 40,
            interval: Some(Duration::from_millis(20)),
            request: request(method, "/echo?delay=5ms", &[], "body"),
        };
        let outcome = load.run(settings, Process::start);
        println!("{method}, {}: {outcome:?}", settings.replace('\n', ", "));
        match settings {
            "retries = 0" => assert_eq!(outcome.failed as f64, outcome.broken_off),
            _ => assert_eq!(outcome.failed, 0),
        }
    }
}
