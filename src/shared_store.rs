//! The store in which several gateways keep limits together: Redis, Valkey, or what speaks like them.
//!
//! A bucket is a hash in the store, and a script in the store brings it to the present and takes tokens from it ([`bucket.lua`]). So a
//! call is one round trip, nothing comes between its steps, and the only clock is the store's.
//!
//! No request waits for a store that does not answer. A call takes at most the configured time. After three calls in a row without an
//! answer, of which the last fails at least that time after the first, or when the connection is lost, the store is down: it is not asked
//! at all until it has answered a probe. What a gateway does meanwhile is not decided here.
//!
//! [`bucket.lua`]: https://redis.io/docs/latest/develop/programmability/eval-intro/

mod bucket;
mod connection;
mod error;
mod link;
mod numbers;
mod peers;
mod script;
mod terms;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use log::{info, warn};
use redis::{RedisResult, cmd};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

pub use self::bucket::Answers;
use self::bucket::Buckets;
use self::connection::Connection;
pub use self::error::StoreError;
use self::link::Link;
use self::numbers::Counters;
pub use self::numbers::{LATENCY_BOUNDS, Numbers};
use self::peers::Peers;
pub use self::terms::Terms;
use crate::clock::{Clock, Timestamp};
use crate::config::{SharedStore, StoreKind};
use crate::limit::key::Fingerprint;
use crate::limit::lease::Ask;
use crate::limit::quota::Quota;

/// How long a call may take for which no request waits.
const UNHURRIED: Duration = Duration::from_secs(1);

/// How long connecting may take, with all names to resolve and servers to ask.
const CONNECT: Duration = Duration::from_secs(3);

/// How often a gateway says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The pauses between probes: each is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// After so long a connection was a good one, and the next probes are quick again.
const STABLE: Duration = Duration::from_secs(2);

/// The store, as this gateway uses it.
pub struct Store {
    settings: SharedStore,
    peers: Peers,
    /// The connection that is used; none while the store is down.
    link: ArcSwapOption<Link>,
    /// Told when the connection is given up.
    lost: Notify,
    gateways: AtomicU32,
    resets: Mutex<Vec<(String, Fingerprint)>>,
    counters: Counters,
    clock: Clock,
}

impl Store {
    /// The store with these settings, under a random name of this gateway. Nothing is connected before [`run`](Self::run).
    pub fn new(settings: SharedStore) -> Self {
        Self {
            peers: Peers::new(&settings.prefix, random_name()),
            settings,
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            gateways: AtomicU32::new(1),
            resets: Mutex::default(),
            counters: Counters::default(),
            clock: Clock::monotonic(),
        }
    }

    /// How it is configured.
    pub fn settings(&self) -> &SharedStore {
        &self.settings
    }

    /// The longest that a request waits for it.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Keeps a connection: connects, says each second that this gateway is there, and probes the store while it is down. It runs once, on
    /// the runtime that then drives the connection, and never ends.
    pub async fn run(self: Arc<Self>) {
        let mut told = false;
        let mut pause = PAUSES.0;
        loop {
            match self.connect().await {
                Ok(link) => {
                    info!("the store of the shared limits at {} answers", self.place());
                    self.link.store(Some(link.clone()));
                    let begun = self.clock.now();
                    self.stay(&link).await;
                    // That it is down was told when the connection was given up.
                    told = true;
                    // A store that answers probes and little else is probed ever more seldom.
                    if self.since(begun) > STABLE {
                        pause = PAUSES.0;
                    }
                }
                Err(cause) if !told => {
                    warn!("the store of the shared limits at {} is down: {cause}", self.place());
                    told = true;
                }
                Err(_) => {}
            }
            // With jitter, so that gateways do not come all at once.
            sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Asks about buckets on behalf of a request: the needed tokens of all asks are granted, or none. `patience` is the rest
    /// of the time that the request may wait. No two asks are about the same bucket. The future may be dropped at any time; only if the
    /// patience is over it counts against the store.
    ///
    /// In a Cluster the buckets lie on different nodes. Then tokens ahead, and needed ones that are kept, may be granted (as
    /// [`ahead`](crate::limit::lease::Answer::ahead)) although another bucket refuses.
    ///
    /// # Errors
    /// When there is no answer. It is not known then whether tokens were taken.
    pub async fn ask(&self, asks: &[Ask], patience: Duration) -> Result<Answers, StoreError> {
        self.call(patience, async |link| link.ask(asks).await).await
    }

    /// The same for work for which no request waits: it is answered within a second.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub async fn tell(&self, asks: &[Ask]) -> Result<Answers, StoreError> {
        self.call(UNHURRIED, async |link| link.ask(asks).await).await
    }

    /// A request has waited for an answer to the call of another one, and its time is over. A call for which no request waits may take a
    /// second, so this tells sooner that the store does not answer.
    pub fn waited_in_vain(&self) {
        if let Some(link) = self.link.load_full()
            && link.failed(self.clock.now(), self.settings.timeout)
        {
            self.give_up(&link, &StoreError::TimedOut);
        }
    }

    /// Fills a client's bucket, up to the tokens that gateways hold, and tells all gateways.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn reset(&self, limit: &str, client: Fingerprint, quota: Quota) -> Result<(), StoreError> {
        self.call(UNHURRIED, async |link| {
            link.buckets.fill(&link.connection, limit, client, quota).await?;
            self.peers.tell_reset(&link.connection, limit, client).await
        })
        .await
    }

    /// How many gateways use the store, as of the last heartbeat; at least one.
    pub fn gateways(&self) -> u32 {
        self.gateways.load(Ordering::Relaxed)
    }

    /// Whether the store is asked.
    pub fn is_up(&self) -> bool {
        self.link.load().is_some()
    }

    /// The buckets that gateways have reset since the last call of this, as far as heartbeats have told of them.
    pub fn resets(&self) -> Vec<(String, Fingerprint)> {
        std::mem::take(&mut *self.resets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the calls fared.
    pub fn numbers(&self) -> Numbers {
        self.counters.read(self.is_up())
    }

    /// Makes a call, unless the store is down.
    async fn call<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&Link) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let Some(link) = self.link.load_full() else {
            self.counters.count(Err(&StoreError::Down), Duration::ZERO);
            return Err(StoreError::Down);
        };
        let begun = self.clock.now();
        let outcome = self.attempt(&link, patience, work(&link)).await;
        self.counters.count(outcome.as_ref().map(|_| ()), self.since(begun));
        outcome
    }

    fn since(&self, begun: Timestamp) -> Duration {
        self.clock.now().since(begun)
    }

    /// Waits for the outcome of a call, and gives the connection up if it is lost or too many calls have failed.
    async fn attempt<T>(
        &self,
        link: &Arc<Link>,
        patience: Duration,
        call: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let (error, is_lost) = match timeout(patience, call).await {
            Ok(Ok(answer)) => {
                link.succeeded();
                return Ok(answer);
            }
            Ok(Err(error)) => {
                let is_lost = link.connection.is_lost(&error);
                (StoreError::from(error), is_lost)
            }
            Err(_) => (StoreError::TimedOut, false),
        };
        if link.failed(self.clock.now(), self.settings.timeout) || is_lost {
            self.give_up(link, &error);
        }
        Err(error)
    }

    /// Gives a connection up: the store is down. Of several calls that find it, one tells so.
    fn give_up(&self, link: &Arc<Link>, cause: &StoreError) {
        if !self.is_current(link) {
            return;
        }
        let before = self.link.swap(None);
        if before.is_some() {
            warn!("the store of the shared limits at {} is down: {cause}", self.place());
            self.lost.notify_one();
        }
    }

    fn is_current(&self, link: &Arc<Link>) -> bool {
        self.link.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, link))
    }

    /// Opens a connection, and probes it: what it has to do in operation is done once, and the last answer has to come in the time that
    /// a request waits.
    ///
    /// The tokens that are taken over a connection are held under a name of its own. A call that was sent over a former connection may
    /// reach the store after a newer one, and would have it take the older state of what is held for the newer.
    async fn connect(&self) -> Result<Arc<Link>, StoreError> {
        let buckets = Arc::new(Buckets::new(&self.settings, &random_name()));
        let open = async {
            let connection = Connection::open(&self.settings).await?;
            buckets.load(&connection).await?;
            self.beat(&connection).await?;
            Ok::<_, StoreError>(connection)
        };
        let connection = timeout(CONNECT, open).await.map_err(|_| StoreError::TimedOut)??;
        let ping = cmd("PING");
        let probe = connection.call(&ping);
        timeout(self.settings.timeout, probe).await.map_err(|_| StoreError::TimedOut)??;
        Ok(Arc::new(Link::new(connection, buckets, Handle::current())))
    }

    /// Says each second that this gateway is there, until the connection is given up.
    async fn stay(&self, link: &Arc<Link>) {
        while self.is_current(link) {
            tokio::select! {
                () = self.lost.notified() => {}
                () = sleep(HEARTBEAT) => {
                    // Its failure is told by giving up.
                    let _ = self.attempt(link, UNHURRIED, self.beat(&link.connection)).await;
                }
            }
        }
    }

    /// Says that this gateway is there, counts the others, and hears of resets.
    async fn beat(&self, connection: &Connection) -> RedisResult<()> {
        let news = self.peers.beat(connection).await?;
        self.gateways.store(news.gateways, Ordering::Relaxed);
        self.resets.lock().unwrap_or_else(PoisonError::into_inner).extend(news.resets);
        Ok(())
    }

    /// Where the store is, without the user and the password.
    fn place(&self) -> String {
        let places = self.settings.urls.iter().map(|url| {
            let (scheme, rest) = url.split_once("://").unwrap_or_default();
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{}", rest.split('?').next().unwrap_or_default())
        });
        let places = places.collect::<Vec<_>>().join(", ");
        match &self.settings.kind {
            StoreKind::Sentinel(master) => format!("{places} ({master})"),
            StoreKind::Single | StoreKind::Cluster => places,
        }
    }
}

/// A name that nobody else has.
fn random_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}
