//! Whether an endpoint gets requests: one atomic word, changed by what is seen of it.
//!
//! ```text
//!        failures in a row             time is up             its trial succeeds
//!   up ───────────────────▶ ejected ───────────────▶ trial ───────────────────────▶ up
//!                              ▲                       │ ▲
//!                              └───────────────────────┘ │ enough checks pass
//!                                    its trial fails     │
//!                any ──────────────────────────────▶ unhealthy
//!                      enough checks fail
//! ```
//!
//! One that takes no connection is refusing until it takes one. It is asked now and then, by one request at a time;
//! when there is nobody else, it is asked all the same.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Timestamp;

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It gets its share.
    Up,
    /// It gets one request at a time.
    Trial,
    /// It took no connection the last time.
    Refusing {
        /// When it is asked again. To 8 ns.
        until: Timestamp,
    },
    /// It gets nothing until then, for it has failed too often.
    Ejected {
        /// When it gets another chance. To 8 ns.
        until: Timestamp,
    },
    /// It gets nothing, for its checks fail.
    Unhealthy,
}

impl Standing {
    const KIND: u64 = 0b111;
    const UP: u64 = 0;
    const TRIAL: u64 = 1;
    const EJECTED: u64 = 2;
    const UNHEALTHY: u64 = 3;
    const REFUSING: u64 = 4;

    /// Its name in numbers for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Trial => "trial",
            Self::Refusing { .. } => "refusing",
            Self::Ejected { .. } => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// Whether it can get requests at all.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Up | Self::Trial | Self::Refusing { .. })
    }

    /// Whether nothing is known against it.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up | Self::Trial)
    }

    fn to_word(self) -> u64 {
        match self {
            Self::Up => Self::UP,
            Self::Trial => Self::TRIAL,
            Self::Refusing { until } => until.nanos() & !Self::KIND | Self::REFUSING,
            Self::Ejected { until } => until.nanos() & !Self::KIND | Self::EJECTED,
            Self::Unhealthy => Self::UNHEALTHY,
        }
    }

    fn of_word(word: u64) -> Self {
        let until = Timestamp::from_nanos(word & !Self::KIND);
        match word & Self::KIND {
            Self::TRIAL => Self::Trial,
            Self::REFUSING => Self::Refusing { until },
            Self::EJECTED => Self::Ejected { until },
            Self::UNHEALTHY => Self::Unhealthy,
            _ => Self::Up,
        }
    }
}

/// A [`Standing`] that threads share.
pub(super) struct StandingCell(AtomicU64);

impl StandingCell {
    pub(super) fn new(standing: Standing) -> Self {
        Self(AtomicU64::new(standing.to_word()))
    }

    // Relaxed, everywhere: the word is all there is, and nothing else is read by its order.

    pub(super) fn load(&self) -> Standing {
        Standing::of_word(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn store(&self, standing: Standing) {
        self.0.store(standing.to_word(), Ordering::Relaxed);
    }

    /// Changes from one standing to another, unless somebody was faster.
    pub(super) fn change(&self, from: Standing, to: Standing) -> bool {
        let (from, to) = (from.to_word(), to.to_word());
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_fits_into_a_word() {
        let until = Timestamp::from_nanos(8_000_000_008);
        for standing in [
            Standing::Up,
            Standing::Trial,
            Standing::Refusing { until },
            Standing::Ejected { until },
            Standing::Unhealthy,
        ] {
            let cell = StandingCell::new(standing);
            assert_eq!(cell.load(), standing);
            assert!(!cell.change(Standing::Ejected { until: Timestamp::from_nanos(8) }, Standing::Up));
            assert!(cell.change(standing, Standing::Trial));
            assert_eq!(cell.load(), Standing::Trial);
        }
    }
}
