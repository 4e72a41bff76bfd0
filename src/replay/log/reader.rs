//! The records of one file, in the order of its lines.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use super::fields::Wanted;
use super::format::Format;
use super::lines::{Line, Lines};
use super::parse;
use super::stamp::ClfStamps;
use super::unreadable::Unreadable;
use super::writer_clock::WriterClock;
use crate::replay::record::Record;

/// So many lines are looked at for one that tells the format.
const FIRST_LINES: u64 = 20;

/// So many unreadable lines are kept.
pub(super) const KEPT: usize = 5;

/// So much is shown of a line.
const SHOWN: usize = 120;

/// A line that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The file, as the user named it.
    pub file: String,
    /// Its number in the file, from 1 on.
    pub number: u64,
    /// Why it was not read.
    pub reason: Unreadable,
    /// Its beginning, escaped. Empty if it is too long.
    pub beginning: String,
}

/// A file cannot be read.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    /// No line tells the format. This is the first one.
    NoFormat(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What has been read of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    pub(super) records: u64,
    pub(super) unreadable: u64,
    pub(super) first_unreadable: Vec<BadLine>,
}

/// Reads a file.
pub(super) struct Reader {
    name: String,
    lines: Lines<Box<dyn Read + Send>>,
    /// `None` until a line tells it.
    format: Option<Format>,
    stamps: ClfStamps,
    clock: WriterClock,
    /// What the clock has held back.
    ready: VecDeque<Box<Record>>,
    is_over: bool,
    /// Why it was over before its end.
    trouble: Option<Trouble>,
    count: Count,
}

impl Reader {
    pub(super) fn new(
        name: String,
        content: Box<dyn Read + Send>,
        format: Option<Format>,
        window: Duration,
    ) -> Self {
        Self {
            name,
            lines: Lines::new(content),
            format,
            stamps: ClfStamps::default(),
            clock: WriterClock::new(window),
            ready: VecDeque::new(),
            is_over: false,
            trouble: None,
            count: Count::default(),
        }
    }

    /// The file, as the user named it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn format(&self) -> Option<Format> {
        self.format
    }

    pub(super) fn count(&self) -> &Count {
        &self.count
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines.count()
    }

    pub(super) fn clock_changes(&self) -> u64 {
        self.clock.changes()
    }

    /// The next record. What was read before an error comes before it.
    pub(super) fn next(&mut self, wanted: &Wanted) -> Result<Option<Box<Record>>, Trouble> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.is_over {
                return self.trouble.take().map_or(Ok(None), Err);
            }
            match self.read(wanted) {
                Ok(Some(record)) => {
                    self.count.records += 1;
                    if let Some(record) = self.clock.take(record) {
                        return Ok(Some(record));
                    }
                    self.ready.extend(self.clock.release(false));
                }
                end => {
                    self.is_over = true;
                    self.trouble = end.err();
                    self.ready.extend(self.clock.release(true));
                }
            }
        }
    }

    /// The record of the next line that is read.
    fn read(&mut self, wanted: &Wanted) -> Result<Option<Box<Record>>, Trouble> {
        while let Some(Line { number, text }) = self.lines.next()? {
            if self.format.is_none() {
                self.format = text.and_then(|line| parse::format_of(line, wanted));
            }
            let record = match (text, self.format) {
                (None, _) => Err(Unreadable::TooLong),
                (Some(_), None) => Err(Unreadable::NoFormat),
                (Some(line), Some(format)) => parse::read(line, format, wanted, &mut self.stamps),
            };
            let reason = match record {
                // It is handed on several times: in a box, not as some 200 bytes.
                Ok(record) => return Ok(Some(Box::new(record))),
                Err(reason) => reason,
            };
            self.count.unreadable += 1;
            if self.count.first_unreadable.len() < KEPT {
                let beginning = beginning(text.unwrap_or_default());
                self.count.first_unreadable.push(BadLine {
                    file: self.name.clone(),
                    number,
                    reason,
                    beginning,
                });
            }
            if self.format.is_none() && self.count.unreadable == FIRST_LINES {
                break;
            }
        }
        match self.count.first_unreadable.first() {
            Some(first) if self.format.is_none() => Err(Trouble::NoFormat(first.beginning.clone())),
            _ => Ok(None),
        }
    }
}

/// The beginning of a line, with everything escaped that a terminal could obey.
fn beginning(line: &[u8]) -> String {
    let shown = line.get(..SHOWN).unwrap_or(line);
    let dots = if shown.len() < line.len() { "..." } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}
