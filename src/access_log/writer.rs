//! The thread that writes the access log.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use log::{info, warn};

use super::buffers::Shared;
use super::output::{Output, Sink};
use crate::clock::{Clock, Timestamp};

/// How long lines gather before they are written together.
const PAUSE: Duration = Duration::from_millis(20);

/// Lines that were dropped are told of no more often than this.
const SILENCE: Duration = Duration::from_secs(10);

/// Writes what is logged until the log is closed and everything in the buffers is written.
pub(super) fn run(shared: &Shared, mut output: Output<Sink>) {
    let mut lines = Vec::new();
    let mut told = Told { clock: Clock::monotonic(), of: shared.dropped.get(), at: None };
    loop {
        // Acquire: what was logged before this was set is in the buffers.
        let closing = shared.closing.load(Ordering::Acquire);
        if shared.reopen.swap(false, Ordering::Acquire) {
            reopen(shared, &mut output);
        }
        let mut idle = true;
        let mut failure = None;
        for buffer in &shared.buffers {
            // The worker waits no longer than this swap takes.
            {
                let mut buffer = buffer.lock();
                std::mem::swap(&mut buffer.bytes, &mut lines);
                buffer.fair_share.clear();
            }
            if lines.is_empty() {
                continue;
            }
            idle = false;
            let written = output.write(&lines);
            shared.dropped.inc_by(written.lost);
            failure = written.error.or(failure);
            lines.clear();
        }
        if closing {
            // The last word.
            told.at = None;
        }
        told.tell(shared.dropped.get(), failure.as_ref());
        if closing {
            // The rest of a line that a full disk took half of, if there is room now.
            output.write(&[]);
            shared.dropped.inc_by(output.abandon());
            return;
        }
        // Whoever logs the first line into an empty buffer wakes this thread, also before it sleeps.
        if idle { thread::park() } else { thread::sleep(PAUSE) }
    }
}

fn reopen(shared: &Shared, output: &mut Output<Sink>) {
    match output.reopen() {
        Ok(lost) => {
            shared.dropped.inc_by(lost);
            info!("the access log has been opened again");
        }
        Err(error) => warn!("the access log cannot be opened again, and the old file is kept: {error}"),
    }
}

/// What has been said of lines that were dropped.
struct Told {
    clock: Clock,
    of: u64,
    at: Option<Timestamp>,
}

impl Told {
    fn tell(&mut self, dropped: u64, failure: Option<&io::Error>) {
        let lost = dropped - self.of;
        if lost == 0 {
            return;
        }
        let now = self.clock.now();
        if self.at.is_some_and(|at| now.since(at) < SILENCE) {
            return;
        }
        match failure {
            Some(error) => {
                warn!("the access log cannot be written, and {lost} of its lines were dropped: {error}");
            }
            None => warn!("the access log is slower than the traffic: {lost} of its lines were dropped"),
        }
        (self.of, self.at) = (dropped, Some(now));
    }
}
