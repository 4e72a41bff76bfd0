//! The last failure of an endpoint, for whoever looks for the reason: what it was, and when.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::wall_clock;

/// A failure of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When it was, by the clock on the wall.
    pub at: Timestamp,
    /// What it was, in one line, such as `connect: Connection refused (os error 111)`.
    pub what: String,
}

/// Where the last failure is kept. During an outage there are thousands in a second, of which one is kept: the others find out by a read of
/// one word that there is nothing to do.
pub(super) struct LastErrorCell {
    /// The second of the failure that is kept, since 1970.
    second: AtomicI64,
    last: Mutex<Option<LastError>>,
}

impl LastErrorCell {
    /// Nothing has failed so far.
    pub(super) fn new() -> Self {
        Self { second: AtomicI64::new(i64::MIN), last: Mutex::new(None) }
    }

    /// Notes a failure, if none has been noted in this second. Only then `what` is asked.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        self.note_at(wall_clock(), what);
    }

    fn note_at(&self, at: Timestamp, what: impl FnOnce() -> String) {
        let second = at.as_second();
        // Relaxed: the mutex guards the text.
        let is_new = self.second.load(Ordering::Relaxed) != second
            && self.second.swap(second, Ordering::Relaxed) != second;
        if is_new {
            *self.lock() = Some(LastError { at, what: what() });
        }
    }

    /// The last failure that was noted; `None` if there was none.
    pub(super) fn get(&self) -> Option<LastError> {
        self.lock().clone()
    }

    /// Takes over what another cell has noted.
    pub(super) fn take_over(&self, before: &Self) {
        self.lock().clone_from(&before.get());
    }

    fn lock(&self) -> MutexGuard<'_, Option<LastError>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_is_kept_for_each_second() {
        let cell = LastErrorCell::new();
        assert_eq!(cell.get(), None);
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        cell.note_at(at(1000), || "first".to_owned());
        cell.note_at(at(1999), || panic!("it is not asked what it was"));
        assert_eq!(cell.get(), Some(LastError { at: at(1000), what: "first".to_owned() }));
        cell.note_at(at(2000), || "next".to_owned());
        assert_eq!(cell.get(), Some(LastError { at: at(2000), what: "next".to_owned() }));
        let after = LastErrorCell::new();
        after.take_over(&cell);
        assert_eq!(after.get(), cell.get());
    }
}
