//! What logging a request costs the worker that answers it: its entry, made of its exchange, and its line, formatted into the
//! worker's buffer.
//!
//! `make bench-access-log` measures the time. Lines come in bursts that fit a buffer, and the writer has time in between, so that no
//! line is dropped: a dropped line costs next to nothing. Each figure is the median burst, with the lowest and highest.
//!
//! With a format and a kind of request (`json proxied`) it logs 10,000 requests of that kind, and measures nothing: callgrind
//! counts what `log` executes (`--toggle-collect='*::log'`).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark ends when something is wrong, and prints"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use gateway::access_log::{AccessLog, Entry};
use gateway::address::Address;
use gateway::client::ClientId;
use gateway::clock::{Clock, Timestamp, wall_clock};
use gateway::config::{self, Config, LogFormat, LogTarget};
use gateway::engine::exchange::{Asked, Forwarded};
use gateway::engine::{Course, Engine, Exchange, Facts};
use gateway::limit::Limiter;
use gateway::limit::key::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use prometheus::IntCounter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BURSTS: usize = 100;
const LINES: u32 = 1000;

/// Bursts of which instructions are counted.
const COUNTED: usize = 10;

const CONFIG: &str = r#"
[limits.per_client]
rate = "10/s"
burst = 20

[limits.per_key]
key = "header:X-Api-Key"
rate = "100/s"

[upstreams.users]
servers = ["10.0.0.1:9000"]

[[routes]]
name = "users"
path = "/users/*"
limits = ["per_client", "per_key"]
upstream = "users"
"#;

fn main() {
    let config = Config::parse("gateway.toml", CONFIG, &|_| None).unwrap();
    let limiter = Limiter::new(config.limits.clone(), Secret::random());
    let engine = Engine::new(config, limiter);
    let proxied = exchange(&engine);
    let refused = loop {
        let exchange = exchange(&engine);
        if exchange.forwarded.is_none() {
            break exchange;
        }
    };
    let formats = [(LogFormat::Json, "json"), (LogFormat::Combined, "combined")];
    let kinds = [(proxied, "proxied"), (refused, "refused")];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (format, name) in formats {
        for (exchange, kind) in &kinds {
            if wanted.is_empty() {
                let [lowest, median, highest] = bursts(format, &engine, exchange, BURSTS);
                println!("{name}, {kind}: {median} ns a line ({lowest} to {highest})");
            } else if wanted == [name, kind] {
                bursts(format, &engine, exchange, COUNTED);
            }
        }
    }
}

/// A request that has been answered: by the upstream, while there are tokens left.
fn exchange(engine: &Engine) -> Exchange {
    let address = Ipv4Addr::new(203, 0, 113, 7).into();
    let client = ClientId::Address(address);
    let target = Uri::from_static("/users/1234/orders?page=2&sort=date");
    let headers = HeaderMap::from_iter([
        (header::HOST, HeaderValue::from_static("api.example.com")),
        (
            header::USER_AGENT,
            HeaderValue::from_static(
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
        ),
        (HeaderName::from_static("x-api-key"), HeaderValue::from_static("secret")),
    ]);
    let facts = Facts {
        client: &client,
        method: &Method::GET,
        version: Version::HTTP_11,
        tls: false,
        target: target.path_and_query().unwrap().as_str().as_bytes(),
        headers: &headers,
        certificate: None,
    };
    let decision = engine.decide(&facts, Timestamp::default(), |_| ()).now_or_never().unwrap();
    let forwarded = match decision.course {
        Course::Forward(forward) => Some(Forwarded {
            upstream: forward.upstream,
            server: Address::from(SocketAddr::from(([10, 0, 0, 1], 9000))),
            after: Duration::from_micros(20),
            took: Some(Duration::from_micros(1200)),
            error: None,
        }),
        Course::Answer(_) => None,
    };
    Exchange {
        ended: wall_clock(),
        took: Duration::from_micros(1234),
        asked: Some(Asked::new(&Method::GET, Version::HTTP_11, &target, &headers, None)),
        tls: false,
        request_id: HeaderValue::from_static("24cacd763f77051875f0bc375c06c9a5"),
        client,
        consumer: decision.consumer,
        trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        route: decision.route,
        status: forwarded.as_ref().map_or(StatusCode::TOO_MANY_REQUESTS, |_| StatusCode::OK),
        bytes_in: 0,
        bytes_out: 1234,
        settled: None,
        keys: decision.keys,
        reports: decision.reservation.into_reports(),
        forwarded,
        error: None,
    }
}

/// Logs so many bursts; lowest, median and highest nanoseconds a line.
fn bursts(format: LogFormat, engine: &Engine, exchange: &Exchange, bursts: usize) -> [u128; 3] {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let target = LogTarget::File("/dev/null".into());
    let access_log = AccessLog::open(&config::AccessLog::whole(target, format), 1, dropped.clone()).unwrap();
    let clock = Clock::monotonic();
    let mut bursts: Vec<_> = (0..bursts)
        .map(|_| {
            let start = clock.now();
            (0..LINES).for_each(|_| log(&access_log, engine, exchange));
            let took = clock.now().since(start);
            // Twice what the writer pauses.
            thread::sleep(Duration::from_millis(40));
            took.as_nanos() / u128::from(LINES)
        })
        .collect();
    access_log.close();
    assert_eq!(dropped.get(), 0, "lines were dropped");
    bursts.sort_unstable();
    [bursts[0], bursts[bursts.len() / 2], bursts[bursts.len() - 1]]
}

/// What a worker does for the log when a request is over.
#[inline(never)]
fn log(access_log: &AccessLog, engine: &Engine, exchange: &Exchange) {
    access_log.write(&Entry::of(engine, exchange));
}
