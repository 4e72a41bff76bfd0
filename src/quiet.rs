//! Log lines that anybody can cause, at a bounded rate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::gateway::Gateway;

/// A line is logged at most so often.
const PAUSE: Duration = Duration::from_secs(60);

/// Whether it is time for a line of one kind.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// The second in which there may be another, on the gateway's clock.
    until: AtomicU64,
}

impl Quiet {
    /// Whether a line may be logged now. If so, there is none for a minute.
    pub(crate) fn is_over(&self, gateway: &Gateway) -> bool {
        let second = gateway.clock.now().since(gateway.started).as_secs();
        // Relaxed: one line more or less does no harm.
        let is_over = second >= self.until.load(Ordering::Relaxed);
        if is_over {
            self.until.store(second + PAUSE.as_secs(), Ordering::Relaxed);
        }
        is_over
    }
}
