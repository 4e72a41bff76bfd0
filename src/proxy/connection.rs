//! A client's connection, as the proxy and the socket beneath it both see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;

/// No deadline: the end of time.
const NEVER: u64 = u64::MAX;

/// What is known of a client's connection, and what the proxy asks of it.
///
/// One task at a time works on a connection, so its atomics order nothing: they are there because the two
/// sides hold it together.
#[derive(Debug)]
pub struct Connection {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Whether it is encrypted.
    pub tls: bool,
    /// Of its listener: connections close after the request that is running.
    closing: Arc<AtomicBool>,
    head_at: AtomicU64,
    deadline: AtomicU64,
    silence: AtomicU64,
    silent: AtomicBool,
    tunnel: AtomicBool,
    /// It has carried as many requests as it may.
    spent: AtomicBool,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(peer: SocketAddr, tls: bool, closing: Arc<AtomicBool>) -> Self {
        Self {
            peer,
            tls,
            closing,
            head_at: AtomicU64::new(0),
            deadline: AtomicU64::new(NEVER),
            silence: AtomicU64::new(NEVER),
            silent: AtomicBool::new(false),
            tunnel: AtomicBool::new(false),
            spent: AtomicBool::new(false),
        }
    }

    /// Whether it is to close after the request that is running.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.spent.load(Ordering::Relaxed)
    }

    /// It takes no request after the one that is running.
    pub fn close_after_this(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }

    /// Notes when the head of the current request was whole.
    pub fn set_head_at(&self, at: Timestamp) {
        self.head_at.store(at.nanos(), Ordering::Relaxed);
    }

    /// When the head of the current request was whole.
    pub fn head_at(&self) -> Timestamp {
        Timestamp::from_nanos(self.head_at.load(Ordering::Relaxed))
    }

    /// From `deadline` on, reading and writing fail with [`std::io::ErrorKind::TimedOut`].
    pub fn set_deadline(&self, deadline: Option<Timestamp>) {
        self.deadline.store(deadline.map_or(NEVER, Timestamp::nanos), Ordering::Relaxed);
    }

    /// The deadline, if there is one.
    pub fn deadline(&self) -> Option<Timestamp> {
        let nanos = self.deadline.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Timestamp::from_nanos(nanos))
    }

    /// From now on, waiting for more of an answer fails with [`std::io::ErrorKind::TimedOut`] when nothing has come for
    /// so long.
    pub fn set_silence(&self, longest: Option<Duration>) {
        let nanos = longest.map_or(NEVER, |longest| u64::try_from(longest.as_nanos()).unwrap_or(NEVER));
        self.silence.store(nanos, Ordering::Relaxed);
        self.silent.store(false, Ordering::Relaxed);
    }

    /// How long the upstream may send nothing in the middle of its answer, if there is a bound.
    pub fn silence(&self) -> Option<Duration> {
        let nanos = self.silence.load(Ordering::Relaxed);
        (nanos != NEVER).then(|| Duration::from_nanos(nanos))
    }

    /// Notes that the upstream has sent nothing for too long.
    pub fn note_silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// The connection has been handed to another protocol: nothing on it is a request any more.
    pub fn become_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    /// Whether it has been handed to another protocol.
    pub fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Relaxed)
    }
}
