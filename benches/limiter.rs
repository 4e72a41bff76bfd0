//! What a decision costs: `cargo bench --bench limiter`.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use divan::Bencher;
use gateway::client::ClientId;
use gateway::clock::Clock;
use gateway::limit::key::{Facts, Key, KeyPart, MissingKey, Secret};
use gateway::limit::quota::Quota;
use gateway::limit::{Limiter, Mode, Rule};
use http::{HeaderMap, Method, StatusCode};

fn main() {
    divan::main();
}

/// A limit that admits nearly everything, so that each client's bucket is written.
fn rule(name: usize) -> Rule {
    Rule {
        name: name.to_string(),
        quota: Quota::new(1_000_000, Duration::from_secs(1), 1_000_000).expect("a valid quota"),
        key: Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::ClientIp, ipv6_prefix: 64 },
        cost: 1,
        methods: Vec::new(),
        exempt: Vec::new(),
        mode: Mode::Enforce,
        status: StatusCode::TOO_MANY_REQUESTS,
        fields: true,
        legacy_headers: false,
        max_clients: 2_000_000,
    }
}

/// One decision over this many limits, by so many clients in turn, in no order that a cache could guess.
#[divan::bench(args = [(1, 1_000), (1, 1_000_000), (4, 1_000)])]
fn decide(bencher: Bencher<'_, '_>, (limits, clients): (usize, u32)) {
    let limiter = Limiter::new((0..limits).map(rule).collect(), Secret::random());
    let all: Vec<_> = (0..limits).collect();
    let (clock, headers) = (Clock::monotonic(), HeaderMap::new());
    let (mut reports, mut next) = (Vec::new(), 0_u32);
    bencher.bench_local(|| {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let client = ClientId::Address(IpAddr::V4(Ipv4Addr::from_bits(next % clients)));
        let facts = Facts {
            client: &client,
            method: &Method::GET,
            host: "localhost",
            path: "/",
            query: None,
            route: 0,
            headers: &headers,
        };
        black_box(limiter.decide(&all, &facts, clock.now(), &mut reports))
    });
}
