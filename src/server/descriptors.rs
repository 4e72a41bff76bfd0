//! File descriptors, which every connection needs one of: as many as the system gives, and some for what must go on when clients
//! have as many as they may.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the side port, health checks, logs, certificates and what else is opened now and then.
const KEPT: u64 = 64;

/// Raises the bound on descriptors to what the system lets this process have. How many connections of clients that allows for.
///
/// Half of what there is beyond the kept is for clients: each of them may need another connection, to an upstream.
pub(super) fn raise() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => warn!("the bound on open files cannot be raised: {error}"),
        }
    }
    limit.current.map_or(usize::MAX, for_clients)
}

/// How many connections of clients so many descriptors allow for.
fn for_clients(descriptors: u64) -> usize {
    let most = (descriptors.saturating_sub(KEPT) / 2).max(descriptors / 4).max(1);
    usize::try_from(most).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_are_for_clients() {
        assert_eq!(for_clients(1_048_576), 524_256);
        assert_eq!(for_clients(1024), 480);
        assert_eq!(for_clients(64), 16);
        assert_eq!(for_clients(1), 1);
    }
}
