//! The limiters that are compared, behind one interface.
//!
//! A decision takes the time as given: a proxy reads its clock once for a request, whatever it does with it. So
//! `governor` gets a clock that tells a thread what it was told. The sketch reads the system's clock itself, and
//! cannot be kept from it.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway::client::ClientId;
use gateway::clock::Timestamp;
use gateway::limit::key::{Inputs, Key, KeyPart, MissingKey, Secret};
use gateway::limit::quota::Quota;
use gateway::limit::table::Table;
use gateway::limit::{Limiter, Reservation, Rule};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use http::{HeaderMap, Method};
use pingora_limits::rate::Rate;
use siphasher::sip::SipHasher13;

/// One token each `period`, and a bucket of `burst`.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) period: Duration,
    pub(crate) burst: u32,
}

/// The address of the client with this number.
pub(crate) fn address(client: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(client))
}

/// A limiter, as a thread uses it.
pub(crate) trait Contender: Sync {
    /// A view of it for one thread: takes a client and the time in nanoseconds.
    fn user(&self) -> Box<dyn FnMut(u32, u64) -> bool + '_>;
}

/// This project's limiter: whole decisions, as the proxy asks for them.
pub(crate) struct Ours {
    limiter: Limiter,
    limits: Vec<usize>,
    headers: HeaderMap,
}

impl Ours {
    /// So many limits at once, each with room for so many clients.
    pub(crate) fn new(limits: usize, clients: usize, terms: Terms) -> Self {
        let quota = Quota::new(1, terms.period, terms.burst.into()).unwrap();
        let key = Key { parts: vec![KeyPart::ClientIp], missing: MissingKey::ClientIp, ipv6_prefix: 64 };
        let rule = |index: usize| Rule::new(index.to_string(), quota, key.clone(), clients);
        Self {
            limiter: Limiter::new((0..limits).map(rule).collect(), Secret::random()),
            limits: (0..limits).collect(),
            headers: HeaderMap::new(),
        }
    }

    /// Decides at a time of the caller's choice.
    pub(crate) fn decide_at(&self, client: u32, now: Timestamp, reservation: &mut Reservation) -> bool {
        let client = ClientId::Address(address(client));
        let inputs = Inputs {
            client: &client,
            caller: None,
            method: &Method::GET,
            host: "localhost",
            path: "/",
            query: None,
            route: "",
            headers: &self.headers,
        };
        let claims = self.limiter.claims(&self.limits, &inputs);
        claims.is_ok_and(|claims| self.limiter.reserve(&claims, now, reservation).is_ok())
    }

    /// How many clients found no room of their own.
    pub(crate) fn overflowed(&self) -> u64 {
        self.limiter.limits().iter().map(|limit| limit.table().map_or(0, Table::overflowed)).sum()
    }
}

impl Contender for Ours {
    fn user(&self) -> Box<dyn FnMut(u32, u64) -> bool + '_> {
        let mut reservation = Reservation::default();
        Box::new(move |client, nanos| self.decide_at(client, Timestamp::from_nanos(nanos), &mut reservation))
    }
}

thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });

/// Tells a thread the time that it was told.
#[derive(Clone, Default)]
struct GivenClock;

impl governor::clock::Clock for GivenClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        NOW.get().into()
    }
}

/// `governor`: a map from keys to times.
pub(crate) struct Governor(
    governor::RateLimiter<IpAddr, DashMapStateStore<IpAddr>, GivenClock, NoOpMiddleware<Nanos>>,
);

impl Governor {
    pub(crate) fn new(terms: Terms) -> Self {
        // It counts from the time at which it is made, which is not to be the end of what was measured before.
        NOW.set(0);
        let quota = governor::Quota::with_period(terms.period).unwrap();
        let quota = quota.allow_burst(NonZeroU32::new(terms.burst).unwrap());
        Self(governor::RateLimiter::new(quota, DashMapStateStore::default(), GivenClock))
    }
}

impl Contender for Governor {
    fn user(&self) -> Box<dyn FnMut(u32, u64) -> bool + '_> {
        Box::new(|client, nanos| {
            NOW.set(nanos);
            self.0.check_key(&address(client)).is_ok()
        })
    }
}

/// No limiter: what any that keeps a number for each client has to do. It hashes a client and exchanges one word, in as much
/// memory as this project's limiter takes.
pub(crate) struct OneLook {
    secret: [u8; 16],
    lines: Vec<Line>,
}

/// A line of the cache.
#[repr(align(64))]
struct Line(AtomicU64);

impl OneLook {
    pub(crate) fn new(clients: usize) -> Self {
        const BYTES_PER_CLIENT: usize = 30;
        let lines = (clients * BYTES_PER_CLIENT).div_ceil(size_of::<Line>());
        let lines = (0..lines).map(|_| Line(AtomicU64::new(0))).collect();
        Self { secret: rand::random(), lines }
    }
}

impl Contender for OneLook {
    fn user(&self) -> Box<dyn FnMut(u32, u64) -> bool + '_> {
        let hasher = SipHasher13::new_with_key(&self.secret);
        Box::new(move |client, nanos| {
            let hash = hasher.hash(&client.to_le_bytes()) >> 32;
            let at = usize::try_from((hash * self.lines.len() as u64) >> 32).unwrap();
            let word = &self.lines[at].0;
            let old = word.load(Ordering::SeqCst);
            word.compare_exchange(old, old.max(nanos) + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }
}

/// `pingora-limits`: a sketch that counts each second.
pub(crate) struct Sketch {
    rate: Rate,
    burst: isize,
}

impl Sketch {
    pub(crate) fn new(terms: Terms) -> Self {
        Self { rate: Rate::new(Duration::from_secs(1)), burst: isize::try_from(terms.burst).unwrap() }
    }
}

impl Contender for Sketch {
    fn user(&self) -> Box<dyn FnMut(u32, u64) -> bool + '_> {
        Box::new(|client, _| self.rate.observe(&address(client), 1) <= self.burst)
    }
}
