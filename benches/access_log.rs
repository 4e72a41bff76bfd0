//! What logging a request costs the worker that answers it: its line, formatted into the worker's buffer.
//!
//! `make bench-access-log` runs it. Lines come in bursts that fit a buffer, and the writer has time in between, so that no
//! line is dropped: a dropped line costs next to nothing. Each figure is the median burst, with the lowest and highest.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends when something is wrong, and prints"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use gateway::access_log::{AccessLog, Entry, Names, Tokens};
use gateway::address::Address;
use gateway::clock::{Clock, wall_clock};
use gateway::config::{self, LogFormat, LogTarget};
use prometheus::IntCounter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BURSTS: usize = 100;
const LINES: u32 = 1000;

fn main() {
    let client = Ipv4Addr::new(203, 0, 113, 7);
    let upstream = Address::from(SocketAddr::from(([10, 0, 0, 1], 9000)));
    let entry = |refused| Entry {
        request_id: "24cacd763f77051875f0bc375c06c9a5",
        client: &client,
        method: "GET",
        host: "api.example.com".into(),
        path: "/users/1234/orders?page=2&sort=date".into(),
        protocol: "HTTP/1.1",
        route: "users",
        status: if refused { 429 } else { 200 },
        bytes_out: 1234,
        duration: Duration::from_micros(1234),
        upstream: (!refused).then_some(&upstream),
        upstream_duration: (!refused).then(|| Duration::from_micros(1200)),
        limits: Tokens::from_iter([
            ("per_client", Some(if refused { 0 } else { 19 })),
            ("per_key", Some(99)),
        ]),
        refused_by: refused.then_some("per_client").into_iter().collect::<Names<'_>>(),
        trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into(),
        ..Entry::unread(wall_clock())
    };
    for (format, name) in [(LogFormat::Json, "json"), (LogFormat::Combined, "combined")] {
        for (what, refused) in [("proxied", false), ("refused", true)] {
            let [lowest, median, highest] = measure(format, &entry(refused));
            println!("{name}, {what}: {median} ns a line ({lowest} to {highest})");
        }
    }
}

/// Lowest, median and highest nanoseconds a line.
fn measure(format: LogFormat, entry: &Entry<'_>) -> [u128; 3] {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let target = LogTarget::File("/dev/null".into());
    let log = AccessLog::open(&config::AccessLog { target, format }, 1, dropped.clone()).unwrap();
    let clock = Clock::monotonic();
    let mut bursts: Vec<_> = (0..BURSTS)
        .map(|_| {
            let start = clock.now();
            (0..LINES).for_each(|_| log.write(entry));
            let took = clock.now().since(start);
            // Twice what the writer pauses.
            thread::sleep(Duration::from_millis(40));
            took.as_nanos() / u128::from(LINES)
        })
        .collect();
    log.close();
    assert_eq!(dropped.get(), 0, "lines were dropped");
    bursts.sort_unstable();
    [bursts[0], bursts[BURSTS / 2], bursts[BURSTS - 1]]
}
