//! The signals that the gateway heeds.
//!
//! They are installed before anything else is done, since a signal that is not kills the process: a reload that somebody asks
//! for while a large configuration is still being read, for one. What comes before it is asked for here is kept: any number of
//! SIGHUP as one.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Asked {
    Reload,
    Stop,
}

/// The signals that the gateway heeds.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on they are kept until they are asked for. Needs a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            () = stop(&mut self.terminate, &mut self.interrupt) => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }

    /// Waits for a signal to stop.
    pub(super) async fn stop(&mut self) {
        stop(&mut self.terminate, &mut self.interrupt).await;
    }

    /// Waits for an interrupt after that.
    pub(super) async fn interrupted_again(&mut self) {
        self.interrupt.recv().await;
    }
}

async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
