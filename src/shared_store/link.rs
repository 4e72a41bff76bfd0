//! A connection that works, as far as is known.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::bucket::{Answers, Buckets};
use super::connection::Connection;
use crate::clock::Timestamp;
use crate::limit::lease::Ask;

/// So many failures in a row, and the store is not asked until it answers a probe.
const MOST_FAILURES: u32 = 3;

/// How long the calls that belong together may take when nobody waits for them any more.
const UNWAITED: Duration = Duration::from_secs(1);

/// A connection that works, as far as is known, and how its last calls fared.
pub(super) struct Link {
    pub(super) connection: Connection,
    /// The buckets, as they are asked about over this connection.
    pub(super) buckets: Arc<Buckets>,
    /// The runtime that drives the connection.
    runtime: Handle,
    /// The failures since the last answer.
    failures: Mutex<Option<Failures>>,
}

/// Failures in a row.
struct Failures {
    count: u32,
    /// When the first of them was noted.
    begun: Timestamp,
}

impl Link {
    /// A connection that was opened on this runtime.
    pub(super) fn new(connection: Connection, buckets: Arc<Buckets>, runtime: Handle) -> Self {
        Self { connection, buckets, runtime, failures: Mutex::default() }
    }

    /// Asks about buckets: all are granted, or none. The caller bounds the time.
    pub(super) async fn ask(&self, asks: &[Ask]) -> RedisResult<Answers> {
        if asks.len() < 2 || !self.connection.is_cluster() {
            return self.buckets.ask(&self.connection, asks).await;
        }
        // What is granted by one node has to be put back if another one refuses, also if nobody waits any more.
        let (asker, answers) = oneshot::channel();
        let (buckets, connection, asks) = (self.buckets.clone(), self.connection.clone(), asks.to_vec());
        self.runtime.spawn(async move { one_after_another(&buckets, &connection, &asks, asker).await });
        answers.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Notes that a call was answered.
    pub(super) fn succeeded(&self) {
        *self.failures() = None;
    }

    /// Notes that a call failed, or that a request has waited in vain. Whether there were too many in a row, over at least this `time`:
    /// a moment in which the machine stands still ends several calls at once.
    pub(super) fn failed(&self, now: Timestamp, time: Duration) -> bool {
        let mut failures = self.failures();
        let failures = failures.get_or_insert(Failures { count: 0, begun: now });
        failures.count = failures.count.saturating_add(1);
        failures.count >= MOST_FAILURES && now.since(failures.begun) >= time
    }

    fn failures(&self) -> MutexGuard<'_, Option<Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn given_up() -> RedisError {
    (ErrorKind::Client, "the calls were given up").into()
}

/// Asks about buckets on different nodes of a Cluster, one after the other. If one refuses, the buckets behind it are only looked at, and
/// what was granted before is put back; needed tokens that should be kept are kept, like those ahead.
async fn one_after_another(
    buckets: &Buckets,
    connection: &Connection,
    asks: &[Ask],
    asker: oneshot::Sender<RedisResult<Answers>>,
) {
    let mut answers = Answers::new();
    let mut refused_at = None;
    let asked = timeout(UNWAITED, async {
        for (index, ask) in asks.iter().enumerate() {
            let answer = match refused_at {
                _ if asker.is_closed() => return Err(given_up()),
                None => buckets.ask(connection, std::slice::from_ref(ask)).await?,
                Some(_) => buckets.look(connection, ask).await?,
            };
            if refused_at.is_none() && answer.iter().any(|answer| answer.verdict.is_err()) {
                refused_at = Some(index);
            }
            answers.extend(answer);
        }
        Ok(())
    });
    let asked = asked.await.unwrap_or_else(|_| Err(given_up()));
    if asked.is_ok() && refused_at.is_none() {
        let _ = asker.send(Ok(answers));
        return;
    }
    let granted = &asks[..refused_at.unwrap_or(answers.len())];
    for (ask, answer) in granted.iter().zip(&mut answers) {
        match ask.kept {
            true => answer.ahead = answer.ahead.saturating_add(ask.need),
            false => answer.level.tokens += i64::from(ask.need),
        }
    }
    let _ = asker.send(asked.map(|()| answers));
    let _ = timeout(UNWAITED, async {
        for ask in granted.iter().filter(|ask| !ask.kept && ask.need > 0) {
            if let Err(error) = buckets.put_back(connection, ask).await {
                log::debug!("tokens of a call that was refused are lost: {error}");
            }
        }
    })
    .await;
}
