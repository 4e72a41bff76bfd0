//! The clock of the machine that wrote a file: where it was set back, time goes on.
//!
//! A line that is stamped long before the newest one so far was written late, or by a clock that has been set back. Which of both, the
//! lines after it tell: they wait until there is one that is not so, or so many that the clock has been set.

use std::collections::VecDeque;
use std::time::Duration;

use super::order::nanoseconds;
use crate::replay::record::{Record, Stamp};

/// More of them in a row mean that the clock has been set.
const MOST: usize = 100;

/// Makes stamps of a file go on where its clock was set back.
pub(super) struct WriterClock {
    window: i64,
    newest: Stamp,
    /// What is added to stamps.
    shift: i64,
    /// In a row, stamped before the newest one by more than the window.
    suspects: VecDeque<Box<Record>>,
    changes: u64,
}

impl WriterClock {
    /// A line that is stamped earlier by more than the window is unusual.
    pub(super) fn new(window: Duration) -> Self {
        let newest = Stamp(i64::MIN);
        Self { window: nanoseconds(window), newest, shift: 0, suspects: VecDeque::new(), changes: 0 }
    }

    /// How often it was set back.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes the next record of the file. It is given back if nothing has to wait; else [`Self::release`] is to be asked.
    pub(super) fn take(&mut self, mut record: Box<Record>) -> Option<Box<Record>> {
        record.ended.0 = record.ended.0.saturating_add(self.shift);
        let is_usual = record.ended.0 >= self.newest.0.saturating_sub(self.window);
        if is_usual && self.suspects.is_empty() {
            self.newest = self.newest.max(record.ended);
            return Some(record);
        }
        self.suspects.push_back(record);
        None
    }

    /// What need not wait any longer. `at_end` says that there are no more records.
    pub(super) fn release(&mut self, at_end: bool) -> VecDeque<Box<Record>> {
        let is_usual = |ended: Stamp| ended.0 >= self.newest.0.saturating_sub(self.window);
        if self.suspects.back().is_some_and(|last| is_usual(last.ended)) || at_end {
            let released = std::mem::take(&mut self.suspects);
            self.newest = released.iter().map(|record| record.ended).fold(self.newest, Stamp::max);
            return released;
        }
        if self.suspects.len() <= MOST {
            return VecDeque::new();
        }
        let mut released = std::mem::take(&mut self.suspects);
        let back = released.front().map_or(0, |first| self.newest.0.saturating_sub(first.ended.0));
        for record in &mut released {
            record.ended.0 = record.ended.0.saturating_add(back);
            self.newest = self.newest.max(record.ended);
        }
        self.shift = self.shift.saturating_add(back);
        self.changes += 1;
        released
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::ended;
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    /// The seconds that come out for these, and how often the clock was set.
    fn seconds(stamps: impl IntoIterator<Item = i64>) -> (Vec<i64>, u64) {
        let mut clock = WriterClock::new(Duration::from_secs(60));
        let mut out = VecDeque::new();
        for stamp in stamps {
            match clock.take(ended(stamp * SECOND)) {
                Some(record) => out.push_back(record),
                None => out.append(&mut clock.release(false)),
            }
            assert!(clock.suspects.len() <= MOST);
        }
        out.append(&mut clock.release(true));
        (out.iter().map(|record| record.ended.0 / SECOND).collect(), clock.changes())
    }

    #[test]
    fn lines_that_are_stamped_earlier_stay_so_up_to_a_hundred_in_a_row() {
        for count in [1, 50, 100] {
            let late = std::iter::repeat_n(1000, count);
            let expected: Vec<_> = [5000].into_iter().chain(late.clone()).chain([5001]).collect();
            assert_eq!(seconds(expected.clone()), (expected.clone(), 0));
            // Also if nothing follows them.
            let expected = &expected[..count + 1];
            assert_eq!(seconds(expected.to_vec()), (expected.to_vec(), 0));
        }
        let within = [5000].into_iter().chain(std::iter::repeat_n(4940, 300));
        assert_eq!(seconds(within.clone()), (within.collect(), 0));
    }

    #[test]
    fn after_more_than_a_hundred_time_goes_on_from_the_newest() {
        let set_back = [5000, 4990].into_iter().chain(1000..1150);
        let expected: Vec<_> = [5000, 4990].into_iter().chain(5000..5150).collect();
        assert_eq!(seconds(set_back.clone()), (expected.clone(), 1));
        let twice = set_back.chain(7..170);
        let expected: Vec<_> = expected.into_iter().chain(5149..5312).collect();
        assert_eq!(seconds(twice), (expected, 2));
    }

    #[test]
    fn a_leap_forwards_is_taken_as_it_is() {
        let leap: Vec<_> = [5000, 9_000_000].into_iter().chain(9_000_001..9_000_200).collect();
        assert_eq!(seconds(leap.clone()), (leap, 0));
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let mut clock = WriterClock::new(Duration::MAX);
        assert!(clock.take(ended(i64::MAX)).is_some());
        assert!(clock.take(ended(i64::MIN)).is_none_or(|_| true));
        let mut clock = WriterClock::new(Duration::ZERO);
        for stamp in [i64::MAX, i64::MIN, i64::MAX, i64::MIN].repeat(200) {
            clock.take(ended(stamp));
            clock.release(false);
        }
    }
}
