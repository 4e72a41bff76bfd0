//! A configuration on trial with the requests of a log, once or twice.
//!
//! A log that tells whole seconds leaves open when in a second its requests came. The two bounds of what a limit can have made of them are
//! tried: all at the beginning of the second, and spread evenly over it.

use super::record::{Record, Stamp};
use super::scenario::Scenario;
use super::spread::Spread;
use crate::clock::Timestamp;

/// A configuration on trial.
pub(super) struct Trial {
    /// Its file, and what was changed of it.
    pub name: String,
    /// With every request at the time that the log tells.
    pub told: Scenario,
    /// With the requests of a whole second spread over it.
    pub spread: Option<Spread>,
}

impl Trial {
    /// The log begins at this time of the wall clock, by which quotas by the calendar go.
    pub(super) fn begin(&self, start: Stamp) {
        let wall = jiff::Timestamp::from_nanosecond(start.0.into()).unwrap_or_default();
        for limiter in
            std::iter::once(self.told.engine().limiter()).chain(self.spread.as_ref().map(Spread::limiter))
        {
            limiter.wall().set((Timestamp::default(), wall));
        }
    }

    /// Requests come in, each at its time, which never goes back. See [`Scenario::requests`].
    pub(super) fn requests(&mut self, records: &[(Timestamp, Box<Record>)]) {
        self.told.requests(records);
        if let Some(spread) = &mut self.spread {
            for ((now, record), fate) in records.iter().zip(self.told.fates()) {
                spread.request(record, fate, *now);
            }
        }
    }

    /// The log is over.
    pub(super) fn finish(&mut self) {
        self.told.finish();
        if let Some(spread) = &mut self.spread {
            spread.finish();
        }
    }
}
