//! Consumers have the terms of their plans, and keep what they have used when plans change.

use super::*;
use crate::limit::key::Caller;
use crate::limit::snapshot::{Moment, Snapshot};
use crate::limit::{Override, PlanTerms};

const FREE: Option<usize> = Some(0);
const PRO: Option<usize> = Some(1);

/// A limit by `parts` of 10 an hour, and of these many by plan.
fn rule(parts: &[KeyPart], plans: &[(usize, &str, Terms)]) -> Rule {
    let plans = plans.iter().map(|(plan, name, terms)| PlanTerms {
        plan: *plan,
        name: (*name).to_owned(),
        terms: *terms,
        max_clients: 100,
    });
    let key = Key::of(parts.to_vec());
    Rule { plans: plans.collect(), ..Rule::new("l".to_owned(), an_hour(10), key, 100) }
}

fn an_hour(count: u64) -> Quota {
    Quota::new(count, Duration::from_secs(3600), count).unwrap()
}

fn rate(count: u64) -> Terms {
    Terms::Rate(an_hour(count))
}

/// The limit by consumer with the plans `free`, `pro` and, if it is named, `internal`.
fn by_consumer() -> Rule {
    rule(
        &[KeyPart::Consumer],
        &[(0, "free", rate(100)), (1, "pro", rate(1000)), (2, "internal", Terms::Unlimited)],
    )
}

/// A limiter with one limit, and its clock.
struct Shop {
    limiter: Limiter,
    clock: Clock,
}

impl Shop {
    fn new(rule: Rule) -> Self {
        Self { limiter: Limiter::new(vec![rule], Secret::random()), clock: Clock::manual() }
    }

    /// Many requests of a consumer for a path: what is left after the last; `None` if it is never limited.
    fn requests(&self, count: u32, consumer: &str, plan: Option<usize>, path: &str) -> Option<u32> {
        let mut left = None;
        for _ in 0..count {
            let mut reservation = Reservation::default();
            let caller = Some(Caller { consumer, plan });
            decide_as(&self.limiter, caller, path, self.clock.now(), &mut reservation);
            left = reservation.reports()[0].remaining.map(|remaining| remaining.left());
        }
        left
    }

    fn left(&self, consumer: &str, plan: Option<usize>) -> Option<u32> {
        let limit = &self.limiter.limits()[0];
        let client = limit.rule().key.fingerprint_of(&[consumer], self.limiter.secret()).unwrap();
        limit.remaining(client, plan, self.clock.now()).map(|remaining| remaining.left())
    }

    fn reload(&mut self, rule: Rule) {
        self.limiter = self.limiter.succeeded_by(vec![rule], self.clock.now());
    }
}

fn decide_as(
    limiter: &Limiter,
    caller: Option<Caller<'_>>,
    path: &str,
    now: Timestamp,
    reservation: &mut Reservation,
) -> Decision {
    let inputs = Inputs {
        client: &ClientId::Address("192.0.2.1".parse().unwrap()),
        caller,
        method: &Method::GET,
        host: "a.example",
        path,
        query: None,
        route: "r",
        headers: &HeaderMap::new(),
    };
    decide_by(limiter, &[0], &inputs, now, reservation)
}

#[test]
fn the_plan_of_a_consumer_says_what_it_may_have() {
    let shop = Shop::new(by_consumer());
    assert_eq!(shop.requests(1, "alice", FREE, "/"), Some(99));
    assert_eq!(shop.requests(1, "bob", PRO, "/"), Some(999));
    assert_eq!(shop.requests(1, "carol", Some(2), "/"), None);
    // Neither a plan that the limit does not name, nor no plan at all.
    assert_eq!(shop.requests(1, "dan", Some(7), "/"), Some(9));
    assert_eq!(shop.requests(1, "erin", None, "/"), Some(9));
    assert_eq!(shop.limiter.limits()[0].clients(shop.clock.now()), 4);
    let mut reservation = Reservation::default();
    let stranger = decide_as(&shop.limiter, None, "/", shop.clock.now(), &mut reservation);
    assert_eq!((stranger, reservation.reports()[0].remaining.unwrap().left()), (Decision::Admitted, 9));
}

#[test]
fn an_override_comes_before_the_plan() {
    let own = |value: &str, terms| Override { value: value.to_owned(), terms };
    let overrides = vec![own("alice", rate(7)), own("bob", Terms::Unlimited)];
    let shop = Shop::new(Rule { overrides, ..by_consumer() });
    assert_eq!(shop.requests(1, "alice", FREE, "/"), Some(6));
    assert_eq!(shop.requests(1, "alice", Some(2), "/"), Some(5));
    assert_eq!(shop.requests(1, "bob", FREE, "/"), None);
    assert_eq!(shop.requests(1, "carol", FREE, "/"), Some(99));
}

#[test]
fn requests_at_a_time_go_by_the_plan_too() {
    let plans = [(0, "free", Terms::InFlight(1)), (1, "pro", Terms::InFlight(3))];
    let shop = Shop::new(Rule { measure: Measure::InFlight(2), ..rule(&[KeyPart::Consumer], &plans) });
    let at_once = |consumer: &'static str, plan| {
        let mut running: Vec<Reservation> = Vec::new();
        loop {
            let mut reservation = Reservation::default();
            let caller = Some(Caller { consumer, plan });
            match decide_as(&shop.limiter, caller, "/", shop.clock.now(), &mut reservation) {
                Decision::Admitted => running.push(reservation),
                _ => return running.len(),
            }
        }
    };
    assert_eq!((at_once("a", FREE), at_once("b", PRO), at_once("c", None)), (1, 3, 2));
}

#[test]
fn who_changes_the_plan_keeps_the_share_that_is_left() {
    for parts in [&[KeyPart::Consumer][..], &[KeyPart::Consumer, KeyPart::Path]] {
        let plans = [(0, "free", rate(100)), (1, "pro", rate(1000))];
        let mut shop = Shop::new(rule(parts, &plans));
        assert_eq!(shop.requests(50, "alice", FREE, "/a"), Some(50));
        assert_eq!(shop.requests(500, "bob", PRO, "/a"), Some(500));
        shop.reload(rule(parts, &plans));
        assert_eq!(shop.requests(1, "alice", PRO, "/a"), Some(499));
        assert_eq!(shop.requests(1, "bob", FREE, "/a"), Some(49));
        // Nothing is counted twice.
        assert_eq!(shop.requests(1, "alice", PRO, "/a"), Some(498));
        // And back again.
        shop.reload(rule(parts, &plans));
        assert_eq!(shop.requests(1, "alice", FREE, "/a"), Some(48));
        // No plan at all.
        shop.reload(rule(parts, &plans));
        assert_eq!(shop.requests(1, "alice", None, "/a"), Some(3));
    }
}

#[test]
fn a_request_of_the_time_before_the_change_is_counted_after_it() {
    let mut shop = Shop::new(by_consumer());
    let before = Limiter::succeeded_by(&shop.limiter, vec![by_consumer()], shop.clock.now());
    assert_eq!(shop.requests(50, "alice", FREE, "/"), Some(50));
    shop.reload(by_consumer());
    assert_eq!(shop.requests(1, "alice", PRO, "/"), Some(499));
    let mut late = Reservation::default();
    let caller = Some(Caller { consumer: "alice", plan: FREE });
    decide_as(&before, caller, "/", shop.clock.now(), &mut late);
    assert!(shop.left("alice", PRO).unwrap() < 499, "what is charged late is not lost");
}

#[test]
fn the_terms_of_a_plan_come_and_go() {
    let free_only = || rule(&[KeyPart::Consumer], &[(0, "free", rate(100))]);
    let pro_only = || rule(&[KeyPart::Consumer], &[(0, "pro", rate(1000))]);
    let mut shop = Shop::new(free_only());
    assert_eq!(shop.requests(50, "alice", FREE, "/"), Some(50));
    // Consumers of `free` have the terms of the limit now, and those of `pro`, which has another index, those of their plan.
    shop.reload(pro_only());
    assert_eq!(shop.left("alice", None), Some(5));
    assert_eq!(shop.requests(500, "bob", Some(0), "/"), Some(500));
    shop.reload(rule(&[KeyPart::Consumer], &[(1, "free", rate(200)), (0, "pro", rate(10))]));
    assert_eq!(shop.left("alice", Some(1)), Some(100));
    assert_eq!(shop.left("bob", Some(0)), Some(5));
}

#[test]
fn the_table_of_a_plan_that_is_gone_is_kept_for_its_debts() {
    let none = || rule(&[KeyPart::Consumer], &[]);
    let mut shop = Shop::new(rule(&[KeyPart::Consumer], &[(0, "free", rate(100))]));
    shop.requests(50, "alice", FREE, "/");
    shop.reload(none());
    shop.reload(none());
    let tables = |shop: &Shop| shop.limiter.limits()[0].tables().count();
    assert_eq!(tables(&shop), 2);
    assert_eq!(shop.left("alice", None), Some(5));
    shop.reload(none());
    shop.reload(none());
    assert_eq!(tables(&shop), 1, "its debts are paid");
    assert_eq!(shop.left("alice", None), Some(5));
}

#[test]
fn the_bucket_of_a_consumer_is_filled() {
    let mut shop = Shop::new(by_consumer());
    shop.requests(50, "alice", FREE, "/");
    shop.reload(by_consumer());
    let limit = &shop.limiter.limits()[0];
    let client = limit.rule().key.fingerprint_of(&["alice"], shop.limiter.secret()).unwrap();
    assert!(limit.reset(client, PRO, shop.clock.now()));
    assert_eq!(shop.left("alice", PRO), Some(1000));
    assert_eq!(shop.left("alice", FREE), Some(100));
    assert!(!limit.reset(client, Some(2), shop.clock.now()));
}

#[test]
fn buckets_of_plans_outlive_a_restart() {
    let shop = Shop::new(by_consumer());
    shop.requests(50, "alice", FREE, "/");
    shop.requests(250, "bob", PRO, "/");
    let at = Moment { wall: 1_000_000, clock: shop.clock.now() };
    let mut file = Vec::new();
    shop.limiter.save(at, &mut file).unwrap();
    let restored = |rule: Rule| Shop {
        limiter: Limiter::restored(vec![rule], Snapshot::read(&*file, at).unwrap(), at.clock),
        clock: shop.clock.clone(),
    };
    let same = restored(by_consumer());
    assert_eq!((same.left("alice", FREE), same.left("bob", PRO)), (Some(50), Some(750)));
    // Both have another plan now.
    let swapped = restored(by_consumer());
    assert_eq!((swapped.left("alice", PRO), swapped.left("bob", FREE)), (Some(500), Some(75)));
    let gone = restored(rule(&[KeyPart::Consumer], &[]));
    assert_eq!((gone.left("alice", None), gone.left("bob", None)), (Some(5), Some(7)));
}

#[test]
fn tables_of_other_plans_are_left_alone_when_all_debts_are_paid() {
    let mut shop = Shop::new(by_consumer());
    shop.requests(50, "alice", FREE, "/");
    shop.reload(by_consumer());
    shop.clock.advance(Duration::from_secs(2 * 3600 + 301));
    shop.requests(50, "alice", FREE, "/");
    assert_eq!(shop.left("alice", PRO), Some(1000), "no configuration has changed since");
}
