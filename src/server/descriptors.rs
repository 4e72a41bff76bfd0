//! File descriptors, which every connection needs one of: as many as the system gives, and some for what must go on when clients
//! have as many as they may.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the side port, which takes 256 connections, health checks, logs, certificates and what else is opened now and then.
/// If that is more than a third of what there is, then a third.
const KEPT: u64 = 320;

/// Connections to upstreams that wait for a request, at most. If that is more than a sixteenth of what is not kept, then that.
const MOST_WAITING: u64 = 1024;

/// Who may have how many descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorBudget {
    /// Connections of clients.
    pub(super) clients: usize,
    /// Connections to upstreams that have a request: each client may need one.
    pub(super) requests: usize,
    /// Connections to upstreams that wait for one.
    pub(super) waiting: usize,
}

/// Raises the bound on descriptors to what the system lets this process have, and shares them out.
pub(super) fn raise() -> DescriptorBudget {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => warn!("the bound on open files cannot be raised: {error}"),
        }
    }
    share_out(limit.current.unwrap_or(u64::MAX))
}

fn share_out(descriptors: u64) -> DescriptorBudget {
    let left = descriptors - KEPT.min(descriptors / 3);
    let waiting = MOST_WAITING.min(left / 16);
    let half = (left - waiting) / 2;
    let count = |share: u64| usize::try_from(share).unwrap_or(usize::MAX).max(1);
    DescriptorBudget { clients: count(half), requests: count(half), waiting: count(waiting) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_upstreams_have_as_many_each() {
        for (descriptors, half, waiting) in [
            (1_048_576, 523_616, 1024),
            (65_536, 32_096, 1024),
            (1024, 330, 44),
            (200, 63, 8),
            (128, 40, 5),
            (1, 1, 1),
        ] {
            let shares = DescriptorBudget { clients: half, requests: half, waiting };
            assert_eq!(share_out(descriptors), shares, "{descriptors}");
        }
        share_out(u64::MAX);
    }
}
