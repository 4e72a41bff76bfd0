//! A client that sends a new key with each request, and those who come meanwhile.

use super::*;

/// A limit of two, one a minute, for each path: any fact of a request will do for a key that is made up.
fn by_path(charge: Charge) -> Rule {
    let key = Key { parts: vec![KeyPart::Path], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
    let quota = Quota::new(1, 60 * SECOND, 2).unwrap();
    let measure = Measure::Rate(Rate { quota, cost: 1, charge, max_clients: 1000 });
    Rule { key, measure, ..rule("by_path", 1, 1) }
}

struct Flooded {
    limiter: Limiter,
    limits: Vec<usize>,
    clock: Clock,
}

impl Flooded {
    /// These limits, after one address has sent 5,000 keys.
    fn new(rules: Vec<Rule>) -> Self {
        let limits = (0..rules.len()).collect();
        let flooded = Self { limiter: Limiter::new(rules, Secret::random()), limits, clock: Clock::manual() };
        for id in 0..5000 {
            flooded.request("192.0.2.66", &format!("/flood/{id}"));
        }
        flooded
    }

    /// Sends a request, which fails if it is admitted.
    fn request(&self, client: &str, path: &str) -> bool {
        let inputs = Inputs {
            client: &ClientId::Address(client.parse().unwrap()),
            caller: None,
            method: &Method::GET,
            host: "a.example",
            path,
            query: None,
            route: "r",
            headers: &HeaderMap::new(),
        };
        let mut reservation = Reservation::default();
        let now = self.clock.now();
        let admitted =
            decide_by(&self.limiter, &self.limits, &inputs, now, &mut reservation) == Decision::Admitted;
        if admitted {
            self.limiter.settle(&mut reservation, StatusCode::UNAUTHORIZED, &HeaderMap::new(), || now);
        }
        admitted
    }

    /// How many of 100 newcomers from as many addresses may send two requests each, and not three.
    fn welcome(&self) -> usize {
        let newcomer = |id: u32| {
            let (client, path) = (format!("198.51.{}.{}", id / 256, id % 256), format!("/new/{id}"));
            [(); 3].map(|()| self.request(&client, &path)) == [true, true, false]
        };
        (0..100).filter(|id| newcomer(*id)).count()
    }
}

#[test]
fn newcomers_from_other_addresses_have_buckets_of_their_own() {
    let flooded = Flooded::new(vec![by_path(Charge::Always)]);
    assert!(!flooded.request("192.0.2.66", "/one/more"));
    assert!(flooded.welcome() >= 98, "{}", flooded.welcome());
}

#[test]
fn so_they_have_beside_other_limits() {
    let flooded = Flooded::new(vec![rule("all", 1_000_000, 1_000_000), by_path(Charge::Always)]);
    let of_all = || {
        flooded.limiter.limits()[0].table().unwrap().look(
            key::fingerprint_of(0),
            Timestamp::default(),
            || None,
        )
    };
    let before = of_all();
    assert!(!flooded.request("192.0.2.66", "/one/more"));
    assert_eq!(of_all(), before, "a request that is refused takes nothing");
    assert!(flooded.welcome() >= 98);
}

#[test]
fn so_they_have_where_failures_are_charged_afterwards() {
    let flooded = Flooded::new(vec![by_path(Charge::OnFailure(vec![StatusCode::UNAUTHORIZED]))]);
    assert!(!flooded.request("192.0.2.66", "/one/more"), "who guesses pays from the bucket that is shared");
    assert!(flooded.welcome() >= 98, "{}", flooded.welcome());
}

#[test]
fn a_key_that_is_the_address_has_a_bucket_as_long_as_there_is_room() {
    let limiter = Limiter::new(
        vec![Rule { measure: by_path(Charge::Always).measure, ..by_client(&[]) }],
        Secret::random(),
    );
    let clock = Clock::manual();
    let mut reservation = Reservation::default();
    let admitted = (0..1300_u32).filter(|id| {
        let client = ClientId::Address(std::net::Ipv4Addr::from(*id).into());
        decide(&limiter, &[0], &client, &Method::GET, clock.now(), &mut reservation) == Decision::Admitted
    });
    assert_eq!(admitted.count(), 1300, "and there is more room than it is made for");
    assert!(limiter.overflowed() <= 2);
}
