//! Where a reload is asked for, and how the last ones went.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::clock::wall_clock;

/// Reloads that may be asked for before one is done.
const QUEUE: usize = 16;

/// What came of reading the configuration again: what it has, in a line, or everything that is wrong, a line each.
pub type ReloadOutcome = Result<String, Vec<String>>;

/// Somebody who waits for the outcome.
pub type Waiting = oneshot::Sender<ReloadOutcome>;

/// Where a reload is asked for, and how the last ones went.
pub struct Reloads {
    requests: mpsc::Sender<Waiting>,
    history: Mutex<History>,
}

/// How the last ones went.
#[derive(Clone, Debug)]
pub struct History {
    /// When the configuration in force was loaded.
    pub loaded_at: Timestamp,
    /// When a reload was last tried, and what came of it.
    pub last: Option<(Timestamp, ReloadOutcome)>,
}

impl Reloads {
    /// The configuration has just been loaded. Whoever receives is to do what is asked for.
    pub(super) fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (requests, asked) = mpsc::channel(QUEUE);
        let history = Mutex::new(History { loaded_at: wall_clock(), last: None });
        (Self { requests, history }, asked)
    }

    /// Asks for a reload, and waits for what comes of it; `None` if the gateway is on its way out.
    pub async fn ask(&self) -> Option<ReloadOutcome> {
        let (waiting, outcome) = oneshot::channel();
        self.requests.send(waiting).await.ok()?;
        outcome.await.ok()
    }

    /// Notes what came of a reload.
    pub fn note(&self, outcome: ReloadOutcome) {
        let now = wall_clock();
        let mut history = self.lock();
        if outcome.is_ok() {
            history.loaded_at = now;
        }
        history.last = Some((now, outcome));
    }

    /// How the last ones went.
    pub fn history(&self) -> History {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
