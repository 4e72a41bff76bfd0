//! How a client behaves on a connection of HTTP/2: one that makes requests only to take them back (CVE-2023-44487), or only
//! malformed ones, is sent away.
//!
//! One that watches something for hours and now and then gives up is not, nor is a proxy some of whose clients are careless: its
//! other clients' requests would end with the connection. So what counts is what was done within a window of time, against all
//! that was asked in it.

use std::time::Duration;

use crate::clock::Timestamp;

/// Counts are of so long.
const WINDOW: Duration = Duration::from_secs(10);

/// A client may take back so many requests in a window, or half of those that it makes, whatever is more.
const MOST_TAKEN_BACK: u64 = 200;

/// The same of requests that are malformed.
const MOST_MALFORMED: u64 = 32;

/// What speaks against a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misdeed {
    /// A request was taken back before anything of an answer was there.
    TakenBack,
    /// A request was malformed.
    Malformed,
}

/// What a client has done in this window.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    since: Timestamp,
    requests: u64,
    taken_back: u64,
    malformed: u64,
}

impl Conduct {
    /// Notes that a request was made.
    pub(super) fn note_request(&mut self, now: Timestamp) {
        self.turn(now);
        self.requests += 1;
    }

    /// Notes what speaks against the client.
    pub(super) fn note(&mut self, misdeed: Misdeed, now: Timestamp) {
        self.turn(now);
        match misdeed {
            Misdeed::TakenBack => self.taken_back += 1,
            Misdeed::Malformed => self.malformed += 1,
        }
    }

    /// Whether it is more than can be meant well.
    pub(super) fn is_unbearable(&self) -> bool {
        let half = self.requests / 2;
        (self.taken_back > MOST_TAKEN_BACK && self.taken_back > half)
            || (self.malformed > MOST_MALFORMED && self.malformed > half)
    }

    fn turn(&mut self, now: Timestamp) {
        if now.since(self.since) > WINDOW {
            *self = Self { since: now, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn whoever_does_nothing_else_is_noticed() {
        for (misdeed, most) in [(Misdeed::TakenBack, MOST_TAKEN_BACK), (Misdeed::Malformed, MOST_MALFORMED)] {
            let mut conduct = Conduct::default();
            for _ in 0..=most {
                assert!(!conduct.is_unbearable());
                conduct.note_request(at(1));
                conduct.note(misdeed, at(2));
            }
            assert!(conduct.is_unbearable());
        }
    }

    #[test]
    fn a_few_at_a_time_are_never_too_many() {
        let mut conduct = Conduct::default();
        for second in 0..10_000 {
            conduct.note_request(at(second));
            conduct.note(Misdeed::TakenBack, at(second));
            conduct.note(Misdeed::Malformed, at(second));
            assert!(!conduct.is_unbearable());
        }
    }

    #[test]
    fn whoever_asks_much_may_do_much() {
        let mut conduct = Conduct::default();
        for _ in 0..1000 {
            conduct.note_request(at(1));
        }
        for _ in 0..500 {
            conduct.note(Misdeed::TakenBack, at(1));
            conduct.note(Misdeed::Malformed, at(1));
        }
        assert!(!conduct.is_unbearable());
    }
}
