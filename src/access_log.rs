//! The access log: a line for each request, formatted where the request ends, written by a thread of its own.
//!
//! A request never waits for the log. Each worker formats its lines into a buffer of its own, and the writer takes
//! the buffers away from time to time, leaving empty ones. When a buffer is full because the log is written more
//! slowly than requests are answered, lines are dropped and counted; so its memory is bounded as well. Clients that log more
//! than their share of it lose lines first, so that nobody can hide what others do. Lines of two workers may be out of order by as much as the writer's pause: each carries its time.

#[cfg(test)]
mod arbitrary;
mod buffers;
mod combined;
mod entry;
mod exchange;
mod fair_share;
mod formatter;
mod json;
mod number;
mod output;
mod plain;
mod sample;
mod second;
mod truncate;
mod writer;

use std::cell::Cell;
use std::hash::RandomState;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

use log::warn;
use prometheus::IntCounter;

use self::buffers::{Buffer, Lines, Shared};
pub use self::entry::{Costs, Entry, Keys, Names, Tokens};
use self::fair_share::Place;
use self::output::Output;
pub use self::sample::is_logged;
use crate::config;

/// A buffer that holds as much takes lines only of clients that have less than their share of it.
const CROWDED: usize = 1 << 20;

/// A buffer that holds as much takes no more lines.
const FULL: usize = 2 << 20;

/// How long [`AccessLog::close`] waits for a log that takes nothing.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open access log. Dropping it has everything written out that was logged, without waiting for it.
pub struct AccessLog {
    shared: Arc<Shared>,
    writer: Thread,
    /// Disconnected when the writer has ended.
    ended: Mutex<Receiver<()>>,
}

impl AccessLog {
    /// Opens the log for so many workers. `dropped` counts the lines that are not written.
    ///
    /// # Errors
    /// When its file cannot be opened, or its thread not be started.
    pub fn open(config: &config::AccessLog, workers: usize, dropped: IntCounter) -> io::Result<Self> {
        let output = Output::open(config.target.clone())?;
        let shared = Arc::new(Shared {
            buffers: (0..workers.max(1)).map(|_| Buffer::new(config)).collect(),
            dropped,
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            secret: RandomState::new(),
        });
        let (alive, ended) = mpsc::channel::<()>();
        let writing = shared.clone();
        let writer = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            writer::run(&writing, output);
            drop(alive);
        })?;
        Ok(Self { shared, writer: writer.thread().clone(), ended: Mutex::new(ended) })
    }

    /// Logs a request, or drops the line if too many are waiting.
    pub fn write(&self, entry: &Entry<'_>) {
        let client = Place::of(entry.client, &self.shared.secret);
        let mut buffer = self.shared.buffers[worker() % self.shared.buffers.len()].lock();
        let Lines { bytes, formatter, fair_share } = &mut *buffer;
        let waiting = bytes.len();
        if waiting >= FULL || waiting >= CROWDED && !fair_share.has_room(client, CROWDED) {
            self.shared.dropped.inc();
            return;
        }
        formatter.append(entry, bytes);
        fair_share.count(client, bytes.len() - waiting);
        drop(buffer);
        let first = waiting == 0;
        // The writer does not sleep while there is something in a buffer.
        if first {
            self.writer.unpark();
        }
    }

    /// Opens the file by its name again, for it has been moved away. What has been logged before may be written to
    /// either; what is logged from now on is written to the new one. If it cannot be opened, the old one is kept.
    pub fn reopen(&self) {
        // Release: whoever unparks the writer is seen by it.
        self.shared.reopen.store(true, Ordering::Release);
        self.writer.unpark();
    }

    /// Has everything written out, and waits until it is, but not for ever.
    pub fn close(&self) {
        self.end();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            warn!("the access log took nothing for {PATIENCE:?}: its last lines are lost");
        }
    }

    fn end(&self) {
        // Release: what was logged before is in the buffers when the writer sees this.
        self.shared.closing.store(true, Ordering::Release);
        self.writer.unpark();
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.end();
    }
}

/// The number of this thread among those that log, so that each has its own buffer.
fn worker() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        // Relaxed: each number is given out once, in any order.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}

#[cfg(test)]
mod tests;
