//! All limits of a request, decided together.

mod floods;
mod plans;
mod quotas;

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

fn with_rate(mut rule: Rule, change: impl FnOnce(&mut Rate)) -> Rule {
    if let Measure::Rate(rate) = &mut rule.measure {
        change(rate);
    }
    rule
}

fn with_cost(cost: u32, rule: Rule) -> Rule {
    with_rate(rule, |rate| rate.cost = cost)
}

/// At most `max` requests of everybody together.
fn at_a_time(name: &str, max: u32) -> Rule {
    Rule { measure: Measure::InFlight(max), ..rule(name, 1, 1) }
}

/// A limit of one a second for each client, with other terms for some.
fn by_client(overrides: &[(&str, Terms)]) -> Rule {
    let key = Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
    let of = |&(value, terms): &(&str, Terms)| Override { value: value.to_owned(), terms };
    Rule { key, overrides: overrides.iter().map(of).collect(), ..rule("by_client", 1, 1) }
}

/// A limiter of these rules, and requests to it.
struct Bench {
    limiter: Limiter,
    all: Vec<usize>,
    clock: Clock,
    client: ClientId,
    method: Method,
    reservation: Reservation,
}

impl Bench {
    fn new(rules: Vec<Rule>) -> Self {
        Self {
            all: (0..rules.len()).collect(),
            limiter: Limiter::new(rules, Secret::random()),
            clock: Clock::manual(),
            client: ClientId::Address("192.0.2.1".parse().unwrap()),
            method: Method::GET,
            reservation: Reservation::default(),
        }
    }

    fn request(&mut self) -> Decision {
        decide(&self.limiter, &self.all, &self.client, &self.method, self.clock.now(), &mut self.reservation)
    }

    /// A request that runs on until the reservation is dropped.
    fn running(&mut self) -> (Decision, Reservation) {
        let decision = self.request();
        (decision, std::mem::take(&mut self.reservation))
    }

    fn from(&mut self, client: &str) -> Decision {
        self.client = ClientId::Address(client.parse().unwrap());
        self.request()
    }

    /// The request is answered.
    fn settle(&mut self, status: u16, cost: Option<&str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let mut answer = HeaderMap::new();
        if let Some(cost) = cost {
            answer.insert("x-cost", cost.parse().unwrap());
        }
        self.limiter.settle(&mut self.reservation, status, &answer, || self.clock.now());
    }

    /// The request is over.
    fn close(&mut self) {
        self.limiter.close(&mut self.reservation, || self.clock.now());
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.reservation.reports().iter().map(|report| report.outcome).collect()
    }

    fn tokens(&self) -> Vec<u32> {
        self.reservation.reports().iter().filter_map(|report| Some(report.remaining?.left())).collect()
    }
}

/// What becomes of a request.
#[derive(Debug, PartialEq)]
enum Decision {
    Admitted,
    Refused { limit: usize, wait: Duration },
    NoKey { limit: usize, why: NoValue },
}

fn decide(
    limiter: &Limiter,
    limits: &[usize],
    client: &ClientId,
    method: &Method,
    now: Timestamp,
    reservation: &mut Reservation,
) -> Decision {
    let headers = HeaderMap::new();
    let inputs = Inputs {
        client,
        caller: None,
        method,
        host: "h",
        path: "/",
        query: None,
        route: "r",
        headers: &headers,
    };
    decide_by(limiter, limits, &inputs, now, reservation)
}

fn decide_by(
    limiter: &Limiter,
    limits: &[usize],
    inputs: &Inputs<'_>,
    now: Timestamp,
    reservation: &mut Reservation,
) -> Decision {
    let claims = match limiter.claims(limits, inputs) {
        Ok(claims) => claims,
        Err(Unkeyed { limit, why }) => return Decision::NoKey { limit, why },
    };
    match limiter.reserve(&claims, now, reservation) {
        Ok(()) => Decision::Admitted,
        Err(Refusal { limit, wait }) => Decision::Refused { limit, wait },
    }
}

#[test]
fn without_limits_everything_is_admitted() {
    let mut bench = Bench::new(Vec::new());
    assert_eq!(bench.request(), Decision::Admitted);
    assert!(bench.reservation.reports().is_empty());
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
fn what_was_claimed_of_one_limiter_is_claimed_again_of_another() {
    let mut exempting = rule("exempting", 1, 1);
    exempting.exempt = vec!["192.0.2.0/24".parse().unwrap()];
    let rules = vec![rule("wide", 1, 5), exempting, rule("narrow", 1, 1)];
    let mut bench = Bench::new(rules.clone());
    let other = Limiter::new(rules, bench.limiter.secret().clone());
    let (headers, now) = (HeaderMap::new(), bench.clock.now());
    let (client, method) = (bench.client.clone(), Method::GET);
    let inputs = Inputs {
        client: &client,
        caller: None,
        method: &method,
        host: "h",
        path: "/",
        query: None,
        route: "r",
        headers: &headers,
    };
    let claims = bench.limiter.claims(&bench.all, &inputs).unwrap();
    assert_eq!(claims.exempt(), [1]);
    let buckets: Vec<_> = claims.buckets().map(|bucket| (bucket.limit, bucket.client)).collect();
    for expected in [Ok(()), Err(Refusal { limit: 2, wait: SECOND })] {
        buckets.iter().for_each(|(limit, client)| other.touch(*limit, *client, None));
        let again = other.claims_again(&buckets, &inputs);
        assert_eq!(other.reserve(&again, now, &mut bench.reservation), expected);
    }
    assert_eq!(bench.outcomes(), [Outcome::Spared, Outcome::Refused(Wait(SECOND))]);
    assert_eq!(bench.tokens(), [4, 0]);
    // The first limiter has been asked for nothing, and the other one does not note whom it refused.
    assert_eq!(bench.limiter.reserve(&claims, now, &mut bench.reservation), Ok(()));
    assert!(other.limits()[2].offenders().is_empty());
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
        assert_eq!(
            bench.reservation.reports(),
            [Report { limit: 0, outcome: Outcome::Exempt, remaining: None, settled: None }]
        );
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
        assert!(bench.reservation.reports().is_empty());
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
    assert_eq!(bench.request(), Decision::NoKey { limit: 1, why: NoValue::Missing });
    bench.all = vec![0];
    assert_eq!(bench.request(), Decision::Admitted);
}

#[test]
fn a_cost_takes_that_many_tokens() {
    let mut bench = Bench::new(vec![with_cost(3, rule("dear", 1, 7))]);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [1]);
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: 2 * SECOND });
}

#[test]
fn so_many_requests_run_at_a_time() {
    let mut bench = Bench::new(vec![at_a_time("slots", 2)]);
    let (first, one) = bench.running();
    let (second, two) = bench.running();
    assert_eq!((first, second), (Decision::Admitted, Decision::Admitted));
    assert_eq!(two.reports()[0].remaining, Some(Remaining::InFlight { running: 2, max: 2 }));
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: Duration::ZERO });
    drop(one);
    assert_eq!(bench.request(), Decision::Admitted);
    bench.close();
    drop(two);
    assert_eq!(bench.limiter.limits()[0].clients(bench.clock.now()), 0);
}

#[test]
fn a_refused_request_runs_nowhere_and_takes_no_token() {
    let mut bench = Bench::new(vec![at_a_time("slots", 1), rule("rate", 1, 2)]);
    let (_, running) = bench.running();
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: Duration::ZERO });
    assert_eq!(bench.tokens(), [0, 1]);
    drop(running);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.request(), Decision::Refused { limit: 1, wait: SECOND });
    assert_eq!(bench.limiter.limits()[0].clients(bench.clock.now()), 0, "the refused one has left");
}

#[test]
fn what_a_dry_run_lets_in_runs_as_well() {
    let mut bench = Bench::new(vec![Rule { mode: Mode::DryRun, ..at_a_time("slots", 1) }]);
    let (_, first) = bench.running();
    let (decision, second) = bench.running();
    assert_eq!((decision, second.reports()[0].outcome), (Decision::Admitted, Outcome::WouldRefuse));
    drop(first);
    assert_eq!(bench.running().1.reports()[0].outcome, Outcome::WouldRefuse, "the second still runs");
    drop(second);
    assert_eq!(bench.running().1.reports()[0].outcome, Outcome::Allowed);
}

#[test]
fn an_override_has_terms_of_its_own() {
    let three = Terms::Rate(Quota::new(3, SECOND, 3).unwrap());
    let rule = by_client(&[("192.0.2.9", three), ("192.0.2.7", Terms::Unlimited), ("2001:db8::1", three)]);
    let mut bench = Bench::new(vec![rule]);
    for (client, admitted) in [("192.0.2.1", 1), ("192.0.2.9", 3), ("2001:db8::2", 3), ("2001:db9::", 1)] {
        let times = (0..10).filter(|_| bench.from(client) == Decision::Admitted).count();
        assert_eq!(times, admitted, "{client}");
    }
    assert_eq!(bench.limiter.limits()[0].clients(bench.clock.now()), 4);
    for _ in 0..10 {
        assert_eq!(bench.from("192.0.2.7"), Decision::Admitted);
        assert_eq!(bench.outcomes(), [Outcome::Exempt]);
    }
}

#[test]
fn an_override_may_have_more_at_a_time() {
    let rule = Rule {
        measure: Measure::InFlight(1),
        ..by_client(&[("192.0.2.9", Terms::InFlight(2)), ("192.0.2.7", Terms::Unlimited)])
    };
    let mut bench = Bench::new(vec![rule]);
    let mut running = Vec::new();
    for (client, admitted) in [("192.0.2.1", 1), ("192.0.2.9", 2), ("192.0.2.7", 5)] {
        bench.client = ClientId::Address(client.parse().unwrap());
        let (decisions, tallies): (Vec<_>, Vec<_>) = (0..5).map(|_| bench.running()).unzip();
        assert_eq!(decisions.iter().filter(|d| **d == Decision::Admitted).count(), admitted, "{client}");
        running.extend(tallies);
    }
}

#[test]
fn only_failures_are_charged_where_the_limit_says_so() {
    let failures = Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]);
    let rule = with_rate(rule("logins", 1, 3), |rate| rate.charge = failures);
    let mut bench = Bench::new(vec![rule]);
    for _ in 0..10 {
        assert_eq!(bench.request(), Decision::Admitted);
        assert_eq!(bench.tokens(), [2], "until the answer is known it may be a failure");
        bench.settle(200, None);
        assert_eq!(bench.tokens(), [3]);
    }
    for left in [2, 1, 0] {
        assert_eq!(bench.request(), Decision::Admitted);
        bench.settle(401, None);
        assert_eq!(bench.tokens(), [left]);
    }
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: SECOND });
    bench.settle(429, None);
    assert_eq!(bench.request(), Decision::Refused { limit: 0, wait: SECOND });
}

#[test]
fn the_answer_names_the_cost_where_the_limit_says_so() {
    let header = Charge::Header { name: HeaderName::from_static("x-cost"), max: 1000 };
    let mut bench =
        Bench::new(vec![with_rate(with_cost(2, rule("costs", 1, 10)), |rate| rate.charge = header)]);
    for (said, left) in [(Some("1"), 9), (Some("0"), 9), (None, 7), (Some("many"), 5), (Some("5"), 0)] {
        assert_eq!(bench.request(), Decision::Admitted);
        bench.settle(200, said);
        assert_eq!(bench.tokens(), [left], "{said:?}");
    }
    bench.clock.advance(2 * SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    bench.settle(200, Some("7"));
    assert_eq!(
        bench.request(),
        Decision::Refused { limit: 0, wait: 7 * SECOND },
        "it owes five, and costs two"
    );
    bench.clock.advance(7 * SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    bench.settle(200, Some("4294967295"));
    assert_eq!(
        bench.request(),
        Decision::Refused { limit: 0, wait: 1000 * SECOND },
        "no answer costs more than the most"
    );
}

#[test]
fn requests_that_may_fail_are_let_in_as_if_they_would() {
    let failures = Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]);
    let mut bench = Bench::new(vec![with_rate(rule("logins", 1, 3), |rate| rate.charge = failures)]);
    let (decisions, mut running): (Vec<_>, Vec<_>) = (0..5).map(|_| bench.running()).unzip();
    assert_eq!(decisions.iter().filter(|d| **d == Decision::Admitted).count(), 3, "a guess each at once");
    assert_eq!(decisions[3], Decision::Refused { limit: 0, wait: SECOND });
    bench.reservation = running.swap_remove(0);
    bench.settle(401, None);
    assert!(matches!(bench.request(), Decision::Refused { .. }), "the failure took what was set aside");
    bench.reservation = running.swap_remove(1);
    bench.close();
    assert_eq!(bench.request(), Decision::Admitted, "who left before the answer is not charged");
}

#[test]
fn who_leaves_before_the_cost_is_known_pays_that_of_the_limit() {
    let header = Charge::Header { name: HeaderName::from_static("x-cost"), max: 1000 };
    let mut bench = Bench::new(vec![with_rate(rule("costs", 1, 2), |rate| rate.charge = header)]);
    for left in [1, 0] {
        assert_eq!(bench.request(), Decision::Admitted);
        bench.close();
        bench.close();
        let limit = &bench.limiter.limits()[0];
        let client = limit.rule().key.fingerprint_of(&["global"], bench.limiter.secret()).unwrap();
        assert_eq!(limit.remaining(client, None, bench.clock.now()).unwrap().left(), left);
    }
}

#[test]
fn what_is_set_aside_is_let_go_when_another_limit_refuses() {
    let failures = Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]);
    let reserved = with_rate(rule("logins", 1, 1), |rate| rate.charge = failures);
    let mut bench = Bench::new(vec![reserved, rule("rate", 1, 1)]);
    bench.all = vec![1];
    assert_eq!(bench.request(), Decision::Admitted);
    bench.all = vec![0, 1];
    assert!(matches!(bench.request(), Decision::Refused { limit: 1, .. }));
    bench.all = vec![0];
    assert_eq!(bench.request(), Decision::Admitted);
}

#[test]
fn the_clients_that_are_refused_most_are_known() {
    let mut bench = Bench::new(vec![by_client(&[])]);
    for (client, times) in [("192.0.2.1", 5), ("2001:db8::1", 3), ("192.0.2.3", 1)] {
        for _ in 0..times {
            bench.from(client);
        }
    }
    let offenders = bench.limiter.limits()[0].offenders();
    let shown: Vec<_> = offenders.iter().map(|offender| (offender.key.join(","), offender.refused)).collect();
    assert_eq!(shown, [("192.0.2.1".to_owned(), 4), ("2001:db8::/64".to_owned(), 2)]);
}

#[test]
fn a_limit_remembers_its_clients_when_the_rules_change() {
    let two = |count| Terms::Rate(Quota::new(count, SECOND, 2).unwrap());
    let rules = |burst: u64, count| {
        let limit = with_rate(by_client(&[("192.0.2.9", two(count))]), |rate| {
            rate.quota = Quota::new(1, SECOND, burst).unwrap();
        });
        vec![at_a_time("slots", 1), limit]
    };
    let mut bench = Bench::new(rules(4, 1));
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.9"] {
        assert_eq!(bench.from(client), Decision::Admitted);
        bench.close();
    }
    let running = bench.running();
    assert_eq!(running.0, Decision::Admitted);
    let left = |limiter: &Limiter, address: &str| {
        let (limit, secret) = (&limiter.limits()[1], limiter.secret());
        let client = limit.rule().key.fingerprint_of(&[address], secret).unwrap();
        limit.remaining(client, None, Timestamp::default()).unwrap().left()
    };
    assert_eq!((left(&bench.limiter, "192.0.2.1"), left(&bench.limiter, "192.0.2.9")), (2, 0));
    // The same rules, a larger burst and another rate, and the same in another order.
    for (rules, expected) in [(rules(4, 1), (2, 0)), (rules(8, 5), (4, 0)), (rules(8, 5), (4, 0))] {
        bench.limiter = bench.limiter.succeeded_by(rules, Timestamp::default());
        assert_eq!((left(&bench.limiter, "192.0.2.1"), left(&bench.limiter, "192.0.2.9")), expected);
        assert!(matches!(bench.request(), Decision::Refused { limit: 0, .. }), "one is still running");
    }
    drop(running);
    // Another key: what was remembered says nothing of anybody.
    let other = Rule { key: Key { ipv6_prefix: 48, ..by_client(&[]).key }, ..by_client(&[]) };
    let other = bench.limiter.succeeded_by(vec![at_a_time("slots", 1), other], Timestamp::default());
    assert_eq!(left(&other, "192.0.2.1"), 1);
}

#[test]
fn a_client_can_be_looked_up_and_reset() {
    let mut bench = Bench::new(vec![by_client(&[("192.0.2.7", Terms::Unlimited)])]);
    bench.from("192.0.2.1");
    let limit = &bench.limiter.limits()[0];
    let (secret, now) = (bench.limiter.secret(), bench.clock.now());
    let client = |address: &str| limit.rule().key.fingerprint_of(&[address], secret).unwrap();
    assert_eq!(limit.remaining(client("192.0.2.1"), None, now).unwrap().left(), 0);
    assert_eq!(limit.remaining(client("192.0.2.2"), None, now).unwrap().left(), 1);
    assert_eq!(limit.remaining(client("192.0.2.7"), None, now), None);
    assert!(limit.reset(client("192.0.2.1"), None, now));
    assert!(!limit.reset(client("192.0.2.7"), None, now));
    assert_eq!(bench.from("192.0.2.1"), Decision::Admitted);
}

/// Threads race for the last tokens of two limits that they meet in opposite orders.
#[test]
fn racing_requests_never_exceed_either_limit() {
    let limiter = Limiter::new(vec![rule("a", 1, 500), rule("b", 1, 300)], Secret::random());
    let barrier = Barrier::new(4);
    let run = |limits: [usize; 2]| {
        let client = ClientId::Address("192.0.2.1".parse().unwrap());
        let mut reservation = Reservation::default();
        barrier.wait();
        (0..1000)
            .filter(|_| {
                let now = Timestamp::default();
                decide(&limiter, &limits, &client, &Method::GET, now, &mut reservation) == Decision::Admitted
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
    let left =
        limiter.limits()[0].table().unwrap().look(key::fingerprint_of(0), Timestamp::default(), || None);
    assert_eq!(left, Bucket::FULL, "another client's bucket is untouched");
    let mut reservation = Reservation::default();
    let client = ClientId::Address("192.0.2.1".parse().unwrap());
    decide(&limiter, &[0], &client, &Method::GET, Timestamp::default(), &mut reservation);
    assert_eq!(reservation.reports()[0].remaining.unwrap().left(), 199, "what b refused was put back into a");
}

/// Threads race with failures that are charged when they are answered: never more than the bucket holds.
#[test]
fn racing_failures_never_exceed_the_limit() {
    let failures = Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]);
    for _ in 0..20 {
        let limit = with_rate(rule("logins", 1, 200), |rate| rate.charge = failures.clone());
        let limiter = Limiter::new(vec![limit], Secret::random());
        let barrier = Barrier::new(4);
        let run = || {
            let client = ClientId::Address("192.0.2.1".parse().unwrap());
            let mut reservation = Reservation::default();
            barrier.wait();
            let guess = |_: &i32| {
                let now = Timestamp::default();
                let decision = decide(&limiter, &[0], &client, &Method::GET, now, &mut reservation);
                limiter.settle(&mut reservation, StatusCode::UNAUTHORIZED, &HeaderMap::new(), || now);
                decision == Decision::Admitted
            };
            (0..200).filter(guess).count()
        };
        let failed: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failed, 200);
    }
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
            .map(|(i, &(count, burst, cost))| {
 with_cost(cost.min(u32::try_from(burst).unwrap()), rule(&i.to_string(), count, burst))
})
            .collect();
        let mut model = vec![Bucket::FULL; rules.len()];
        let mut bench = Bench::new(rules.clone());
        for step in steps {
            bench.clock.advance(Duration::from_nanos(step));
            let now = bench.clock.now();
            let paid: Result<Vec<_>, _> =
                rules.iter().zip(&model).map(|(rule, bucket)| bucket.take(&rule.rate().unwrap().quota, now, rule.rate().unwrap().cost)).collect();
            let decision = bench.request();
            prop_assert_eq!(decision == Decision::Admitted, paid.is_ok());
            model = paid.unwrap_or(model);
            let left: Vec<_> =
                rules.iter().zip(&model).map(|(rule, bucket)| bucket.level(&rule.rate().unwrap().quota, now).tokens).collect();
            prop_assert_eq!(bench.tokens(), left);
        }
    }

    /// However long the answers take, and in whatever order they come: the failures within any time are never more than
    /// the burst and what is refilled meanwhile; and who never fails is never refused, as long as no more run at a time
    /// than the burst.
    #[test]
    fn failures_are_limited_exactly(
        (count, burst) in (1..20_u64, 1..8_u64),
        often in any::<bool>(),
        steps in prop::collection::vec((0..700_000_000_u64, any::<bool>(), 0..4_usize), 1..120),
    ) {
        let failures = Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]);
        let mut bench = Bench::new(vec![with_rate(rule("logins", count, burst), |rate| rate.charge = failures)]);
        let mut running: Vec<(Reservation, bool)> = Vec::new();
        let mut failed: Vec<Duration> = Vec::new();
        let mut now = Duration::ZERO;
        for (step, fails, ends) in steps {
            bench.clock.advance(Duration::from_nanos(step));
            now += Duration::from_nanos(step);
            let (decision, reservation) = bench.running();
            match decision {
                Decision::Admitted => running.push((reservation, fails && often)),
                _ => prop_assert!(often || running.len() as u64 >= burst),
            }
            for _ in 0..ends.min(running.len()) {
                let (reservation, fails) = running.swap_remove(running.len() / 2);
                bench.reservation = reservation;
                bench.settle(if fails { 401 } else { 200 }, None);
                failed.extend(fails.then_some(now));
            }
        }
        for (first, start) in failed.iter().enumerate() {
            for (last, end) in failed.iter().enumerate().skip(first) {
                let refilled = (*end - *start).as_nanos() * u128::from(count) / SECOND.as_nanos();
                prop_assert!((last - first + 1) as u128 <= u128::from(burst) + refilled);
            }
        }
    }
}
