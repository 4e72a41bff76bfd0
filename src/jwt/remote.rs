//! The keys that a server shows, as far as they have been fetched. Who fetches them is decided elsewhere.
//!
//! Keys that have been fetched are used until others come, also while the server is down. A token that is signed with an unknown key asks
//! for new ones, at most every ten seconds, and its request waits for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::KeySet;
use crate::clock::Timestamp;

/// How long after a fetch began the next one may begin that an unknown key asks for.
const BETWEEN_ASKED: Duration = Duration::from_secs(10);

/// The keys of one URL.
pub struct Remote {
    url: String,
    keys: ArcSwapOption<KeySet>,
    state: Mutex<State>,
    wanted: Notify,
    /// How many fetches are over.
    over: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    is_asked: bool,
    is_running: bool,
    last_began: Option<Timestamp>,
    numbers: Numbers,
}

/// How fetching went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Fetches that brought keys.
    pub fetched: u64,
    /// Fetches that brought none.
    pub failed: u64,
    /// When keys came for the last time, in seconds of Unix time.
    pub last_fetched: Option<i64>,
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Other keys than before.
    New,
    /// The same keys.
    Same,
}

impl Remote {
    /// The keys of this URL, which have not been fetched yet.
    pub fn new(url: String) -> Self {
        Self {
            url,
            keys: ArcSwapOption::empty(),
            state: Mutex::default(),
            wanted: Notify::new(),
            over: watch::Sender::new(0),
        }
    }

    /// Where they are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The keys; `None` if none have ever come.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// How fetching went so far.
    pub fn numbers(&self) -> Numbers {
        self.state().numbers
    }

    /// Waits until other keys may have come, because a token cannot be verified by those that are there: until a fetch is over that is
    /// running or may begin, or for this long. Whether one is over.
    pub async fn refetched(&self, now: Timestamp, at_most: Duration) -> bool {
        let mut over = self.over.subscribe();
        {
            let mut state = self.state();
            let is_early = state.last_began.is_some_and(|began| now.since(began) < BETWEEN_ASKED);
            if !state.is_running && !state.is_asked {
                if is_early {
                    return false;
                }
                state.is_asked = true;
                self.wanted.notify_one();
            }
        }
        timeout(at_most, over.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// Waits until a request asks for other keys.
    pub async fn wanted(&self) {
        while !self.state().is_asked {
            self.wanted.notified().await;
        }
    }

    /// Notes that a fetch begins.
    pub fn begins(&self, now: Timestamp) {
        let mut state = self.state();
        (state.is_asked, state.is_running, state.last_began) = (false, true, Some(now));
    }

    /// Notes what came of the fetch: the keys, or none. `wall` is the time, in seconds of Unix time.
    pub fn is_over(&self, keys: Option<KeySet>, wall: i64) -> Option<Fetched> {
        let fetched = keys.map(|keys| match self.keys() {
            // Tokens that have been verified by them need not be again.
            Some(before) if *before == keys => Fetched::Same,
            _ => {
                self.keys.store(Some(Arc::new(keys)));
                Fetched::New
            }
        });
        let mut state = self.state();
        state.is_running = false;
        match fetched {
            Some(_) => {
                state.numbers.fetched += 1;
                state.numbers.last_fetched = Some(wall);
            }
            None => state.numbers.failed += 1,
        }
        drop(state);
        self.over.send_modify(|over| *over += 1);
        fetched
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
