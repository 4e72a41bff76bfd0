//! Recorded access logs: files in, requests out, in the order in which they began.
//!
//! Each file is decompressed (`source`), split (`lines`) and read in its format (`parse`, `reader`); its clock is made to go on where it
//! was set back (`writer_clock`). The files are merged by when requests ended (`merge`), and requests handed out by when they began
//! (`order`). A line that cannot be read is counted and passed over; a file that cannot be read is an error.

mod apache;
mod caddy;
mod fields;
mod format;
mod gateway;
mod json;
mod lines;
mod merge;
mod order;
mod parse;
mod reader;
mod request;
#[cfg(test)]
mod sample;
mod source;
mod stamp;
mod traefik;
mod unreadable;
mod writer_clock;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::fields::{BadMapping, Mapping, Wanted};
pub use self::format::Format;
pub use self::reader::BadLine;
pub use self::unreadable::Unreadable;

use self::merge::Merge;
use self::order::Order;
use self::reader::{KEPT, Reader, Trouble};
use super::record::{Record, Stamp};
use crate::clock::Timestamp;

/// The most files that are read together.
pub const MOST_FILES: usize = 256;

/// How far a log is read ahead for requests that began earlier, if nothing else is said.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How logs are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The format of all files; `None` if each file's own lines tell it.
    pub format: Option<Format>,
    /// What is read of requests beside what all logs have.
    pub wanted: Wanted,
    /// By how much lines may be out of order.
    pub window: Duration,
}

/// Logs that are being read.
pub struct Log {
    wanted: Wanted,
    merge: Merge,
    order: Order,
    is_over: bool,
    /// Why it was over before its end.
    failure: Option<Failure>,
    bytes: Arc<AtomicU64>,
    size: Option<u64>,
}

/// What has been read so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines, with those that are empty.
    pub lines: u64,
    /// Requests, by the format of their file.
    pub records: BTreeMap<Format, u64>,
    /// Lines that are not empty and could not be read.
    pub unreadable: u64,
    /// The first of them.
    pub first_unreadable: Vec<BadLine>,
    /// Requests that began before one that had been handed out already. They are given its time.
    pub late: u64,
    /// How often the clock of a file's writer was set back.
    pub clock_changes: u64,
    /// The longest time by which a request began before another one that stands before it in the log.
    pub longest_resorting: Duration,
    /// When the first request began, by the log.
    pub start: Option<Stamp>,
}

/// Why logs cannot be read.
#[derive(Debug)]
pub enum Failure {
    /// A file cannot be opened or read.
    Io {
        /// The file, as the user named it.
        file: String,
        /// What the system or the decompressor says.
        error: io::Error,
    },
    /// None of the first lines of a file is in a format that is known.
    NoFormat {
        /// The file, as the user named it.
        file: String,
        /// The beginning of its first line, escaped.
        line: String,
    },
    /// There are so many files, which is more than [`MOST_FILES`].
    TooManyFiles(usize),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, error } => write!(f, "{file}: {error}"),
            Self::NoFormat { file, line } => {
                let names = Format::ALL.map(Format::name).join(", ");
                write!(
                    f,
                    "{file}: no format reads its first lines. The first is `{line}`; the formats are {names}"
                )
            }
            Self::TooManyFiles(count) => {
                write!(f, "{count} files are too many: at most {MOST_FILES} are read together")
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<(String, Trouble)> for Failure {
    fn from((file, trouble): (String, Trouble)) -> Self {
        match trouble {
            Trouble::Io(error) => Self::Io { file, error },
            Trouble::NoFormat(line) => Self::NoFormat { file, line },
        }
    }
}

impl Log {
    /// Opens files, `-` for standard input, and reads the first record of each.
    ///
    /// # Errors
    /// When there are too many, or one cannot be opened, or has no line in a format that is known.
    pub fn open(files: &[PathBuf], options: Options) -> Result<Self, Failure> {
        if files.len() > MOST_FILES {
            return Err(Failure::TooManyFiles(files.len()));
        }
        let Options { format, wanted, window } = options;
        let bytes = Arc::default();
        let mut size = Some(0);
        let mut readers = Vec::with_capacity(files.len());
        for path in files {
            let name = path.display().to_string();
            let source = match source::open(path, &bytes) {
                Ok(source) => source,
                Err(error) => return Err(Failure::Io { file: name, error }),
            };
            size = size.zip(source.size).map(|(all, one)| all + one);
            readers.push(Reader::new(name, source.content, format, window));
        }
        let merge = Merge::new(readers, &wanted)?;
        Ok(Self { wanted, merge, order: Order::new(window), is_over: false, failure: None, bytes, size })
    }

    /// The next request, and when it began, since the first one began. Time never goes back. What was read before an error comes
    /// before it; after it there is nothing.
    ///
    /// # Errors
    /// When a file cannot be read any further.
    // It is no iterator: after an error it is over.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives is no item but a result that may be the end"
    )]
    pub fn next(&mut self) -> Result<Option<(Timestamp, Box<Record>)>, Failure> {
        loop {
            if let Some(next) = self.order.pop(self.is_over) {
                return Ok(Some(next));
            }
            if self.is_over {
                return self.failure.take().map_or(Ok(None), Err);
            }
            match self.merge.next(&self.wanted) {
                Ok(Some(record)) => self.order.push(record),
                Ok(None) => self.is_over = true,
                Err(failed) => {
                    self.is_over = true;
                    self.failure = Some(failed.into());
                }
            }
        }
    }

    /// When the first request began; `None` before there was one.
    pub(super) fn start(&self) -> Option<Stamp> {
        self.order.start()
    }

    /// The formats of the files. An empty file has none.
    pub fn formats(&self) -> BTreeSet<Format> {
        self.merge.readers().iter().filter_map(Reader::format).collect()
    }

    /// What is read of requests beside what all logs have.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// The bytes that have been read of the files, as they are on disk.
    pub fn bytes_read(&self) -> u64 {
        // Relaxed: it is a number to show.
        self.bytes.load(Ordering::Relaxed)
    }

    /// The bytes of all files; `None` if one is no regular file.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// What has been read so far.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary {
            late: self.order.late(),
            longest_resorting: self.order.longest(),
            start: self.order.start(),
            ..Summary::default()
        };
        for reader in self.merge.readers() {
            let count = reader.count();
            summary.lines += reader.lines();
            if let Some(format) = reader.format() {
                *summary.records.entry(format).or_default() += count.records;
            }
            summary.unreadable += count.unreadable;
            let room = KEPT - summary.first_unreadable.len();
            summary.first_unreadable.extend(count.first_unreadable.iter().take(room).cloned());
            summary.clock_changes += reader.clock_changes();
        }
        summary
    }
}

#[cfg(test)]
mod tests;
