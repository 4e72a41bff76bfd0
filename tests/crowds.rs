//! Crowds of connections and bodies of gigabytes: what they cost, and whether others notice.
//!
//! The short forms run with all tests; the long ones are `scripts/crowds`, on a release build, and print what they measure.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use gateway::clock::Clock;
use mock_backend::MockBackend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::support::gateway::Gateway;
use crate::support::http::{Connection, request};
use crate::support::{eventually, forwarding};

const HEAD: &[u8] = b"GET /users HTTP/1.1\r\nHost: localhost\r\nX: this takes too long\r\n\r\n";

/// The gateway's resident memory, in KiB.
fn memory(gateway: &Gateway) -> f64 {
    gateway.metric("process_resident_memory_bytes") / 1024.0
}

/// How long all but one request in a hundred take, one after the other, for so long.
fn p99(gateway: &Gateway, clock: &Clock, time: Duration) -> Duration {
    let mut connection = gateway.connect();
    let begun = clock.now();
    let mut took = Vec::new();
    while clock.now().since(begun) < time {
        let sent = clock.now();
        assert_eq!(connection.get("/users").status, 200);
        took.push(clock.now().since(sent));
        thread::sleep(Duration::from_millis(5));
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Sends a head, a byte every so often, until the connection is closed: how long that took.
async fn send_a_head_slowly(address: SocketAddr, delay: Duration, clock: Clock, every: Duration) -> Duration {
    tokio::time::sleep(delay).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let begun = clock.now();
    let (mut read, mut write) = socket.split();
    let sending = async {
        for byte in HEAD {
            // It may be closed by now, which is what is waited for.
            let _ = write.write_all(&[*byte]).await;
            tokio::time::sleep(every).await;
        }
        panic!("still open after the whole head");
    };
    let mut answer = Vec::new();
    tokio::select! {
        _ = read.read_to_end(&mut answer) => clock.now().since(begun),
        () = sending => unreachable!(),
    }
}

/// Sends a head on each of so many connections, a byte every so often, until all are closed: how long the first and the last
/// of them took. They begin one after the other, evenly.
fn send_slowly(address: SocketAddr, count: u32, clock: &Clock, every: Duration) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut took = runtime.block_on(async {
        let send = |index| send_a_head_slowly(address, every * index / count, clock.clone(), every);
        (0..count).map(send).collect::<JoinSet<_>>().join_all().await
    });
    took.sort_unstable();
    (took[0], took[took.len() - 1])
}

fn all_gone(gateway: &Gateway) {
    gateway.metric_becomes(&format!(r#"gateway_connections{{listener="{}"}}"#, gateway.address()), 0.0);
}

#[test]
fn a_crowd_that_sends_slowly_is_closed_in_time() {
    let (gateway, backend) = forwarding("header_timeout = \"1s\"");
    let (first, _) = send_slowly(gateway.address(), 50, &Clock::monotonic(), Duration::from_millis(100));
    assert!(first >= Duration::from_secs(1), "{first:?}");
    all_gone(&gateway);
    assert_eq!(backend.count(), 0);
}

#[test]
#[ignore = "takes a minute, and is for a release build: scripts/crowds"]
fn five_thousand_slow_heads() {
    const COUNT: u32 = 5000;
    let (gateway, _backend) = forwarding("header_timeout = \"10s\"");
    let clock = Clock::monotonic();
    // So that code which runs for the first time does not count.
    for _ in 0..100 {
        gateway.raw("GET\r\n\r\n").is_problem(400);
    }
    let quiet = p99(&gateway, &clock, Duration::from_secs(8));
    let before = memory(&gateway);
    let mut peak = before;
    let (busy, (first, last)) = thread::scope(|scope| {
        let others = scope.spawn(|| p99(&gateway, &clock, Duration::from_secs(8)));
        let slow = scope.spawn(|| send_slowly(gateway.address(), COUNT, &clock, Duration::from_secs(1)));
        while !slow.is_finished() {
            peak = peak.max(memory(&gateway));
            thread::sleep(Duration::from_millis(500));
        }
        (others.join().unwrap(), slow.join().unwrap())
    });
    all_gone(&gateway);
    thread::sleep(Duration::from_secs(10));
    let after = memory(&gateway);
    println!(
        "{COUNT} slow heads: closed after {first:?} to {last:?}; p99 of others {quiet:?} before, {busy:?} meanwhile; \
         {before} KiB before, {peak} at the most, {after} after"
    );
    assert!(last < Duration::from_secs(11), "header_timeout and a second");
    assert!(busy < 2 * quiet);
    eventually("memory returns", || ((memory(&gateway) - before).abs() < before / 10.0).then_some(()));
}

#[test]
#[ignore = "is for a release build: scripts/crowds"]
fn five_thousand_idle_connections() {
    const COUNT: usize = 5000;
    let (gateway, _backend) = forwarding("idle_timeout = \"5m\"");
    let open = |count| -> Vec<Connection> {
        let ask = |_| {
            let mut connection = gateway.connect();
            assert_eq!(connection.get("/users").status, 200);
            connection
        };
        (0..count).map(ask).collect()
    };
    drop(open(200));
    all_gone(&gateway);
    let before = memory(&gateway);
    let held = open(COUNT);
    let each = (memory(&gateway) - before) / held.len() as f64;
    println!("{COUNT} idle connections: {each:.2} KiB each, beside {before} KiB");
    assert!(each < 12.0);
}

#[test]
#[ignore = "takes a minute, and is for a release build: scripts/crowds"]
fn bodies_of_four_gibibytes() {
    const SIZE: u64 = 4 << 30;
    let backend = MockBackend::start_blocking().unwrap();
    let config = crate::support::to_upstream(backend.addr(), "max_body_size = \"8GiB\"");
    let gateway = Gateway::start(&config);
    assert_eq!(gateway.get("/users").status, 200);
    let before = memory(&gateway);
    let down = || {
        let mut socket = TcpStream::connect(gateway.address()).unwrap();
        let fields = [("Connection", "close")];
        socket.write_all(request("GET", &format!("/bytes/{SIZE}"), &fields, "").as_bytes()).unwrap();
        let read = std::io::copy(&mut socket, &mut std::io::sink()).unwrap();
        assert!(read > SIZE);
    };
    let up = || {
        let mut socket = TcpStream::connect(gateway.address()).unwrap();
        let length = SIZE.to_string();
        let fields = [("Connection", "close"), ("Content-Length", length.as_str())];
        socket.write_all(request("POST", "/upload", &fields, "").as_bytes()).unwrap();
        std::io::copy(&mut std::io::repeat(b'x').take(SIZE), &mut socket).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&length), "{answer}");
    };
    let mut peak = before;
    thread::scope(|scope| {
        let running = [scope.spawn(down), scope.spawn(up)];
        while !running.iter().all(thread::ScopedJoinHandle::is_finished) {
            peak = peak.max(memory(&gateway));
            thread::sleep(Duration::from_millis(50));
        }
    });
    let above = (peak - before) / 1024.0;
    println!("4 GiB down and 4 GiB up at a time: {above:.1} MiB above the {before} KiB of before");
    assert!(above < 40.0);
    eventually("memory returns", || (memory(&gateway) < before * 1.3).then_some(()));
}
