//! Reloads, a takeover and the way out while requests come: who notices, and how long each takes.
//!
//! `reload.rs`, `upgrade.rs` and `stopping.rs` have the short forms; this is `scripts/changes`, on a release build, and prints what
//! it measures.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use gateway::clock::{Clock, Timestamp};
use mock_backend::MockBackend;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, request};
use crate::support::{http2, to_upstream};

const BURST: usize = 1_000_000;

/// So often each client sends a request.
const INTERVAL: Duration = Duration::from_millis(20);

/// Puts this file in force, and says how long that took.
fn reload(gateway: &Gateway, clock: &Clock, text: &str) -> Duration {
    gateway.write_file(text);
    let begun = clock.now();
    let response = gateway.post_reload(&TOKEN);
    assert_eq!(response.status, 200, "{}", response.text());
    clock.now().since(begun)
}

/// The least, the median and the most.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (middle, last) = (times.len() / 2, times.len() - 1);
    format!("{:.1?} / {:.1?} / {:.1?}", times[0], times[middle], times[last])
}

/// How a client uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    KeepAlive,
    NewConnections,
    Http2,
}

impl Client {
    /// Sends a request every so often, each of which must be answered with 200: how long each took.
    fn run(self, address: SocketAddr, clock: &Clock, start: Timestamp, over: &AtomicBool) -> Vec<Duration> {
        let (mut http1, mut http2) = (None, None);
        let mut took = Vec::new();
        for turn in 0.. {
            thread::sleep(start.after(INTERVAL * turn).since(clock.now()));
            if over.load(Ordering::SeqCst) {
                break;
            }
            let begun = clock.now();
            let response = if self == Self::Http2 {
                // A connection that has been told to go away takes no request; one that it has taken is answered.
                let usable = http2.take().filter(http2::Connection::is_usable);
                http2.insert(usable.unwrap_or_else(|| http2::Connection::open(address))).get("/bytes/64")
            } else {
                http1.get_or_insert_with(|| Connection::open(address)).get("/bytes/64")
            };
            assert_eq!(response.status, 200, "{self:?}: {}", response.text());
            if self == Self::NewConnections || response.header("connection") == Some("close") {
                http1 = None;
            }
            took.push(clock.now().since(begun));
        }
        took
    }
}

/// Says that it is over when it is dropped, also by a panic: else threads would wait for that for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs something while 40 clients send 2,000 requests a second: how long each request took.
fn under_load(address: SocketAddr, clock: &Clock, what: impl FnOnce()) -> Vec<Duration> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = Over(&over);
        let kinds =
            [Client::KeepAlive, Client::NewConnections, Client::Http2, Client::KeepAlive, Client::Http2];
        let running: Vec<_> = (0..40)
            .map(|index| {
                let (start, over) = (clock.now().after(INTERVAL * index / 40), &over);
                scope.spawn(move || kinds[index as usize % kinds.len()].run(address, clock, start, over))
            })
            .collect();
        what();
        drop(ending);
        running.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "takes a minute, and is for a release build: scripts/changes"]
fn twenty_reloads_and_a_takeover() {
    const TIME: Duration = Duration::from_secs(60);
    let backend = MockBackend::start_blocking().unwrap();
    // Each is another limit, another upstream and another route than the one before.
    let file = |turn: usize| {
        let config = format!(
            "[limits.l]\nrate = \"4/h\"\nburst = {BURST}\n[limits.other]\nrate = \"{}/s\"\nburst = 1000000\n\
             ---\nconnect_timeout = \"{}s\"\n---\nlimits = [\"l\", \"other\"]\n[[routes]]\nname = \"{turn}\"\n\
             path = \"/{turn}\"\nrespond = {{ status = 200 }}",
            10_000 + turn,
            1 + turn % 2,
        );
        with_admin(&to_upstream(backend.addr(), &config), "token = \"t\"")
    };
    let clock = Clock::monotonic();
    let mut gateway = Gateway::with_file(&file(0));
    let mut reloads = Vec::new();
    let requests = under_load(gateway.address(), &clock, || {
        for turn in 1..=20 {
            thread::sleep(TIME / 21);
            reloads.push(reload(&gateway, &clock, &file(turn)));
            if turn == 10 {
                let next = gateway.upgrade();
                let mut former = std::mem::replace(&mut gateway, next);
                assert_eq!(former.wait().code(), Some(0));
            }
        }
        thread::sleep(TIME / 21);
    });
    let left = gateway.admin_get("/limits/l/clients/127.0.0.1").json()["tokens"].as_u64().unwrap();
    let uncharged = requests.len() - (BURST - usize::try_from(left).unwrap());
    println!(
        "20 reloads ({}) and one takeover in 60 s: {} requests ({}), 0 failed, {uncharged} not charged",
        spread(reloads),
        requests.len(),
        spread(requests),
    );
    assert!(uncharged <= 40, "one for each connection that there was when the buckets went over");
}

#[test]
#[ignore = "is for a release build: scripts/changes"]
fn ten_thousand_routes() {
    let backend = MockBackend::start_blocking().unwrap();
    let file = |turn: usize| {
        let mut config = to_upstream(backend.addr(), "");
        for index in 0..10_000 {
            let name = format!("r{index}");
            write!(
                config,
                "[[routes]]\nname = \"{name}\"\npath = \"/{name}/{{id}}/{turn}\"\nupstream = \"main\"\n"
            )
            .unwrap();
        }
        with_admin(&config, "token = \"t\"")
    };
    let clock = Clock::monotonic();
    let gateway = Gateway::with_file(&file(0));
    let mut reload = |turn| {
        thread::sleep(Duration::from_millis(500));
        reload(&gateway, &clock, &file(turn))
    };
    let idle: Vec<_> = (1..=10).map(&mut reload).collect();
    let mut busy = Vec::new();
    let requests = under_load(gateway.address(), &clock, || busy.extend((11..=20).map(&mut reload)));
    println!(
        "reloads of 10,000 routes: {} without load, {} under load, with requests of {}",
        spread(idle.clone()),
        spread(busy),
        spread(requests),
    );
    assert!(idle.into_iter().all(|time| time < Duration::from_millis(200)));
}

/// Whether `/metrics` is answered, whole.
fn is_scraped(admin: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(admin) else { return false };
    let scrape = request("GET", "/metrics", &[("Connection", "close")], "");
    let mut answer = String::new();
    socket.write_all(scrape.as_bytes()).is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200 ")
        && answer.contains("gateway_build_info")
}

#[test]
#[ignore = "is for a release build: scripts/changes"]
fn the_way_out() {
    let (mut unready, mut ended, mut scraped) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..10 {
        let backend = MockBackend::start_blocking().unwrap();
        let mut gateway = Gateway::start(&to_upstream(backend.addr(), ""));
        let clock = Clock::monotonic();
        let mut running = gateway.connect();
        running.send(request("GET", "/users?delay=1s", &[], ""));
        gateway.metric_becomes(r#"gateway_requests_in_flight{route="all"}"#, 1.0);
        gateway.signal("TERM");
        let signalled = clock.now();
        while gateway.admin_get("/ready").status == 200 {}
        unready.push(clock.now().since(signalled));
        let (admin, over) = (gateway.admin(), AtomicBool::new(false));
        thread::scope(|scope| {
            let _ending = Over(&over);
            let scraped_at = || (!over.load(Ordering::SeqCst) && is_scraped(admin)).then(|| clock.now());
            let scraping = scope.spawn(move || std::iter::from_fn(scraped_at).last());
            assert_eq!(running.response().status, 200);
            let answered = clock.now();
            assert_eq!(gateway.wait().code(), Some(0));
            let end = clock.now();
            ended.push(end.since(answered));
            scraped.push(end.since(scraping.join().unwrap().unwrap()));
        });
    }
    println!(
        "SIGTERM with a request running: not ready after {}, ended {} after its answer; the last scrape ended {} before that",
        spread(unready.clone()),
        spread(ended.clone()),
        spread(scraped.clone()),
    );
    assert!(unready.into_iter().all(|time| time < Duration::from_millis(100)));
    assert!(ended.into_iter().chain(scraped).all(|time| time < Duration::from_millis(200)));
}
