//! A gateway's use of a store that comes and goes.

use std::sync::Arc;
use std::time::Duration;

use gateway::clock::Clock;
use gateway::config::{SharedStore, StoreKind};
use gateway::limit::bucket::Wait;
use gateway::limit::key::Fingerprint;
use gateway::limit::lease::{Answer, Ask};
use gateway::limit::quota::Quota;
use gateway::shared_store::{Store, StoreError};
use tokio::runtime::{Builder, Runtime};

use crate::support::redis::Redis;
use crate::support::{PATIENCE, eventually};

/// The settings of a gateway whose store is at this URL. Its requests wait longer than usual, since a machine that is busy with other
/// tests may take some milliseconds for anything.
pub(super) fn settings(url: &str) -> SharedStore {
    SharedStore {
        kind: StoreKind::Single,
        urls: vec![url.to_owned()],
        ca: None,
        secret: "0123456789abcdef".into(),
        prefix: "test".into(),
        timeout: Duration::from_millis(500),
        lease_time: Duration::from_secs(10),
    }
}

/// A gateway's store, and the runtime that drives it.
pub(super) struct Gateway {
    pub(super) store: Arc<Store>,
    driver: Runtime,
    /// The runtime of a worker, which asks.
    worker: Runtime,
}

impl Gateway {
    /// One whose store need not be there.
    pub(super) fn begin(settings: SharedStore) -> Self {
        let driver = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let worker = Builder::new_current_thread().enable_all().build().unwrap();
        let store = Arc::new(Store::new(settings));
        driver.spawn(store.clone().run());
        Self { store, driver, worker }
    }

    /// One whose store is there.
    #[track_caller]
    pub(super) fn start(settings: SharedStore) -> Self {
        let gateway = Self::begin(settings);
        gateway.wait_until(true);
        gateway
    }

    #[track_caller]
    pub(super) fn wait_until(&self, up: bool) {
        eventually("the store is up, or down", || (self.store.is_up() == up).then_some(()));
    }

    pub(super) fn ask(&self, asks: &[Ask]) -> Result<Vec<Answer>, StoreError> {
        self.worker.block_on(self.store.ask(asks, self.store.timeout())).map(|answers| answers.to_vec())
    }

    /// Asks about one bucket.
    #[track_caller]
    pub(super) fn one(&self, ask: &Ask) -> Answer {
        self.ask(std::slice::from_ref(ask)).unwrap()[0]
    }

    fn reset(&self, client: u128) {
        let done = self.store.reset("limit", Fingerprint::from_bits(client), quota());
        self.worker.block_on(done).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // `run` never ends.
        let nothing = Builder::new_current_thread().build().unwrap();
        std::mem::replace(&mut self.driver, nothing).shutdown_background();
    }
}

/// Ten tokens, of which one comes back in an hour.
pub(super) fn quota() -> Quota {
    Quota::new(1, Duration::from_secs(3600), 10).unwrap()
}

/// A request of a client that costs this.
pub(super) fn cost(client: u128, need: u32) -> Ask {
    Ask {
        limit: "limit".into(),
        client: Fingerprint::from_bits(client),
        quota: quota(),
        need,
        kept: false,
        ahead: 0,
        held: 0,
        back: 0,
        debt: 0,
    }
}

#[test]
fn gateways_share_buckets_and_hear_of_each_other() {
    fn may_move_between_threads(_: &impl Send) {}
    let server = Redis::start();
    let (one, two) = (Gateway::start(settings(&server.url())), Gateway::start(settings(&server.url())));
    may_move_between_threads(&one.store.ask(&[], PATIENCE));
    may_move_between_threads(&one.store.clone().run());
    assert_eq!(one.one(&cost(1, 6)).verdict, Ok(()));
    let refused = two.one(&cost(1, 6));
    let Err(Wait(wait)) = refused.verdict else { panic!("{refused:?}") };
    assert!(wait > Duration::from_secs(3600) && wait <= Duration::from_secs(2 * 3600), "{wait:?}");
    assert_eq!((refused.level.tokens, refused.level.parts_per_token), (4, 3_600_000_000));
    let ahead = two.one(&Ask { ahead: 100, ..cost(1, 1) });
    assert_eq!((ahead.ahead, ahead.level.tokens), (3, 0));
    // Of two buckets one is empty: the other one stays full.
    let both = one.ask(&[cost(2, 1), cost(1, 1)]).unwrap();
    assert!(both[0].verdict.is_ok() && both[1].verdict.is_err(), "{both:?}");
    assert_eq!(both[0].level.tokens, 10);

    eventually("each gateway sees the other", || {
        (one.store.gateways() == 2 && two.store.gateways() == 2).then_some(())
    });
    one.reset(1);
    let reset = ("limit".to_owned(), Fingerprint::from_bits(1));
    for gateway in [&one, &two] {
        let heard = eventually("the reset is heard", || {
            Some(gateway.store.resets()).filter(|resets| !resets.is_empty())
        });
        assert_eq!(heard, std::slice::from_ref(&reset));
    }
    // The three tokens that the other gateway holds are not there.
    assert_eq!(one.one(&cost(1, 0)).level.tokens, 7);
    let numbers = one.store.numbers();
    assert_eq!((numbers.answered, numbers.failed, numbers.timed_out, numbers.down), (4, 0, 0, 0));
    assert_eq!(numbers.latency.iter().sum::<u64>(), 4);
}

#[test]
fn a_key_is_gone_when_its_bucket_is_full() {
    let server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    let mut connection = server.connect();
    let mut left = |client: u128| -> i64 {
        let key = format!("test:1:limit:{client:032x}");
        redis::cmd("PTTL").arg(key).query(&mut connection).unwrap()
    };
    gateway.one(&cost(1, 2));
    let hours = left(1);
    assert!((7_100_000..=7_200_002).contains(&hours), "{hours}");
    gateway.one(&Ask { ahead: 2, ..cost(2, 0) });
    let lease = left(2);
    assert!((7_200_000..=7_211_002).contains(&lease), "{lease}");
    // What is not needed after all is given back, and nothing is left.
    let back = gateway.one(&Ask { back: 2, ..cost(2, 0) });
    assert_eq!((back.level.tokens, back.confirmed, left(2)), (10, 0, -2));
    let fast = Quota::new(1000, Duration::from_secs(1), 10).unwrap();
    gateway.one(&Ask { quota: fast, ..cost(3, 5) });
    eventually("the key is gone", || (left(3) == -2).then_some(()));
}

#[test]
fn a_script_that_the_server_has_lost_is_sent_again() {
    let server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connect()).unwrap();
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 6);
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 2);
}

#[test]
fn a_request_that_goes_away_is_in_the_way_of_nobody() {
    let server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    server.pause(true);
    gateway.worker.block_on(async {
        for _ in 0..20 {
            // Dropped before it is written, or before there is an answer.
            let asks = [cost(1, 1)];
            let ask = gateway.store.ask(&asks, PATIENCE);
            assert!(tokio::time::timeout(Duration::from_millis(1), ask).await.is_err());
        }
    });
    server.pause(false);
    // Whoever goes away has failed at nothing.
    assert!(gateway.store.is_up());
    assert_eq!(gateway.one(&cost(2, 4)).level.tokens, 6);
}

#[test]
fn a_server_that_ends_is_down_at_once_and_up_when_it_is_back() {
    let mut server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 6);
    server.stop();
    gateway.wait_until(false);
    assert_eq!(gateway.ask(&[cost(1, 1)]), Err(StoreError::Down));
    server.restart();
    gateway.wait_until(true);
    // It has lost its memory.
    assert_eq!(gateway.one(&Ask { held: 3, ..cost(1, 4) }).confirmed, 0);
    assert!(gateway.store.numbers().down > 0);
}

#[test]
fn a_server_that_was_never_there_is_down() {
    let gateway = Gateway::begin(settings("redis+unix:///nowhere/redis.sock"));
    assert_eq!(gateway.ask(&[cost(1, 1)]), Err(StoreError::Down));
    assert_eq!((gateway.store.gateways(), gateway.store.is_up()), (1, false));
}

#[test]
fn nobody_waits_for_a_server_that_stands_still() {
    let server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    server.pause(true);
    let clock = Clock::monotonic();
    let mut timed_out = 0;
    let outcome = eventually("the store is down", || {
        let begun = clock.now();
        let outcome = gateway.ask(&[cost(1, 1)]);
        let took = clock.now().since(begun);
        assert!(took < PATIENCE / 2, "{took:?}");
        timed_out += u32::from(outcome == Err(StoreError::TimedOut));
        (outcome == Err(StoreError::Down)).then_some(outcome)
    });
    assert_eq!(outcome, Err(StoreError::Down));
    // Heartbeats may have found it too: together it takes three.
    assert!(timed_out <= 3, "{timed_out}");
    assert!(!gateway.store.is_up());
    server.pause(false);
    gateway.wait_until(true);
    assert!(gateway.ask(&[cost(1, 1)]).is_ok());
}

#[test]
fn a_wrong_password_is_no_store() {
    let server = Redis::start_with(&["--requirepass", "right"]);
    let at = |password: &str| settings(&format!("{}?pass={password}", server.url()));
    let gateway = Gateway::begin(at("wrong"));
    let right = Gateway::start(at("right"));
    assert!(right.ask(&[cost(1, 1)]).is_ok());
    assert_eq!(gateway.ask(&[cost(1, 1)]), Err(StoreError::Down));
    assert!(!format!("{:?}", at("wrong")).contains("wrong"));
}

#[test]
fn a_user_needs_no_more_than_the_reference_says() {
    let reference = include_str!("../../docs/configuration.md");
    let rule = reference.split_once("`ACL SETUSER gateway ").unwrap().1.split_once('`').unwrap().0;
    let rule = rule.replace("~gateway:", "~test:").replace("PASSWORD", "word");
    let server = Redis::start();
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("gateway").arg(rule.split(' ').collect::<Vec<_>>());
    command.exec(&mut server.connect()).unwrap();
    let gateway = Gateway::start(settings(&format!("{}?user=gateway&pass=word", server.url())));
    assert_eq!(gateway.one(&Ask { ahead: 2, ..cost(1, 4) }).level.tokens, 4);
    assert_eq!(gateway.one(&Ask { back: 2, ..cost(1, 0) }).level.tokens, 6);
    gateway.reset(1);
    assert_eq!(gateway.one(&cost(1, 0)).level.tokens, 10);
}

#[test]
fn a_server_without_room_refuses_and_is_down() {
    let server = Redis::start();
    let gateway = Gateway::start(settings(&server.url()));
    let memory = |bytes: &str| {
        redis::cmd("CONFIG").arg(&["SET", "maxmemory", bytes]).exec(&mut server.connect()).unwrap();
    };
    memory("1");
    eventually("the store is down", || match gateway.ask(&[cost(1, 1)]).unwrap_err() {
        StoreError::Failed(why) => {
            assert!(why.contains("OOM"), "{why}");
            None
        }
        why => (why == StoreError::Down).then_some(()),
    });
    memory("0");
    gateway.wait_until(true);
    assert!(gateway.ask(&[cost(1, 1)]).is_ok());
}
