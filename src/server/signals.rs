//! The signals that the gateway handles.
//!
//! Their handlers are installed before anything else is done, since a signal without a handler kills the process, for example a reload
//! that is asked for while a large configuration is still being read. Signals that come before they are waited for are kept; any number
//! of SIGHUP is kept as one.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub(super) enum Asked {
    Reload,
    ReopenLog,
    Stop,
}

/// The signals that the gateway handles.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_defined: Signal,
}

impl Signals {
    /// Installs the handlers. Needs a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user_defined: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            () = stop(&mut self.terminate, &mut self.interrupt) => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.user_defined.recv() => Asked::ReopenLog,
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
