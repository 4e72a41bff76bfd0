//! The times of lines.

use std::io::Write as _;

use jiff::Timestamp;

/// The text of a second, kept because many lines are of the same one.
pub(super) struct SecondText {
    /// How it is written, as `strftime` has it.
    pattern: &'static str,
    second: Option<i64>,
    text: Vec<u8>,
}

impl SecondText {
    pub(super) fn new(pattern: &'static str) -> Self {
        Self { pattern, second: None, text: Vec::new() }
    }

    /// The text of the second in which a time is.
    pub(super) fn of(&mut self, time: Time) -> &[u8] {
        if self.second != Some(time.second) {
            let start = Timestamp::from_second(time.second).unwrap_or_default();
            self.text.clear();
            // Appending to a `Vec` cannot fail, and the pattern is one that can be written.
            let _ = write!(self.text, "{}", start.strftime(self.pattern));
            self.second = Some(time.second);
        }
        &self.text
    }
}

/// A time as lines tell it.
#[derive(Clone, Copy)]
pub(super) struct Time {
    /// Since 1970, rounded down.
    second: i64,
    /// Of the second.
    pub(super) microseconds: u32,
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        // Both are negative before 1970.
        let (second, nanoseconds) = (time.as_second(), time.subsec_nanosecond());
        let before = if nanoseconds < 0 { 1 } else { 0 };
        let nanoseconds = nanoseconds + before * 1_000_000_000;
        Self { second: second - i64::from(before), microseconds: nanoseconds.unsigned_abs() / 1000 }
    }
}
