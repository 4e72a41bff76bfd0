//! File descriptors, of which every connection needs one. The limit is raised as far as the system allows, and the descriptors are divided,
//! so that some are left for the side port and health checks when clients have as many as they may.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for the side port, which takes 256 connections, health checks, logs, certificates and other files; but at most a third of
/// all.
const KEPT: u64 = 320;

/// The most idle connections to upstreams; but at most a sixteenth of the descriptors that are not kept.
const MOST_WAITING: u64 = 1024;

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

/// Raises the limit on descriptors as far as the system allows, and divides them.
pub(super) fn raise() -> DescriptorBudget {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => warn!("the bound on open files cannot be raised: {error}"),
        }
    }
    divide(limit.current.unwrap_or(u64::MAX))
}

fn divide(descriptors: u64) -> DescriptorBudget {
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
            assert_eq!(divide(descriptors), shares, "{descriptors}");
        }
        divide(u64::MAX);
    }
}
