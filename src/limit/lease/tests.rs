//! Several gateways and one store, in any order of events: requests, calls that are late or lost, crashes, leases that end.
//!
//! What must hold: at no time more has been admitted than the burst and what the rate has brought since the start; and in no span more than
//! the burst, what the rate brings in that span, and what it brings while a request waits for the store.

mod store;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use self::store::Store;
use super::{Answer, Ask, LeaseTerms, Leases, Lot, OnError, Share, Sharing, Taken};
use crate::clock::Timestamp;
use crate::limit::key::{Fingerprint, Secret, fingerprint_of};
use crate::limit::quota::Quota;

const LEASE_TIME: Duration = Duration::from_secs(2);
/// The store has tokens down as held for longer than a gateway spends them.
const STORE_LEASE_TIME: Duration = Duration::from_millis(2200);
const TIMEOUT: Duration = Duration::from_millis(50);
const MAX_CLIENTS: usize = 64;

fn terms(most_ahead: Option<u32>) -> LeaseTerms {
    LeaseTerms { most_ahead, lease_time: LEASE_TIME, on_error: OnError::Local, secret: Secret::random() }
}

fn gateway() -> Leases {
    Leases::new("l".into(), MAX_CLIENTS, Arc::default())
}

/// A call on its way to the store.
struct Call {
    ask: Ask,
    sent: Timestamp,
    /// A request waits for the answer.
    waiting: bool,
    /// The gateway has given up waiting, or has crashed.
    given_up: bool,
}

/// A gateway with its calls, in their order, and the answers that are on their way back.
struct Gateway {
    id: u64,
    leases: Leases,
    calls: VecDeque<Call>,
    answers: VecDeque<(Call, Answer)>,
    /// What running requests have kept, each with the time at which it was admitted.
    kept: Vec<(u32, Lot, Timestamp)>,
    /// What requests have spent that another limit has not decided about yet.
    tried: Vec<(Lot, Timestamp)>,
}

/// All of it.
struct World {
    quota: Quota,
    terms: LeaseTerms,
    client: Fingerprint,
    store: Store,
    gateways: Vec<Gateway>,
    now: Timestamp,
    next_id: u64,
    /// When how many tokens were admitted.
    admitted: Vec<(Timestamp, u32)>,
}

#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Pass(u64),
    /// A request comes to a gateway; with `keep` its cost is known later.
    Request { at: usize, cost: u32, keep: bool },
    /// So many requests come to a gateway at once, and the store answers each call before the next request.
    Rush { at: usize, requests: u32 },
    /// The store gets the oldest call of a gateway.
    Arrive(usize),
    /// The oldest answer reaches a gateway.
    Return(usize),
    /// The oldest answer of a gateway is lost.
    Lose(usize),
    /// All calls and answers of a gateway are lost.
    Disconnect(usize),
    /// The oldest running request of a gateway costs this much in the end.
    Settle(usize, u32),
    /// A request spends a token, if one is held, and another limit decides about it later.
    Try(usize),
    /// Another limit has admitted the oldest such request, or refused it.
    Decide(usize, bool),
    /// The background task of a gateway looks at its leases.
    Sweep(usize),
    /// A gateway gives all back, as it does before it stops.
    Drain(usize),
    /// A gateway dies, and another takes its place.
    Crash(usize),
}

impl World {
    fn new(quota: Quota, gateways: usize, most_ahead: Option<u32>) -> Self {
        let mut world = Self {
            quota,
            terms: terms(most_ahead),
            client: fingerprint_of(1),
            store: Store::new(STORE_LEASE_TIME),
            gateways: Vec::new(),
            now: Timestamp::from_nanos(1_000_000_000),
            next_id: 0,
            admitted: Vec::new(),
        };
        for _ in 0..gateways {
            let gateway = world.another_gateway();
            world.gateways.push(gateway);
        }
        world
    }

    fn another_gateway(&mut self) -> Gateway {
        self.next_id += 1;
        Gateway {
            id: self.next_id,
            leases: gateway(),
            calls: VecDeque::new(),
            answers: VecDeque::new(),
            kept: Vec::new(),
            tried: Vec::new(),
        }
    }

    fn sharing(&self) -> Sharing<'_> {
        Sharing { terms: &self.terms, gateways: u32::try_from(self.gateways.len()).unwrap() }
    }

    #[expect(clippy::needless_pass_by_value, reason = "an event happens once")]
    fn happen(&mut self, event: Event) {
        self.give_up_late_calls();
        let count = self.gateways.len();
        match event {
            Event::Pass(millis) => {
                self.now = self.now.after(Duration::from_millis(millis));
                self.give_up_late_calls();
            }
            Event::Request { at, cost, keep } => self.request(at % count, cost, keep),
            Event::Rush { at, requests } => {
                for _ in 0..requests {
                    self.request(at % count, 1, false);
                    self.answer_all(at % count);
                }
            }
            Event::Arrive(at) => self.arrive(at % count),
            Event::Return(at) => {
                if let Some((call, answer)) = self.gateways[at % count].answers.pop_front() {
                    self.take_in(at % count, &call, &answer);
                }
            }
            Event::Lose(at) => {
                if let Some((call, _)) = self.gateways[at % count].answers.pop_front() {
                    self.give_up(at % count, &call);
                }
            }
            Event::Disconnect(at) => {
                let gateway = &mut self.gateways[at % count];
                let lost: Vec<_> = gateway.calls.drain(..).collect();
                let answers: Vec<_> = gateway.answers.drain(..).map(|(call, _)| call).collect();
                for call in lost.iter().chain(&answers) {
                    self.give_up(at % count, call);
                }
                // The store cannot tell what came over the connection before from what comes now but by this.
                self.next_id += 1;
                self.gateways[at % count].id = self.next_id;
            }
            Event::Settle(at, cost) => {
                let gateway = &mut self.gateways[at % count];
                if gateway.kept.is_empty() {
                    return;
                }
                let (kept, lot, admitted) = gateway.kept.remove(0);
                let cost = cost.min(kept);
                gateway.leases.settle(self.client, (kept, lot), cost, self.now);
                self.admitted.push((admitted, cost));
            }
            Event::Try(at) => {
                let gateway = &mut self.gateways[at % count];
                if let Taken::Spent { lot, .. } =
                    gateway.leases.take(self.client, &self.quota, 1, false, self.now, true)
                {
                    gateway.tried.push((lot, self.now));
                }
            }
            Event::Decide(at, is_admitted) => {
                let gateway = &mut self.gateways[at % count];
                if gateway.tried.is_empty() {
                    return;
                }
                let (lot, tried) = gateway.tried.remove(0);
                match is_admitted {
                    true => self.admitted.push((tried, 1)),
                    false => gateway.leases.put_back(self.client, 1, lot),
                }
            }
            Event::Sweep(at) => {
                let gateway = &self.gateways[at % count];
                let mut asks = gateway.leases.urgent(self.sharing(), self.now);
                asks.extend(gateway.leases.due(self.sharing(), 0, 1, self.now));
                asks.into_iter().for_each(|ask| self.send(at % count, ask, false));
            }
            Event::Drain(at) => {
                let asks = self.gateways[at % count].leases.give_all_back(self.sharing(), self.now);
                asks.into_iter().for_each(|ask| self.send(at % count, ask, false));
            }
            Event::Crash(at) => {
                let mut other = self.another_gateway();
                std::mem::swap(&mut other, &mut self.gateways[at % count]);
                // What the dead one let pass, as far as it is not known, cost all that was kept.
                self.admitted.extend(other.kept.iter().map(|(kept, _, admitted)| (*admitted, *kept)));
                self.admitted.extend(other.tried.iter().map(|(_, tried)| (*tried, 1)));
                // Its calls may still arrive.
                for call in other.calls {
                    self.store.ask(other.id, &call.ask, self.now);
                }
            }
        }
    }

    fn request(&mut self, at: usize, cost: u32, keep: bool) {
        let cost = cost.min(self.quota.burst());
        let gateway = &mut self.gateways[at];
        match gateway.leases.take(self.client, &self.quota, cost, keep, self.now, true) {
            Taken::Spent { lot, .. } if keep => gateway.kept.push((cost, lot, self.now)),
            Taken::Spent { .. } => self.admitted.push((self.now, cost)),
            Taken::Refused(..) | Taken::Busy => {}
            Taken::Lacking => {
                let ask = self.gateways[at].leases.ask(
                    self.sharing(),
                    self.client,
                    &self.quota,
                    cost,
                    keep,
                    self.now,
                );
                self.send(at, ask.unwrap(), true);
            }
        }
    }

    fn send(&mut self, at: usize, ask: Ask, waiting: bool) {
        let sent = self.now;
        self.gateways[at].calls.push_back(Call { ask, sent, waiting, given_up: false });
    }

    fn arrive(&mut self, at: usize) {
        let gateway = &mut self.gateways[at];
        if let Some(call) = gateway.calls.pop_front() {
            let answer = self.store.ask(gateway.id, &call.ask, self.now);
            gateway.answers.push_back((call, answer));
        }
    }

    /// The store answers all calls of a gateway.
    fn answer_all(&mut self, at: usize) {
        while !self.gateways[at].calls.is_empty() {
            self.arrive(at);
        }
        while let Some((call, answer)) = self.gateways[at].answers.pop_front() {
            self.take_in(at, &call, &answer);
        }
    }

    fn take_in(&mut self, at: usize, call: &Call, answer: &Answer) {
        if call.given_up {
            return;
        }
        let gateway = &mut self.gateways[at];
        let lot = gateway.leases.answered(&call.ask, answer, LEASE_TIME, call.sent, self.now);
        if call.waiting && answer.verdict.is_ok() {
            match call.ask.kept {
                true => gateway.kept.push((call.ask.need, lot, self.now)),
                false => self.admitted.push((self.now, call.ask.need)),
            }
        }
    }

    fn give_up(&mut self, at: usize, call: &Call) {
        if !call.given_up {
            self.gateways[at].leases.unanswered(self.client);
        }
    }

    /// No request waits longer than the timeout. The calls may still arrive.
    fn give_up_late_calls(&mut self) {
        let now = self.now;
        for gateway in &mut self.gateways {
            while gateway.tried.first().is_some_and(|(_, tried)| now.since(*tried) > TIMEOUT) {
                self.admitted.push((gateway.tried.remove(0).1, 1));
            }
            let answers = gateway.answers.iter_mut().map(|(call, _)| call);
            for call in gateway.calls.iter_mut().chain(answers) {
                if !call.given_up && now.since(call.sent) > TIMEOUT {
                    call.given_up = true;
                    gateway.leases.unanswered(self.client);
                }
            }
        }
    }

    /// The most that may be admitted in a span.
    fn most_in(&self, span: Duration) -> u128 {
        let nanos = span.as_nanos() * u128::from(self.quota.parts().1);
        u128::from(self.quota.burst()) + nanos / u128::from(self.quota.parts().2)
    }

    fn check(&mut self) {
        let began = Timestamp::from_nanos(1_000_000_000);
        self.admitted.sort_by_key(|(at, _)| *at);
        let mut all = 0;
        for (at, cost) in &self.admitted {
            all += u128::from(*cost);
            assert!(all <= self.most_in(at.since(began)), "{all} after {:?}", at.since(began));
        }
        for first in 0..self.admitted.len() {
            let mut all = 0;
            for (at, cost) in &self.admitted[first..] {
                all += u128::from(*cost);
                let span = at.since(self.admitted[first].0);
                assert!(all <= self.most_in(span + TIMEOUT), "{all} in {span:?}: {:?}", self.admitted);
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let at = 0_usize..3;
    prop_oneof![
        8 => (1_u64..400).prop_map(Event::Pass),
        2 => (0_u64..3000).prop_map(Event::Pass),
        12 => (at.clone(), 1_u32..4, prop::bool::weighted(0.2))
            .prop_map(|(at, cost, keep)| Event::Request { at, cost, keep }),
        8 => (at.clone(), 1_u32..8).prop_map(|(at, requests)| Event::Rush { at, requests }),
        2 => (at.clone(), Just(50)).prop_map(|(at, requests)| Event::Rush { at, requests }),
        12 => at.clone().prop_map(Event::Arrive),
        12 => at.clone().prop_map(Event::Return),
        1 => at.clone().prop_map(Event::Lose),
        1 => at.clone().prop_map(Event::Disconnect),
        3 => (at.clone(), 0_u32..3).prop_map(|(at, cost)| Event::Settle(at, cost)),
        3 => at.clone().prop_map(Event::Try),
        3 => (at.clone(), any::<bool>()).prop_map(|(at, admitted)| Event::Decide(at, admitted)),
        4 => at.clone().prop_map(Event::Sweep),
        1 => at.clone().prop_map(Event::Drain),
        1 => at.prop_map(Event::Crash),
    ]
}

proptest! {
    #[test]
    fn never_more_is_admitted_than_one_gateway_would(
        count in 1_u64..30,
        burst in 1_u64..40,
        gateways in 1_usize..4,
        most_ahead in prop::option::of(0_u32..20),
        events in prop::collection::vec(event(), 1..400),
    ) {
        let quota = Quota::new(count, Duration::from_secs(1), burst).unwrap();
        let mut world = World::new(quota, gateways, most_ahead);
        for event in events {
            world.happen(event);
        }
        world.check();
    }
}

/// A gateway whose calls are answered at once. Returns how many requests were admitted, and how many calls were made.
fn run(gateways: usize, quota: Quota, most_ahead: Option<u32>, requests: usize, gap: Duration) -> (u32, u32) {
    let mut world = World::new(quota, gateways, most_ahead);
    let mut calls = 0;
    for request in 0..requests {
        world.now = world.now.after(gap);
        let at = request % gateways;
        world.happen(Event::Request { at, cost: 1, keep: false });
        if request % 50 == 0 {
            (0..gateways).for_each(|at| world.happen(Event::Sweep(at)));
        } else {
            let asks = world.gateways[at].leases.urgent(world.sharing(), world.now);
            asks.into_iter().for_each(|ask| world.send(at, ask, false));
        }
        for at in 0..gateways {
            calls += u32::try_from(world.gateways[at].calls.len()).unwrap();
            world.answer_all(at);
        }
    }
    world.check();
    (world.admitted.iter().map(|(_, cost)| cost).sum(), calls)
}

#[test]
fn a_busy_client_costs_few_calls() {
    let quota = |count, burst| Quota::new(count, Duration::from_secs(1), burst).unwrap();
    let millisecond = Duration::from_millis(1);
    // Below the limit: every request is admitted.
    let (admitted, calls) = run(3, quota(2000, 400), None, 20_000, millisecond);
    assert_eq!(admitted, 20_000);
    assert!(calls < 1000, "{calls} calls for 20000 requests");
    // Above the limit: what the rate brings in 20 seconds, and the burst.
    let (admitted, calls) = run(3, quota(100, 200), None, 20_000, millisecond);
    assert!((2134..=2200).contains(&admitted), "{admitted} of 2200");
    assert!(calls < 1000, "{calls} calls for 20000 requests");
}

#[test]
fn a_strict_limit_asks_about_every_request_that_is_not_refused_already() {
    let quota = Quota::new(100, Duration::from_secs(1), 200).unwrap();
    let (admitted, calls) = run(3, quota, Some(0), 100, Duration::from_millis(20));
    assert_eq!((admitted, calls), (100, 100));
}

#[test]
fn a_refusal_is_remembered_until_its_time() {
    let quota = Quota::new(1, Duration::from_secs(10), 1).unwrap();
    let (admitted, calls) = run(1, quota, None, 9_000, Duration::from_millis(1));
    assert_eq!((admitted, calls), (1, 1));
}

/// How many of 20,000 requests, one a millisecond, to three gateways in turn are admitted when the store is away every other time of this
/// length.
fn admitted_beside_outages(quota: Quota, time: Duration) -> usize {
    let (terms, client) = (terms(None), Fingerprint::from_bits(1));
    let sharing = Sharing { terms: &terms, gateways: 3 };
    let gateways = [gateway(), gateway(), gateway()];
    let mut store = Store::new(STORE_LEASE_TIME);
    let mut admitted = 0;
    for step in 0..20_000_u64 {
        let now = Timestamp::default().after(Duration::from_millis(step));
        let at = step % 3;
        let leases = &gateways[usize::try_from(at).unwrap()];
        let is_up = step / u64::try_from(time.as_millis()).unwrap() % 2 == 0;
        if is_up {
            leases.forget_guess(client);
        }
        admitted += usize::from(match leases.take(client, &quota, 1, false, now, true) {
            Taken::Spent { .. } => true,
            Taken::Refused(..) | Taken::Busy => false,
            Taken::Lacking if is_up => {
                let ask = leases.ask(sharing, client, &quota, 1, false, now).unwrap();
                let answer = store.ask(at, &ask, now);
                leases.answered(&ask, &answer, LEASE_TIME, now, now);
                answer.verdict.is_ok()
            }
            Taken::Lacking => {
                let share = Share::of(1, &quota, 3);
                leases.take_alone(client, &quota, share, false, false, now).unwrap().0.is_ok()
            }
        });
    }
    admitted
}

#[test]
fn a_store_that_comes_and_goes_hears_of_what_was_admitted_without_it() {
    let quota = Quota::new(100, Duration::from_secs(1), 200).unwrap();
    for millis in [20, 100, 1000, 4000] {
        let admitted = admitted_beside_outages(quota, Duration::from_millis(millis));
        // The burst, and what the rate brings in 20 seconds. Shares are whole requests, so a gateway may be one ahead.
        assert!((1980..=2203).contains(&admitted), "{admitted} with outages of {millis} ms");
    }
}
