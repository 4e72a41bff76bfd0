//! Whether a request that failed upstream is sent again: only where that cannot do anything twice.
//!
//! Here is decided what is safe and how often; the upstream decides whether there is another server, and whether the
//! traffic has earned a retry.

use smallvec::SmallVec;

use crate::address::Address;

/// At most so many connections are tried in vain for a request.
const MAX_CONNECTS: u32 = 3;

/// So often a request that met a connection which had just been closed is sent on another one to the same server.
const MAX_RECONNECTS: u32 = 2;

/// What is known of a request that has failed on a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// Something of an answer has come, or has been sent to the client.
    pub(super) answered: bool,
    /// The upstream closed or reset the connection.
    pub(super) hung_up: bool,
    /// The upstream cannot have done anything: it has not got the whole head, or says so.
    pub(super) untouched: bool,
    /// The connection had served other requests before: it may have been closed before this one was sent.
    pub(super) reused: bool,
    /// Doing it twice is the same as doing it once (RFC 9110, section 9.2.2).
    pub(super) idempotent: bool,
    /// What has been read of its body is still there.
    pub(super) replayable: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Tell the client.
    No,
    /// Send it once more to the same server: nothing is known against that.
    Here,
    /// Send it to another server, if a retry has been earned.
    Elsewhere,
}

/// What has been tried for a request so far.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The servers that failed.
    pub(super) servers: SmallVec<[Address; 2]>,
    connects: u32,
    reconnects: u32,
    retries: u32,
}

impl Tries {
    /// Notes that a server took no connection. Whether another one may be asked: nothing has been sent yet.
    pub(super) fn not_connected(&mut self, server: &Address) -> bool {
        self.servers.push(server.clone());
        self.connects += 1;
        self.connects < MAX_CONNECTS
    }

    /// Notes that a server gave an answer which the upstream wants from none, where a request may be sent again so many times. Whether another
    /// one may be asked.
    pub(super) fn unwanted(&mut self, server: &Address, retries: u32) -> bool {
        let may = self.retries < retries;
        if may {
            self.retries += 1;
            self.servers.push(server.clone());
        }
        may
    }

    /// What to do about a failure, where a request may be sent again so many times.
    pub(super) fn failed(&mut self, server: &Address, failure: Failure, retries: u32) -> Again {
        let safe = failure.untouched || (failure.hung_up && failure.idempotent);
        if failure.answered || !failure.replayable || !safe {
            return Again::No;
        }
        if (failure.reused || failure.untouched) && self.reconnects < MAX_RECONNECTS {
            self.reconnects += 1;
            return Again::Here;
        }
        if self.retries < retries {
            self.retries += 1;
            self.servers.push(server.clone());
            return Again::Elsewhere;
        }
        Again::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// A `GET` whose new connection was closed instead of an answer.
    const HUNG_UP: Failure = Failure {
        answered: false,
        hung_up: true,
        untouched: false,
        reused: false,
        idempotent: true,
        replayable: true,
    };

    fn server(last: u8) -> Address {
        SocketAddr::from(([192, 0, 2, last], 80)).into()
    }

    fn first(failure: Failure) -> Again {
        Tries::default().failed(&server(1), failure, 1)
    }

    #[test]
    fn only_what_is_safe_is_sent_again() {
        let post = Failure { idempotent: false, ..HUNG_UP };
        let late = Failure { hung_up: false, ..HUNG_UP };
        for (failure, again) in [
            (HUNG_UP, Again::Elsewhere),
            (post, Again::No),
            (late, Again::No),
            (Failure { answered: true, ..HUNG_UP }, Again::No),
            (Failure { replayable: false, ..HUNG_UP }, Again::No),
            (Failure { reused: true, ..HUNG_UP }, Again::Here),
            (Failure { reused: true, ..post }, Again::No),
            (Failure { reused: true, ..late }, Again::No),
            (Failure { untouched: true, ..post }, Again::Here),
            (Failure { untouched: true, ..late }, Again::Here),
            (Failure { untouched: true, replayable: false, ..post }, Again::No),
        ] {
            assert_eq!(first(failure), again, "{failure:?}");
        }
    }

    #[test]
    fn retries_are_counted_and_go_to_other_servers() {
        let mut tries = Tries::default();
        let fail = |tries: &mut Tries, last| tries.failed(&server(last), HUNG_UP, 2);
        assert_eq!(
            [1, 2, 3].map(|last| fail(&mut tries, last)),
            [Again::Elsewhere, Again::Elsewhere, Again::No]
        );
        assert_eq!(*tries.servers, [server(1), server(2)]);
        assert_eq!(Tries::default().failed(&server(1), HUNG_UP, 0), Again::No);
    }

    #[test]
    fn answers_that_are_not_wanted_are_counted_as_failures_are() {
        let mut tries = Tries::default();
        assert!(tries.unwanted(&server(1), 2));
        assert_eq!(tries.failed(&server(2), HUNG_UP, 2), Again::Elsewhere);
        assert!(!tries.unwanted(&server(3), 2));
        assert_eq!(*tries.servers, [server(1), server(2)]);
    }

    #[test]
    fn connections_that_had_been_closed_cost_no_retry() {
        let mut tries = Tries::default();
        let reused = Failure { reused: true, ..HUNG_UP };
        let outcomes = [1, 2, 3, 4].map(|_| tries.failed(&server(1), reused, 1));
        assert_eq!(outcomes, [Again::Here, Again::Here, Again::Elsewhere, Again::No]);
    }

    #[test]
    fn three_connections_are_tried() {
        let mut tries = Tries::default();
        assert_eq!([1, 2, 3].map(|last| tries.not_connected(&server(last))), [true, true, false]);
        assert_eq!(tries.servers.len(), 3);
    }
}
