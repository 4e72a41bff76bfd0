//! Bounds the rate of log lines that clients can cause.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gateway::Gateway;

/// The least time between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(60);

/// Lets a line of one kind be logged at most once in a minute.
#[derive(Debug, Default)]
pub(crate) struct LogThrottle {
    /// The second from which on the next line may be logged, on the gateway's clock.
    next: AtomicU64,
}

impl LogThrottle {
    /// Whether a line may be logged now. If so, it counts as logged: the next may come after a minute.
    pub(crate) fn may_log(&self, gateway: &Gateway) -> bool {
        let second = gateway.clock.now().since(gateway.started).as_secs();
        // Relaxed: a line too many, from two threads at a time, does no harm.
        let may_log = second >= self.next.load(Ordering::Relaxed);
        if may_log {
            self.next.store(second + PAUSE.as_secs(), Ordering::Relaxed);
        }
        may_log
    }
}
