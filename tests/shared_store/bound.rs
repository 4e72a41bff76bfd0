//! What all gateways together let pass, according to the model: at most what one would.

use std::time::Duration;

use gateway::limit::quota::Quota;
use gateway::shared_store::Terms;
use proptest::prelude::*;

use super::model::{Ask, Store};

/// How long the store has tokens down as held, and how long a gateway spends them, in microseconds.
const DOWN_FOR: i128 = 11_000_000;
const LEASE_TIME: i128 = 10_000_000;

/// What a gateway holds, and until when it spends it.
#[derive(Clone, Copy, Default)]
struct Held {
    tokens: u32,
    until: i128,
}

#[derive(Clone, Debug)]
enum Step {
    /// Asks for tokens, some of them ahead, and gives some back.
    Ask {
        gateway: usize,
        need: u32,
        kept: bool,
        ahead: u32,
        back: u32,
        is_lost: bool,
    },
    /// Spends tokens that it holds.
    Spend {
        gateway: usize,
        tokens: u32,
    },
    /// Forgets what it holds, since it is started anew.
    Forget {
        gateway: usize,
    },
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..9_u32, any::<bool>(), 0..30_u32, 0..4_u32, prop::bool::weighted(0.1)).prop_map(
            |(gateway, need, kept, ahead, back, is_lost)| Step::Ask { gateway, need, kept, ahead, back, is_lost }
        ),
        4 => (0..3_usize, 0..20_u32).prop_map(|(gateway, tokens)| Step::Spend { gateway, tokens }),
        1 => (0..3_usize).prop_map(|gateway| Step::Forget { gateway }),
        4 => (0..4_000_000_i64).prop_map(Step::Wait),
        1 => (0..30_000_000_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_no_span_of_time_pass_more_than_the_burst_and_what_the_rate_brings(
        steps in prop::collection::vec(step(), 1..80),
        burst in prop_oneof![Just(20_u64), Just(3), Just(100)],
    ) {
        let terms = Terms::from(Quota::new(3, Duration::from_secs(1), burst).unwrap());
        let (mut store, mut now, mut gateways) = (Store::default(), 0_i128, [Held::default(); 3]);
        let mut passed: Vec<(i128, u32)> = Vec::new();
        for step in steps {
            match step {
                Step::Ask { gateway, need, kept, ahead, back, is_lost } => {
                    let held = &mut gateways[gateway];
                    if now >= held.until {
                        held.tokens = 0;
                    }
                    let back = back.min(held.tokens);
                    held.tokens -= back;
                    let ask = Ask {
                        key: 0, terms, need, kept, ahead, held: held.tokens, back, debt: 0, add: 0, look: false,
                    };
                    let [enough, more, _, _, confirmed, _] = store.call(gateway, DOWN_FOR, now, &[ask])[0];
                    if is_lost {
                        continue;
                    }
                    let kept_now = if kept && enough == 1 { need } else { 0 };
                    held.tokens = u32::try_from(more + confirmed).unwrap() + kept_now;
                    held.until = now + LEASE_TIME;
                    if enough == 1 && !kept {
                        passed.push((now, need));
                    }
                }
                Step::Spend { gateway, tokens } => {
                    let held = &mut gateways[gateway];
                    if now < held.until {
                        let tokens = tokens.min(held.tokens);
                        held.tokens -= tokens;
                        passed.push((now, tokens));
                    }
                }
                Step::Forget { gateway } => gateways[gateway] = Held::default(),
                Step::Wait(time) => now += i128::from(time),
            }
        }
        for (first, (from, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (to, tokens) in &passed[first..] {
                sum += i128::from(*tokens);
                let most = i128::from(terms.burst * terms.period) + (to - from) * i128::from(terms.tokens);
                prop_assert!(sum * i128::from(terms.period) <= most, "{sum} from {from} to {to}");
            }
        }
    }
}
