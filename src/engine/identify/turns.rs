//! Turns of clients: of the tries of one client that take long, one is verified at a time.
//!
//! An example: `auth_failures` allows five wrong passwords a minute, and a client sends a hundred at once. If all of them asked the limit before the
//! first was found wrong, all would be tried. So the second waits until the first has been charged. It also means that a client with many
//! guesses keeps others from getting theirs verified no more than one with a single guess.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::ClientId;

/// The most tries of one client that wait or are verified.
const MAX_OF_CLIENT: usize = 32;

/// The most of all clients.
const MAX: usize = 1024;

/// The bits of an address of IPv6 by which it is one client.
const NETWORK: u128 = u128::MAX << 64;

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    /// By client. All clients without an address are one, since a client may make up a name.
    lines: HashMap<Option<IpAddr>, Line>,
    /// How many are in all lines.
    count: usize,
}

/// The tries of a client.
struct Line {
    turn: Arc<Semaphore>,
    /// How many are in it, the one included whose turn it is.
    count: usize,
}

/// The turn of a client, until it is dropped.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

/// A place in a line, until it is dropped.
struct Place {
    lines: Arc<Mutex<Lines>>,
    client: Option<IpAddr>,
}

impl Turns {
    /// Waits until it is this client's turn. `None` if too many wait already.
    pub(super) async fn wait(&self, client: &ClientId) -> Option<Turn> {
        let (place, turn) = self.line_up(client)?;
        Some(Turn { _permit: turn.acquire_owned().await.ok()?, _place: place })
    }

    fn line_up(&self, client: &ClientId) -> Option<(Place, Arc<Semaphore>)> {
        let client = client.address().map(|address| match address {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NETWORK)),
        });
        let mut lines = lock(&self.0);
        if lines.count >= MAX || lines.lines.get(&client).is_some_and(|line| line.count >= MAX_OF_CLIENT) {
            return None;
        }
        lines.count += 1;
        let new = || Line { turn: Arc::new(Semaphore::new(1)), count: 0 };
        let line = lines.lines.entry(client).or_insert_with(new);
        line.count += 1;
        Some((Place { lines: self.0.clone(), client }, line.turn.clone()))
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        lines.count = lines.count.saturating_sub(1);
        if let Some(line) = lines.lines.get_mut(&self.client) {
            line.count = line.count.saturating_sub(1);
            if line.count == 0 {
                lines.lines.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn client(address: &str) -> ClientId {
        address.parse().map_or_else(|_| ClientId::Opaque(address.into()), ClientId::Address)
    }

    /// How many tries are in lines, and how many lines there are.
    fn sizes(turns: &Turns) -> (usize, usize) {
        let lines = lock(&turns.0);
        (lines.count, lines.lines.len())
    }

    #[test]
    fn one_try_of_a_client_at_a_time() {
        let turns = Turns::default();
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
            ("unknown", "_other", "192.0.2.1"),
        ] {
            let (one, same) = (client(one), client(same));
            let turn = turns.wait(&one).now_or_never().flatten().unwrap();
            let mut next = Box::pin(turns.wait(&same));
            assert!(next.as_mut().now_or_never().is_none());
            assert!(turns.wait(&client(other)).now_or_never().flatten().is_some());
            drop(turn);
            assert!(next.now_or_never().flatten().is_some());
        }
        assert_eq!(sizes(&turns), (0, 0), "nothing stays");
    }

    #[test]
    fn lines_are_bounded_and_who_leaves_makes_room() {
        let turns = Turns::default();
        let mut waiting = Vec::new();
        for octet in 0..=u8::MAX {
            let client = ClientId::Address([192, 0, 2, octet].into());
            while let Some(place) = turns.line_up(&client) {
                waiting.push(place);
            }
        }
        assert_eq!((waiting.len(), sizes(&turns)), (MAX, (MAX, MAX / MAX_OF_CLIENT)));
        assert!(turns.line_up(&client("198.51.100.1")).is_none());
        waiting.pop();
        assert!(turns.line_up(&client("198.51.100.1")).is_some());
        drop(waiting);
        assert_eq!(sizes(&turns), (0, 0));
    }
}
