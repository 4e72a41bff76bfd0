//! Notifies the service manager (`sd_notify(3)`) that the gateway is ready, reloads, or stops, and that it is alive.
//!
//! A notification is a datagram to the socket that the environment names. Without such a socket none is sent. The notification of being
//! alive is left out as soon as a worker thread does not run its tasks any more.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use std::{env, process};

use log::warn;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::workers::Dispatcher;

/// A state that is notified.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Ready,
    Reloading,
    Stopping,
    Alive,
}

impl State {
    fn text(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Reloading => "RELOADING=1",
            Self::Stopping => "STOPPING=1",
            Self::Alive => "WATCHDOG=1",
        }
    }
}

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How long the service manager waits for a notification of being alive.
    patience: Option<Duration>,
}

impl Supervisor {
    /// The service manager that the environment names.
    pub(super) fn from_environment() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let Some(name) = variable("NOTIFY_SOCKET") else { return Self::default() };
        let socket = connect(&name)
            .map_err(|error| warn!("the service manager cannot be told anything, at {name}: {error}"));
        // The variable may be meant for another process.
        let is_meant = variable("WATCHDOG_PID").is_none_or(|pid| pid == process::id().to_string());
        let patience = variable("WATCHDOG_USEC").filter(|_| is_meant).and_then(|text| text.parse().ok());
        Self { socket: socket.ok(), patience: patience.filter(|&p| p > 0).map(Duration::from_micros) }
    }

    /// Notifies a state.
    pub(super) fn tell(&self, state: State) {
        if let Some(socket) = &self.socket {
            // It never blocks. If the service manager takes nothing, the notification is lost.
            let _ = socket.send(state.text().as_bytes());
        }
    }

    /// Notifies that this process is alive, as long as every worker runs a task in time. It never ends.
    pub(super) async fn assure(self: Arc<Self>, workers: Dispatcher) {
        let Some(patience) = self.patience else { return };
        // Twice in that time, as sd_watchdog_enabled(3) advises.
        let every = patience / 2;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (asked, mut answers) = mpsc::channel::<()>(1);
            workers.each(|| {
                let asked = asked.clone();
                async move { drop(asked) }
            });
            drop(asked);
            match timeout(every, answers.recv()).await {
                Ok(_) => self.tell(State::Alive),
                Err(_) => warn!(
                    "a worker has not got to a task for {every:?}: the service manager is not told otherwise"
                ),
            }
        }
    }
}

/// Connects to a socket by its path, or by its name in the abstract namespace after an `@`.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.connect_addr(&address)?;
    Ok(socket)
}
