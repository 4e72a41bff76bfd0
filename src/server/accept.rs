//! Accepts connections at a listener, and gives them to the workers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use log::warn;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::connection::Serving;
use super::drain::until_draining;
use super::listener::Listener;
use super::listening_socket::ListeningSocket;
use super::workers::Dispatcher;
use crate::config::Address;
use crate::log_throttle::LogThrottle;
use crate::metrics::Running;

/// How long accepting pauses when the process has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket that accepts.
enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    fn new(socket: ListeningSocket) -> io::Result<Self> {
        match socket {
            ListeningSocket::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(Self::Tcp),
            ListeningSocket::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    /// The next connection, and its peer's address: for a Unix socket that of this machine.
    async fn accept(&self) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                // The stream is registered with this thread's runtime, and has to be registered with the worker's.
                Ok((stream.into_std()?, peer))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                // The type `TcpStream` is used for any connected socket here. What only TCP has is not used on a Unix socket.
                Ok((OwnedFd::from(stream.into_std()?).into(), LOCAL))
            }
        }
    }
}

/// The peer of a connection through a Unix socket.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Accepts connections and gives them to the workers, until the listener drains. Connections that wait in the kernel's queue then are
/// accepted still.
pub(super) async fn accept(
    listener: Listener,
    serving: Arc<Serving>,
    workers: Dispatcher,
    alive: mpsc::Sender<()>,
) {
    let deal = |(socket, peer): (std::net::TcpStream, SocketAddr)| {
        let Some((admitted, registration)) = serving.admit(&socket, peer) else {
            return;
        };
        let (serving, alive) = (serving.clone(), alive.clone());
        workers.spawn(async move {
            let running = Running::start(&serving.metrics.connections);
            if let Ok(socket) = TcpStream::from_std(socket) {
                tokio::select! {
                    biased;
                    () = serving.serve(socket, peer, &registration) => {}
                    () = registration.evicted() => {}
                }
            }
            drop((admitted, registration));
            // Whoever reads that there is a connection less finds room for another one.
            drop(running);
            drop(alive);
        });
    };
    let socket = match Accepting::new(listener.socket) {
        Ok(socket) => socket,
        Err(error) => return warn!("{} cannot be served: {error}", listener.address),
    };
    let log_throttle = LogThrottle::default();
    let drained = until_draining(serving.draining.clone());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            () = &mut drained => break,
            accepted = socket.accept() => match accepted {
                Ok(accepted) => {
                    deal(accepted);
                    serving.connection_limit.wait_for_evicted().await;
                }
                Err(error) => pause_after(&error, &listener.address, &log_throttle, &serving).await,
            },
        }
    }
    loop {
        tokio::select! {
            biased;
            Ok(accepted) = socket.accept() => deal(accepted),
            () = std::future::ready(()) => return,
        }
    }
}

/// Pauses after an error of accepting, unless only one connection was closed before it was accepted.
async fn pause_after(error: &io::Error, address: &Address, log_throttle: &LogThrottle, serving: &Serving) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        if log_throttle.may_log(&serving.gateway) {
            warn!(
                "{address} accepts no connections for a moment: {error}; for a minute, this is not told again"
            );
        }
        sleep(PAUSE).await;
    }
}
