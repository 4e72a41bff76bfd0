//! A backend inside another program, which for the most part is a test.
//!
//! It runs on a thread and a runtime of its own. So blocking code can use it, and stopping it ends everything
//! it had open: detached tasks, such as those of WebSockets, go with their runtime.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::record::{Log, Received};
use crate::server;
use crate::state::State;

/// A running server. Dropping it cuts its connections and releases its port before the drop returns;
/// [`stop`](Self::stop) first lets the requests in flight end.
pub struct MockBackend {
    addr: SocketAddr,
    state: Arc<State>,
    /// `Some` until it is stopping. A message asks for a graceful stop, dropping it for an immediate one.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    stopped: oneshot::Receiver<()>,
}

impl MockBackend {
    /// A server on a free port of 127.0.0.1, with the name "mock".
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// [`start`](Self::start) for code that is not async.
    pub fn start_blocking() -> io::Result<Self> {
        Self::builder().start_blocking()
    }

    /// A server with a name or an address of your choice.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests received, from the oldest to the newest: the last 10,000. Health checks are among them.
    pub fn requests(&self) -> Vec<Received> {
        self.state.log.as_ref().map(Log::requests).unwrap_or_default()
    }

    /// How many requests have been received, those no longer in the log included.
    pub fn count(&self) -> u64 {
        self.state.log.as_ref().map(Log::count).unwrap_or_default()
    }

    /// What `/health` says from now on.
    pub fn set_healthy(&self, healthy: bool) {
        self.state.set_healthy(healthy);
    }

    /// Takes no more connections, gives the requests in flight a second to end, cuts off the rest and releases
    /// the port.
    pub async fn stop(mut self) {
        self.begin_stop();
        // An error says the same: the thread is at its end.
        let _ = (&mut self.stopped).await;
    }

    /// [`stop`](Self::stop) for code that is not async.
    pub fn stop_blocking(mut self) {
        self.begin_stop();
        // Dropping `self` waits for the thread.
    }

    fn begin_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
    }
}

impl fmt::Debug for MockBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockBackend").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Drop for MockBackend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there.
            let _ = thread.join();
        }
    }
}

/// What to start.
#[derive(Debug)]
#[must_use]
pub struct Builder {
    name: String,
    listen: SocketAddr,
}

impl Default for Builder {
    fn default() -> Self {
        Self { name: "mock".to_owned(), listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }
}

impl Builder {
    /// The name in `X-Backend`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The address to listen on, such as the one of a server that was stopped. Otherwise a free port of
    /// 127.0.0.1.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.listen = addr;
        self
    }

    /// Starts the server. It accepts connections when this returns.
    pub async fn start(self) -> io::Result<MockBackend> {
        // Nothing here waits; it is async so that it reads like `stop` and may come to wait.
        self.start_blocking()
    }

    /// [`start`](Self::start) for code that is not async.
    pub fn start_blocking(self) -> io::Result<MockBackend> {
        let name = self.name.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let state = Arc::new(State::new(name, Some(Log::default())));
        // Connections wait in the listener's queue until the thread takes them.
        let listener = StdListener::bind(self.listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _in_runtime = runtime.enter();
            TcpListener::from_std(listener)?
        };

        let (stop, stopping) = oneshot::channel();
        let (report_stopped, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name(format!("mock-backend {addr}")).spawn({
            let state = Arc::clone(&state);
            move || {
                runtime.block_on(server::run(listener, &state, grace(stopping)));
                drop(runtime);
                // Nobody need be waiting.
                let _ = report_stopped.send(());
            }
        })?;
        Ok(MockBackend { addr, state, stop: Some(stop), thread: Some(thread), stopped })
    }
}

/// Waits for the word to stop, which is how long requests in flight are given to end.
async fn grace(stopping: oneshot::Receiver<()>) -> Duration {
    match stopping.await {
        Ok(()) => server::GRACE,
        Err(_dropped) => Duration::ZERO,
    }
}
