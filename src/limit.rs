//! The limiter: all limits of a request, decided together.
//!
//! A request is admitted if every bucket that applies to it holds enough, and then takes from each; otherwise
//! it takes from none. To that end all buckets are looked at first, and only when all would pay are the tokens
//! taken; if another request gets in between and one bucket refuses after all, what was taken is put back.

pub mod bucket;
pub mod fields;
pub mod key;
pub mod quota;
pub mod table;

use std::net::IpAddr;
use std::time::Duration;

use http::{Method, StatusCode};
use ipnet::IpNet;
use smallvec::SmallVec;

use self::bucket::{Bucket, Level, Wait};
use self::key::{Facts, Fingerprint, Key, Secret};
use self::quota::Quota;
use self::table::{Answer, Place, Table};
use crate::clock::Timestamp;

/// More limits than this on one request are unusual, and take memory of their own.
const USUAL: usize = 4;

/// What a limit does to a request that its bucket cannot pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Enforce,
    /// Count and log it, and let it pass.
    DryRun,
}

/// What makes a limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique: in metrics, fields and logs.
    pub name: String,
    /// Rate and burst of each bucket.
    pub quota: Quota,
    /// Whose bucket.
    pub key: Key,
    /// The tokens that a request takes; 1 to the burst.
    pub cost: u32,
    /// The methods that count; empty is all.
    pub methods: Vec<Method>,
    /// The clients that are never limited.
    pub exempt: Vec<IpNet>,
    /// Whether it refuses, or only says so.
    pub mode: Mode,
    /// The status of a refusal, 400 to 599.
    pub status: StatusCode,
    /// Whether answers carry the `RateLimit` fields of this limit.
    pub fields: bool,
    /// Whether answers carry `X-RateLimit-*` fields as well.
    pub legacy_headers: bool,
    /// The most buckets it keeps.
    pub max_clients: usize,
}

impl Rule {
    /// A rule that enforces this quota for everybody, and says so in the fields: one token a request.
    pub fn new(name: String, quota: Quota, key: Key, max_clients: usize) -> Self {
        Self {
            name,
            quota,
            key,
            cost: 1,
            methods: Vec::new(),
            exempt: Vec::new(),
            mode: Mode::Enforce,
            status: StatusCode::TOO_MANY_REQUESTS,
            fields: true,
            legacy_headers: false,
            max_clients,
        }
    }
}

/// A limit: a rule and its buckets.
pub struct Limit {
    rule: Rule,
    table: Table,
}

/// All limits of a configuration.
pub struct Limiter {
    limits: Vec<Limit>,
    secret: Secret,
}

/// What one limit made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The limit's index.
    pub limit: usize,
    /// What it decided.
    pub outcome: Outcome,
    /// The bucket after that; `None` for an exempt client.
    pub bucket: Option<Reading>,
}

/// A bucket at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is filled under.
    pub quota: Quota,
    bucket: Bucket,
    at: Timestamp,
}

impl Reading {
    /// What the bucket holds. It takes two divisions, so it is worked out only for those who want to know.
    pub fn level(&self) -> Level {
        self.bucket.level(&self.quota, self.at)
    }
}

/// What a limit decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its bucket paid.
    Allowed,
    /// Its bucket holds too little, for so long.
    Refused(Wait),
    /// Its bucket holds too little, and the limit is only being tried out.
    WouldRefuse,
    /// The client is never limited.
    Exempt,
    /// Its bucket would have paid, but another limit refused the request.
    Spared,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every bucket has paid.
    Admitted,
    /// A bucket holds too little; nothing was taken from any.
    Refused {
        /// The first limit that refused.
        limit: usize,
        /// How long until every bucket holds enough, if nobody else takes from them.
        wait: Duration,
    },
    /// The request lacks a part of this limit's key, and the limit does not allow that.
    KeyMissing {
        /// The limit's index.
        limit: usize,
    },
}

/// A limit that applies to a request, and the bucket that it means.
struct Claim<'a> {
    index: usize,
    limit: &'a Limit,
    client: Fingerprint,
}

impl Limiter {
    /// The limits that follow `rules`, in their order, all buckets full.
    pub fn new(rules: Vec<Rule>, secret: Secret) -> Self {
        let limit = |rule: Rule| Limit { table: Table::new(rule.quota, rule.max_clients), rule };
        Self { limits: rules.into_iter().map(limit).collect(), secret }
    }

    /// The limits, in the order of their rules.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Decides about a request to which the limits with these indices apply, and takes the tokens if it is
    /// admitted. What each limit made of it replaces the contents of `reports`.
    pub fn decide(
        &self,
        limits: &[usize],
        facts: &Facts<'_>,
        now: Timestamp,
        reports: &mut Vec<Report>,
    ) -> Decision {
        reports.clear();
        // A single limit has nobody to agree with.
        if let &[index] = limits {
            return match self.claim(index, facts) {
                Ok(Claimed::Bucket(claim)) => {
                    reports.push(claim.report(claim.take(now), now));
                    settle_refusal(reports).unwrap_or(Decision::Admitted)
                }
                Ok(Claimed::Nothing(report)) => {
                    reports.extend(report);
                    Decision::Admitted
                }
                Err(key::PartMissing) => Decision::KeyMissing { limit: index },
            };
        }
        let mut claims = SmallVec::<[Claim<'_>; USUAL]>::new();
        for &index in limits {
            match self.claim(index, facts) {
                Ok(Claimed::Bucket(claim)) => claims.push(claim),
                Ok(Claimed::Nothing(report)) => reports.extend(report),
                Err(key::PartMissing) => {
                    reports.clear();
                    return Decision::KeyMissing { limit: index };
                }
            }
        }
        let exempt = reports.len();
        for claim in &claims {
            reports.push(claim.report(claim.look(now), now));
        }
        if let Some(refusal) = settle_refusal(&mut reports[exempt..]) {
            return refusal;
        }
        reports.truncate(exempt);
        take_all(&claims, now, reports)
    }

    /// What a limit wants of a request.
    fn claim(&self, index: usize, facts: &Facts<'_>) -> Result<Claimed<'_>, key::PartMissing> {
        let limit = &self.limits[index];
        if !limit.counts(facts.method) {
            return Ok(Claimed::Nothing(None));
        }
        if limit.exempts(facts.client.address()) {
            return Ok(Claimed::Nothing(Some(Report {
                limit: index,
                outcome: Outcome::Exempt,
                bucket: None,
            })));
        }
        let client = limit.rule.key.fingerprint(facts, &self.secret)?;
        Ok(Claimed::Bucket(Claim { index, limit, client }))
    }
}

/// Takes from every bucket, or from none.
fn take_all(claims: &[Claim<'_>], now: Timestamp, reports: &mut Vec<Report>) -> Decision {
    let exempt = reports.len();
    let mut places = SmallVec::<[Place; USUAL]>::new();
    for claim in claims {
        let answer = claim.take(now);
        places.push(answer.place);
        let report = claim.report(answer, now);
        reports.push(report);
        if matches!(report.outcome, Outcome::Refused(_)) {
            put_back(claims, &places, &mut reports[exempt..], now);
            break;
        }
    }
    settle_refusal(&mut reports[exempt..]).unwrap_or(Decision::Admitted)
}

/// Undoes what the claims before a refusal took.
fn put_back(claims: &[Claim<'_>], places: &[Place], reports: &mut [Report], now: Timestamp) {
    for ((claim, place), report) in claims.iter().zip(places).zip(reports) {
        if report.outcome == Outcome::Allowed {
            claim.limit.table.give_back(claim.client, claim.limit.rule.cost, now, *place);
            report.bucket = Some(claim.reading(claim.look(now), now));
        }
    }
}

/// What a limit wants of a request.
enum Claimed<'a> {
    /// Tokens.
    Bucket(Claim<'a>),
    /// Nothing, and what there is to say of that.
    Nothing(Option<Report>),
}

impl Claim<'_> {
    fn look(&self, now: Timestamp) -> Answer {
        self.limit.table.look(self.client, self.limit.rule.cost, now)
    }

    fn take(&self, now: Timestamp) -> Answer {
        self.limit.table.take(self.client, self.limit.rule.cost, now)
    }

    fn report(&self, answer: Answer, now: Timestamp) -> Report {
        let outcome = match (answer.verdict, self.limit.rule.mode) {
            (Ok(()), _) => Outcome::Allowed,
            (Err(wait), Mode::Enforce) => Outcome::Refused(wait),
            (Err(_), Mode::DryRun) => Outcome::WouldRefuse,
        };
        Report { limit: self.index, outcome, bucket: Some(self.reading(answer, now)) }
    }

    fn reading(&self, answer: Answer, now: Timestamp) -> Reading {
        Reading { quota: *self.limit.table.quota(), bucket: answer.bucket, at: now }
    }
}

/// If a limit refused, says so of the whole request: the others are spared.
fn settle_refusal(reports: &mut [Report]) -> Option<Decision> {
    let mut refusal: Option<(usize, Duration)> = None;
    for report in &*reports {
        if let Outcome::Refused(Wait(wait)) = report.outcome {
            refusal =
                Some(refusal.map_or((report.limit, wait), |(limit, longest)| (limit, longest.max(wait))));
        }
    }
    let (limit, wait) = refusal?;
    for report in reports {
        if matches!(report.outcome, Outcome::Allowed | Outcome::WouldRefuse) {
            report.outcome = Outcome::Spared;
        }
    }
    Some(Decision::Refused { limit, wait })
}

impl Limit {
    /// What makes it.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Its buckets.
    pub fn table(&self) -> &Table {
        &self.table
    }

    fn counts(&self, method: &Method) -> bool {
        self.rule.methods.is_empty() || self.rule.methods.contains(method)
    }

    fn exempts(&self, client: Option<IpAddr>) -> bool {
        client.is_some_and(|client| self.rule.exempt.iter().any(|network| network.contains(&client)))
    }
}

#[cfg(test)]
mod tests {
    use super::key::{KeyPart, MissingKey};
    use super::*;
    use crate::client::ClientId;
    use crate::clock::Clock;
    use http::{HeaderMap, HeaderName};
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
}
