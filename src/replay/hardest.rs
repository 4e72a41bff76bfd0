//! The clients that a limit refused most.

use std::time::Duration;

use super::clients::Clients;
use crate::limit::key::Fingerprint;

/// The most clients that are kept. When there are more, the half that was refused least is forgotten.
const MOST: usize = 4096;

/// A client that was refused.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The values of the limit's key, as they may be shown.
    pub client: Vec<String>,
    /// How often it was refused.
    pub refused: u64,
    /// The longest that it was told to wait.
    pub longest_wait: Duration,
}

/// The clients that a limit refused most.
#[derive(Debug, Default)]
pub struct Hardest {
    hits: Clients<Hit>,
    /// A client that was forgotten had been refused at most so often.
    forgotten: u64,
}

impl Hardest {
    /// Counts a refusal. `client` says how the client is shown.
    pub fn count(&mut self, fingerprint: Fingerprint, wait: Duration, client: impl FnOnce() -> Vec<String>) {
        if self.hits.len() >= MOST && !self.hits.contains_key(&fingerprint) {
            self.forget();
        }
        let hit = self.hits.entry(fingerprint).or_insert_with(|| Hit {
            client: client(),
            refused: 0,
            longest_wait: Duration::ZERO,
        });
        hit.refused += 1;
        hit.longest_wait = hit.longest_wait.max(wait);
    }

    /// The clients that were refused most, the most refused first.
    pub fn worst(&self, count: usize) -> Vec<(Fingerprint, &Hit)> {
        let mut hits: Vec<_> = self.hits.iter().map(|(fingerprint, hit)| (*fingerprint, hit)).collect();
        hits.sort_unstable_by(|(_, a), (_, b)| {
            b.refused.cmp(&a.refused).then_with(|| a.client.cmp(&b.client))
        });
        hits.truncate(count);
        hits
    }

    /// The counts of [`worst`](Self::worst) may be too low by this; a client that is not among them was refused at most so often if it was
    /// forgotten.
    pub fn missed(&self) -> u64 {
        self.forgotten
    }

    fn forget(&mut self) {
        let mut counts: Vec<u64> = self.hits.values().map(|hit| hit.refused).collect();
        counts.sort_unstable();
        let median = counts[counts.len() / 2];
        self.hits.retain(|_, hit| hit.refused > median);
        self.forgotten += median;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::key::fingerprint_of;

    #[test]
    fn whoever_is_refused_often_is_not_forgotten_among_many() {
        let mut hardest = Hardest::default();
        for round in 0..100_000_u64 {
            hardest.count(fingerprint_of(round + 10), Duration::ZERO, || vec![format!("{round}")]);
            if round % 10 == 0 {
                let wait = Duration::from_secs(round);
                hardest.count(fingerprint_of(1), wait, || vec!["one".to_owned()]);
            }
        }
        let worst = hardest.worst(2);
        assert_eq!(worst[0].1.client, ["one"]);
        assert!(worst[0].1.refused + hardest.missed() >= 10_000);
        assert_eq!(worst[0].1.longest_wait, Duration::from_secs(99_990));
        assert!(hardest.hits.len() <= MOST);
    }
}
