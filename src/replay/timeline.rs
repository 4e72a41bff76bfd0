//! Counts over the time of a log whose length is not known beforehand.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;

/// The most intervals that are kept: when there are more, each two become one.
const MOST: usize = 240;

/// What was counted in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// The requests that the limit counted.
    pub asked: u64,
    /// Those that it refused, or would have refused.
    pub refused: u64,
}

/// Counts in intervals of the same length.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// The length of an interval, in seconds: a power of two.
    seconds: u64,
    intervals: Vec<Interval>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { seconds: 1, intervals: Vec::new() }
    }
}

impl Timeline {
    /// Counts a request at this time since the beginning.
    pub fn count(&mut self, at: Timestamp, refused: bool) {
        let index = loop {
            // A power of two is shifted away faster than it is divided by.
            let index = (at.nanos() / 1_000_000_000) >> self.seconds.trailing_zeros();
            match usize::try_from(index).ok().filter(|index| *index < MOST) {
                Some(index) => break index,
                None => self.widen(),
            }
        };
        if index >= self.intervals.len() {
            self.intervals.resize(index + 1, Interval::default());
        }
        let interval = &mut self.intervals[index];
        interval.asked += 1;
        interval.refused += u64::from(refused);
    }

    /// The length of an interval.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The intervals from the beginning to the last in which something was counted.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// The same counts in at most `most` intervals.
    pub fn narrowed(&self, most: usize) -> Self {
        let mut narrowed = self.clone();
        while narrowed.intervals.len() > most.max(1) {
            narrowed.widen();
        }
        narrowed
    }

    fn widen(&mut self) {
        self.seconds *= 2;
        let sum = |pair: &[Interval]| Interval {
            asked: pair.iter().map(|interval| interval.asked).sum(),
            refused: pair.iter().map(|interval| interval.refused).sum(),
        };
        self.intervals = self.intervals.chunks(2).map(sum).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn intervals_grow_with_the_log() {
        let mut timeline = Timeline::default();
        for second in 0..240 {
            timeline.count(at(second), second % 2 == 0);
        }
        assert_eq!((timeline.interval(), timeline.intervals().len()), (Duration::from_secs(1), 240));
        timeline.count(at(240), true);
        assert_eq!((timeline.interval(), timeline.intervals().len()), (Duration::from_secs(2), 121));
        assert_eq!(timeline.intervals()[0], Interval { asked: 2, refused: 1 });
        let narrowed = timeline.narrowed(60);
        assert_eq!(narrowed.interval(), Duration::from_secs(8));
        assert_eq!(narrowed.intervals().iter().map(|interval| interval.asked).sum::<u64>(), 241);
    }

    #[test]
    fn a_leap_to_the_end_of_time_keeps_few_intervals() {
        let mut timeline = Timeline::default();
        timeline.count(at(0), false);
        timeline.count(Timestamp::from_nanos(u64::MAX), true);
        assert!(timeline.intervals().len() <= MOST);
    }
}
