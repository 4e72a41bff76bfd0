//! Quotas by the calendar, against a model, at set times, and across reloads and restarts.

use std::collections::HashMap;

use super::*;
use crate::limit::calendar::{Calendar, Period};
use crate::limit::snapshot::{self, Moment, Snapshot};

const HOUR: Duration = Duration::from_secs(3600);
const BY_HOUR: Calendar = Calendar { period: Period::Hour, utc_offset_minutes: 0 };

/// So many an hour for each client, with other terms for some.
fn hourly(count: u64, overrides: &[(&str, Terms)]) -> Rule {
    let rule = by_client(overrides);
    let rate = Rate { quota: Quota::by_window(count).unwrap(), ..rule.rate().unwrap().clone() };
    Rule { measure: Measure::Quota(rate, BY_HOUR), name: "hourly".into(), ..rule }
}

fn with_quota(mut rule: Rule, change: impl FnOnce(&mut Rate)) -> Rule {
    if let Measure::Quota(rate, _) = &mut rule.measure {
        change(rate);
    }
    rule
}

fn terms(count: u64) -> Terms {
    Terms::Rate(Quota::by_window(count).unwrap())
}

/// A bench whose clock and wall clock begin so long after the hour.
fn bench(rules: Vec<Rule>, after_the_hour: Duration) -> Bench {
    let bench = Bench::new(rules);
    bench.clock.advance(100_000 * HOUR + after_the_hour);
    bench
}

/// The wall clock is set to so long before what it says.
fn set_back(bench: &Bench, by: Duration) {
    let now = bench.clock.now();
    let wall = i128::from(bench.limiter.wall().at(now)) - i128::try_from(by.as_nanos()).unwrap();
    bench.limiter.wall().set((now, jiff::Timestamp::from_nanosecond(wall).unwrap()));
}

#[track_caller]
fn assert_refused(decision: &Decision, wait: Duration) {
    assert_eq!(*decision, Decision::Refused { limit: usize::from(wait == SECOND), wait });
}

#[test]
fn a_quota_is_counted_anew_in_the_next_window() {
    let mut bench = bench(vec![hourly(3, &[])], 40 * 60 * SECOND);
    for left in [2, 1, 0] {
        assert_eq!(bench.request(), Decision::Admitted);
        assert_eq!(bench.tokens(), [left]);
    }
    assert_refused(&bench.request(), 20 * 60 * SECOND);
    bench.clock.advance(20 * 60 * SECOND - Duration::from_nanos(1));
    assert_refused(&bench.request(), Duration::from_nanos(1));
    bench.clock.advance(Duration::from_nanos(1));
    assert_eq!(bench.limiter.limits()[0].clients(bench.clock.now()), 0, "nobody has used anything");
    for _ in 0..3 {
        assert_eq!(bench.request(), Decision::Admitted);
    }
    assert_refused(&bench.request(), HOUR);
    assert_eq!(bench.limiter.limits()[0].clients(bench.clock.now()), 1);
}

#[test]
fn a_wall_clock_that_is_set_back_gives_nothing_twice() {
    let mut bench = bench(vec![hourly(2, &[])], 50 * 60 * SECOND);
    assert_eq!([bench.request(), bench.request()], [Decision::Admitted, Decision::Admitted]);
    bench.clock.advance(20 * 60 * SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    set_back(&bench, 20 * 60 * SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_refused(&bench.request(), HOUR + 10 * 60 * SECOND);
    // Where it would be without having been set back.
    bench.clock.advance(20 * 60 * SECOND);
    assert_refused(&bench.request(), 50 * 60 * SECOND);
}

#[test]
fn a_wall_clock_that_jumps_ahead_opens_the_window_that_it_says() {
    let mut bench = bench(vec![hourly(1, &[])], Duration::ZERO);
    assert_eq!(bench.request(), Decision::Admitted);
    let (now, wall) = (bench.clock.now(), bench.limiter.wall().at(bench.clock.now()));
    let ahead = jiff::Timestamp::from_nanosecond(i128::from(wall)).unwrap() + 5 * HOUR;
    bench.limiter.wall().set((now, ahead));
    assert_eq!(bench.request(), Decision::Admitted);
    assert_refused(&bench.request(), HOUR);
}

#[test]
fn a_quota_and_a_rate_take_both_or_nothing() {
    let mut bench = bench(vec![hourly(5, &[]), rule("rate", 1, 1)], 10 * SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_refused(&bench.request(), SECOND);
    assert_eq!(bench.outcomes()[0], Outcome::Spared);
    assert_eq!(bench.tokens(), [4, 0]);
    bench.clock.advance(SECOND);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [3, 0]);
}

#[test]
fn what_is_put_back_after_the_reset_changes_nothing() {
    for address in ["192.0.2.1", "192.0.2.9"] {
        let rule = with_quota(hourly(5, &[("192.0.2.9", terms(5))]), |rate| rate.cost = 2);
        let bench = bench(vec![rule], 59 * 60 * SECOND);
        let client = ClientId::Address(address.parse().unwrap());
        let (headers, method) = (HeaderMap::new(), Method::GET);
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
        let claims = bench.limiter.claims(&[0], &inputs).unwrap();
        let claim = &claims.claims[0];
        let ClientState::Window(window) = claim.state else { panic!("it is a quota") };
        let take = |now| window.take(claim.client, 2, now, || None).1.unwrap();
        let left = |now| window.look(claim.client, 0, now, || None).remaining.left();
        let first = bench.clock.now();
        let later = first.after(60 * SECOND);
        let old = take(first);
        window.refund(claim.client, 2, old);
        assert_eq!(left(first), 5);
        let old = take(first);
        let new = take(later);
        window.refund(claim.client, 2, old);
        assert_eq!(left(later), 3);
        // A thread that has not seen the new window yet counts in it all the same.
        assert_eq!(left(first), 3);
        take(first);
        assert_eq!(left(later), 1);
        window.refund(claim.client, 2, new);
        assert_eq!(left(later), 3);
        window.settle(claim.client, 1, old.at, None);
        assert_eq!(left(later), 3);
        window.settle(claim.client, 4, new.at, None);
        assert_eq!(left(later), 0);
    }
}

#[test]
fn costs_are_settled_in_the_window_in_which_they_were_reserved() {
    let on_failure = Charge::OnFailure(vec![StatusCode::NOT_FOUND]);
    let mut bench = bench(vec![with_quota(hourly(2, &[]), |r| r.charge = on_failure)], 59 * 60 * SECOND);
    let (first, mut held) = bench.running();
    assert_eq!((first, bench.request()), (Decision::Admitted, Decision::Admitted));
    let mut other = std::mem::take(&mut bench.reservation);
    assert_refused(&bench.request(), 60 * SECOND);
    bench.reservation = std::mem::take(&mut other);
    bench.settle(404, None);
    bench.close();
    bench.clock.advance(60 * SECOND);
    // Those that still run were counted in the window before.
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [1]);
    std::mem::swap(&mut held, &mut bench.reservation);
    bench.settle(404, None);
    assert_eq!(bench.tokens(), [2], "nothing was charged to this window");
    bench.close();
    bench.reservation = held;
    bench.settle(404, None);
    assert_eq!(bench.tokens(), [1], "the second counts, the first does not");
}

#[test]
fn an_answer_may_cost_more_than_is_left_until_the_window_ends() {
    let header = Charge::Header { name: HeaderName::from_static("x-cost"), max: MAX };
    const MAX: u32 = 1_000_000_000;
    let mut bench = bench(vec![with_quota(hourly(10, &[]), |r| r.charge = header)], Duration::ZERO);
    for _ in 0..5 {
        let (_, held) = bench.running();
        bench.reservation = held;
        bench.settle(200, Some("1000000000"));
        bench.close();
    }
    assert_refused(&bench.request(), HOUR);
    bench.clock.advance(HOUR);
    assert_eq!(bench.request(), Decision::Admitted);
    assert_eq!(bench.tokens(), [9]);
}

#[test]
fn a_client_with_terms_of_its_own_is_counted_by_itself() {
    let mut bench =
        bench(vec![hourly(1, &[("192.0.2.7", terms(2)), ("192.0.2.8", Terms::Unlimited)])], HOUR / 2);
    for (client, admitted) in [("192.0.2.1", 1), ("192.0.2.7", 2), ("192.0.2.8", 9)] {
        let count = (0..9).filter(|_| bench.from(client) == Decision::Admitted).count();
        assert_eq!(count, admitted, "{client}");
    }
    bench.clock.advance(HOUR / 2);
    assert_eq!((0..9).filter(|_| bench.from("192.0.2.7") == Decision::Admitted).count(), 2);
}

#[test]
fn a_changed_number_keeps_the_count_and_a_changed_period_does_not() {
    let mut bench = bench(vec![hourly(10, &[("192.0.2.7", terms(10))])], Duration::ZERO);
    for client in ["192.0.2.1", "192.0.2.7"] {
        (0..6).for_each(|_| assert_eq!(bench.from(client), Decision::Admitted));
    }
    let left = |bench: &Bench, client: &str| {
        let limit = &bench.limiter.limits()[0];
        let client = limit.rule().key.fingerprint_of(&[client], limit.secret()).unwrap();
        limit.remaining(client, None, bench.clock.now()).unwrap().left()
    };
    for (count, of_it) in [(20, 14), (4, 0), (7, 1)] {
        let rules = vec![hourly(count, &[("192.0.2.7", terms(count))])];
        bench.limiter = bench.limiter.succeeded_by(rules, bench.clock.now());
        assert_eq!(["192.0.2.1", "192.0.2.7"].map(|client| left(&bench, client)), [of_it; 2]);
    }
    for client in ["192.0.2.1", "192.0.2.7"] {
        assert_eq!(bench.from(client), Decision::Admitted);
        assert_refused(&bench.from(client), HOUR);
    }
    let mut daily = hourly(10, &[]);
    if let Measure::Quota(_, calendar) = &mut daily.measure {
        calendar.period = Period::Day;
    }
    bench.limiter = bench.limiter.succeeded_by(vec![daily], bench.clock.now());
    assert_eq!(bench.from("192.0.2.1"), Decision::Admitted);
    assert_eq!(bench.tokens(), [9]);
}

#[test]
fn a_restart_forgets_no_count_and_no_window() {
    let rules = || vec![hourly(5, &[("192.0.2.7", terms(5))])];
    let mut bench = bench(rules(), 50 * 60 * SECOND);
    for client in ["192.0.2.1", "192.0.2.7", "192.0.2.2"] {
        (0..3).for_each(|_| assert_eq!(bench.from(client), Decision::Admitted));
    }
    let saved = |bench: &Bench| {
        let moment = Moment { wall: bench.limiter.wall().at(bench.clock.now()), clock: bench.clock.now() };
        let mut file = Vec::new();
        bench.limiter.save(moment, &mut file).unwrap();
        file
    };
    // A process whose clock begins anew, so long after.
    let restored = |file: &[u8], bench: &Bench, later: i64| {
        snapshot::check(file, file.len() as u64).unwrap();
        let wall = i128::from(bench.limiter.wall().at(bench.clock.now())) + i128::from(later) * 1_000_000_000;
        let at = Moment { wall: u64::try_from(wall).unwrap(), clock: Timestamp::from_nanos(5) };
        let again = Bench::new(rules());
        let limiter = Limiter::restored(rules(), Snapshot::read(file, at).unwrap(), at.clock);
        limiter.wall().set((at.clock, jiff::Timestamp::from_nanosecond(wall).unwrap()));
        again.clock.advance(Duration::from_nanos(5));
        Bench { limiter, ..again }
    };
    let file = saved(&bench);
    let mut again = restored(&file, &bench, 300);
    for client in ["192.0.2.1", "192.0.2.7"] {
        assert_eq!(again.from(client), Decision::Admitted);
        assert_eq!(again.tokens(), [1], "{client}");
    }
    let mut next = restored(&file, &bench, 600);
    assert_eq!((next.from("192.0.2.1"), next.tokens()), (Decision::Admitted, vec![4]));
    // What the window before the file's was is not opened again, although nobody has a count in the one of the file.
    bench.clock.advance(HOUR);
    assert_eq!(bench.from("192.0.2.9"), Decision::Admitted);
    let mut back = restored(&saved(&bench), &bench, -3600);
    (0..5).for_each(|_| assert_eq!(back.from("192.0.2.1"), Decision::Admitted));
    assert_refused(&back.from("192.0.2.1"), HOUR + 10 * 60 * SECOND);
}

#[test]
fn a_slot_whose_window_is_over_is_free_for_others() {
    let small = with_quota(hourly(1, &[]), |rate| rate.max_clients = 64);
    let mut bench = bench(vec![small], Duration::ZERO);
    for hour in 0..20 {
        for client in 0..64 {
            assert_eq!(bench.from(&format!("10.0.{hour}.{client}")), Decision::Admitted);
        }
        bench.clock.advance(HOUR);
    }
    assert_eq!(bench.limiter.overflowed(), 0);
}

#[test]
fn many_threads_share_a_quota_exactly_across_resets() {
    const WINDOWS: usize = 40;
    for overrides in [&[][..], &[("192.0.2.1", terms(50))]] {
        let bench = bench(vec![hourly(50, overrides)], Duration::ZERO);
        let start = &Barrier::new(4);
        let taken: usize = thread::scope(|scope| {
            let work = || {
                let (client, method) = (ClientId::Address("192.0.2.1".parse().unwrap()), Method::GET);
                let mut reservation = Reservation::default();
                let mut taken = 0;
                for step in 0..WINDOWS {
                    start.wait();
                    // The threads come to the new window at different times.
                    for _ in 0..200 {
                        let now = bench.clock.now();
                        let decision = decide(&bench.limiter, &[0], &client, &method, now, &mut reservation);
                        taken += usize::from(decision == Decision::Admitted);
                    }
                    if start.wait().is_leader() && step + 1 < WINDOWS {
                        bench.clock.advance(HOUR);
                    }
                }
                taken
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, WINDOWS * 50);
    }
}

#[test]
fn threads_that_race_with_a_reset_never_take_more_than_both_windows_hold() {
    for _ in 0..200 {
        let bench =
            bench(vec![hourly(50, &[]), rule("wide", 1, 1_000_000)], HOUR - Duration::from_nanos(100));
        let start = &Barrier::new(4);
        let taken: usize = thread::scope(|scope| {
            let work = |_| {
                let bench = &bench;
                scope.spawn(move || {
                    let (client, method) = (ClientId::Address("192.0.2.1".parse().unwrap()), Method::GET);
                    let mut reservation = Reservation::default();
                    start.wait();
                    let mut taken = 0;
                    for _ in 0..100 {
                        let now = bench.clock.now();
                        bench.clock.advance(Duration::from_nanos(1));
                        let decision =
                            decide(&bench.limiter, &[0, 1], &client, &method, now, &mut reservation);
                        taken += usize::from(decision == Decision::Admitted);
                    }
                    taken
                })
            };
            let threads: Vec<_> = (0..4).map(work).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 100);
    }
}

/// What is done to a quota.
#[derive(Clone, Debug)]
enum Step {
    /// A request of a client.
    Request(u8),
    /// Time passes.
    Pass(u64),
    /// The wall clock is set back.
    SetBack(u64),
    /// The quota becomes another.
    Reload(u64),
    /// A client is counted anew.
    Reset(u8),
    /// The process restarts.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..4_u8).prop_map(Step::Request),
        3 => prop_oneof![0..4_000_u64, Just(3600), 0..20_000_u64].prop_map(Step::Pass),
        1 => (0..8_000_u64).prop_map(Step::SetBack),
        1 => (1..8_u64).prop_map(Step::Reload),
        1 => (0..4_u8).prop_map(Step::Reset),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn it_counts_as_a_map_by_client_and_window_does(steps in steps(), cost in 1..3_u32) {
        // The last client has an override with twice the quota.
        let rules = |count: u64| {
            vec![with_quota(hourly(count.max(2), &[("192.0.2.3", terms(2 * count.max(2)))]), |rate| {
                rate.cost = cost;
                rate.max_clients = 64;
            })]
        };
        let mut count = 5;
        let mut bench = bench(rules(count), Duration::ZERO);
        let mut counts: HashMap<(u8, u64), u64> = HashMap::new();
        let mut window = 0;
        for step in steps {
            let now = bench.clock.now();
            // The limiter learns which window it is when it is asked.
            if !matches!(step, Step::Pass(_) | Step::SetBack(_)) {
                window = window.max(bench.limiter.wall().at(now) / 3_600_000_000_000);
            }
            match step {
                Step::Request(client) => {
                    let has = counts.entry((client, window)).or_default();
                    let most = count.max(2) * if client == 3 { 2 } else { 1 };
                    let is_enough = *has + u64::from(cost) <= most;
                    *has += if is_enough { u64::from(cost) } else { 0 };
                    let decision = bench.from(&format!("192.0.2.{client}"));
                    prop_assert_eq!(decision == Decision::Admitted, is_enough);
                    prop_assert_eq!(u64::from(bench.tokens()[0]), most.saturating_sub(*has));
                    let Some(Remaining::Window(reading)) = bench.reservation.reports()[0].remaining else {
                        panic!("it is a quota")
                    };
                    let end = (window + 1) * 3_600_000_000_000;
                    prop_assert_eq!(reading.ends_in.as_nanos(), u128::from(end - bench.limiter.wall().at(now)));
                    prop_assert_eq!(reading.length, HOUR);
                }
                Step::Pass(seconds) => bench.clock.advance(Duration::from_secs(seconds)),
                Step::SetBack(seconds) => set_back(&bench, Duration::from_secs(seconds)),
                Step::Reload(other) => {
                    count = other;
                    bench.limiter = bench.limiter.succeeded_by(rules(count), now);
                }
                Step::Reset(client) => {
                    counts.remove(&(client, window));
                    let limit = &bench.limiter.limits()[0];
                    let address = format!("192.0.2.{client}");
                    let client = limit.rule().key.fingerprint_of(&[&address], limit.secret()).unwrap();
                    prop_assert!(limit.reset(client, None, now));
                }
                Step::Restart => {
                    // The limiter has seen the window only if it was asked.
                    bench.limiter.limits()[0].clients(now);
                    let wall = bench.limiter.wall().at(now);
                    let (mut file, at) = (Vec::new(), Moment { wall, clock: now });
                    bench.limiter.save(at, &mut file).unwrap();
                    let limiter = Limiter::restored(rules(count), Snapshot::read(&*file, at).unwrap(), now);
                    limiter.wall().set((now, jiff::Timestamp::from_nanosecond(wall.into()).unwrap()));
                    bench.limiter = limiter;
                }
            }
        }
    }
}
