//! File descriptors, of which every connection needs one. The limit is raised as far as the system allows, and the descriptors are divided,
//! so that some are left for the side port and health checks when clients have as many as they may.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the side port, which takes 256 connections, health checks, logs, certificates and other files; but at most a third of
/// all.
const KEPT: u64 = 320;

/// The most idle connections to upstreams; but at most a sixteenth of the descriptors that are not kept.
const MOST_WAITING: usize = 1024;

/// The same for each worker, where this is more: each has connections of its own.
const MOST_WAITING_OF_WORKER: usize = 128;

/// How the descriptors are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DescriptorBudget {
    /// Connections of clients.
    pub(super) clients: usize,
    /// Connections to upstreams that have a request: each client may need one.
    pub(super) requests: usize,
    /// Idle connections to upstreams.
    pub(super) waiting: usize,
}

/// Raises the limit on descriptors as far as the system allows, and divides them, for so many workers.
pub(super) fn raise(workers: usize) -> DescriptorBudget {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => warn!("the bound on open files cannot be raised: {error}"),
        }
    }
    divide(limit.current.unwrap_or(u64::MAX), workers)
}

fn divide(descriptors: u64, workers: usize) -> DescriptorBudget {
    let left = descriptors - KEPT.min(descriptors / 3);
    let most_waiting = MOST_WAITING.max(workers.saturating_mul(MOST_WAITING_OF_WORKER));
    let waiting = (left / 16).min(most_waiting as u64);
    let half = (left - waiting) / 2;
    let count = |share: u64| usize::try_from(share).unwrap_or(usize::MAX).max(1);
    DescriptorBudget { clients: count(half), requests: count(half), waiting: count(waiting) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_upstreams_have_as_many_each() {
        for (descriptors, workers, half, waiting) in [
            (1_048_576, 1, 523_616, 1024),
            (1_048_576, 8, 523_616, 1024),
            (1_048_576, 64, 520_032, 8192),
            (65_536, 2, 32_096, 1024),
            (65_536, 64, 30_570, 4076),
            (1024, 64, 330, 44),
            (200, 2, 63, 8),
            (128, 2, 40, 5),
            (1, 1, 1, 1),
        ] {
            let shares = DescriptorBudget { clients: half, requests: half, waiting };
            assert_eq!(divide(descriptors, workers), shares, "{descriptors}, {workers}");
        }
        divide(u64::MAX, usize::MAX);
    }
}
