//! How long a client has been slow to take an answer.

use crate::clock::Timestamp;

/// Whoever takes less than this within the patience of a gateway that is short of memory is cut off, in bytes: a client that asks for one
/// byte after the other keeps a whole answer in memory for as long as it likes.
const ENOUGH: usize = 1024;

/// A client that takes less of an answer than there is of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stall {
    /// When it has last taken something.
    pub(super) since: Timestamp,
    /// Since when it has not taken [`ENOUGH`].
    pub(super) slow_since: Timestamp,
    /// What it has taken since then.
    taken: usize,
}

impl Stall {
    /// It takes nothing from now on.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { since: now, slow_since: now, taken: 0 }
    }

    /// It has taken so many bytes.
    pub(super) fn take(&mut self, bytes: usize, now: Timestamp) {
        self.since = now;
        self.taken = self.taken.saturating_add(bytes);
        if self.taken >= ENOUGH {
            (self.slow_since, self.taken) = (now, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_a_byte_now_and_then_is_slow() {
        let at = Timestamp::from_nanos;
        let mut stall = Stall::begin(at(1));
        for now in 2..=1024 {
            stall.take(1, at(now));
            assert_eq!((stall.since, stall.slow_since), (at(now), at(1)));
        }
        stall.take(1, at(2000));
        assert_eq!((stall.since, stall.slow_since), (at(2000), at(2000)));
        stall.take(5000, at(3000));
        assert_eq!(stall.slow_since, at(3000));
    }
}
