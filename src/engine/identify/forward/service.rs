//! The service: asks each question once at a time, and remembers answers for as long as they say.
//!
//! A question runs in a task of its own, so it is answered also if the client leaves for which it was asked first. Whoever asks the same
//! meanwhile waits for the same answer. If the task ends without one, all that wait are told so at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use log::warn;
use tokio::sync::watch;
use tokio::time::timeout;

use super::super::proof::Unproven;
use super::super::verified::Verified;
use super::answer::{Allowed, Answer, Refused};
use super::failure::Failure;
use super::numbers::{Counters, Numbers, count};
use super::question::{Key, Keys, Telling, question};
use crate::clock::{Clock, Timestamp};
use crate::config::ForwardAuth;
use crate::fetch::{Client, FetchError};

/// The most questions that run at a time.
const MAX_AT_A_TIME: usize = 1024;

/// How many answers of each kind are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// The least time between two lines in the log.
const SILENCE: Duration = Duration::from_secs(60);

type Outcome = Result<Answer, Failure>;
type Running = watch::Receiver<Option<Outcome>>;

/// A service that is asked about callers. A reload that does not change its settings keeps it, and what it has said.
pub struct Service {
    settings: ForwardAuth,
    client: Result<Client, Failure>,
    clock: Clock,
    /// Apart from each other, so that callers who are refused do not displace those who are not.
    allowed: Verified<Arc<Allowed>>,
    refused: Verified<Arc<Refused>>,
    keys: Keys,
    running: Mutex<HashMap<Key, Running>>,
    counters: Counters,
    /// From which second on the clock the next failure may be logged.
    next_line: AtomicU64,
}

/// A question that runs, until it is dropped.
struct Asking {
    service: Arc<Service>,
    key: Key,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.service.running().remove(&self.key);
    }
}

impl Service {
    /// The service with these settings. Nobody is asked yet.
    pub fn new(settings: ForwardAuth, clock: Clock) -> Self {
        let client = Client::new(&settings.authorities);
        Self {
            client: client.map_err(|error| Failure::NoClient(error.to_string())),
            settings,
            clock,
            allowed: Verified::new(MAX_REMEMBERED),
            refused: Verified::new(MAX_REMEMBERED),
            keys: Keys::new(),
            running: Mutex::default(),
            counters: Counters::default(),
            next_line: AtomicU64::new(0),
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &ForwardAuth {
        &self.settings
    }

    /// How questions fared.
    pub fn numbers(&self) -> Numbers {
        self.counters.read()
    }

    /// What the service says when it is told this of a request that came at this time, if it says anything. The answer is waited for no
    /// longer than the settings say.
    ///
    /// # Errors
    /// When the request has something that the service cannot be told.
    pub(super) async fn ask(
        self: &Arc<Self>,
        telling: &Telling<'_>,
        now: Timestamp,
    ) -> Result<Outcome, Unproven> {
        let key = self.keys.of(telling);
        if let Some(answer) = self.remembered(&key, now) {
            count(&self.counters.remembered);
            return Ok(Ok(answer));
        }
        let request = question(&self.settings.url, telling)?;
        Ok(self.ask_anew(key, request, now).await)
    }

    async fn ask_anew(self: &Arc<Self>, key: Key, request: Request<()>, now: Timestamp) -> Outcome {
        let mut outcome = self.start_or_join(key, request, now)?;
        let failure = match timeout(self.settings.timeout, outcome.wait_for(Option::is_some)).await {
            Ok(Ok(outcome)) => return outcome.clone().unwrap_or(Err(Failure::GivenUp)),
            Ok(Err(_)) => Failure::GivenUp,
            Err(_) => Failure::Unanswered(FetchError::TimedOut),
        };
        self.note(&failure, now);
        Err(failure)
    }

    /// Notes that a request has got no answer, and tells it in the log, at most once a minute.
    pub(super) fn note(&self, failure: &Failure, now: Timestamp) {
        let second = now.since(Timestamp::default()).as_secs();
        // Relaxed: a line too many, from two threads at a time, does no harm.
        if second >= self.next_line.load(Ordering::Relaxed) {
            self.next_line.store(second + SILENCE.as_secs(), Ordering::Relaxed);
            let host = self.settings.url.authority().map_or("", |authority| authority.as_str());
            warn!(
                "the service at {host} that is asked about callers gives no answer: {failure}; for a minute, others are only counted"
            );
        }
    }

    /// Waits for the answer to a question that runs, or has it asked.
    fn start_or_join(
        self: &Arc<Self>,
        key: Key,
        request: Request<()>,
        now: Timestamp,
    ) -> Result<Running, Failure> {
        let mut running = self.running();
        if let Some(same) = running.get(&key) {
            count(&self.counters.joined);
            return Ok(same.clone());
        }
        let (teller, outcome) = watch::channel(None);
        // It may have been answered since it was looked for.
        if let Some(answer) = self.remembered(&key, now) {
            count(&self.counters.remembered);
            teller.send_replace(Some(Ok(answer)));
            return Ok(outcome);
        }
        if running.len() >= MAX_AT_A_TIME {
            drop(running);
            count(&self.counters.failed);
            self.note(&Failure::Full, now);
            return Err(Failure::Full);
        }
        running.insert(key, outcome.clone());
        drop(running);
        let asking = Asking { service: self.clone(), key };
        tokio::spawn(asking.run(request, now, teller));
        Ok(outcome)
    }

    fn remembered(&self, key: &Key, now: Timestamp) -> Option<Answer> {
        let refused = || self.refused.get(&[key], now).map(Answer::Refused);
        self.allowed.get(&[key], now).map(Answer::Allowed).or_else(refused)
    }

    fn remember(&self, key: &Key, answer: &Answer, until: Timestamp, now: Timestamp) {
        match answer {
            Answer::Allowed(allowed) => self.allowed.insert(&[key], allowed.clone(), until, now),
            Answer::Refused(refused) => self.refused.insert(&[key], refused.clone(), until, now),
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Key, Running>> {
        // The contents are whole between any two statements that can panic.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Asks, remembers the answer, and tells it to those who wait. The time of an answer begins when the request came.
    async fn run(self, request: Request<()>, began: Timestamp, teller: watch::Sender<Option<Outcome>>) {
        let service = self.service.clone();
        let asked = service.clock.now();
        let outcome = service.answer(request).await;
        let now = service.clock.now();
        service.counters.took(now.since(asked));
        let outcome = outcome.map(|(answer, fresh)| {
            if !fresh.is_zero() {
                service.remember(&self.key, &answer, began.after(fresh), now);
            }
            answer
        });
        match &outcome {
            Ok(Answer::Allowed(_)) => count(&service.counters.allowed),
            Ok(Answer::Refused(_)) => count(&service.counters.refused),
            Err(failure) => {
                count(&service.counters.failed);
                service.note(failure, now);
            }
        }
        // Whoever comes from now on asks anew, or finds what is remembered.
        drop(self);
        teller.send_replace(Some(outcome));
    }
}

impl Service {
    async fn answer(&self, request: Request<()>) -> Result<(Answer, Duration), Failure> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let answer =
            client.ask_for_head(request, self.settings.timeout).await.map_err(Failure::Unanswered)?;
        Answer::read(&answer.into_parts().0, &self.settings)
    }
}
