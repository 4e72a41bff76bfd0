//! Puts everything together: listeners, workers, the side port, signals, reloads, and the end of the process.
//!
//! Connections are accepted here and not by Pingora's own server, which stops every listener at once, sleeps through the whole grace
//! period, has no deadline for a request head, and parses a head leniently before it can be refused. Only Pingora's proxy is used. Each
//! worker is a thread with a runtime of its own, so that a connection stays on one core; workers get connections in turn.

mod accept;
mod connection;
mod connection_limit;
mod control_socket;
mod date;
mod deadline;
mod descriptors;
mod drain;
mod exchange;
mod files;
mod framing;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod handover;
mod head;
mod http1;
mod http2;
mod key_keeper;
mod lease_keeper;
mod limit_maintenance;
mod linger;
mod listener;
mod listening_process;
mod listening_socket;
mod memory;
mod open_connections;
mod open_listeners;
mod outputs;
mod proxy_protocol;
mod reload;
mod retry_buffer;
mod signals;
mod snapshot;
mod socket;
mod socket_activation;
mod start_error;
mod stream;
mod supervisor;
mod tcp;
mod tls;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::{io, process};

use log::{info, warn};
use pingora::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::connection_limit::ConnectionLimit;
use self::control_socket::ControlSocket;
use self::descriptors::DescriptorBudget;
use self::drain::until_draining;
use self::handover::{Inherited, Label, Successor};
use self::listener::Listener;
use self::open_listeners::OpenListeners;
use self::reload::Reloader;
use self::signals::{Asked, Signals};
pub use self::start_error::StartError;
use self::supervisor::{State, Supervisor};
use self::tls::Acceptor;
use self::workers::{Dispatcher, Workers};
use crate::admin;
use crate::clock::Clock;
use crate::config::{self, Config, Source};
use crate::gateway::ReloadOutcome;
use crate::gateway::{Gateway, Outputs, Waiting};
use crate::limit::snapshot::Snapshot;
use crate::metrics::Metrics;
use crate::proxy::Proxy;
use crate::proxy::door::Door;
use crate::upstream::{NO_AUTHORITIES, set_max_connections};

/// The exit status of a process that was interrupted: 128 and the number of SIGINT.
const INTERRUPTED: i32 = 130;

/// Serves the configuration from `source` until a signal says to stop, and then until the last request is answered.
/// With `upgrade` it takes over from the process that runs with the same file.
///
/// # Errors
/// When it cannot start: see [`StartError`]. Nothing has been served then, and a process that runs goes on.
pub fn run(source: &Source, upgrade: bool) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything else: see `signals`.
    let signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    let outcome = runtime.block_on(start(source, upgrade, signals)).map(|served| {
        if let Some((workers, gateway)) = served {
            workers.stop();
            gateway.active().outputs.close();
        }
    });
    // A start that was stopped may still wait for a file or for another process. It is not waited for.
    runtime.shutdown_background();
    outcome
}

/// The workers and the gateway that have served, to be closed.
type Served = (Workers, Arc<Gateway>);

/// The address of the side port of the process that runs with the configuration at `path`; `None` if it has none. Blocks.
///
/// # Errors
/// When there is no process of this user, or root, that could be asked.
pub fn side_port(path: &Path) -> io::Result<Option<SocketAddr>> {
    control_socket::side_port(path)
}

/// Asks the process that runs with the configuration at `path` to read it again. Returns what came of it. Blocks until it is done.
///
/// # Errors
/// When there is no process of this user, or root, that could be asked, or it is on its way out.
pub fn reload(path: &Path) -> io::Result<ReloadOutcome> {
    control_socket::reload(path)
}

/// Asks the process that runs with the configuration at `path` to stop, and waits until it has. Returns its number.
///
/// # Errors
/// When there is no process of this user, or root, that could be asked.
pub fn stop(path: &Path) -> io::Result<u32> {
    control_socket::stop(path)
}

/// Starts, unless a signal says to stop before that is done, and serves.
async fn start(source: &Source, upgrade: bool, mut signals: Signals) -> Result<Option<Served>, StartError> {
    let of = source.clone();
    let preparing = spawn_blocking(move || Prepared::of(&of, upgrade));
    let prepared = tokio::select! {
        biased;
        () = signals.stop() => {
            info!("stopped before it was ready");
            return Ok(None);
        }
        prepared = preparing => prepared.map_err(io::Error::from)??,
    };
    prepared.serve(source, signals).await.map(Some)
}

/// The results of all steps of a start that take time or may fail. Until they are used, a process that runs goes on.
struct Prepared {
    config: Config,
    inherited: Option<Inherited>,
    saved: Option<Snapshot>,
    listeners: Vec<Listener>,
    /// The side port, with its address in the configuration.
    admin_listener: Option<(SocketAddr, TcpListener)>,
    metrics: Metrics,
    threads: usize,
    outputs: Outputs,
    tls: Option<Acceptor>,
    workers: Workers,
    clock: Clock,
}

impl Prepared {
    /// Takes all of these steps. Blocks.
    fn of(source: &Source, upgrade: bool) -> Result<Self, StartError> {
        let config = source.load().map_err(StartError::Config)?;
        source.warnings(&config).iter().for_each(|warning| warn!("{warning}"));
        let mut inherited = match source.path().filter(|_| upgrade) {
            Some(path) => Some(Inherited::take(path).map_err(StartError::Upgrade)?),
            None => None,
        };
        let inherit = |listener: &config::Listener| {
            inherited.as_mut().map_or_else(Vec::new, |inherited| inherited.sockets(&Label::of(listener)))
        };
        let listeners = listener::open_all(&config.server.listen, inherit)?;
        let mut open_admin = |address| {
            let given = inherited.as_mut().and_then(|i| i.socket(&Label::of_side_port(address)));
            let socket =
                given.map_or_else(|| listening_socket::bind(address, false), |socket| Ok(socket.into()));
            let ready = |socket: TcpListener| socket.set_nonblocking(true).map(|()| socket);
            socket.and_then(ready).map_err(|error| StartError::Listen(address.into(), error))
        };
        let admin = config.admin.as_ref().map(|admin| admin.listen);
        let admin_listener =
            admin.map(|address| Ok::<_, StartError>((address, open_admin(address)?))).transpose()?;
        let metrics = Metrics::new().map_err(StartError::Metrics)?;
        let threads = workers::count(config.server.threads)?;
        let outputs = outputs::open(&config, threads, &metrics, None)?;
        let tls = config
            .server
            .tls
            .as_ref()
            .map(|tls| Acceptor::new(tls, &metrics))
            .transpose()
            .map_err(StartError::Tls)?;
        let clock = Clock::monotonic();
        let workers = Workers::start(threads)?;
        let saved = match (&inherited, &config.limiter.snapshot) {
            (None, Some(path)) => snapshot::load(path, &clock),
            // The process that is taken over from gives its buckets.
            _ => None,
        };
        Ok(Self {
            config,
            inherited,
            saved,
            listeners,
            admin_listener,
            metrics,
            threads,
            outputs,
            tls,
            workers,
            clock,
        })
    }

    /// Takes over from another process, if there is one, and serves.
    async fn serve(self, source: &Source, mut signals: Signals) -> Result<Served, StartError> {
        let Self { workers, clock, .. } = self;
        // From here on no step may fail.
        let (saved, control) = match self.inherited {
            Some(inherited) => inherited.begin(&clock),
            None => (self.saved, None),
        };
        let control = source.path().and_then(|path| ControlSocket::open(path, control));
        let shares = descriptors::raise(self.threads);
        set_max_connections(shares.requests);
        let (gateway, mut reloads) = Gateway::new(self.config, saved, self.metrics, self.outputs, clock);
        let gateway = Arc::new(gateway);
        let (alive, all_gone) = mpsc::channel::<()>(1);
        let listeners = no_listeners(&gateway, &shares, workers.dispatcher(), self.tls, alive);
        let mut reloader = Reloader {
            source: source.clone(),
            gateway: gateway.clone(),
            threads: self.threads,
            listeners,
            files: Arc::default(),
            cared_for: Vec::new(),
        };

        let (hand_over, handed_over) = watch::channel(false);
        let admin_socket = match self.admin_listener {
            Some((address, listener)) => start_side_port(address, listener, &gateway, handed_over)?,
            None => None,
        };
        spawn_maintenance(&gateway, &reloader.listeners.workers);
        let snapshots = tokio::spawn(snapshot::keep(gateway.clone()));
        reloader.care_for(&gateway.active().upstreams);
        reloader.watch(Vec::new()).await;
        for listener in self.listeners {
            reloader.listeners.open(listener);
        }
        info!("ready");
        if let Err(reason) = gateway.ready() {
            warn!("requests are taken, but /ready says that not all can be answered: {reason}");
        }
        let supervisor = Arc::new(Supervisor::from_environment());
        supervisor.tell(State::Ready);
        tokio::spawn(supervisor.clone().assure(workers.dispatcher()));
        let leaving =
            serve(&mut reloader, &mut signals, &mut reloads, admin_socket.as_ref(), control, &supervisor)
                .await;
        gateway.drain();
        supervisor.tell(State::Stopping);
        // Calls that ask for a reload from here on, or wait for one, are told that it is too late.
        drop(reloads);
        info!("draining");
        match leaving {
            Leaving::Stopped => {
                reloader.listeners.close();
                finish(&gateway, all_gone, &mut signals).await;
                lease_keeper::give_back(&gateway).await;
                snapshot::save(&gateway).await;
            }
            Leaving::HandedOver(stream) => {
                // Without a side port there is no receiver.
                let _ = hand_over.send(true);
                reloader.listeners.hand_over();
                // The new process keeps the snapshot from now on.
                snapshots.abort();
                give_buckets(stream, gateway.clone()).await;
                finish(&gateway, all_gone, &mut signals).await;
                lease_keeper::give_back(&gateway).await;
            }
        }
        Ok((workers, gateway))
    }
}

/// The listeners before any is open.
fn no_listeners(
    gateway: &Arc<Gateway>,
    shares: &DescriptorBudget,
    workers: Dispatcher,
    tls: Option<Acceptor>,
    alive: mpsc::Sender<()>,
) -> OpenListeners {
    let door = Arc::new(Door::new(gateway.clone()));
    OpenListeners {
        gateway: gateway.clone(),
        proxy: proxy(&door, shares.waiting),
        door,
        workers,
        tls: tls.map(Arc::new),
        alive,
        connection_limit: Arc::new(ConnectionLimit::new(shares.clients)),
        proxy_error_log: Arc::default(),
        open: Vec::new(),
    }
}

/// Starts the side port, until another process serves it. Returns its socket, to be passed on, with its address in the configuration.
fn start_side_port(
    address: SocketAddr,
    listener: TcpListener,
    gateway: &Arc<Gateway>,
    handed_over: watch::Receiver<bool>,
) -> io::Result<Option<(SocketAddr, TcpListener)>> {
    info!("side port on http://{}", listener.local_addr()?);
    let socket = listener.try_clone().ok().map(|socket| (address, socket));
    admin::start(listener, gateway.clone(), until_draining(handed_over))?;
    Ok(socket)
}

/// Spawns the tasks that maintain the limits and the memory of the process.
fn spawn_maintenance(gateway: &Arc<Gateway>, workers: &Dispatcher) {
    tokio::spawn(limit_maintenance::run(gateway.clone()));
    tokio::spawn(lease_keeper::run(gateway.clone()));
    tokio::spawn(key_keeper::run(gateway.clone()));
    workers.each(memory::release_free_memory);
    tokio::spawn(memory::release_free_memory());
    tokio::spawn(memory::watch(gateway.clone()));
}

/// Gives the buckets to the process that has taken over.
async fn give_buckets(to: UnixStream, gateway: Arc<Gateway>) {
    let giving = spawn_blocking(move || {
        let _written = snapshot::wait_for_writing();
        handover::give_buckets(&to, &gateway)
    });
    if !matches!(giving.await, Ok(Ok(()))) {
        warn!("the buckets could not be given to the new process");
    }
}

/// Why a process ends.
enum Leaving {
    /// A signal said to stop.
    Stopped,
    /// Another process has taken over, and waits for the buckets.
    HandedOver(UnixStream),
}

/// Serves until a signal says to stop or another process takes over, and reloads meanwhile, one after the other.
async fn serve(
    reloader: &mut Reloader,
    signals: &mut Signals,
    reloads: &mut mpsc::Receiver<Waiting>,
    admin_socket: Option<&(SocketAddr, TcpListener)>,
    control: Option<ControlSocket>,
    supervisor: &Supervisor,
) -> Leaving {
    let side_port = admin_socket.and_then(|(_, socket)| socket.local_addr().ok());
    let mut successor = Successor::wait(control, side_port, &reloader.gateway);
    let mut changed = files::watch(reloader.files.clone(), reloader.gateway.clone());
    loop {
        let waiting = tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop => return Leaving::Stopped,
                Asked::ReopenLog => {
                    reopen_log(&reloader.gateway);
                    continue;
                }
                Asked::Reload => {
                    reopen_log(&reloader.gateway);
                    None
                }
            },
            Some(waiting) = reloads.recv() => Some(waiting),
            stream = successor.comes() => {
                let sockets = sockets_to_pass(&reloader.listeners, admin_socket);
                tokio::select! {
                    () = signals.stop() => return Leaving::Stopped,
                    ready = successor.gets_ready(stream, sockets) => match ready {
                        Some(stream) => return Leaving::HandedOver(stream),
                        None => continue,
                    },
                }
            }
            Some(()) = changed.recv() => None,
        };
        supervisor.tell(State::Reloading);
        let outcome = tokio::select! {
            outcome = reloader.reload() => outcome,
            () = signals.stop() => return Leaving::Stopped,
        };
        // Also if the reload has failed: the configuration before it stays in force.
        supervisor.tell(State::Ready);
        if let Some(waiting) = waiting {
            // The call that asked may have ended.
            let _ = waiting.send(outcome);
        }
    }
}

/// Opens the file of the access log again, which may have been renamed.
fn reopen_log(gateway: &Gateway) {
    if let Some(log) = &gateway.active().outputs.access_log {
        log.reopen();
    }
}

/// The sockets of the listeners and of the side port, to be passed to another process.
fn sockets_to_pass(
    listeners: &OpenListeners,
    admin_socket: Option<&(SocketAddr, TcpListener)>,
) -> Vec<(Label, OwnedFd)> {
    let mut sockets: Vec<(Label, OwnedFd)> =
        listeners.sockets().map(|(listener, socket)| (Label::of(listener), socket)).collect();
    if let Some((address, socket)) = admin_socket
        && let Ok(socket) = socket.try_clone()
    {
        sockets.push((Label::of_side_port(*address), socket.into()));
    }
    sockets
}

/// The proxy behind this door, which keeps so many connections to upstreams that wait for a request.
fn proxy(door: &Arc<Door>, waiting: usize) -> Arc<HttpProxy<Proxy>> {
    let conf = ServerConf {
        upstream_keepalive_pool_size: waiting,
        ca_file: Some(NO_AUTHORITIES.to_owned()),
        ..ServerConf::default()
    };
    let mut proxy = HttpProxy::new(Proxy::new(door.clone()), Arc::new(conf));
    proxy.handle_init_modules();
    Arc::new(proxy)
}

/// Waits for the last connection to close, as long as the configuration allows.
async fn finish(gateway: &Gateway, mut all_gone: mpsc::Receiver<()>, signals: &mut Signals) {
    let patience = gateway.active().config().server.drain_timeout;
    tokio::select! {
        drained = timeout(patience, all_gone.recv()) => match drained {
            Ok(_) => info!("drained"),
            Err(_) => warn!("requests were still running after {patience:?}: they are cut off"),
        },
        () = signals.interrupted_again() => {
            warn!("interrupted again: leaving at once");
            process::exit(INTERRUPTED);
        }
    }
}
