//! A configuration on trial with the requests of a log, once or twice.
//!
//! A log that tells whole seconds leaves open when in a second its requests came. The two bounds of what a limit can have made of them are
//! tried: all at the beginning of the second, and spread evenly over it.

use super::record::Record;
use super::scenario::Scenario;
use crate::clock::Timestamp;

const SECOND: u64 = 1_000_000_000;

/// The most requests of one second that are held to be spread over it. Those beyond come at its end.
const MOST_HELD: usize = 65_536;

/// A configuration on trial.
pub(super) struct Trial {
    /// Its file, and what was changed of it.
    pub name: String,
    /// With every request at the time that the log tells.
    pub told: Scenario,
    /// With the requests of a whole second spread over it.
    pub spread: Option<Spread>,
}

/// A scenario in which the requests of a second are spread over it.
pub(super) struct Spread {
    scenario: Scenario,
    second: u64,
    held: Vec<Record>,
    latest: Timestamp,
}

impl Trial {
    /// The log is over.
    pub(super) fn finish(&mut self) {
        self.told.finish();
        if let Some(spread) = &mut self.spread {
            spread.release();
            spread.scenario.finish();
        }
    }
}

impl Spread {
    /// Spreads the requests that this scenario gets.
    pub(super) fn new(scenario: Scenario) -> Self {
        Self { scenario, second: 0, held: Vec::new(), latest: Timestamp::default() }
    }

    /// The scenario.
    pub(super) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// A request comes in at a time that never goes back.
    pub(super) fn request(&mut self, record: Record, now: Timestamp) {
        let second = now.nanos() / SECOND;
        if second != self.second {
            self.release();
            self.second = second;
        }
        if record.took.is_some() || self.held.len() >= MOST_HELD {
            // Its time is known better, or there are too many.
            let end = self.second.saturating_mul(SECOND).saturating_add(SECOND - 1);
            let at = if record.took.is_some() { now } else { Timestamp::from_nanos(end) };
            self.release();
            self.send(&record, at);
        } else {
            self.held.push(record);
        }
    }

    fn release(&mut self) {
        let count = self.held.len() as u64;
        let start = self.second.saturating_mul(SECOND);
        let mut held = std::mem::take(&mut self.held);
        for (index, record) in (0..).zip(&held) {
            let within = SECOND.saturating_mul(index) / count.max(1);
            self.send(record, Timestamp::from_nanos(start.saturating_add(within)));
        }
        // The room is used again.
        held.clear();
        self.held = held;
    }

    /// Time never goes back, also where a log that tells durations is read beside one that does not.
    fn send(&mut self, record: &Record, at: Timestamp) {
        self.latest = self.latest.max(at);
        self.scenario.request(record, self.latest);
    }
}
