//! All limits of a request, decided together.

use super::bucket::Bucket;
use super::key::{Key, KeyPart, MissingKey};
use super::quota::Quota;
use super::*;
use crate::client::ClientId;
use crate::clock::Clock;
use http::{HeaderMap, HeaderName, Method};
use proptest::prelude::*;
use std::sync::Barrier;
use std::thread;

const SECOND: Duration = Duration::from_secs(1);

/// A limit of `count` a second for everybody together.
fn rule(name: &str, count: u64, burst: u64) -> Rule {
    let key = Key { parts: vec![KeyPart::Global], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
    Rule::new(name.to_owned(), Quota::new(count, SECOND, burst).unwrap(), key, 100)
}

/// A limiter of these rules, and requests to it.
struct Bench {
    limiter: Limiter,
    all: Vec<usize>,
    clock: Clock,
    client: ClientId,
    method: Method,
    reports: Vec<Report>,
}

impl Bench {
    fn new(rules: Vec<Rule>) -> Self {
        Self {
            all: (0..rules.len()).collect(),
            limiter: Limiter::new(rules, Secret::random()),
            clock: Clock::manual(),
            client: ClientId::Address("192.0.2.1".parse().unwrap()),
            method: Method::GET,
            reports: Vec::new(),
        }
    }

    fn request(&mut self) -> Decision {
        decide(&self.limiter, &self.all, &self.client, &self.method, self.clock.now(), &mut self.reports)
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.reports.iter().map(|report| report.outcome).collect()
    }

    fn tokens(&self) -> Vec<u32> {
        self.reports.iter().filter_map(|report| Some(report.bucket?.level().tokens)).collect()
    }
}

fn decide(
    limiter: &Limiter,
    limits: &[usize],
    client: &ClientId,
    method: &Method,
    now: Timestamp,
    reports: &mut Vec<Report>,
) -> Decision {
    let headers = HeaderMap::new();
    let facts = Facts { client, method, host: "h", path: "/", query: None, route: 0, headers: &headers };
    limiter.decide(limits, &facts, now, reports)
}

#[test]
fn without_limits_everything_is_admitted() {
    let mut bench = Bench::new(Vec::new());
    assert_eq!(bench.request(), Decision::Admitted);
    assert!(bench.reports.is_empty());
}

#[test]
fn a_refused_request_takes_from_none() {
    let mut bench = Bench::new(vec![rule("wide", 1, 5), rule("narrow", 1, 1)]);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [4, 0]);
    for _ in 0..10 {
        assert_eq!(bench.request(), Decision::Refused { limit: 1, wait: SECOND });
        assert_eq!(bench.outcomes(), [Outcome::Spared, Outcome::Refused(Wait(SECOND))]);
        assert_eq!(bench.tokens(), [4, 0]);
    }
}

#[test]
fn the_wait_is_that_of_the_slowest_limit_that_refuses() {
    let mut bench = Bench::new(vec![rule("fast", 10, 1), rule("slow", 1, 1)]);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: SECOND });
    bench.clock.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(bench.request(), Decision::Refused { limit: 1, wait: Duration::from_nanos(1) });
    bench.clock.advance(Duration::from_nanos(1));
    assert_eq!(bench.request(), Decision::Admitted);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_lets_pass() {
    let trial = Rule { mode: Mode::DryRun, ..rule("trial", 1, 1) };
    let mut bench = Bench::new(vec![trial, rule("real", 1, 3)]);
    for expected in [Outcome::Allowed, Outcome::WouldRefuse, Outcome::WouldRefuse] {
        assert_eq!(bench.request(), Decision::Admitted);
        assert_eq!(bench.outcomes(), [expected, Outcome::Allowed]);
    }
    assert!(matches!(bench.request(), Decision::Refused { limit: 1, .. }));
}

#[test]
fn an_exempt_client_is_not_counted() {
    let mut bench =
        Bench::new(vec![Rule { exempt: vec!["192.0.2.0/24".parse().unwrap()], ..rule("a", 1, 1) }]);
    for _ in 0..3 {
        assert_eq!(bench.request(), Decision::Admitted);
        assert_eq!(bench.reports, [Report { limit: 0, outcome: Outcome::Exempt, bucket: None }]);
    }
    bench.client = ClientId::Opaque("192.0.2.1".into());
    assert_eq!(bench.request(), Decision::Admitted);
    assert!(matches!(bench.request(), Decision::Refused { .. }));
}

#[test]
fn only_the_methods_that_are_named_count() {
    let mut bench = Bench::new(vec![Rule { methods: vec![Method::POST], ..rule("writes", 1, 1) }]);
    for _ in 0..3 {
        assert_eq!(bench.request(), Decision::Admitted);
        assert!(bench.reports.is_empty());
    }
    bench.method = Method::POST;
    assert_eq!(bench.request(), Decision::Admitted);
    assert!(matches!(bench.request(), Decision::Refused { .. }));
}

#[test]
fn a_request_without_its_key_is_rejected_and_takes_nothing() {
    let header = KeyPart::Header(HeaderName::from_static("x-api-key"));
    let keyed = Rule {
        key: Key { parts: vec![header], missing: MissingKey::Reject, ipv6_prefix: 64 },
        ..rule("keyed", 1, 1)
    };
    let mut bench = Bench::new(vec![rule("first", 1, 1), keyed]);
    assert_eq!(bench.request(), Decision::KeyMissing { limit: 1 });
    bench.all = vec![0];
    assert_eq!(bench.request(), Decision::Admitted);
}

#[test]
fn a_cost_takes_that_many_tokens() {
    let mut bench = Bench::new(vec![Rule { cost: 3, ..rule("dear", 1, 7) }]);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [1]);
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: 2 * SECOND });
}

/// Threads race for the last tokens of two limits that they meet in opposite orders.
#[test]
fn racing_requests_never_exceed_either_limit() {
    let limiter = Limiter::new(vec![rule("a", 1, 500), rule("b", 1, 300)], Secret::random());
    let barrier = Barrier::new(4);
    let run = |limits: [usize; 2]| {
        let client = ClientId::Address("192.0.2.1".parse().unwrap());
        let mut reports = Vec::new();
        barrier.wait();
        (0..1000)
            .filter(|_| {
                let now = Timestamp::default();
                decide(&limiter, &limits, &client, &Method::GET, now, &mut reports) == Decision::Admitted
            })
            .count()
    };
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = [[0, 1], [1, 0], [0, 1], [1, 0]]
            .map(|order| scope.spawn(move || run(order)))
            .into_iter()
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(admitted, 300);
    let left = limiter.limits()[0].table().look(key::fingerprint_of(0), 0, Timestamp::default());
    assert_eq!(left.bucket, Bucket::FULL, "another client's bucket is untouched");
    let mut reports = Vec::new();
    let client = ClientId::Address("192.0.2.1".parse().unwrap());
    decide(&limiter, &[0], &client, &Method::GET, Timestamp::default(), &mut reports);
    assert_eq!(reports[0].bucket.unwrap().level().tokens, 199, "what b refused was put back into a");
}

proptest! {
    /// Several limits at once, against one exact bucket for each.
    #[test]
    fn several_limits_decide_as_one(
        quotas in prop::collection::vec((1..20_u64, 1..20_u64, 1..4_u32), 1..5),
        steps in prop::collection::vec(0..800_000_000_u64, 1..80),
    ) {
        let rules: Vec<_> = quotas
            .iter()
            .enumerate()
            .map(|(i, &(count, burst, cost))| Rule {
                cost: cost.min(u32::try_from(burst).unwrap()),
                ..rule(&i.to_string(), count, burst)
            })
            .collect();
        let mut model = vec![Bucket::FULL; rules.len()];
        let mut bench = Bench::new(rules.clone());
        for step in steps {
            bench.clock.advance(Duration::from_nanos(step));
            let now = bench.clock.now();
            let paid: Result<Vec<_>, _> =
                rules.iter().zip(&model).map(|(rule, bucket)| bucket.take(&rule.quota, now, rule.cost)).collect();
            let decision = bench.request();
            prop_assert_eq!(decision == Decision::Admitted, paid.is_ok());
            model = paid.unwrap_or(model);
            let left: Vec<_> =
                rules.iter().zip(&model).map(|(rule, bucket)| bucket.level(&rule.quota, now).tokens).collect();
            prop_assert_eq!(bench.tokens(), left);
        }
    }
}
