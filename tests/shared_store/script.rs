//! The script of the store, on a real server, against the model.

use std::cell::RefCell;
use std::time::Duration;

use gateway::limit::quota::{MAX_PERIOD, Quota};
use gateway::shared_store::Terms;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::{Answer, Ask, Store};
use crate::support::redis::Redis;

const SCRIPT: &str = include_str!("../../src/shared_store/bucket.lua");

const LEASE_TIME: u32 = 11_000_000;

/// 2026, in microseconds.
const START: i128 = 1_767_225_600_000_000;

/// Rates and bursts of all sizes.
fn quotas() -> Vec<Terms> {
    const SECOND: Duration = Duration::from_secs(1);
    let hair = Duration::from_nanos(1);
    [
        (10, SECOND, 20),
        (10, SECOND, 200),
        (3, SECOND, 3),
        (7, 60 * SECOND, 1),
        (1, hair, 1_000_000_000),
        (1_000_000, SECOND, 1_000_000),
        (300_007, SECOND, 500),
        (1, MAX_PERIOD, 36),
        (1, MAX_PERIOD - hair, 2),
        (262_143, MAX_PERIOD - hair, 1_000_000),
        (999_999_937, MAX_PERIOD, 1_000_000_000),
        (1, 3600 * SECOND, 5),
        (100, 7 * SECOND, 64),
    ]
    .map(|(count, period, burst)| Terms::from(Quota::new(count, period, burst).unwrap()))
    .to_vec()
}

fn call(connection: &mut redis::Connection, gateway: usize, now: i128, asks: &[Ask]) -> Vec<Answer> {
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(asks.len());
    for ask in asks {
        command.arg(format!("key{}", ask.key));
    }
    command.arg(format!("g{gateway}")).arg(LEASE_TIME).arg(now.to_string());
    for ask in asks {
        let numbers = [
            ask.need.into(),
            ask.kept.into(),
            ask.ahead.into(),
            ask.held.into(),
            ask.back.into(),
            ask.debt.into(),
        ];
        let terms = [ask.terms.tokens, ask.terms.period, ask.terms.burst];
        command.arg(&terms).arg::<&[u64]>(&numbers).arg(ask.add).arg(u8::from(ask.look));
    }
    command.query(connection).unwrap()
}

/// A number of tokens: none, a few, about a burst, or any.
fn tokens() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(0), 6 => 0..5_u32, 4 => 0..40_u32, 1 => 0..600_u32, 1 => any::<u32>()]
}

fn ask(key: usize) -> impl Strategy<Value = (Ask, usize)> {
    let extra = prop_oneof![12 => Just((0, false)), 1 => Just((1 << 42, false)), 1 => (0..50_u64, Just(false)), 1 => Just((0, true))];
    let debt = prop_oneof![8 => Just(0), 2 => 0..30_u32, 1 => any::<u32>()];
    (0..3_usize, tokens(), any::<bool>(), tokens(), tokens(), tokens(), debt, extra).prop_map(
        move |(quota, need, kept, ahead, held, back, debt, (add, look))| {
            let terms = Terms { tokens: 1, period: 1, burst: 1 };
            (Ask { key, terms, need, kept, ahead, held, back, debt, add, look }, quota)
        },
    )
}

/// How much later a call is than the one before, in microseconds.
fn pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0),
        4 => 0..1_000_i64,
        6 => 0..3_000_000_i64,
        4 => 0..15_000_000_i64,
        1 => 0..400_000_000_000_000_i64,
        1 => -100_000_000..0_i64,
    ]
}

type Step = (usize, i64, Vec<(Ask, usize)>);

fn steps() -> impl Strategy<Value = ([usize; 3], Vec<Step>)> {
    let asks = prop_oneof![
        2 => ask(0).prop_map(|ask| vec![ask]),
        1 => (ask(1), ask(0)).prop_map(|(one, two)| vec![one, two]),
    ];
    let chosen = prop::array::uniform3(0..quotas().len());
    // Half of the runs have one quota from beginning to end.
    let chosen = (chosen, any::<bool>()).prop_map(|(quotas, one)| if one { [quotas[0]; 3] } else { quotas });
    (chosen, prop::collection::vec((0..3_usize, pause(), asks), 1..40))
}

#[test]
fn the_script_computes_what_the_model_does() {
    let server = Redis::start();
    let connection = RefCell::new(server.connect());
    let quotas = quotas();
    let mut runner = TestRunner::new(Config { cases: 250, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |(chosen, steps)| {
            let connection = &mut *connection.borrow_mut();
            redis::cmd("FLUSHALL").exec(connection).unwrap();
            let (mut model, mut now) = (Store::default(), START);
            for (gateway, pause, asks) in steps {
                now += i128::from(pause);
                let asks: Vec<Ask> = asks
                    .into_iter()
                    .map(|(ask, quota)| Ask { terms: quotas[chosen[quota]], ..ask })
                    .collect();
                let expected = model.call(gateway, LEASE_TIME.into(), now, &asks);
                let answers = call(connection, gateway, now, &asks);
                prop_assert_eq!(&answers, &expected, "gateway {} at {}: {:?}", gateway, now, asks);
            }
            Ok(())
        })
        .unwrap();
}
