//! What memory the process takes, against what it may: when it is too much, new requests are refused, and clients that take nothing
//! of their answers are cut off, those first that have taken nothing for longest.
//!
//! An example: two thousand clients ask for something large and then read nothing. Each answer waits in buffers, some hundred KiB of
//! it, until `idle_timeout`. Here the patience with them shrinks by half four times a second, until there is room again.
//!
//! Who measures the memory, and how often, is decided elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use crate::clock::Timestamp;

/// Nobody is cut off who has taken something within this time.
const LEAST_PATIENCE: Duration = Duration::from_millis(250);

/// The patience with which it begins to shrink.
const MOST_PATIENCE: Duration = Duration::from_secs(4);

/// How scarce memory is.
#[derive(Debug)]
pub struct MemoryPressure {
    scarce: AtomicBool,
    /// How long a client may take nothing of its answer, in nanoseconds, if that is less than it may at any time.
    patience: AtomicU64,
    /// Those who wait for a client to take something, each under a number of its own.
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    wakers: HashMap<u64, Waker>,
}

/// Whoever waits for a client to take something; it does no more when this is dropped.
#[derive(Debug, Default)]
pub struct Wait(Option<u64>);

impl Default for MemoryPressure {
    /// There is enough.
    fn default() -> Self {
        Self { scarce: AtomicBool::new(false), patience: AtomicU64::new(u64::MAX), waiting: Mutex::default() }
    }
}

impl MemoryPressure {
    /// Whether there is too little memory for another request.
    pub fn is_scarce(&self) -> bool {
        // Relaxed: whoever sees it late serves one request more.
        self.scarce.load(Ordering::Relaxed)
    }

    /// Until when a client must have taken something that has taken nothing since then; `None` if memory sets no bound.
    pub fn cut_off(&self, since: Timestamp) -> Option<Timestamp> {
        match self.patience.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => Some(since.after(Duration::from_nanos(nanos))),
        }
    }

    /// Has a task woken whenever patience shrinks.
    pub fn wake_when_it_shrinks(&self, wait: &mut Wait, cx: &Context<'_>) {
        let mut waiting = self.lock();
        let number = *wait.0.get_or_insert_with(|| {
            waiting.last += 1;
            waiting.last
        });
        waiting.wakers.insert(number, cx.waker().clone());
    }

    /// The task need not be woken any more.
    pub fn forget(&self, wait: &mut Wait) {
        if let Some(number) = wait.0.take() {
            self.lock().wakers.remove(&number);
        }
    }

    /// Notes how much memory there is. Whether that is too much for the first time since it was not.
    pub fn note(&self, used: u64, most: Option<u64>) -> bool {
        let scarce = most.is_some_and(|most| used > most);
        let was_scarce = self.scarce.swap(scarce, Ordering::Relaxed);
        if !scarce {
            self.patience.store(u64::MAX, Ordering::Relaxed);
            return false;
        }
        let least = nanos(LEAST_PATIENCE);
        let patience = self.patience.load(Ordering::Relaxed).min(nanos(MOST_PATIENCE)) / 2;
        self.patience.store(patience.max(least), Ordering::Relaxed);
        let wakers: Vec<Waker> = self.lock().wakers.values().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
        !was_scarce
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn patience_shrinks_as_long_as_there_is_too_little() {
        let pressure = MemoryPressure::default();
        let since = Timestamp::from_nanos(0);
        let patience = || pressure.cut_off(since).map(|until| until.since(since));
        assert!(!pressure.note(100, None));
        assert!(!pressure.note(100, Some(100)));
        assert_eq!((pressure.is_scarce(), patience()), (false, None));
        assert!(pressure.note(101, Some(100)));
        assert_eq!((pressure.is_scarce(), patience()), (true, Some(Duration::from_secs(2))));
        assert!(!pressure.note(101, Some(100)), "it is told once");
        assert_eq!(patience(), Some(Duration::from_secs(1)));
        for _ in 0..20 {
            pressure.note(101, Some(100));
        }
        assert_eq!(patience(), Some(LEAST_PATIENCE));
        assert!(!pressure.note(99, Some(100)));
        assert_eq!((pressure.is_scarce(), patience()), (false, None));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let pressure = MemoryPressure::default();
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(counting.clone());
        let mut wait = Wait::default();
        for _ in 0..3 {
            pressure.wake_when_it_shrinks(&mut wait, &Context::from_waker(&waker));
        }
        pressure.note(2, Some(1));
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
        pressure.forget(&mut wait);
        pressure.note(2, Some(1));
        assert_eq!(counting.0.load(Ordering::Relaxed), 1);
        assert!(pressure.lock().wakers.is_empty());
    }
}
